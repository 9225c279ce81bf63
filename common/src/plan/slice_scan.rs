//! The leaf that reads a table's slices.

use crate::error::Error;
use crate::functions::{HELD, HELD_FROM_ESTIMATES, tight_udf};
use crate::ids::TableId;
use crate::plan::scan_segments::{LaneSegments, ScanSegments};
use crate::plan::shared_lanes::shared;
use crate::plan::slice_metrics::{is_analyzed, slice_by_slice};
use crate::plan::slice_pruning::wanted_slices;
use crate::plan::{LaneScan, RuntimeHandle, SegmentRef};
use crate::pruning::may_hold;
use crate::selectivity::{TableStatistics, selectivity_of_all};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{Column, DynamicFilterTracking, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// What a [`SliceScanExec`] reads, whatever its projection.
#[derive(Clone, Debug)]
pub struct ScanSource {
    /// The table.
    pub table_id: TableId,
    /// Its name, for errors and EXPLAIN.
    pub table_name: String,
    /// Every column.
    pub schema: SchemaRef,
    /// Index of the DISTKEY in `schema`: rows of lane p of task t have keys whose slice is in that lane.
    pub hash_column: Option<usize>,
    /// Values of the DISTKEY may end in a blank, so that rows lie by `tight(key)`: equal ones are together whatever they end in. With the options
    /// of the session, as calls of functions are equal only if they have the same.
    pub blanks_in_key: Option<Arc<ConfigOptions>>,
    /// Slices of the cluster; 0 where nobody needs to know.
    pub slice_count: u32,
    /// Every task reads the whole table (DISTSTYLE ALL).
    pub replicated: bool,
    /// What its tasks read. None after the plan has been shipped, when a scan has its own list.
    pub segments: Option<ScanSegments>,
    /// Row counts and column statistics over `schema`.
    pub statistics: Arc<TableStatistics>,
}

impl ScanSource {
    /// What the rows of a scan with this schema lie by, where its column `index` is the DISTKEY.
    fn lies_by(&self, index: usize, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(index).name(), index));
        Ok(match &self.blanks_in_key {
            Some(options) => Arc::new(ScalarFunctionExpr::try_new(tight_udf()?, vec![key], schema, Arc::clone(options))?),
            None => key,
        })
    }

    /// The same without segments that hold no row for which all `predicates` are true.
    fn pruned(&self, predicates: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let mut pruned = self.clone();
        let Some(mut segments) = pruned.segments.take() else { return Ok(pruned) };
        let key = self.hash_column.filter(|_| self.slice_count > 0);
        if let Some(key) = key
            && let Some(slices) = wanted_slices(key, self.schema.field(key).data_type(), self.slice_count, predicates)?
        {
            segments = segments.of_slices(&slices);
        }
        let kept = may_hold(segments.table(), predicates);
        Ok(Self { segments: Some(segments.only(&kept)), ..pruned })
    }
}

