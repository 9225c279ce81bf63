//! Tables as the engine sees them: a scan of slices with explicit segments, and a sink.

use crate::cluster::ClusterView;
use crate::plan::context::QueryContext;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::SqlType;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::histogram::ColumnHistogram;
use slipher_common::ids::{NodeId, SliceId, TransactionId};
use slipher_common::manifest::{Segment, Segments, TrailingBlanks};
use slipher_common::plan::{
    AssignExec, IdentityFill, ROW_ID_COLUMN, ScanSource, SegmentRef, SinkSlice, SinkTarget, SliceScanExec, SliceSinkExec,
};
use slipher_common::selectivity::TableStatistics;
use slipher_common::statistics::{DistinctSketch, decode_bound};
use std::sync::{Arc, OnceLock};

/// How rows are sorted within a segment.
const SEGMENT_ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// One table at one version.
#[derive(Clone, Debug)]
pub(crate) struct SliceTable {
    table: Arc<Table>,
    schema: SchemaRef,
    segments: Arc<Segments>,
    /// Worked out when somebody asks: who writes does not.
    statistics: OnceLock<Arc<TableStatistics>>,
    query: Arc<QueryContext>,
    cluster: ClusterView,
    /// The load that an insert into this table belongs to.
    transaction_id: TransactionId,
    /// IDENTITY columns that the load does not name.
    identities: Vec<IdentityFill>,
    /// A load comes to the sink in the order of the sort key: then segments of one slice do not overlap.
    sorts: bool,
}

impl SliceTable {
    pub(crate) fn new(
        table: Arc<Table>,
        segments: Arc<Segments>,
        query: Arc<QueryContext>,
        cluster: ClusterView,
        transaction_id: TransactionId,
    ) -> Self {
        let schema = table.arrow_schema();
        let (statistics, identities) = (OnceLock::new(), Vec::new());
        Self { table, schema, segments, statistics, query, cluster, transaction_id, identities, sorts: false }
    }

    /// The same table, with IDENTITY columns that a load into it fills.
    pub(crate) fn with_identities(mut self, identities: Vec<IdentityFill>) -> Self {
        self.identities = identities;
        self
    }

    /// The same table, whose loads are sorted before they are cut into segments.
    pub(crate) fn sorted(self) -> Self {
        Self { sorts: true, ..self }
    }

    /// The same table, with the row ids that UPDATE and DELETE ask for.
    pub(crate) fn with_row_ids(self) -> Self {
        let id = Arc::new(SqlType::BigInt.to_field(ROW_ID_COLUMN, false));
        let fields = self.schema.fields().iter().cloned().chain([id]).collect::<Vec<_>>();
        let mut statistics = TableStatistics::clone(self.known());
        statistics.engine.column_statistics.push(ColumnStatistics::new_unknown());
        Self { schema: Arc::new(Schema::new(fields)), statistics: Arc::new(statistics).into(), ..self }
    }

    /// What is known of its rows.
    pub(crate) fn known(&self) -> &Arc<TableStatistics> {
        self.statistics.get_or_init(|| {
            let known = table_statistics(&self.table, &self.segments).unwrap_or_else(|error| {
                tracing::error!(table = %self.table, %error, "the statistics of a table cannot be read");
                TableStatistics::unknown(&self.schema)
            });
            Arc::new(known)
        })
    }

    /// Whether no value of the column is a string that ends in a blank.
    pub(crate) fn is_tight(&self, index: usize) -> bool {
        self.known().tight.get(index).copied().unwrap_or(*self.schema.field(index).data_type() != DataType::Utf8View)
    }

    pub(crate) fn definition(&self) -> &Arc<Table> {
        &self.table
    }

    /// The segments by task and lane. A copy of an ALL table is read in lane 0 of every task.
    fn segments_by_lane(&self) -> Vec<Vec<Vec<SegmentRef>>> {
        let layout = &self.query.layout;
        let mut tasks = vec![vec![Vec::new(); layout.lanes]; layout.tasks()];
        for (number, segment) in self.segments.values().enumerate() {
            if segment.slice == SliceId::ALL {
                for (task, lanes) in tasks.iter_mut().enumerate() {
                    lanes[0].push(self.segment_ref(segment, number, layout.nodes[task]));
                }
            } else if let Some((task, lane)) = layout.slots.get(segment.slice.0 as usize) {
                tasks[*task][*lane].push(self.segment_ref(segment, number, layout.nodes[*task]));
            }
        }
        tasks
    }

