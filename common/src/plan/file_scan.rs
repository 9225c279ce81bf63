//! The leaves that loads read from: files, and generated TPC-H tables.

use crate::error::Error;
use crate::plan::{FileFormat, FileRef, LaneFiles, RuntimeHandle};
use crate::tpch::{tpch_batches, tpch_rows};
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs};
use datafusion_distributed::DistributedTaskContext;
use futures::{Stream, StreamExt, TryStreamExt};
use std::fmt;
use std::sync::Arc;

fn leaf_properties(schema: &SchemaRef, projection: &[usize], lanes: usize) -> Result<Arc<PlanProperties>> {
    Ok(Arc::new(PlanProperties::new(
        EquivalenceProperties::new(Arc::new(schema.project(projection)?)),
        Partitioning::UnknownPartitioning(lanes),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )))
}

fn counted(
    schema: SchemaRef,
    stream: impl Stream<Item = Result<arrow::array::RecordBatch>> + Send + 'static,
    metrics: &ExecutionPlanMetricsSet,
    partition: usize,
) -> SendableRecordBatchStream {
    let baseline = BaselineMetrics::new(metrics, partition);
    let stream = stream.inspect(move |batch| {
        if let Ok(batch) = batch {
            baseline.record_output(batch.num_rows());
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}

/// Reads the files of a load, each on one lane of one task.
#[derive(Clone, Debug)]
pub struct FileScanExec {
    /// Schema of the files' rows.
    pub schema: SchemaRef,
    /// Columns to yield.
    pub projection: Vec<usize>,
    /// How the files are written.
    pub format: FileFormat,
    /// Files by task and lane; the same for every task, which picks its own.
    pub tasks: Vec<Vec<Vec<FileRef>>>,
    /// Partitions.
    pub lanes: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FileScanExec {
    /// A scan of `tasks`' files.
    pub fn try_new(
        schema: SchemaRef,
        projection: Vec<usize>,
        format: FileFormat,
        tasks: Vec<Vec<Vec<FileRef>>>,
        lanes: usize,
    ) -> Result<Self> {
        let properties = leaf_properties(&schema, &projection, lanes)?;
        Ok(Self { schema, projection, format, tasks, lanes, properties, metrics: ExecutionPlanMetricsSet::new() })
    }
}

impl DisplayAs for FileScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            FileFormat::Parquet => "parquet",
            FileFormat::Csv(_) => "csv",
        };
        let files: usize = self.tasks.iter().flatten().map(Vec::len).sum();
        write!(f, "FileScanExec: format={format}, file_ranges={files}")
    }
}

impl ExecutionPlan for FileScanExec {
    fn name(&self) -> &str {
        "FileScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let task = DistributedTaskContext::from_ctx(&context).task_index;
        let files = self.tasks.get(task).and_then(|lanes| lanes.get(partition)).cloned().unwrap_or_default();
        let lane = LaneFiles {
            schema: Arc::clone(&self.schema),
            projection: self.projection.clone(),
            format: self.format.clone(),
            files,
        };
        let stream = RuntimeHandle::of(&context)?.read_files(lane, Arc::clone(&context))?;
        Ok(counted(self.schema(), stream, &self.metrics, partition))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Generates a TPC-H table where it is read: each lane of each task makes its part of the rows.
#[derive(Clone, Debug)]
pub struct TpchScanExec {
    /// The TPC-H table.
    pub table: String,
    /// Scale factor.
    pub scale: f64,
    /// Tasks that share the rows.
    pub tasks: usize,
    /// Partitions.
    pub lanes: usize,
    /// Every column of the table.
    pub schema: SchemaRef,
    /// Columns to yield.
    pub projection: Vec<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TpchScanExec {
    /// A scan of `table` at `scale`, in tasks × lanes parts.
    pub fn try_new(table: &str, scale: f64, tasks: usize, lanes: usize, projection: Vec<usize>) -> Result<Self> {
        let schema =
            crate::tpch::tpch_schema(table).ok_or_else(|| crate::Error::internal(format!("\"{table}\" is not a TPC-H table")))?;
        let properties = leaf_properties(&schema, &projection, lanes)?;
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { table: table.to_owned(), scale, tasks, lanes, schema, projection, properties, metrics })
    }
}

impl DisplayAs for TpchScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpchScanExec: table={}, scale={}", self.table, self.scale)
    }
}

impl ExecutionPlan for TpchScanExec {
    fn name(&self) -> &str {
        "TpchScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let task = DistributedTaskContext::from_ctx(&context).task_index;
        let part = task * self.lanes + partition;
        let (table, scale, parts) = (self.table.clone(), self.scale, self.tasks * self.lanes);
        let projection = self.projection.clone();
        let prepared = async move {
            // The generator's text takes seconds to make, once: not on a thread that the node answers with.
            let made = tokio::task::spawn_blocking(|| {
                tpchgen::text::TextPool::get_or_init_default();
            });
            made.await.map_err(|error| Error::internal(format!("preparing TPC-H's text: {error}")))?;
            let projected = tpch_batches(&table, scale, part, parts).map(move |batch| Ok(batch.project(&projection)?));
            // Generation is pure computation: give the runtime a chance between batches.
            let rows = futures::stream::iter(projected).then(|batch| async move {
                tokio::task::yield_now().await;
                batch
            });
            Ok::<_, DataFusionError>(rows)
        };
        let stream = futures::stream::once(prepared).try_flatten();
        Ok(counted(self.schema(), stream, &self.metrics, partition))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if args.partition().is_none() {
            statistics.num_rows = Precision::Inexact(tpch_rows(&self.table, self.scale) as usize);
        }
        Ok(Arc::new(statistics))
    }
}
