//! Rows of one slice that wait to be written.

use crate::segment::SEGMENT_ROWS_MAX;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use slipher_common::Result;

/// Rows that are gathered into one batch: routed pieces are small, and many small batches are slow to sort.
const BATCH_ROWS: usize = 8 * 1024;
const _: () = assert!(BATCH_ROWS < SEGMENT_ROWS_MAX);

/// The buffered rows of one slice.
pub(super) struct SliceBuffer {
    coalescer: BatchCoalescer,
    batches: Vec<RecordBatch>,
    batch_rows: usize,
    batch_bytes: usize,
}

impl SliceBuffer {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let coalescer = BatchCoalescer::new(schema.clone(), BATCH_ROWS);
        Self { coalescer, batches: Vec::new(), batch_rows: 0, batch_bytes: 0 }
    }

    /// Takes all rows of `batch`.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.coalescer.push_batch(batch)?;
        self.drain();
        Ok(())
    }

    /// Takes the rows of `batch` that `rows` names.
    pub(super) fn push_rows(&mut self, batch: &RecordBatch, rows: &UInt32Array) -> Result<()> {
        self.coalescer.push_batch_with_indices(batch.clone(), rows)?;
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            self.batch_rows += batch.num_rows();
            self.batch_bytes += batch.get_array_memory_size();
            self.batches.push(batch);
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.batch_rows + self.coalescer.get_buffered_rows()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        if self.rows() == 0 { 0 } else { self.batch_bytes + self.coalescer.size() }
    }

    /// All rows; the buffer is empty afterwards.
    pub(super) fn take(&mut self) -> Result<Vec<RecordBatch>> {
        self.coalescer.finish_buffered_batch()?;
        self.drain();
        (self.batch_rows, self.batch_bytes) = (0, 0);
        Ok(std::mem::take(&mut self.batches))
    }
}