    fn segment_ref(&self, segment: &Segment, number: usize, node: NodeId) -> SegmentRef {
        let others = segment.nodes.iter().filter(|other| **other != node);
        SegmentRef {
            id: segment.id,
            slice: segment.slice,
            rows: segment.rows,
            bytes: segment.bytes,
            checksum: segment.checksum,
            other_copies: others.filter_map(|other| self.cluster.addresses.get(other).cloned()).collect(),
            delete_vector: segment.delete_vector.clone(),
            number: number as u32,
        }
    }

    fn sink_target(&self) -> SinkTarget {
        let layout = &self.query.layout;
        let lane_of = |task: usize, lane: usize| -> Vec<SinkSlice> {
            if self.table.distribution == Distribution::All {
                return vec![self.copy_on_every_node(layout.nodes[task])];
            }
            layout.slices_of(task, lane).map(|slice| self.sink_slice(slice, layout.nodes[task])).collect()
        };
        let tasks = (0..layout.tasks()).map(|task| (0..layout.lanes).map(|lane| lane_of(task, lane)).collect()).collect();
        SinkTarget {
            table: Arc::clone(&self.table),
            slice_count: self.cluster.placement.slices.len() as u32,
            transaction_id: self.transaction_id,
            tasks,
        }
    }

    fn copy_on_every_node(&self, node: NodeId) -> SinkSlice {
        let others = self.cluster.addresses.iter().filter(|(other, _)| **other != node && self.cluster.alive.contains(other));
        SinkSlice { slice: SliceId::ALL, epoch: 0, replica_addresses: others.map(|(_, address)| address.clone()).collect() }
    }

    fn sink_slice(&self, slice: SliceId, node: NodeId) -> SinkSlice {
        let placed = &self.cluster.placement.slices[slice.0 as usize];
        let others = std::iter::once(&placed.owner).chain(&placed.replicas).filter(|other| **other != node);
        let alive = others.filter(|other| self.cluster.alive.contains(other));
        SinkSlice {
            slice,
            epoch: placed.epoch,
            replica_addresses: alive.filter_map(|other| self.cluster.addresses.get(other).cloned()).collect(),
        }
    }
}

#[async_trait]
impl TableProvider for SliceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.known().engine.clone())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = ScanSource {
            table_id: self.table.id,
            table_name: self.table.to_string(),
            schema: Arc::clone(&self.schema),
            hash_column: self.table.dist_key_index(),
            blanks_in_key: self
                .table
                .dist_key_index()
                .filter(|key| !self.is_tight(*key))
                .map(|_| Arc::clone(state.config().options())),
            slice_count: self.cluster.placement.slices.len() as u32,
            replicated: self.table.distribution == Distribution::All,
            tasks: self.segments_by_lane(),
            statistics: Arc::clone(self.known()),
        };
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let lanes = self.query.layout.lanes;
        Ok(Arc::new(SliceScanExec::try_new(Arc::new(source), lanes, projection, Vec::new(), limit, None)?))
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let assigned = AssignExec::try_new(input, Arc::clone(&self.table), false, self.identities.clone())?;
        let order = self.table.sort_key_indexes().into_iter().map(|index| {
            let column = Arc::new(Column::new(self.schema.field(index).name(), index));
            PhysicalSortExpr::new(column, SEGMENT_ORDER)
        });
        let order = LexOrdering::new(order).filter(|_| self.sorts);
        Ok(Arc::new(SliceSinkExec::new(Arc::new(assigned), Arc::new(self.sink_target())).with_order(order)))
    }
}

