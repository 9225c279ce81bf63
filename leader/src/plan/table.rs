//! Tables as the engine sees them: a scan of slices with explicit segments, and a sink.

use crate::cluster::ClusterView;
use crate::plan::context::QueryContext;
use crate::plan::known_tables::KnownTable;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::SqlType;
use slipher_common::assign::AssignOptions;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::ids::{NodeId, SliceId, TransactionId};
use slipher_common::plan::{
    AssignExec, IdentityFill, ROW_ID_COLUMN, ScanSegments, ScanSource, SinkSlice, SinkTarget, SliceScanExec, SliceSinkExec,
};
use slipher_common::selectivity::TableStatistics;
use std::sync::Arc;

/// How rows are sorted within a segment.
const SEGMENT_ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// One table at one version.
#[derive(Clone, Debug)]
pub(crate) struct SliceTable {
    table: Arc<Table>,
    schema: SchemaRef,
    /// What was worked out of it.
    known: Arc<KnownTable>,
    /// The statistics of a table that has one more column.
    with_row_ids: Option<Arc<TableStatistics>>,
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
        known: Arc<KnownTable>,
        query: Arc<QueryContext>,
        cluster: ClusterView,
        transaction_id: TransactionId,
    ) -> Self {
        let table = Arc::clone(known.definition());
        let schema = table.arrow_schema();
        let (with_row_ids, identities) = (None, Vec::new());
        Self { table, schema, known, with_row_ids, query, cluster, transaction_id, identities, sorts: false }
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
        Self { schema: Arc::new(Schema::new(fields)), with_row_ids: Some(Arc::new(statistics)), ..self }
    }

    /// What was worked out of this version of it.
    pub(crate) fn known_table(&self) -> &Arc<KnownTable> {
        &self.known
    }

    /// What is known of its rows.
    pub(crate) fn known(&self) -> &Arc<TableStatistics> {
        self.with_row_ids.as_ref().unwrap_or_else(|| self.known.statistics())
    }

    /// Whether no value of the column is a string that ends in a blank.
    pub(crate) fn is_tight(&self, index: usize) -> bool {
        match self.schema.field(index).data_type() {
            DataType::BinaryView => false,
            other => self.known().tight.get(index).copied().unwrap_or(*other != DataType::Utf8View),
        }
    }

    pub(crate) fn definition(&self) -> &Arc<Table> {
        &self.table
    }

    fn segments(&self) -> ScanSegments {
        let addresses = Arc::clone(&self.cluster.addresses);
        ScanSegments::new(Arc::clone(self.known.segments()), Arc::clone(&self.query.layout), addresses)
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
            segments: Some(self.segments()),
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
        let QueryContext { zone, now_micros, .. } = self.query.as_ref();
        let options = AssignOptions { truncate_strings: false, zone: zone.clone(), now: Some(*now_micros) };
        let assigned = AssignExec::try_new(input, Arc::clone(&self.table), options, self.identities.clone())?;
        let order = self.table.sort_key_indexes().into_iter().map(|index| {
            let column = Arc::new(Column::new(self.schema.field(index).name(), index));
            PhysicalSortExpr::new(column, SEGMENT_ORDER)
        });
        let order = LexOrdering::new(order).filter(|_| self.sorts);
        Ok(Arc::new(SliceSinkExec::new(Arc::new(assigned), Arc::new(self.sink_target())).with_order(order)))
    }
}
