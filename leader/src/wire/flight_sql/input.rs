//! What clients upload: record batches, and parameter values made of them.

use super::query::{ParameterRows, in_text};
use crate::frontend::{Description, Session, Statement};
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::common::ScalarValue;
use futures::stream::Peekable;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use slipher_common::assign::{Fault, TextFormats, parse_column};
use slipher_common::flight::cast;
use slipher_common::flight::from_status;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use tonic::Streaming;

/// Most rows of parameters bound to one statement.
const PARAMETER_ROWS_MAX_COUNT: usize = 100_000;
/// Most memory of the batches bound to one statement, in bytes.
const PARAMETERS_MAX_BYTES: usize = 64 << 20;

#[cfg(test)]
thread_local! {
    /// Panics of the decoder that were answered as errors on this thread.
    pub(super) static CAUGHT_PANICS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A client's upload before its first message, which carries the command, is consumed.
pub(super) type UploadStream = Peekable<Streaming<FlightData>>;

/// Record batches that a client uploads.
pub(super) struct Upload {
    stream: FlightRecordBatchStream,
    doing: &'static str,
}

impl Upload {
    /// Reads `stream`, or answers `None` when it carries the command alone.
    pub(super) async fn open(mut stream: UploadStream, doing: &'static str) -> Result<Option<Self>> {
        match Pin::new(&mut stream).peek().await {
            Some(Ok(first)) if !first.data_header.is_empty() => {}
            Some(Err(status)) => return Err(from_status(doing, status)),
            _ => return Ok(None),
        }
        let stream = FlightRecordBatchStream::new_from_flight_data(stream.map_err(FlightError::from));
        Ok(Some(Self { stream, doing }))
    }

    /// The next batch.
    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch>> {
        // The decoder reads buffers a client made up; a panic in it is that client's error.
        let next = AssertUnwindSafe(self.stream.next()).catch_unwind().await;
        let Ok(next) = next else {
            #[cfg(test)]
            CAUGHT_PANICS.with(|count| count.set(count.get() + 1));
            return Some(Err(self.malformed("the message is damaged")));
        };
        Some(match next? {
            Ok(batch) => Ok(batch),
            Err(FlightError::Tonic(status)) => Err(from_status(self.doing, &status)),
            Err(error) => Err(self.malformed(&error.to_string())),
        })
    }

    /// The schema, known after the first `next`.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.stream.schema().cloned()
    }

    fn malformed(&self, why: &str) -> Error {
        Error::new(ErrorKind::ProtocolViolation, format!("{}: reading Arrow data: {why}", self.doing))
    }
}

/// Parameter values bound to a statement, and what the statement is with their types.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// The statement with the types of the bound values.
    pub(super) description: Description,
    /// The values.
    pub(super) rows: ParameterRows,
}

/// Reads parameter rows from an upload; `None` when it has no columns.
pub(super) async fn bind(
    session: &dyn Session,
    statement: &Statement,
    mut upload: Upload,
    parameter_count: usize,
) -> Result<Option<Bound>> {
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = upload.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if rows > PARAMETER_ROWS_MAX_COUNT || bytes > PARAMETERS_MAX_BYTES {
            let message =
                format!("binding parameters: more than {PARAMETER_ROWS_MAX_COUNT} rows or {} MiB", PARAMETERS_MAX_BYTES >> 20);
            return Err(Error::new(ErrorKind::ProgramLimit, message).with_hint("load many rows with bulk ingest or COPY"));
        }
        batches.push(batch);
    }
    let Some(schema) = upload.schema().filter(|schema| !schema.fields().is_empty()) else { return Ok(None) };
    if schema.fields().len() != parameter_count {
        let bound = schema.fields().len();
        return Err(Error::new(
            ErrorKind::ProtocolViolation,
            format!("binding parameters: {bound} values were bound, but the statement has {parameter_count} parameters"),
        ));
    }
    let description = session.describe(statement, &declared_types(&schema)?).await;
    let description = description.map_err(|error| in_text(error, statement))?;
    let mut values = ParameterRows::with_capacity(rows);
    for batch in &batches {
        append_rows(&mut values, batch, &description.parameters)?;
    }
    Ok(Some(Bound { description, rows: values }))
}

/// Bound types decide what a parameter is, so that no value is narrowed to what the context would suggest. Text decides
/// nothing: like a quoted literal it becomes what the context wants.
fn declared_types(schema: &Schema) -> Result<Vec<Option<SqlType>>> {
    let declared = schema.fields().iter().map(|field| {
        match refuse_bytes(field.data_type()).and_then(|()| SqlType::from_arrow(field.data_type()))? {
            SqlType::VarChar(_) => Ok(None),
            sql_type => Ok(Some(sql_type)),
        }
    });
    declared.collect()
}

fn append_rows(rows: &mut ParameterRows, batch: &RecordBatch, types: &[SqlType]) -> Result<()> {
    if types.len() != batch.num_columns() {
        let columns = batch.num_columns();
        return Err(Error::internal(format!("binding parameters: {} types for {columns} values", types.len())));
    }
    let columns = batch.columns().iter().zip(types).enumerate().map(|(index, (column, sql_type))| {
        as_parameter(column, *sql_type).map_err(|mut error| {
            error.message = format!("binding parameter ${} as {sql_type}: {}", index + 1, error.message);
            error
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        let values = columns.iter().map(|column| Ok(ScalarValue::try_from_array(column, row)?));
        rows.push_back(values.collect::<Result<_>>()?);
    }
    Ok(())
}

/// Text for a SUPER value is JSON.
fn as_parameter(column: &ArrayRef, sql_type: SqlType) -> Result<ArrayRef> {
    if sql_type != SqlType::Super || *column.data_type() == DataType::Null {
        return cast(column, &sql_type.to_arrow());
    }
    let texts = cast(column, &DataType::Utf8View)?;
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    parse_column(texts.as_string_view().iter(), sql_type, &TextFormats::default(), &mut refuse)
}

/// Bytes of a client are no SUPER values.
fn refuse_bytes(data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::BinaryView => Err(Error::not_supported("a value of binary type", "send it as text")),
        _ => Ok(()),
    }
}

/// The type in which uploaded values of `data_type` reach a session.
pub(super) fn session_type(data_type: &DataType) -> Result<DataType> {
    refuse_bytes(data_type)?;
    Ok(SqlType::from_arrow(data_type)?.to_arrow())
}
