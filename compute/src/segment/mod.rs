//! Writes segments: one sorted, compressed Vortex file of one table and one slice, with its statistics and checksum.

mod encoding;
#[cfg(test)]
mod pruning_tests;
mod sort;
mod statistics;
pub(crate) mod storage;
#[cfg(test)]
mod tests;

use crate::store::Store;
use arrow::array::RecordBatch;
use futures::FutureExt;
use slipher_common::catalog::Table;
use slipher_common::ids::{SegmentId, SliceId, TransactionId};
pub use slipher_common::manifest::SEGMENT_ROWS_MAX;
use slipher_common::manifest::{ColumnStatistics, Details, KnownColumn, Segment, SegmentColumns};
use slipher_common::{Error, Result};
pub(crate) use sort::OrderedRows;
use statistics::{ColumnShape, StatisticsCollector};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use uuid::Uuid;
use vortex::VortexSessionDefault;
use vortex::array::stream::ArrayStreamAdapter;
use vortex::arrow::ArrowSessionExt;
use vortex::error::{VortexError, vortex_err};
use vortex::file::WriteOptionsSessionExt;
use vortex::io::session::RuntimeSessionExt;
use vortex::session::VortexSession;

/// The Vortex session of a node: its encodings, on the Tokio runtime of whoever calls.
pub fn vortex_session() -> VortexSession {
    VortexSession::default().with_tokio()
}

/// What a new segment is part of.
#[derive(Clone, Debug)]
pub struct SegmentTarget {
    /// The table.
    pub table: Arc<Table>,
    /// The slice.
    pub slice: SliceId,
    /// Slices of the cluster; 0 of a copy on every node.
    pub slice_count: u32,
    /// Epoch of the slice's placement.
    pub placement_epoch: u64,
    /// The load.
    pub transaction: TransactionId,
}

/// Sorts `batches` (in the table's schema, together at most [`SEGMENT_ROWS_MAX`] rows, at least one) by the table's sort key and
/// writes them as one durable segment. The receipt names only this node.
pub async fn write_segment(
    session: &VortexSession,
    store: &Arc<Store>,
    target: &SegmentTarget,
    batches: Vec<RecordBatch>,
) -> Result<Segment> {
    let table = Arc::clone(&target.table);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    // Sorting is pure computation of tens to hundreds of milliseconds: it would block other tasks of an async thread.
    let prepared = tokio::task::spawn_blocking(move || prepare(&table, batches)).await;
    let prepared = prepared.map_err(|e| Error::internal(format!("sorting rows of table \"{}\": {e}", target.table)))??;

    let id = SegmentId(Uuid::now_v7());
    let mut file = store.create(target.table.id, id, Some(target.transaction)).await?;
    let written = write_file(session, &target.table, prepared.rows, &prepared.shapes, &mut file).await?;
    if written != rows as u64 {
        return Err(Error::internal(format!("writing segment {id} of table \"{}\": {written} of {rows} rows", target.table)));
    }
    let finished = file.publish(None).await?;
    Ok(Segment {
        id,
        table: target.table.id,
        slice: target.slice,
        slice_count: target.slice_count,
        rows: written,
        bytes: finished.bytes,
        checksum: finished.checksum,
        nodes: vec![store.node_id()],
        columns: SegmentColumns::new(prepared.statistics.iter().map(KnownColumn::from)),
        details: Details::of(&prepared.statistics),
        placement_epoch: target.placement_epoch,
        sorted_by: target.table.sort_key.clone(),
        delete_vector: None,
    })
}

/// A segment's rows before they are written.
struct Prepared {
    rows: OrderedRows,
    statistics: Vec<ColumnStatistics>,
    shapes: Vec<ColumnShape>,
}

fn prepare(table: &Table, batches: Vec<RecordBatch>) -> Result<Prepared> {
    let mut collector = StatisticsCollector::new(table)?;
    batches.iter().try_for_each(|batch| collector.update(batch))?;
    let rows = OrderedRows::new(&table.arrow_schema(), batches, &table.sort_key_indexes())?;
    let (statistics, shapes) = collector.finish()?;
    Ok(Prepared { rows, statistics, shapes })
}

/// Streams rows into a Vortex file; answers how many.
async fn write_file(
    session: &VortexSession,
    table: &Table,
    ordered: OrderedRows,
    shapes: &[ColumnShape],
    file: &mut crate::store::IncomingSegment,
) -> Result<u64> {
    let doing = |e: VortexError| library_error(&format!("writing a segment of table \"{table}\""), &e);
    let schema = storage::storage_schema(&table.arrow_schema());
    let dtype = session.arrow().from_arrow_schema(&schema).map_err(doing)?;
    let import = session.clone();
    let chunks = ordered.map(move |chunk| {
        let chunk = chunk.and_then(|chunk| storage::with_types(&chunk, &schema));
        let chunk = chunk.map_err(|e| vortex_err!("{}", e.to_wire_text()))?;
        import.arrow().from_arrow_record_batch(chunk, &schema)
    });
    let stream = ArrayStreamAdapter::new(dtype, futures::stream::iter(chunks));
    let options = session.write_options().with_strategy(encoding::write_strategy(session, table, shapes));
    let writing = AssertUnwindSafe(options.write(&mut *file, stream)).catch_unwind().await;
    match writing {
        Ok(Ok(summary)) => Ok(summary.row_count()),
        Ok(Err(e)) => Err(file.take_failure().unwrap_or_else(|| doing(e))),
        // Vortex panics on values that it does not foresee; that ends this load only.
        Err(_) => Err(Error::internal(format!("writing a segment of table \"{table}\": the encoder panicked"))),
    }
}

/// What the library's error means: what the system said where that is in it, an error of ours that went through it, or its own words, without the
/// places in its code that it adds.
fn library_error(doing: &str, error: &VortexError) -> Error {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Error::io(doing, io);
        }
        cause = inner.source();
    }
    let text = error.to_string();
    let words = text.split("\nBacktrace:").next().unwrap_or_default();
    Error::from_wire_text(words).unwrap_or_else(|| Error::internal(format!("{doing}: {words}")))
}
