//! Rows of one slice that wait to be written.

use crate::segment::SEGMENT_ROWS_MAX;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use slipher_common::Result;
use slipher_common::batch::compact;

/// Rows that are gathered into one batch: routed pieces are small, and many small batches cost memory and time.
const BATCH_ROWS: usize = 8 * 1024;
const _: () = assert!(BATCH_ROWS < SEGMENT_ROWS_MAX);

/// The buffered rows of one slice. They share no memory with the batches they came from, so that what is counted here is what is
/// freed when they are written.
pub(super) struct SliceBuffer {
    schema: SchemaRef,
    /// Routed rows, not yet a batch of [`BATCH_ROWS`].
    pieces: Vec<RecordBatch>,
    piece_rows: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl SliceBuffer {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), pieces: Vec::new(), piece_rows: 0, batches: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Takes all rows of `batch`.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            // A slice of a large batch would keep all of it; `take` copies.
            let rows = BATCH_ROWS.min(batch.num_rows() - start);
            let places = UInt32Array::from_iter_values(start as u32..(start + rows) as u32);
            self.push_rows(batch, &places)?;
            start += rows;
        }
        Ok(())
    }

    /// Takes the rows of `batch` that `rows` names.
    pub(super) fn push_rows(&mut self, batch: &RecordBatch, rows: &UInt32Array) -> Result<()> {
        let piece = compact(&take_record_batch(batch, rows)?)?;
        self.rows += piece.num_rows();
        self.bytes += piece.get_array_memory_size();
        self.piece_rows += piece.num_rows();
        self.pieces.push(piece);
        if self.piece_rows >= BATCH_ROWS { self.gather() } else { Ok(()) }
    }

    /// Makes one batch of the pieces.
    fn gather(&mut self) -> Result<()> {
        self.piece_rows = 0;
        let pieces = std::mem::take(&mut self.pieces);
        if let [_, _, ..] = pieces.as_slice() {
            let batch = compact(&concat_batches(&self.schema, &pieces)?)?;
            let before: usize = pieces.iter().map(RecordBatch::get_array_memory_size).sum();
            self.bytes = self.bytes.saturating_sub(before) + batch.get_array_memory_size();
            self.batches.push(batch);
        } else {
            self.batches.extend(pieces);
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All rows; the buffer is empty afterwards.
    pub(super) fn take(&mut self) -> Result<Vec<RecordBatch>> {
        self.gather()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(std::mem::take(&mut self.batches))
    }
}
