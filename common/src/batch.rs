//! Batches of rows.

use crate::error::Result;
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// Copies strings together: rows that were picked out of many batches refer to the strings of all of them.
pub fn compact(chunk: &RecordBatch) -> Result<RecordBatch> {
    let columns = chunk
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
            _ => Arc::clone(column),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(chunk.num_rows()));
    Ok(RecordBatch::try_new_with_options(chunk.schema(), columns, &options)?)
}
