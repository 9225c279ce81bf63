//! The top of a task's plan: knows when the task has ended.

use crate::queries::RunningQuery;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;
use slipher_common::plan::execute_on;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The operators that a consumer of the task replaces by its own: the mark goes below them.
const REPLACED: [&str; 2] = ["RepartitionExec", "BroadcastExec"];

/// `plan` with a mark on top that ends `task` when all of its partitions were read or given up. The engine's worker keeps a task's plan
/// and session for some time after that.
pub(super) fn marked(plan: Arc<dyn ExecutionPlan>, task: &Arc<RunningQuery>) -> Result<Arc<dyn ExecutionPlan>> {
    if !REPLACED.contains(&plan.name()) {
        return Ok(Arc::new(TaskExec::new(plan, Arc::clone(task))));
    }
    let below = plan.children().into_iter().map(|child| TaskExec::new(Arc::clone(child), Arc::clone(task)));
    let below = below.map(|mark| Arc::new(mark) as Arc<dyn ExecutionPlan>).collect();
    plan.replace_children(below, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// Yields what its child yields.
#[derive(Debug)]
struct TaskExec {
    input: Arc<dyn ExecutionPlan>,
    task: Arc<RunningQuery>,
    /// Partitions that were not read to their end yet.
    open: Arc<AtomicUsize>,
}

impl TaskExec {
    fn new(input: Arc<dyn ExecutionPlan>, task: Arc<RunningQuery>) -> Self {
        let open = Arc::new(AtomicUsize::new(input.output_partitioning().partition_count()));
        Self { input, task, open }
    }
}

/// A partition that is read; the last one ends the task.
struct OpenPartition {
    task: Arc<RunningQuery>,
    open: Arc<AtomicUsize>,
}

impl Drop for OpenPartition {
    fn drop(&mut self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.task.end();
        }
    }
}

impl DisplayAs for TaskExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskExec")
    }
}

impl ExecutionPlan for TaskExec {
    fn name(&self) -> &str {
        "TaskExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = slipher_common::plan::one_child(children, "TaskExec")?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.task))))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = match self.task.background() {
            None => self.input.execute(partition, context)?,
            Some(background) => {
                execute_on(background, Arc::clone(&self.input), context, move |plan, context| plan.execute(partition, context))
            }
        };
        let schema = rows.schema();
        let guard = OpenPartition { task: Arc::clone(&self.task), open: Arc::clone(&self.open) };
        let watched = futures::stream::unfold((rows, guard), |(mut rows, guard)| async move {
            let batch = rows.next().await?;
            Some((batch, (rows, guard)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, watched)))
    }
}
