//! Reads the segments of one lane: projection and filters run inside the Vortex scan where it can, in a FilterExec where not.

mod blanks;
mod missing;
mod predicate;
mod reader;
mod recent;
mod row_ids;
#[cfg(test)]
mod tests;

use crate::activity::Activity;
use crate::queries::QueryHandle;
use crate::recent::RecentRows;
use crate::replicate::{Peers, ensure_readable};
use crate::segment::storage::{is_restored, storage_schema, with_types};
use crate::store::{FileStamp, SEGMENT_EXTENSION, Store};
use arrow::datatypes::SchemaRef;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::TaskContext;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::{
    EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr, conjunction, split_conjunction,
};
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::filter_pushdown::PushedDown;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan, SendableRecordBatchStream, SortOrderPushdownResult};
use futures::{FutureExt, StreamExt, TryStreamExt};
use missing::MissingColumns;
use object_store::ObjectMeta;
use object_store::path::Path as ObjectPath;
use predicate::Schemas;
use reader::SegmentReaders;
use roaring::RoaringTreemap;
use slipher_common::plan::{LaneScan, SegmentRef};
use slipher_common::{Error, ErrorKind, Result};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vortex::scan::selection::Selection;
use vortex::session::VortexSession;
use vortex_datafusion::{VortexAccessPlan, VortexSource};

/// How many files of a lane are compared with their checksums at a time.
const VERIFICATIONS_CONCURRENT: usize = 4;

/// What a node keeps for its scans.
#[derive(Clone)]
pub(crate) struct Scanner {
    pub(crate) activity: Arc<Activity>,
    pub(crate) store: Arc<Store>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) session: VortexSession,
    /// Parsed file footers, kept across queries.
    pub(crate) footers: Arc<FileMetadataCache>,
    /// Rows of tiny segments that are still in memory.
    pub(crate) recent: Arc<RecentRows>,
}

impl Scanner {
    /// Rows of one lane, in exactly the projected table schema, in each segment in the order of the sort key. Files are compared when the stream is
    /// first polled.
    pub(crate) fn scan(&self, mut lane: LaneScan, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let output: SchemaRef = Arc::new(lane.schema.project(&lane.projection)?);
        if lane.segments.is_empty() {
            return Ok(Box::pin(EmptyRecordBatchStream::new(output)));
        }
        let place = format!("reading a segment of table \"{}\" on node {}", lane.table_name, self.store.node_id());
        let (scanner, activity) = (self.clone(), Arc::clone(&self.activity));
        let query = QueryHandle::of(&context).map(|query| Arc::clone(query.0.progress()));
        let opened = async move {
            let recent = match row_ids::are_wanted(&lane) {
                true => Vec::new(),
                false => scanner.take_recent(&mut lane),
            };
            let rows = match lane.segments.is_empty() {
                true => Box::pin(EmptyRecordBatchStream::new(Arc::new(lane.schema.project(&lane.projection)?))) as _,
                false => scanner.open_files(lane.clone(), context).await?,
            };
            EngineResult::<_, DataFusionError>::Ok(if recent.is_empty() {
                rows
            } else {
                recent::with_files(&recent, &lane, rows)
            })
        };
        let schema = Arc::clone(&output);
        let rows = futures::stream::once(opened).try_flatten().map(move |batch| Ok(with_types(&batch?, &schema)?));
        // Checksums come first, so a panic of the decoder is a defect; it must not take more than this query down.
        let guarded = AssertUnwindSafe(rows).catch_unwind().map(move |item| match item {
            Ok(item) => item,
            Err(_) => Err(DataFusionError::from(Error::new(ErrorKind::DataCorrupted, format!("{place}: the decoder panicked")))),
        });
        let counted = guarded.inspect_ok(move |batch| {
            activity.scanned_rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            if let Some(query) = &query {
                query.scanned_rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(output, counted)))
    }

    async fn open_files(&self, lane: LaneScan, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stamps = self.readable(&lane).await?;
        match row_ids::are_wanted(&lane) {
            true => self.open_with_row_ids(lane, stamps, context),
            false => self.open(&lane, &stamps, context),
        }
    }

    async fn readable(&self, lane: &LaneScan) -> Result<Vec<FileStamp>> {
        let mut checks = Vec::with_capacity(lane.segments.len());
        for segment in &lane.segments {
            checks.push(ensure_readable(&self.store, &self.peers, lane.table_id, &lane.table_name, segment).boxed());
        }
        futures::stream::iter(checks).buffered(VERIFICATIONS_CONCURRENT).try_collect().await
    }

    fn open(&self, lane: &LaneScan, stamps: &[FileStamp], context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let plan = self.plan(lane, stamps, &context)?;
        Ok(plan.execute(0, context)?)
    }

    fn plan(&self, lane: &LaneScan, stamps: &[FileStamp], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
        let storage = storage_schema(&lane.schema);
        let query = QueryHandle::of(context).map(|query| Arc::clone(query.0.progress()));
        let readers = SegmentReaders { store: Arc::clone(&self.store), activity: Arc::clone(&self.activity), query };
        let source = VortexSource::new(TableSchema::from(Arc::clone(&storage)), self.session.clone())
            .with_vortex_reader_factory(Arc::new(readers))
            .with_file_metadata_cache(Arc::clone(&self.footers));
        let schemas = Schemas { logical: &lane.schema, storage: &storage };
        let (source, refused) = push_predicates(source, &lane.predicates, &schemas, context)?;

        let source = in_stored_order(source, &storage)?;
        let columns = columns_to_read(&lane.projection, &refused);
        let limit = lane.limit.filter(|_| refused.is_empty());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_group(FileGroup::new(files(lane, stamps)))
            .with_projection_indices(Some(columns.clone()))?
            .with_limit(limit)
            .with_preserve_order(true)
            .with_expr_adapter(Some(Arc::new(MissingColumns::new(&lane.schema, &storage)?)))
            // Any declared partitioning switches work stealing off: a lane reads its own segments and no others.
            .with_output_partitioning(Some(Partitioning::UnknownPartitioning(1)))
            .build();
        let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config);
        if refused.is_empty() {
            return Ok(scan);
        }
        let predicate = predicate::over_columns(conjunction(refused), &columns)?;
        let kept: Vec<usize> = (0..lane.projection.len()).collect();
        let filter = FilterExecBuilder::new(predicate, restored(scan, &lane.schema, &columns)?);
        Ok(Arc::new(filter.apply_projection(Some(kept))?.with_fetch(lane.limit).build()?))
    }
}

