//! Scans of tiny segments whose rows are still in memory.

use super::Scanner;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::error::Result;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::filter::batch_filter;
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use slipher_common::plan::LaneScan;

/// Rows that are filtered at a time.
const CHUNK_ROWS: usize = 8 * 1024;

impl Scanner {
    /// Takes the segments out of `lane` whose rows are in memory; answers those rows. Rows that were deleted are known by their place in the file, and so
    /// are parts: such segments stay.
    pub(super) fn take_recent(&self, lane: &mut LaneScan) -> Vec<RecordBatch> {
        let mut found = Vec::new();
        lane.segments.retain(|segment| {
            let is_whole = segment.delete_vector.is_none() && segment.part.is_none();
            let rows = if is_whole { self.recent.get(segment.id, &lane.schema) } else { None };
            let is_left = rows.is_none();
            found.extend(rows);
            is_left
        });
        found
    }
}

/// The rows of `recent` (in the table's schema) that `lane` wants, then those of the files.
pub(super) fn with_files(recent: &[RecordBatch], lane: &LaneScan, files: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = files.schema();
    let chunks = chunks(recent).map(|chunk| wanted(chunk, lane)).collect::<Vec<_>>();
    let rows = futures::stream::iter(chunks).chain(files);
    let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
    match lane.limit {
        Some(limit) => {
            let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
            Box::pin(LimitStream::new(rows, 0, Some(limit), metrics))
        }
        None => rows,
    }
}

/// Batches of together about [`CHUNK_ROWS`] rows.
fn chunks(batches: &[RecordBatch]) -> impl Iterator<Item = &[RecordBatch]> {
    let mut rest = batches;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let end = rest.iter().position(|batch| {
            rows += batch.num_rows();
            rows >= CHUNK_ROWS
        });
        let (chunk, later) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        rest = later;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The rows that pass all predicates, with the columns of the projection.
fn wanted(chunk: &[RecordBatch], lane: &LaneScan) -> Result<RecordBatch> {
    let mut rows = concat_batches(&lane.schema, chunk)?;
    for predicate in &lane.predicates {
        rows = batch_filter(&rows, predicate)?;
    }
    Ok(rows.project(&lane.projection)?)
}
