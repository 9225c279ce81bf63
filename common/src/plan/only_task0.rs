//! Reads a replicated subtree once.

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::EmptyRecordBatchStream;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_distributed::DistributedTaskContext;
use std::fmt;
use std::sync::Arc;

/// Passes its child through in task 0 and is empty in every other task: how a table that every node has a copy of is read
/// once when it is scanned alone, shuffled, or sent to the client.
#[derive(Clone, Debug)]
pub struct OnlyTask0Exec {
    input: Arc<dyn ExecutionPlan>,
}

impl OnlyTask0Exec {
    /// `input` is the same in every task.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for OnlyTask0Exec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnlyTask0Exec")
    }
}

impl ExecutionPlan for OnlyTask0Exec {
    fn name(&self) -> &str {
        "OnlyTask0Exec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
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

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(super::one_child(children, "OnlyTask0Exec")?)))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if DistributedTaskContext::from_ctx(&context).task_index == 0 {
            self.input.execute(partition, context)
        } else {
            Ok(Box::pin(EmptyRecordBatchStream::new(self.schema())))
        }
    }
}
