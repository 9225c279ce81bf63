//! Rows on their way to the client: description, encoding, and a cursor over the batches as they come.

use super::binary::{self, NULL_LENGTH};
use super::error::{Failure, clean};
use super::oid;
use super::parameters::{BINARY_FORMAT, check_formats, format_of};
use super::socket::Socket;
use crate::frontend::Session;
use crate::wire::values::text::Style;
use crate::wire::values::{Column, ValueType};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::{BufMut, BytesMut};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use pgwire::messages::data::{FieldDescription, MESSAGE_TYPE_BYTE_DATA_ROW, RowDescription};
use slipher_common::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Most columns of a result.
pub const RESULT_COLUMNS_MAX: usize = 1_664;
/// Batches of a result that wait for the client to take the one before.
const BATCHES_AHEAD_MAX: usize = 1;

/// What the columns of a result are, and in which format each is sent.
#[derive(Debug)]
pub(super) struct RowShape {
    names: Vec<String>,
    types: Vec<ValueType>,
    formats: Vec<i16>,
    style: Style,
}

impl RowShape {
    /// The shape of rows of `schema` for a session; `formats` are those of a Bind message.
    pub fn new(schema: &Schema, formats: &[i16], session: &dyn Session) -> Result<Self> {
        let fields = schema.fields();
        if fields.len() > RESULT_COLUMNS_MAX {
            let message = format!("the result has {} columns, at most {RESULT_COLUMNS_MAX} are possible", fields.len());
            return Err(Error::new(ErrorKind::ProgramLimit, message));
        }
        check_formats(formats, fields.len(), "column")?;
        Ok(Self {
            names: fields.iter().map(|field| clean(field.name())).collect(),
            types: fields.iter().map(|field| ValueType::of_field(field)).collect::<Result<_>>()?,
            formats: (0..fields.len()).map(|index| format_of(formats, index)).collect(),
            style: Style {
                // The session has checked that it is a number.
                extra_float_digits: session
                    .setting("extra_float_digits")
                    .and_then(|digits| digits.parse().ok())
                    .unwrap_or_default(),
                zone: session.zone(),
            },
        })
    }

    /// The message that tells the client.
    pub fn description(&self) -> RowDescription {
        let columns = self.names.iter().zip(&self.types).zip(&self.formats);
        let describe = |((name, value_type), format): ((&String, &ValueType), &i16)| {
            let (oid, size, modifier) = (oid::of_value_type(value_type), oid::size(value_type), oid::modifier(value_type));
            FieldDescription::new(name.clone(), 0, 0, oid, size, modifier, *format)
        };
        RowDescription::new(columns.map(describe).collect())
    }

    fn columns(&self, batch: &RecordBatch) -> Result<Vec<Column>> {
        if batch.num_columns() != self.types.len() {
            let message = format!("sending rows: {} columns where {} were described", batch.num_columns(), self.types.len());
            return Err(Error::internal(message));
        }
        self.types.iter().zip(batch.columns()).map(|(value_type, values)| Column::new(value_type, values)).collect()
    }

    /// Writes one DataRow message; a value that has no form leaves `out` as it was.
    fn write_row(&self, columns: &[Column], row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        let written = self.write_row_parts(columns, row, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write_row_parts(&self, columns: &[Column], row: usize, out: &mut BytesMut) -> Result<()> {
        out.put_u8(MESSAGE_TYPE_BYTE_DATA_ROW);
        let at = out.len();
        out.put_i32(0);
        // At most RESULT_COLUMNS_MAX.
        out.put_u16(columns.len() as u16);
        for ((column, value_type), format) in columns.iter().zip(&self.types).zip(&self.formats) {
            if column.is_null(row) {
                out.put_i32(NULL_LENGTH);
            } else if *format == BINARY_FORMAT {
                binary::with_length(out, |out| binary::write(column, value_type, row, out))?;
            } else {
                binary::with_length(out, |out| binary::write_as_text(column, row, &self.style, out))?;
            }
        }
        let length = i32::try_from(out.len() - at)
            .map_err(|_| Error::new(ErrorKind::ProgramLimit, "sending a row: it is longer than 2 GiB"))?;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// A result's batches, produced by a task of their own: a stream that computes for long without a pause must not keep
/// the connection from noticing that its client is gone or the server stops. Dropping it drops the stream.
struct BatchSource {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    task: JoinSet<()>,
}

impl BatchSource {
    fn new(mut stream: SendableRecordBatchStream) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD_MAX);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(batch) = stream.next().await {
                if sender.send(batch.map_err(Error::from)).await.is_err() {
                    break;
                }
            }
        });
        Self { batches, task }
    }

    /// The next batch, `None` at the end.
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        // A stream that panicked has not come to its end.
        match self.task.join_next().await {
            Some(Err(error)) => Some(Err(Error::internal(format!("running the query: {error}")))),
            Some(Ok(())) | None => None,
        }
    }
}

/// Rows that have not been sent yet.
pub(super) struct RowCursor {
    shape: RowShape,
    source: BatchSource,
    columns: Vec<Column>,
    /// Rows of `columns`, and how many of them are sent.
    rows: usize,
    sent: usize,
}

impl RowCursor {
    /// A cursor before the first row.
    pub fn new(shape: RowShape, stream: SendableRecordBatchStream) -> Self {
        Self { shape, source: BatchSource::new(stream), columns: Vec::new(), rows: 0, sent: 0 }
    }

    /// The shape of the rows.
    pub fn shape(&self) -> &RowShape {
        &self.shape
    }

    /// Sends up to `limit` rows (0: all). Answers how many, and whether the limit stopped it. Few batches are asked for
    /// before the client has taken the last, so a slow client slows the query down and nothing piles up.
    pub async fn send(&mut self, socket: &mut Socket, limit: usize) -> Result<(u64, bool), Failure> {
        let mut count = 0;
        loop {
            while self.sent < self.rows {
                self.shape.write_row(&self.columns, self.sent, socket.output())?;
                self.sent += 1;
                count += 1;
                socket.flush_if_full().await?;
                if limit > 0 && count >= limit {
                    return Ok((count as u64, true));
                }
            }
            let Some(batch) = socket.flush_after_pause(self.source.next()).await? else {
                return Ok((count as u64, false));
            };
            let batch = batch?;
            self.columns = self.shape.columns(&batch)?;
            (self.rows, self.sent) = (batch.num_rows(), 0);
        }
    }
}
