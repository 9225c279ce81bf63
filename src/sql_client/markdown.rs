//! Rows for documents and for narrow screens: Markdown tables, and one column per line.

use super::Printer;
use super::report::Failure;
use super::value::Values;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

/// Prints a Markdown table (GitHub's); numbers stand right.
pub(super) struct Markdown {
    header: Option<String>,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| cell(field.name())).collect();
        let rules = schema.fields().iter().map(|field| if field.data_type().is_numeric() { "---:" } else { "---" });
        Self { header: Some(format!("| {} |\n|{}|", names.join(" | "), rules.collect::<Vec<_>>().join("|"))) }
    }
}

/// A cell is one line, and a bar in it is no border.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>")
}

impl Printer for Markdown {
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(header) = self.header.take() {
            writeln!(out, "{header}")?;
        }
        let columns = batch.columns().iter().map(Values::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| Ok(column.text(row)?.map(|text| cell(&text)).unwrap_or_default()));
            writeln!(out, "| {} |", cells.collect::<Result<Vec<_>, Failure>>()?.join(" | "))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(header) = self.header.take() {
            writeln!(out, "{header}")?;
        }
        Ok(writeln!(out)?)
    }
}

/// Prints each row as lines of `name | value`, as psql's `\x` does.
pub(super) struct Expanded {
    names: Vec<String>,
    row_count: u64,
}

impl Expanded {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { names: schema.fields().iter().map(|field| field.name().clone()).collect(), row_count: 0 }
    }
}

impl Printer for Expanded {
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let columns = batch.columns().iter().map(Values::new).collect::<Result<Vec<_>, _>>()?;
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for row in 0..batch.num_rows() {
            self.row_count += 1;
            writeln!(out, "-[ RECORD {} ]{}", self.row_count, "-".repeat(width.max(4)))?;
            for (name, column) in self.names.iter().zip(&columns) {
                let text = column.text(row)?.unwrap_or_default();
                for (index, line) in text.split('\n').enumerate() {
                    writeln!(out, "{:<width$} | {line}", if index == 0 { name } else { "" })?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.row_count == 0 {
            writeln!(out, "(0 rows)")?;
        }
        Ok(writeln!(out)?)
    }
}
