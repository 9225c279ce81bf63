//! Makes joins stoppable.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// Rows of a batch that a join works on before it pauses.
const PACE_ROWS_MAX: usize = 1024;

/// Hands its child's rows on in small batches with a pause before each. A nested-loop join compares each probe row with the whole
/// build side: where no pair matches it makes no batch at which it could be stopped, so its probe side must pause for it.
#[derive(Clone, Debug)]
pub struct PacedExec {
    input: Arc<dyn ExecutionPlan>,
}

impl PacedExec {
    /// `input` is the probe side of a join.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for PacedExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacedExec")
    }
}

impl ExecutionPlan for PacedExec {
    fn name(&self) -> &str {
        "PacedExec"
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
        Ok(Arc::new(Self::new(super::one_child(children, "PacedExec")?)))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let portions = rows.flat_map(|batch| futures::stream::iter(portions(batch))).then(|portion| async move {
            tokio::task::yield_now().await;
            portion
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), portions)))
    }
}

fn portions(batch: Result<RecordBatch>) -> Vec<Result<RecordBatch>> {
    match batch {
        Ok(batch) if batch.num_rows() > PACE_ROWS_MAX => (0..batch.num_rows())
            .step_by(PACE_ROWS_MAX)
            .map(|start| Ok(batch.slice(start, PACE_ROWS_MAX.min(batch.num_rows() - start))))
            .collect(),
        whole => vec![whole],
    }
}