type Predicates = Vec<Arc<dyn PhysicalExpr>>;

/// Gives the source what it evaluates exactly as the engine does; answers what is left.
fn push_predicates(
    source: VortexSource,
    predicates: &Predicates,
    schemas: &Schemas<'_>,
    context: &TaskContext,
) -> Result<(Arc<dyn FileSource>, Predicates)> {
    let (mut offered, mut stored, mut refused) = (Predicates::new(), Predicates::new(), Predicates::new());
    for predicate in predicates.iter().flat_map(split_conjunction) {
        match schemas.over_storage(predicate) {
            Some(over_storage) => {
                offered.push(Arc::clone(predicate));
                stored.push(over_storage);
            }
            None => refused.push(Arc::clone(predicate)),
        }
    }
    // What is refused may say at least where its rows are.
    let ranges = refused.iter().flat_map(blanks::ranges).collect::<Vec<_>>();
    let exact = offered.len();
    for range in ranges {
        if let Some(over_storage) = schemas.over_storage(&range) {
            offered.push(range);
            stored.push(over_storage);
        }
    }
    if offered.is_empty() {
        return Ok((Arc::new(source), refused));
    }
    let pushed = source.try_pushdown_filters(stored, context.session_config().options())?;
    let Some(source) = pushed.updated_node.filter(|_| pushed.filters.len() == offered.len()) else {
        return Err(Error::internal("the Vortex source did not say which filters it took"));
    };
    for (predicate, taken) in offered.into_iter().zip(pushed.filters).take(exact) {
        if !matches!(taken, PushedDown::Yes) {
            refused.push(predicate);
        }
    }
    Ok((source, refused))
}

/// `source` with rows in the order of the file. It asks for some declared order before it keeps any; the claim stays in here.
fn in_stored_order(source: Arc<dyn FileSource>, schema: &SchemaRef) -> Result<Arc<dyn FileSource>> {
    let Some(first) = schema.fields().first() else { return Ok(source) };
    let order = [PhysicalSortExpr::new_default(Arc::new(Column::new(first.name(), 0)))];
    let claim = EquivalenceProperties::new_with_orderings(Arc::clone(schema), [order.clone()]);
    match source.try_pushdown_sort(&order, &claim)? {
        SortOrderPushdownResult::Exact { inner } => Ok(inner),
        _ => Err(Error::internal("the Vortex source does not keep the order of rows")),
    }
}

/// `scan` of `columns` with their logical types.
fn restored(scan: Arc<dyn ExecutionPlan>, logical: &SchemaRef, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let mut expressions: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(columns.len());
    for (place, index) in columns.iter().enumerate() {
        let field = logical.field(*index);
        let stored: Arc<dyn PhysicalExpr> = Arc::new(Column::new(scan.schema().field(place).name(), place));
        let value = if is_restored(field.data_type()) {
            Arc::new(CastExpr::new(stored, field.data_type().clone(), None)) as Arc<dyn PhysicalExpr>
        } else {
            stored
        };
        expressions.push((value, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(expressions, scan)?))
}

/// The projection, then the columns that only refused predicates need.
fn columns_to_read(projection: &[usize], refused: &Predicates) -> Vec<usize> {
    let mut columns = projection.to_vec();
    for predicate in refused {
        for column in datafusion::physical_expr::utils::collect_columns(predicate) {
            if !columns.contains(&column.index()) {
                columns.push(column.index());
            }
        }
    }
    columns[projection.len()..].sort_unstable();
    columns
}

fn files(lane: &LaneScan, stamps: &[FileStamp]) -> Vec<PartitionedFile> {
    let file = |(segment, stamp): (&SegmentRef, &FileStamp)| {
        let mut file = PartitionedFile::new_from_meta(ObjectMeta {
            // Below the directory of segments; see SegmentReaders.
            location: ObjectPath::from(format!("{}/{}.{SEGMENT_EXTENSION}", lane.table_id, segment.id)),
            last_modified: stamp.modified.into(),
            size: stamp.bytes,
            e_tag: None,
            version: None,
        });
        if let Some(selection) = selection(segment) {
            file.extensions.insert(VortexAccessPlan::default().with_selection(selection));
        }
        file
    };
    lane.segments.iter().zip(stamps).map(file).collect()
}

/// The rows of a segment that are read, where these are not all of them.
fn selection(segment: &SegmentRef) -> Option<Selection> {
    let deleted = segment.delete_vector.as_ref().map(|deleted| RoaringTreemap::from_bitmaps([(0, deleted.rows().clone())]));
    let Some(part) = segment.part.clone() else { return deleted.map(Selection::ExcludeRoaring) };
    let mut rows = RoaringTreemap::new();
    rows.insert_range(part);
    Some(Selection::IncludeRoaring(match deleted {
        Some(deleted) => rows - deleted,
        None => rows,
    }))
}
