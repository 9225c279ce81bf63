//! Running statements: from a logical plan to a stream of rows, with cancellation, retry after a node's death, and errors that say
//! what happened.

mod planning;
mod stream;

pub(crate) use planning::Planners;
use stream::unless_node_dies;
pub(crate) use stream::{canceled, guarded};

use crate::bind::{Aliases, Bound};
use crate::catalog::{CATALOG, FUNCTIONS_SCHEMA, RelationCatalogs, Snapshot, TPCH_FUNCTION, TpchFunction};
use crate::cluster::{Cluster, task_addresses};
use crate::meta::{State, TableState};
use crate::plan::context::QueryContext;
use crate::plan::parameters;
use crate::plan::parts::{check_size, cut_deep_expressions};
use crate::plan::planner::{local_state, logical_plan, query_state};
use crate::plan::semantics::check_unions;
use crate::plan::subqueries::{SubqueriesToJoins, without_quantifiers};
use crate::plan::tight::TightComparisons;
use crate::plan::write_rows::WriteRowsExec;
use crate::session::Sessions;
use crate::transaction::{Reading, Scope};
use datafusion::common::ParamValues;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use slipher_common::ids::TransactionId;
use slipher_common::placement::Layout;
use slipher_common::plan::SliceSinkExec;
use slipher_common::{Error, Result, SqlType};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::Handle;
use uuid::Uuid;

/// What a row of a join's side weighs where its size is known better than its rows.
const BROADCAST_ROW_BYTES: usize = 8;

/// Which query a statement runs at the moment.
pub(crate) type CurrentQuery = Arc<Mutex<Option<String>>>;

tokio::task_local! {
    /// Where the statement that the task runs notes its query.
    pub(crate) static STATEMENT_QUERY: CurrentQuery;
}

/// What statements run with.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// Lanes of every task.
    pub(crate) lanes: usize,
    /// A join's side of at most so many estimated rows is copied to every node.
    pub(crate) broadcast_rows_max: usize,
    /// The leader's own memory for queries.
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// The sessions there are.
    pub(crate) sessions: Arc<Sessions>,
    /// The threads that plan.
    pub(crate) planners: Planners,
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
    _reading: Reading,
}

impl Runner {
    /// Pins what `scope` reads, and a layout. `collect_metrics` for EXPLAIN ANALYZE.
    pub(crate) fn attempt(&self, scope: &Scope, transaction_id: TransactionId, collect_metrics: bool) -> Result<Attempt> {
        let reading = scope.read();
        let state = Arc::clone(&reading.state);
        state.require_database(state.database())?;
        let cluster = self.cluster.view(&state);
        let query_id = Uuid::now_v7().to_string();
        // Work outside a statement has nobody to tell.
        let _ = STATEMENT_QUERY.try_with(|query| *query.lock() = Some(query_id.clone()));
        let query = self.layout(&state, &query_id, scope.background);
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
            merge_joins: scope.merge_joins.load(Ordering::SeqCst),
            runner: self.clone(),
        });
        let session = Arc::new(self.session(&snapshot, collect_metrics)?);
        Ok(Attempt { query_id, snapshot, session, _reading: reading })
    }

    /// The same attempt, which sees `part` of a table wherever that is read with row ids.
    pub(crate) fn with_part(&self, attempt: &Attempt, part: TableState) -> Result<Attempt> {
        let snapshot = Arc::new(Snapshot { part: Some(part), ..Snapshot::clone(&attempt.snapshot) });
        let session = Arc::new(self.session(&snapshot, false)?);
        Ok(Attempt { snapshot, session, ..attempt.clone() })
    }

    fn layout(&self, state: &State, query_id: &str, background: bool) -> Result<Arc<QueryContext>> {
        let view = self.cluster.view(state);
        let layout = Layout::new(&view.placement, &view.alive, self.lanes)?;
        let addresses = task_addresses(&layout.nodes, &view.addresses)?;
        let context = QueryContext::new(query_id.to_owned(), Arc::new(layout), addresses)?;
        Ok(Arc::new(QueryContext { background, fence: self.cluster.fence(), ..context }))
    }

    /// The engine's session over a snapshot.
    pub(crate) fn session(&self, snapshot: &Arc<Snapshot>, collect_metrics: bool) -> Result<SessionState> {
        let disabled = &snapshot.disabled_rules;
        let runtime = Arc::clone(&self.runtime);
        let mut session = match &snapshot.query {
            Ok(query) => query_state(Arc::clone(query), self.cluster.channels().clone(), runtime, collect_metrics, disabled)?,
            Err(_) => local_state(self.lanes, runtime).build(),
        };
        session.register_catalog_list(Arc::new(RelationCatalogs(Arc::clone(snapshot))));
        let options = session.config_mut().options_mut();
        options.catalog.default_catalog = CATALOG.to_owned();
        options.optimizer.prefer_hash_join = !snapshot.merge_joins;
        options.optimizer.hash_join_single_partition_threshold_rows = self.broadcast_rows_max;
        options.optimizer.hash_join_single_partition_threshold = self.broadcast_rows_max.saturating_mul(BROADCAST_ROW_BYTES);
        options.catalog.default_schema = FUNCTIONS_SCHEMA.to_owned();
        slipher_common::functions::register(&mut session)?;
        crate::plan::semantics::register(&mut session)?;
        session.add_analyzer_rule(Arc::new(TightComparisons));
        // Last: it joins by outer values byte for byte, and those joins are no comparisons of the user's.
        session.add_analyzer_rule(Arc::new(SubqueriesToJoins));
        crate::catalog::register_backend_functions(&mut session, snapshot, &self.sessions)?;
        crate::catalog::register_clock_functions(&mut session, snapshot.clock)?;
        session.mark_start_execution();
        session.register_udtf(TPCH_FUNCTION, Arc::new(TpchFunction(snapshot.query.clone())));
        Ok(session)
    }

    /// Runs a physical plan. The stream's errors name a node that died instead of its symptom.
    pub(crate) fn start(&self, attempt: &Attempt, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        let rows = execute_stream(plan, attempt.session.task_ctx())?;
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

impl Attempt {
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

    fn plan_physical_here(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Handle::current().block_on(self.session.create_physical_plan(plan))?)
    }

    fn plan_on_leader_here(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.session.optimize(plan)?;
        let planner = DefaultPhysicalPlanner::default();
        let plan = Handle::current().block_on(planner.create_physical_plan(&plan, self.session.as_ref()))?;
        match plan.downcast_ref::<SliceSinkExec>() {
            Some(sink) => {
                let channels = self.snapshot.runner.cluster.channels().clone();
                Ok(Arc::new(WriteRowsExec::new(Arc::clone(sink.input()), Arc::clone(sink.target()), channels)))
            }
            None => Err(Error::internal(format!("planning a load: \"{}\" is on top instead of the sink", plan.name()))),
        }
    }
}