/// Statistics of a table from those of its segments: bounds are exact while no row is deleted.
pub fn table_statistics(table: &Table, segments: &Arc<Segments>) -> slipher_common::Result<TableStatistics> {
    let mut rows = 0usize;
    let mut bytes = 0usize;
    let mut any_deleted = false;
    let mut columns: Vec<ColumnTotal> = table.columns.iter().map(|_| ColumnTotal::default()).collect();
    for segment in segments.values() {
        rows += segment.live_rows() as usize;
        bytes += segment.bytes as usize;
        any_deleted |= segment.delete_vector.is_some();
        for (column, total) in table.columns.iter().zip(&mut columns) {
            match segment.columns.iter().find(|known| known.column == column.id) {
                Some(known) => total.add(known, segment.rows, column.sql_type)?,
                None => {
                    total.unknown = true;
                    total.blanks |= column.missing_value.as_ref().is_some_and(|value| value.ends_with(' '));
                }
            }
        }
    }
    let tight =
        table.columns.iter().zip(&columns).map(|(column, total)| !column.sql_type.to_arrow().is_string() || !total.blanks);
    let tight = tight.collect();
    let columns = columns.into_iter().map(|total| total.finish(rows));
    // A deleted row may have been the one with the bound.
    let columns = columns.map(|column| if any_deleted { column.to_inexact() } else { column });
    let engine = Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Inexact(bytes),
        column_statistics: columns.collect(),
    };
    let histogram = |column: &slipher_common::catalog::Column| {
        Arc::new(ColumnHistogram::new(Arc::clone(segments), column.id, column.sql_type))
    };
    Ok(TableStatistics { engine, histograms: table.columns.iter().map(histogram).collect(), tight })
}

#[derive(Default)]
struct ColumnTotal {
    nulls: u64,
    min: Option<(ScalarValue, bool)>,
    max: Option<(ScalarValue, bool)>,
    bounds_missing: bool,
    sketch: Option<DistinctSketch>,
    unknown: bool,
    /// Some string may end in a blank.
    blanks: bool,
}

impl ColumnTotal {
    fn add(
        &mut self,
        known: &slipher_common::manifest::ColumnStatistics,
        rows: u64,
        sql_type: slipher_common::SqlType,
    ) -> slipher_common::Result<()> {
        self.nulls += known.nulls;
        // CHAR is stored without them.
        self.blanks |=
            !matches!(sql_type, SqlType::Char(_)) && known.nulls < rows && known.trailing_blanks != TrailingBlanks::None;
        if known.nulls < rows {
            match (decode_bound(&known.min, sql_type)?, decode_bound(&known.max, sql_type)?) {
                (Some(min), Some(max)) => {
                    self.min = Some(pick(self.min.take(), min, std::cmp::Ordering::Less));
                    self.max = Some(pick(self.max.take(), max, std::cmp::Ordering::Greater));
                }
                _ => self.bounds_missing = true,
            }
        }
        match DistinctSketch::from_bytes(&known.distinct_sketch) {
            Some(sketch) => self.sketch.get_or_insert_default().merge(&sketch),
            None => self.unknown = true,
        }
        Ok(())
    }

    fn finish(self, rows: usize) -> ColumnStatistics {
        let bound = |bound: Option<(ScalarValue, bool)>| match bound {
            Some((value, true)) if !self.bounds_missing && !self.unknown => Precision::Exact(value),
            Some((value, false)) if !self.bounds_missing && !self.unknown => Precision::Inexact(value),
            _ => Precision::Absent,
        };
        let mut statistics = ColumnStatistics::new_unknown();
        if !self.unknown {
            statistics.null_count = Precision::Exact(self.nulls as usize);
            if let Some(sketch) = &self.sketch {
                statistics.distinct_count = Precision::Inexact((sketch.estimate() as usize).min(rows));
            }
        }
        statistics.min_value = bound(self.min);
        statistics.max_value = bound(self.max);
        statistics
    }
}

fn pick(old: Option<(ScalarValue, bool)>, new: (ScalarValue, bool), wanted: std::cmp::Ordering) -> (ScalarValue, bool) {
    match old {
        Some(old) if new.0.partial_cmp(&old.0) != Some(wanted) => old,
        _ => new,
    }
}
