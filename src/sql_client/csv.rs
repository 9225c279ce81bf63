//! Comma-separated values (RFC 4180), printed as they come.

use super::Printer;
use super::report::Failure;
use super::value::Values;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

/// Prints CSV.
pub(super) struct Csv {
    header: Option<String>,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>();
        Self { header: Some(names.join(",")) }
    }

    fn header(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(header) = self.header.take() {
            writeln!(out, "{header}")?;
        }
        Ok(())
    }
}

impl Printer for Csv {
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        self.header(out)?;
        let columns = batch.columns().iter().map(Values::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                let separator = if index > 0 { "," } else { "" };
                let value = column.text(row)?.map(|text| quoted(&text)).unwrap_or_default();
                write!(out, "{separator}{value}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.header(out)
    }
}

/// The empty string is quoted: it is not NULL.
fn quoted(text: &str) -> String {
    match text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
