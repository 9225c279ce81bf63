//! Running statements: from a logical plan to a stream of rows, with cancellation, retry after a node's death, and errors that say
//! what happened.

mod analyze;
mod first_parts;
mod kept;
mod memory_wait;
mod place;
mod planning;
mod routing;
mod stream;

pub(crate) use analyze::analyze;
pub(crate) use first_parts::ShownParts;
pub(crate) use kept::KeptPlan;
pub(crate) use memory_wait::until_memory_is_free;
use memory_wait::wants_whole_memory;
use routing::Routings;
use stream::unless_node_dies;
pub(crate) use stream::{canceled, guarded};

use crate::bind::{Aliases, Bound};
use crate::catalog::{EngineSessions, Snapshot};
use crate::cluster::{Cluster, ClusterView};
use crate::plan::context::QueryContext;
use crate::plan::disabled_rules::SHORT_WAY;
use crate::plan::parameters;
use crate::plan::parts::{check_size, cut_deep_expressions};
use crate::plan::planner::logical_plan;
use crate::plan::read_rows::short_way;
use crate::plan::semantics::check_unions;
use crate::plan::subqueries::without_quantifiers;
use crate::plan::threads::Planners;
use crate::plan::write_rows::WriteRowsExec;
use crate::telemetry::STATEMENT_QUERY;
use crate::transaction::{Reading, Scope};
use datafusion::common::ParamValues;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::sql::sqlparser::ast;
use slipher_common::ids::TransactionId;
use slipher_common::plan::SliceSinkExec;
use slipher_common::{Error, Result, SqlType};
use slipher_meta::TableState;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::Handle;
use uuid::Uuid;

/// What statements run with.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// Makes the engine's sessions.
    pub(crate) engine: Arc<EngineSessions>,
    /// The threads that plan.
    pub(crate) planners: Planners,
    /// The threads that run queries.
    queries: Handle,
    routings: Arc<Routings>,
}

/// One attempt at a statement: a version of the catalog, a layout of live nodes, and the engine's session over both.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Names the attempt.
    pub(crate) query_id: String,
    /// The catalog.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The engine's session.
    pub(crate) session: Arc<SessionState>,
    /// What runs it.
    pub(crate) runner: Runner,
    /// For EXPLAIN: parts that would run before the rest is planned.
    shows: Option<ShownParts>,
    _reading: Reading,
}

impl Runner {
    /// Of a leader that starts.
    pub(crate) fn new(cluster: Arc<Cluster>, engine: EngineSessions, planners: Planners, queries: Handle) -> Self {
        Self { cluster, engine: Arc::new(engine), planners, queries, routings: Arc::default() }
    }

    /// Pins what `scope` reads, and a layout. `collect_metrics` for EXPLAIN ANALYZE.
    pub(crate) fn attempt(&self, scope: &Scope, transaction_id: TransactionId, collect_metrics: bool) -> Result<Attempt> {
        let reading = scope.read();
        let state = Arc::clone(&reading.state);
        state.require_database(state.database())?;
        let cluster = self.cluster.view(&state);
        let query_id = Uuid::now_v7().to_string();
        // Work outside a statement has nobody to tell.
        let _ = STATEMENT_QUERY.try_with(|query| *query.lock() = Some(query_id.clone()));
        let query = self.route(&cluster, &query_id, scope);
        let search_path = Arc::clone(&scope.search_path);
        let snapshot = Arc::new(Snapshot {
            state,
            search_path,
            temp_schema: scope.temp_schema.clone(),
            query,
            cluster,
            transaction_id,
            part: None,
            reads: scope.reads.clone(),
            user: scope.user.clone(),
            process_id: scope.process_id,
            clock: scope.clock,
            inside: Vec::new(),
            aliases: Aliases::default(),
            disabled_rules: scope.disabled_rules.clone(),
            settings: scope.settings.clone(),
            zone: scope.zone.clone(),
            super_options: scope.super_options.clone(),
            merge_joins: scope.merge_joins.load(Ordering::SeqCst),
            engine: Arc::clone(&self.engine),
        });
        let session = Arc::new(self.engine.session(&snapshot, collect_metrics)?);
        Ok(Attempt { query_id, snapshot, session, runner: self.clone(), shows: None, _reading: reading })
    }

    /// The same attempt, which sees `part` of a table wherever that is read with row ids.
    pub(crate) fn with_part(&self, attempt: &Attempt, part: TableState) -> Result<Attempt> {
        let snapshot = Arc::new(Snapshot { part: Some(part), ..Snapshot::clone(&attempt.snapshot) });
        let session = Arc::new(self.engine.session(&snapshot, false)?);
        Ok(Attempt { snapshot, session, ..attempt.clone() })
    }

