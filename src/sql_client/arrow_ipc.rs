//! Rows as an Arrow IPC stream, for another program to read.

use super::Printer;
use super::report::Failure;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use std::io::{self, Write};

/// Writes one IPC stream per result.
pub(super) struct ArrowStream {
    writer: Option<StreamWriter<Vec<u8>>>,
    schema: SchemaRef,
}

impl ArrowStream {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { writer: None, schema: schema.clone() }
    }

    fn writer(&mut self) -> Result<&mut StreamWriter<Vec<u8>>, Failure> {
        if self.writer.is_none() {
            self.writer = Some(StreamWriter::try_new(Vec::new(), &self.schema).map_err(unwritable)?);
        }
        self.writer.as_mut().ok_or_else(|| Failure::Output(io::Error::other("there is no writer")))
    }

    /// Hands on what the writer has put together so far.
    fn hand_on(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        let written = self.writer()?.get_mut();
        out.write_all(written)?;
        written.clear();
        Ok(())
    }
}

fn unwritable(error: arrow::error::ArrowError) -> Failure {
    Failure::Output(io::Error::other(error))
}

impl Printer for ArrowStream {
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        self.writer()?.write(batch).map_err(unwritable)?;
        self.hand_on(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.writer()?.finish().map_err(unwritable)?;
        self.hand_on(out)
    }
}
