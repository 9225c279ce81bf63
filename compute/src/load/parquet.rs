//! Parquet files, row group by row group.

use super::{Emit, FileReader, open};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use slipher_common::assign::{Fault, base_name, canonical, canonical_type, normalize_load_schema};
use slipher_common::plan::{FileRef, LaneFiles};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::fmt::Display;
use std::fs::File;
use std::sync::Arc;

/// The schema in which the rows of a Parquet file are loaded.
pub fn inspect_parquet_schema(path: &str) -> Result<SchemaRef> {
    let file = File::open(path).map_err(|error| Error::io(format_args!("opening file \"{path}\""), &error))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| damaged(path, &error))?;
    Ok(normalize_load_schema(metadata.schema()))
}

fn damaged(path: &str, error: &dyn Display) -> Error {
    let reason = error.to_string();
    // The reader looks at text that is said to be text by itself.
    if reason.to_lowercase().contains("utf-8") || reason.to_lowercase().contains("utf8") {
        return Error::new(ErrorKind::InvalidEncoding, format!("reading Parquet file \"{path}\": text is not valid UTF-8"))
            .with_detail(reason);
    }
    Error::new(ErrorKind::BadFileFormat, format!("reading Parquet file \"{path}\": {reason}"))
        .with_hint("check that the file is a complete Parquet file")
}

/// Reads a lane's Parquet files.
pub(super) struct Reader {
    file_schema: SchemaRef,
    projection: Vec<usize>,
    /// The projection in file order, each column once: what is read.
    roots: Vec<usize>,
    schema: SchemaRef,
    batch_rows: usize,
}

impl Reader {
    /// `schema` is the lane's after projection.
    pub(super) fn new(lane: &LaneFiles, schema: SchemaRef, batch_rows: usize) -> Self {
        let mut roots = lane.projection.clone();
        roots.sort_unstable();
        roots.dedup();
        Self { file_schema: Arc::clone(&lane.schema), projection: lane.projection.clone(), roots, schema, batch_rows }
    }

    /// All files of a load have the first one's columns; a file that has not would be read into wrong columns.
    fn check_schema(&self, path: &str, found: &Schema) -> Result<()> {
        let expected = self.file_schema.fields();
        let refuse = |what: String| {
            Err(Error::new(ErrorKind::DatatypeMismatch, format!("reading Parquet file \"{path}\": {what}"))
                .with_hint("load files of different columns with one COPY each"))
        };
        if expected.len() != found.fields().len() {
            return refuse(format!("it has {} columns, the load's first file has {}", found.fields().len(), expected.len()));
        }
        for (expected, found) in expected.iter().zip(found.fields()) {
            if expected.name() != found.name() {
                return refuse(format!(
                    "its column \"{}\" stands where the first file has \"{}\"",
                    found.name(),
                    expected.name()
                ));
            }
            if expected.data_type() != found.data_type() {
                let (is, was) = (shown_type(found), shown_type(expected));
                return refuse(format!("its column \"{}\" is of type {is}, the first file's of type {was}", found.name()));
            }
        }
        Ok(())
    }

    /// The columns of one batch of the file in the lane's order and types.
    fn project(&self, path: &str, batch: &RecordBatch, rows_before: usize) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.projection.len());
        for index in &self.projection {
            let missing = || Error::internal(format!("column {index} of Parquet file \"{path}\" was not read"));
            let at = self.roots.binary_search(index).map_err(|_| missing())?;
            let name = self.file_schema.field(*index).name();
            let mut refuse = |row: usize, fault: Fault| {
                Err(fault.at(&format!("\"{name}\""), &format!("file \"{path}\", row {}", rows_before + row + 1)))
            };
            let column = canonical(batch.columns().get(at).ok_or_else(missing)?, &mut refuse).map_err(|mut error| {
                error.detail.get_or_insert_with(|| format!("column \"{name}\", file \"{path}\""));
                error
            })?;
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl FileReader for Reader {
    fn read(&mut self, file: &FileRef, emit: Emit<'_>) -> Result<bool> {
        let path = &file.path;
        let opened = open(file)?;
        let metadata = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new()).map_err(|error| damaged(path, &error))?;
        self.check_schema(path, &normalize_load_schema(metadata.schema()))?;
        let groups = row_groups_in(metadata.metadata(), file.range);
        let Some(first) = groups.first() else { return Ok(true) };
        let row_count = |group: &RowGroupMetaData| usize::try_from(group.num_rows()).unwrap_or_default();
        let mut rows_before: usize = metadata.metadata().row_groups()[..*first].iter().map(row_count).sum();
        let hinted = with_hints(metadata);
        let mask = ProjectionMask::roots(hinted.parquet_schema(), self.roots.iter().copied());
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, hinted)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(self.batch_rows)
            .build()
            .map_err(|error| damaged(path, &error))?;
        for batch in batches {
            let batch = batch.map_err(|error| damaged(path, &error))?;
            if !emit(self.project(path, &batch, rows_before)?) {
                return Ok(false);
            }
            rows_before += batch.num_rows();
        }
        Ok(true)
    }
}

fn shown_type(field: &Field) -> String {
    SqlType::from_arrow(field.data_type()).map_or_else(|_| field.data_type().to_string(), base_name)
}

/// The row groups whose middle byte lies in the range.
fn row_groups_in(metadata: &ParquetMetaData, range: Option<(u64, u64)>) -> Vec<usize> {
    let inside = |group: &RowGroupMetaData| match range {
        None => true,
        Some((start, end)) => (start..end).contains(&middle_byte(group)),
    };
    metadata.row_groups().iter().enumerate().filter(|(_, group)| inside(group)).map(|(index, _)| index).collect()
}

fn middle_byte(group: &RowGroupMetaData) -> u64 {
    let ranges = group.columns().iter().map(|column| column.byte_range());
    let start = ranges.clone().map(|(start, _)| start).min().unwrap_or_default();
    let end = ranges.map(|(start, length)| start + length).max().unwrap_or_default();
    start + (end - start) / 2
}

/// Lets the reader decode strings straight to views, and 96-bit timestamps without the narrow range of nanoseconds. These are
/// hints: where the reader refuses them, `canonical` converts what it gives instead.
fn with_hints(metadata: ArrowReaderMetadata) -> ArrowReaderMetadata {
    let columns = metadata.metadata().file_metadata().schema_descr().root_schema().get_fields();
    let is_int96 = |index: usize| {
        columns.get(index).is_some_and(|column| column.is_primitive() && column.get_physical_type() == PhysicalType::INT96)
    };
    let hint = |(index, field): (usize, &Arc<Field>)| {
        let data_type = match field.data_type() {
            _ if is_int96(index) => DataType::Timestamp(TimeUnit::Microsecond, None),
            // Bytes that are not said to be text stay bytes: `canonical` looks at each whether it is text.
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::BinaryView,
            text if canonical_type(text) == DataType::Utf8View => DataType::Utf8View,
            other => other.clone(),
        };
        field.as_ref().clone().with_data_type(data_type)
    };
    let fields: Vec<Field> = metadata.schema().fields().iter().enumerate().map(hint).collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).unwrap_or(metadata)
}
