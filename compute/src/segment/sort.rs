//! Sorts the rows of a segment and deals them out in chunks.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use slipher_common::batch::compact;
use slipher_common::{Error, Result};
use std::sync::Arc;

/// Rows that are handed to the file writer at a time.
const CHUNK_ROWS: usize = 64 * 1024;
/// Ascending, NULLs last: Redshift's order.
const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// The rows of one segment in their final order.
pub(crate) enum OrderedRows {
    /// As they came.
    Unsorted(std::vec::IntoIter<RecordBatch>),
    /// `rows` in the order of `order`, from `next` on.
    Sorted {
        /// All rows.
        rows: RecordBatch,
        /// Row numbers.
        order: UInt32Array,
        /// The first place that has not been dealt out.
        next: usize,
    },
}

impl OrderedRows {
    /// Sorts `batches` by the columns at `keys`; without keys their order stays.
    pub(crate) fn new(schema: &SchemaRef, batches: Vec<RecordBatch>, keys: &[usize]) -> Result<Self> {
        if keys.is_empty() {
            return Ok(Self::Unsorted(batches.into_iter()));
        }
        let rows = concat_batches(schema, &batches)?;
        drop(batches);
        let order = order_of(&rows, keys)?;
        Ok(Self::Sorted { rows, order, next: 0 })
    }
}

impl Iterator for OrderedRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Unsorted(batches) => batches.next().map(Ok),
            Self::Sorted { order, next, .. } if *next >= order.len() => None,
            Self::Sorted { rows, order, next } => {
                let length = CHUNK_ROWS.min(order.len() - *next);
                let places = order.slice(*next, length);
                *next += length;
                Some(take_record_batch(rows, &places).map_err(Error::from).and_then(|chunk| compact(&chunk)))
            }
        }
    }
}

fn order_of(rows: &RecordBatch, keys: &[usize]) -> Result<UInt32Array> {
    if let [key] = keys {
        return Ok(sort_to_indices(rows.column(*key), Some(ORDER), None)?);
    }
    let columns: Vec<ArrayRef> = keys.iter().map(|key| Arc::clone(rows.column(*key))).collect();
    let fields = columns.iter().map(|column| SortField::new_with_options(column.data_type().clone(), ORDER)).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_unstable_by(|a, b| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)));
    Ok(UInt32Array::from(order))
}
