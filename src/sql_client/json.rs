//! One JSON object per row and line, printed as they come.

use super::Printer;
use super::report::Failure;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::record_batch::RecordBatch;
use std::io::Write;

/// Prints JSON.
pub(super) struct Json;

impl Printer for Json {
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let mut text = Vec::new();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
        let written = writer.write(batch).and_then(|()| writer.finish());
        written.map_err(|error| Failure::Connection(format!("writing rows as JSON: {error}")))?;
        Ok(out.write_all(&text)?)
    }

    fn finish(&mut self, _out: &mut dyn Write) -> Result<(), Failure> {
        Ok(())
    }
}