/// Reads the slices of one table that one task serves; partitions are lanes.
#[derive(Clone, Debug)]
pub struct SliceScanExec {
    source: Arc<ScanSource>,
    projection: Vec<usize>,
    predicates: Vec<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
    /// The segments of the task that it is for.
    reads: Option<LaneSegments>,
    /// Nobody relies on which lane a row is in.
    shares_lanes: bool,
    lanes: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SliceScanExec {
    /// A scan of `projection` (indexes into the table's columns). `predicates` are over the whole schema. `reads` is what it reads when it is for
    /// one task already.
    pub fn try_new(
        source: Arc<ScanSource>,
        lanes: usize,
        projection: Vec<usize>,
        predicates: Vec<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        reads: Option<LaneSegments>,
    ) -> Result<Self> {
        let schema = Arc::new(source.schema.project(&projection)?);
        let key = source.hash_column.and_then(|key| projection.iter().position(|index| *index == key));
        let partitioning = match key {
            Some(index) => Partitioning::Hash(vec![source.lies_by(index, &schema)?], lanes),
            None => Partitioning::UnknownPartitioning(lanes),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            source,
            projection,
            predicates,
            limit,
            reads,
            shares_lanes: false,
            lanes,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// What is read.
    pub fn source(&self) -> &Arc<ScanSource> {
        &self.source
    }

    /// Columns that are yielded.
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// Filters over the table's schema.
    pub fn predicates(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.predicates
    }

    /// At most so many rows are wanted per lane.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Partitions.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The same scan, whose lanes read about as many rows each, whatever their slices are. Nothing is known of the lanes of its rows any more.
    pub fn with_shared_lanes(&self) -> Result<Self> {
        let source = ScanSource { hash_column: None, ..ScanSource::clone(&self.source) };
        let scan = Self { source: Arc::new(source), ..self.clone() }.rebuilt(self.projection.clone(), self.predicates.clone())?;
        Ok(Self { shares_lanes: true, ..scan })
    }

    /// The same scan for one task.
    pub fn for_task(&self, task: usize) -> Self {
        let segments = self.source.segments.as_ref().map(|segments| segments.of_task(task));
        let reads = segments.map(|lanes| Arc::new(if self.shares_lanes { shared(lanes) } else { lanes }));
        Self { reads, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    /// The segments of the task this scan is for, by lane; of none before it has one.
    pub fn reads(&self) -> &[Vec<SegmentRef>] {
        self.reads.as_deref().map(Vec::as_slice).unwrap_or_default()
    }

    fn rebuilt(&self, projection: Vec<usize>, predicates: Vec<Arc<dyn PhysicalExpr>>) -> Result<Self> {
        Self::try_new(Arc::clone(&self.source), self.lanes, projection, predicates, self.limit, self.reads.clone())
    }

    /// The scan with those of `filters` (over its output) that it can evaluate, and the others. The engine's own way of offering filters
    /// finds columns by name, which may be another column's: [`ExecutionPlan::handle_child_pushdown_result`] takes none. If it `prunes`, it reads
    /// no segments in which no row passes.
    pub fn with_filters(&self, filters: &[&Arc<dyn PhysicalExpr>], prunes: bool) -> Result<(Self, Vec<Arc<dyn PhysicalExpr>>)> {
        let mut predicates = self.predicates.clone();
        let mut refused = Vec::new();
        for filter in filters {
            match self.over_table_schema(filter) {
                Some(predicate) => predicates.push(predicate),
                None => refused.push(Arc::clone(filter)),
            }
        }
        let source = if prunes { Arc::new(self.source.pruned(&predicates)?) } else { Arc::clone(&self.source) };
        let pruned = Self { source, ..self.clone() };
        Ok((pruned.rebuilt(self.projection.clone(), predicates)?, refused))
    }

    /// The scan with some columns of its output, in this order.
    pub fn with_columns(&self, columns: &[usize]) -> Result<Self> {
        self.rebuilt(columns.iter().map(|index| self.projection[*index]).collect(), self.predicates.clone())
    }

    /// `filter` over this scan's output, rewritten over the table's schema; `None` when it must stay above the scan.
    fn over_table_schema(&self, filter: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        let is_static = !datafusion::physical_expr_common::physical_expr::is_volatile(filter)
            && !DynamicFilterTracking::classify(filter).contains_dynamic_filter();
        let in_reach = collect_columns(filter).iter().all(|column| column.index() < self.projection.len());
        if !is_static || !in_reach {
            return None;
        }
        let rewritten = Arc::clone(filter).transform(|expression| {
            let Some(column) = expression.downcast_ref::<Column>() else {
                return Ok(match held_cast(&expression) {
                    Some(cast) => Transformed::yes(cast),
                    None => Transformed::no(expression),
                });
            };
            let index = self.projection[column.index()];
            let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(self.source.schema.field(index).name(), index));
            Ok(Transformed::yes(moved))
        });
        rewritten.ok().map(|rewritten| rewritten.data)
    }
}

/// A cast that was kept from the engine's estimates, which scans do without.
fn held_cast(expression: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let call = expression.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == HELD)?;
    let [held, number] = call.args() else { return None };
    let number = number.downcast_ref::<Literal>()?.value();
    (*number == ScalarValue::Int64(Some(HELD_FROM_ESTIMATES))).then(|| Arc::clone(held))
}

impl DisplayAs for SliceScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.projection.iter().map(|index| self.source.schema.field(*index).name().as_str()).collect();
        write!(f, "SliceScanExec: table={}, columns=[{}]", self.source.table_name, names.join(", "))?;
        if self.source.replicated {
            write!(f, ", replicated")?;
        }
        if !self.predicates.is_empty() {
            let filters: Vec<String> = self.predicates.iter().map(|predicate| predicate.to_string()).collect();
            write!(f, ", filter=[{}]", filters.join(" AND "))?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        if let Some((read, all)) = self.source.segments.as_ref().map(ScanSegments::counts) {
            write!(f, ", segments={read} of {all}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SliceScanExec {
    fn name(&self) -> &str {
        "SliceScanExec"
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
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for predicate in &self.predicates {
            if f(predicate)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(task) = self.reads.as_deref() else {
            return Err(
                Error::internal(format!("scan of table \"{}\" was started without a task", self.source.table_name)).into()
            );
        };
        let lane = LaneScan {
            table_id: self.source.table_id,
            table_name: self.source.table_name.clone(),
            schema: Arc::clone(&self.source.schema),
            projection: self.projection.clone(),
            predicates: self.predicates.clone(),
            segments: task.get(partition).cloned().unwrap_or_default(),
            limit: self.limit,
        };
        let stream = if is_analyzed(context.session_config().options()) {
            slice_by_slice(lane, context, &self.metrics, partition)?
        } else {
            RuntimeHandle::of(&context)?.scan(lane, Arc::clone(&context))?
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let counted = stream.inspect(move |batch| {
            if let Ok(batch) = batch {
                baseline.record_output(batch.num_rows());
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let all = &self.source.statistics.engine;
        let columns = self
            .projection
            .iter()
            .map(|index| all.column_statistics.get(*index).cloned().unwrap_or_else(ColumnStatistics::new_unknown))
            .collect();
        let mut statistics =
            Statistics { num_rows: all.num_rows, total_byte_size: Precision::Absent, column_statistics: columns };
        if !self.predicates.is_empty() || self.limit.is_some() || args.partition().is_some() {
            statistics = statistics.to_inexact();
        }
        if !self.predicates.is_empty()
            && let Some((rows, columns)) = self.source.statistics.estimate()
        {
            let rows = (rows * selectivity_of_all(&self.predicates, &columns)).ceil() as usize;
            statistics.num_rows = Precision::Inexact(rows);
            for column in &mut statistics.column_statistics {
                column.distinct_count = column.distinct_count.map(|count| count.min(rows));
            }
        }
        if args.partition().is_some() {
            let share = self.lanes * self.source.segments.as_ref().map_or(1, ScanSegments::tasks).max(1);
            statistics.num_rows = statistics.num_rows.map(|rows| rows / share);
        }
        Ok(Arc::new(statistics))
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut narrowed = Vec::with_capacity(projection.expr().len());
        for item in projection.expr() {
            match item.expr.downcast_ref::<Column>() {
                Some(column) if column.name() == item.alias => narrowed.push(self.projection[column.index()]),
                _ => return Ok(None),
            }
        }
        Ok(Some(Arc::new(self.rebuilt(narrowed, self.predicates.clone())?)))
    }
}
