//! The top of a load: writes rows to the segments of their slices and yields receipts.

use crate::catalog::{Distribution, Table};
use crate::ids::TransactionId;
use crate::manifest::Segment;
use crate::plan::{LaneSink, RuntimeHandle, SinkSlice};
use arrow::array::{BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion_distributed::DistributedTaskContext;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The schema of the rows that a sink yields.
pub static RECEIPT_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("receipt", DataType::Binary, false)])));

/// Where a load goes: the same for every task.
#[derive(Clone, Debug)]
pub struct SinkTarget {
    /// The table; rows arrive in its Arrow schema.
    pub table: Arc<Table>,
    /// Slices of the cluster.
    pub slice_count: u32,
    /// The load.
    pub transaction_id: TransactionId,
    /// Slices by task and lane.
    pub tasks: Vec<Vec<Vec<SinkSlice>>>,
}

/// Writes its child's rows and yields one row per segment: the encoded receipt (`slipher.meta.v1.Segment`).
#[derive(Clone, Debug)]
pub struct SliceSinkExec {
    input: Arc<dyn ExecutionPlan>,
    target: Arc<SinkTarget>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    order: Option<LexOrdering>,
}

impl SliceSinkExec {
    /// A sink of `input` into `target`.
    pub fn new(input: Arc<dyn ExecutionPlan>, target: Arc<SinkTarget>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&RECEIPT_SCHEMA)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, target, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new(), order: None }
    }

    /// The same sink for rows in an order: segments of one slice then do not overlap. Only for planning: it is not shipped.
    pub fn with_order(mut self, order: Option<LexOrdering>) -> Self {
        self.order = order;
        self
    }

    /// Where the rows go.
    pub fn target(&self) -> &Arc<SinkTarget> {
        &self.target
    }

    /// The rows.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The receipts in a batch that a sink yielded.
    pub fn receipts(batch: &RecordBatch) -> crate::Result<Vec<Segment>> {
        use arrow::array::AsArray;
        let encoded =
            batch.column(0).as_binary_opt::<i32>().ok_or_else(|| crate::Error::internal("reading receipts: not binary"))?;
        encoded.iter().flatten().map(Self::receipt).collect()
    }

    /// One receipt.
    pub fn receipt(bytes: &[u8]) -> crate::Result<Segment> {
        let stored = slipher_proto::meta::Segment::decode(bytes)
            .map_err(|error| crate::Error::internal(format!("reading a receipt: {error}")))?;
        Segment::from_proto(&stored)
    }

    /// A batch that [`Self::receipts`] reads.
    pub fn batch_of(receipts: &[Segment]) -> Result<RecordBatch> {
        let encoded: Vec<Vec<u8>> = receipts.iter().map(|segment| segment.to_proto().encode_to_vec()).collect();
        let column = BinaryArray::from_iter_values(encoded);
        Ok(RecordBatch::try_new(Arc::clone(&RECEIPT_SCHEMA), vec![Arc::new(column)])?)
    }
}

impl DisplayAs for SliceSinkExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = match self.target.table.distribution {
            Distribution::Even => "EVEN",
            Distribution::Key(_) => "KEY",
            Distribution::All => "ALL",
        };
        write!(f, "SliceSinkExec: table={}, diststyle={style}", self.target.table)
    }
}

impl ExecutionPlan for SliceSinkExec {
    fn name(&self) -> &str {
        "SliceSinkExec"
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

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = super::one_child(children, "SliceSinkExec")?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.target)).with_order(self.order.clone())))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let runtime = RuntimeHandle::of(&context)?;
        let place = DistributedTaskContext::from_ctx(&context);
        let lane = LaneSink {
            table: Arc::clone(&self.target.table),
            slice_count: self.target.slice_count,
            slices: self.lane_slices(place.task_index, partition)?,
            transaction_id: self.target.transaction_id,
        };
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = input.schema();
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let rows = input.inspect(move |batch| {
            if let Ok(batch) = batch {
                baseline.record_output(batch.num_rows());
            }
        });
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
        let written = runtime.sink(lane, rows, context);
        let receipts = futures::stream::once(async move {
            let receipts = written.await.map_err(DataFusionError::from)?;
            Self::batch_of(&receipts)
        })
        .try_filter(|batch| futures::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&RECEIPT_SCHEMA), receipts)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl SliceSinkExec {
    /// KEY: exactly the lane's slices, as every row belongs to one of them. EVEN: any slice of the task will do, so a source
    /// with more partitions than lanes, or a lane without slices, takes the task's.
    fn lane_slices(&self, task: usize, lane: usize) -> Result<Vec<SinkSlice>> {
        let lanes = self.target.tasks.get(task).ok_or_else(|| {
            DataFusionError::from(crate::Error::internal(format!("load of \"{}\": no slices for task {task}", self.target.table)))
        })?;
        let own = lanes.get(lane).cloned().unwrap_or_default();
        if own.is_empty() && self.target.table.distribution == Distribution::Even {
            return Ok(lanes.concat());
        }
        Ok(own)
    }
}