    fn route(&self, view: &ClusterView, query_id: &str, scope: &Scope) -> Result<Arc<QueryContext>> {
        let context = self.routings.context(view, self.engine.node_lanes(), query_id)?;
        let whole_memory = wants_whole_memory();
        let (zone, now_micros) = (scope.zone.clone(), scope.clock.transaction.timestamp_micros());
        let (background, fence) = (scope.background, self.cluster.fence());
        Ok(Arc::new(QueryContext { background, whole_memory, fence, zone, now_micros, ..context }))
    }

    /// Runs a physical plan. The stream's errors name a node that died instead of its symptom.
    pub(crate) fn start(&self, attempt: &Attempt, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        let rows = place::rows_of(plan, Arc::new(context_of(&attempt.session)), &self.queries)?;
        Ok(match &attempt.snapshot.query {
            Ok(query) => unless_node_dies(rows, Arc::clone(&self.cluster), query.layout.nodes.clone()),
            Err(_) => rows,
        })
    }

    /// What an error of a run means: when a node of the layout does not answer any more, that is the error.
    pub(crate) async fn explain_failure(&self, attempt: &Attempt, error: Error) -> Error {
        if error.kind != slipher_common::ErrorKind::Internal && error.kind != slipher_common::ErrorKind::NodeUnavailable {
            return error;
        }
        self.cluster.recheck().await;
        let Ok(query) = &attempt.snapshot.query else {
            return error;
        };
        match query.layout.nodes.iter().find(|node| !self.cluster.is_alive(**node)) {
            Some(node) => {
                let address = attempt.snapshot.cluster.addresses.get(node).cloned().unwrap_or_default();
                let message = format!("running the query: compute node {node} at {address} does not answer");
                Error::new(slipher_common::ErrorKind::NodeUnavailable, message)
                    .with_detail(error.detail.unwrap_or(error.message))
                    .with_hint("run the statement again: its slices are served by their replicas where there are any")
            }
            None => error,
        }
    }
}

/// What a plan runs with. A finished plan has its functions and looks none up by name: they are hundreds, and no copy of their tables is made.
fn context_of(session: &SessionState) -> TaskContext {
    let (id, config, runtime) = (session.session_id().to_owned(), session.config().clone(), Arc::clone(session.runtime_env()));
    TaskContext::new(None, id, config, HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new(), runtime)
}

impl Attempt {
    /// Plans for EXPLAIN: what would run before the rest can be planned goes to `parts` instead.
    pub(crate) fn shows(&mut self, parts: ShownParts) {
        self.shows = Some(parts);
    }

    /// The query with its names bound to relations.
    pub(crate) async fn bind(&self, statement: &ast::Statement) -> Result<Bound> {
        self.snapshot.aliases.clear();
        crate::catalog::bound(&self.snapshot, statement).await
    }

    /// The logical plan of a query that is bound, made by the thread that asks.
    fn plan_bound_here(&self, bound: Bound, types: &[Option<SqlType>], parameters: Option<ParamValues>) -> Result<LogicalPlan> {
        let mut statement = Box::new(bound.statement);
        parameters::with_typed_parameters(&mut statement, types);
        let plan = Handle::current().block_on(logical_plan(&self.session, statement))?;
        let plan = match parameters {
            Some(parameters) => plan.with_param_values(parameters)?,
            None => plan,
        };
        if cfg!(debug_assertions) {
            crate::bind::check_plan(&plan)?;
        }
        check_size(&plan)?;
        check_unions(&plan)?;
        Ok(cut_deep_expressions(without_quantifiers(plan)?, &self.session)?)
    }

    /// The plan of a query as it runs best: what reads little goes a shorter way.
    pub(crate) fn short_way(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        match self.snapshot.disabled_rules.keep(SHORT_WAY) {
            true => Ok(short_way(plan, self.session.config(), self.runner.cluster.channels())?),
            false => Ok(plan),
        }
    }

    fn plan_physical_here(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Handle::current().block_on(self.session.create_physical_plan(plan))?)
    }

    fn plan_on_leader_here(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.session.optimize(plan)?;
        let planner = DefaultPhysicalPlanner::default();
        let plan = Handle::current().block_on(planner.create_physical_plan(&plan, self.session.as_ref()))?;
        match plan.downcast_ref::<SliceSinkExec>() {
            Some(sink) => {
                let channels = self.runner.cluster.channels().clone();
                Ok(Arc::new(WriteRowsExec::new(Arc::clone(sink.input()), Arc::clone(sink.target()), channels)))
            }
            None => Err(Error::internal(format!("planning a load: \"{}\" is on top instead of the sink", plan.name()))),
        }
    }
}
