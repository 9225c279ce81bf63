//! Joins that can be stopped while they keep no row.

use super::task::marked;
use crate::queries::{QueryHandle, cancelled};
use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion_distributed::{WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse};
use slipher_common::plan::is_analyzed;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

/// Notes the plan of a task, marks its end, and makes the conditions of the joins of a task look whether its query was cancelled. A join goes on inside one poll until it has a
/// batch to hand on; where its condition keeps nothing, nobody else could stop it.
pub(crate) fn stoppable_joins(event: WorkerPlanRewriteEvent<'_>) -> Result<WorkerPlanRewriteEventResponse> {
    let Some(query) = event.session_config.get_extension::<QueryHandle>() else {
        return Ok(WorkerPlanRewriteEventResponse::new(event.plan));
    };
    let plan = event.plan.transform_up(|node| stoppable(node, query.0.token())).data()?;
    query.0.set_plan(&plan);
    // EXPLAIN ANALYZE finds operators by their places: its plan stays as it is, and its task ends when the worker forgets it.
    let plan = if is_analyzed(event.session_config.options()) { plan } else { marked(plan, &query.0)? };
    Ok(WorkerPlanRewriteEventResponse::new(plan))
}

fn stoppable(node: Arc<dyn ExecutionPlan>, token: &CancellationToken) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let filter = Some(with_check(filter, token));
        let projection = join.projection().as_ref().map(|columns| columns.to_vec());
        let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
        let join = NestedLoopJoinExec::try_new(left, right, filter, join.join_type(), projection)?;
        return Ok(Transformed::yes(Arc::new(join)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join = join.builder().with_filter(Some(with_check(filter, token))).build_exec()?;
        return Ok(Transformed::yes(join));
    }
    Ok(Transformed::no(node))
}

fn with_check(filter: &JoinFilter, token: &CancellationToken) -> JoinFilter {
    let expression = Arc::new(UnlessCancelled::new(Arc::clone(filter.expression()), token.clone()));
    JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// How long the joins of a fragment may hold their threads before the server's other work, cancelling too, gets a turn.
const TURN_MS: u64 = 100;

/// A condition, as long as the query is not cancelled; then error 57014.
#[derive(Debug)]
struct UnlessCancelled {
    condition: Arc<dyn PhysicalExpr>,
    token: CancellationToken,
    started: Instant,
    /// Milliseconds after `started` at which others had a turn.
    last_turn_ms: AtomicU64,
}

impl UnlessCancelled {
    fn new(condition: Arc<dyn PhysicalExpr>, token: CancellationToken) -> Self {
        Self { condition, token, started: Instant::now(), last_turn_ms: AtomicU64::new(0) }
    }

    fn is_turn_of_others(&self) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let last = self.last_turn_ms.load(Ordering::Relaxed);
        now.saturating_sub(last) >= TURN_MS
            && self.last_turn_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
    }
}

impl PartialEq for UnlessCancelled {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for UnlessCancelled {}

impl Hash for UnlessCancelled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

impl fmt::Display for UnlessCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PhysicalExpr for UnlessCancelled {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.token.is_cancelled() {
            return Err(cancelled().into());
        }
        if self.is_turn_of_others() {
            // The runtime gives this thread's other tasks to another one.
            return tokio::task::block_in_place(|| self.condition.evaluate(batch));
        }
        self.condition.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let condition = children.pop().unwrap_or_else(|| Arc::clone(&self.condition));
        Ok(Arc::new(Self::new(condition, self.token.clone())))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}
