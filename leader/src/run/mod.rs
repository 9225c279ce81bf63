//! Running statements: from a logical plan to a stream of rows, with cancellation, retry after a node's death, and errors that say
//! what happened.

mod stream;

use stream::unless_node_dies;
pub(crate) use stream::{canceled, guarded};

use crate::catalog::{Databases, SEARCH_PATH_SCHEMA, Snapshot, TPCH_FUNCTION, TpchFunction};
use crate::cluster::{Cluster, task_addresses};
use crate::meta::{State, TableState};
use crate::plan::context::QueryContext;
use crate::plan::planner::{local_state, query_state};
use crate::plan::scalar_subquery::check_scalar_subqueries;
use crate::plan::semantics::check_unions;
use crate::plan::write_rows::WriteRowsExec;
use crate::plan::{literals, parameters};
use crate::session::Sessions;
use crate::transaction::{Reading, Scope};
use datafusion::common::ParamValues;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use slipher_common::ids::TransactionId;
use slipher_common::placement::Layout;
use slipher_common::plan::SliceSinkExec;
use slipher_common::trace::Span;
use slipher_common::{Error, Result, SqlType};
use std::sync::Arc;
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
}

/// One attempt at a statement: a version of the catalog, a layout of live nodes, and the engine's session over both.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Names the attempt.
    pub(crate) query_id: String,
    /// The catalog.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The engine's session.
    pub(crate) session: SessionState,
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
            inside: Vec::new(),
            runner: self.clone(),
        });
        let session = self.session(&snapshot, collect_metrics)?;
        Ok(Attempt { query_id, snapshot, session, _reading: reading })
    }

    /// The same attempt, which sees `part` of a table wherever that is read with row ids.
    pub(crate) fn with_part(&self, attempt: &Attempt, part: TableState) -> Result<Attempt> {
        let snapshot = Arc::new(Snapshot { part: Some(part), ..Snapshot::clone(&attempt.snapshot) });
        let session = self.session(&snapshot, false)?;
        Ok(Attempt { snapshot, session, ..attempt.clone() })
    }

    fn layout(&self, state: &State, query_id: &str, background: bool) -> Result<Arc<QueryContext>> {
        let view = self.cluster.view(state);
        let layout = Layout::new(&view.placement, &view.alive, self.lanes)?;
        let addresses = task_addresses(&layout.nodes, &view.addresses)?;
        let context = QueryContext::new(query_id.to_owned(), Arc::new(layout), addresses)?;
        Ok(Arc::new(QueryContext { background, ..context }))
    }

    /// The engine's session over a snapshot.
    pub(crate) fn session(&self, snapshot: &Arc<Snapshot>, collect_metrics: bool) -> Result<SessionState> {
        let runtime = Arc::clone(&self.runtime);
        let mut session = match &snapshot.query {
            Ok(query) => query_state(Arc::clone(query), self.cluster.channels().clone(), runtime, collect_metrics)?,
            Err(_) => local_state(self.lanes, runtime).build(),
        };
        session.register_catalog_list(Arc::new(Databases(Arc::clone(snapshot))));
        let options = session.config_mut().options_mut();
        options.catalog.default_catalog = snapshot.database_name().to_owned();
        options.optimizer.hash_join_single_partition_threshold_rows = self.broadcast_rows_max;
        options.optimizer.hash_join_single_partition_threshold = self.broadcast_rows_max.saturating_mul(BROADCAST_ROW_BYTES);
        options.catalog.default_schema = SEARCH_PATH_SCHEMA.to_owned();
        slipher_common::functions::register(&mut session)?;
        crate::plan::semantics::register(&mut session)?;
        crate::catalog::register_backend_functions(&mut session, snapshot, &self.sessions)?;
        // The time that now() answers.
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
    /// The logical plan of a query.
    pub(crate) async fn plan_query(&self, statement: &ast::Statement, parameters: Option<ParamValues>) -> Result<LogicalPlan> {
        let types = parameters.as_ref().map(parameters::types_of_values).unwrap_or_default();
        self.plan_typed(statement, &types, parameters).await
    }

    /// The logical plan of a query whose parameters have these types, as far as they are known.
    pub(crate) async fn plan_typed(
        &self,
        statement: &ast::Statement,
        types: &[Option<SqlType>],
        parameters: Option<ParamValues>,
    ) -> Result<LogicalPlan> {
        let _span = Span::start("plan");
        let mut statement = Box::new(statement.clone());
        parameters::with_typed_parameters(&mut statement, types);
        let plan = self.session.statement_to_plan(EngineStatement::Statement(statement)).await?;
        let plan = literals::with_typed_literals(plan)?;
        let plan = match parameters {
            Some(parameters) => plan.with_param_values(parameters)?,
            None => plan,
        };
        check_unions(&plan)?;
        Ok(check_scalar_subqueries(plan)?)
    }

    /// Both plans of a query.
    pub(crate) async fn plan_statement(
        &self,
        statement: &ast::Statement,
        parameters: Option<ParamValues>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let logical = self.plan_query(statement, parameters).await?;
        self.plan_physical(&logical).await
    }

    /// The physical plan, with its boundaries placed.
    pub(crate) async fn plan_physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let _span = Span::start("optimize");
        Ok(self.session.create_physical_plan(plan).await?)
    }

    /// The physical plan of a load whose rows the leader has itself: nothing of it runs on compute nodes but the writing.
    pub(crate) async fn plan_on_leader(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let _span = Span::start("optimize");
        let plan = self.session.optimize(plan)?;
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(&plan, &self.session).await?;
        match plan.downcast_ref::<SliceSinkExec>() {
            Some(sink) => {
                let channels = self.snapshot.runner.cluster.channels().clone();
                Ok(Arc::new(WriteRowsExec::new(Arc::clone(sink.input()), Arc::clone(sink.target()), channels)))
            }
            None => Err(Error::internal(format!("planning a load: \"{}\" is on top instead of the sink", plan.name()))),
        }
    }
}
