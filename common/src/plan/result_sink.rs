//! The top of a query whose rows clients fetch from the compute nodes: keeps them there and yields how many were fetched.

use crate::flight::{DirectTicket, Output};
use crate::plan::{LaneResult, RuntimeHandle};
use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion_distributed::DistributedTaskContext;
use futures::StreamExt;
use std::fmt;
use std::sync::{Arc, LazyLock};

static COUNT_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("rows", DataType::UInt64, false)])));

/// Who may fetch a result, and as what.
#[derive(Clone)]
pub struct ResultTarget {
    /// Unguessable name of the result; a part of every ticket.
    pub secret: String,
    /// Digest of the credentials that the caller must show, see [`crate::flight::owner_of`].
    pub owner: Vec<u8>,
    /// The rows as they were announced to the client.
    pub schema: SchemaRef,
}

// The secret is not printed.
impl fmt::Debug for ResultTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultTarget").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Offers its child's rows to the client, partition by partition, and yields two rows for each: 0 when its ticket is good, and
/// the number of rows when they were fetched.
#[derive(Clone, Debug)]
pub struct ResultSinkExec {
    input: Arc<dyn ExecutionPlan>,
    target: Arc<ResultTarget>,
    properties: Arc<PlanProperties>,
}

impl ResultSinkExec {
    /// A sink of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>, target: Arc<ResultTarget>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&COUNT_SCHEMA)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, target, properties: Arc::new(properties) }
    }

    /// Who may fetch.
    pub fn target(&self) -> &Arc<ResultTarget> {
        &self.target
    }
}

impl DisplayAs for ResultSinkExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultSinkExec")
    }
}

impl ExecutionPlan for ResultSinkExec {
    fn name(&self) -> &str {
        "ResultSinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = super::one_child(children, "ResultSinkExec")?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.target))))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let runtime = RuntimeHandle::of(&context)?;
        let task = DistributedTaskContext::from_ctx(&context).task_index;
        let lane = LaneResult {
            ticket: DirectTicket { secret: self.target.secret.clone(), task, lane: partition },
            owner: self.target.owner.clone(),
            output: Output::announced(Arc::clone(&self.target.schema)),
        };
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let fetched = runtime.offer(lane, rows, context);
        // The first row says that the ticket is good from now on.
        let ready = futures::stream::once(async { count_batch(0) });
        let count = futures::stream::once(async move { count_batch(fetched.await.map_err(DataFusionError::from)?) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&COUNT_SCHEMA), ready.chain(count))))
    }
}

fn count_batch(rows: u64) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(Arc::clone(&COUNT_SCHEMA), vec![Arc::new(UInt64Array::from(vec![rows]))])?)
}
