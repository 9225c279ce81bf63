//! Aligned tables, as psql prints them. The first rows decide the widths; what comes behind them streams.

use super::Printer;
use super::report::Failure;
use super::value::Values;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::{self, Write};

/// Rows held back to find the widths of columns.
const BUFFERED_ROWS_MAX_COUNT: usize = 5000;
/// Text held back to find the widths of columns, in bytes.
const BUFFERED_MAX_BYTES: usize = 8 << 20;

/// Prints a table.
pub(super) struct Table {
    names: Vec<String>,
    right: Vec<bool>,
    widths: Vec<usize>,
    buffered: Vec<Vec<String>>,
    buffered_bytes: usize,
    header_printed: bool,
    row_count: u64,
}

impl Table {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        Self {
            right: schema.fields().iter().map(|field| field.data_type().is_numeric()).collect(),
            widths: names.iter().map(|name| width(name)).collect(),
            names,
            buffered: Vec::new(),
            buffered_bytes: 0,
            header_printed: false,
            row_count: 0,
        }
    }

    /// Prints the header and what was held back.
    fn release(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !std::mem::replace(&mut self.header_printed, true) {
            let cells = self.names.iter().zip(&self.widths).map(|(name, width)| format!(" {name:^width$} "));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("|"))?;
            let rules = self.widths.iter().map(|width| "-".repeat(width + 2));
            writeln!(out, "{}", rules.collect::<Vec<_>>().join("+"))?;
        }
        for row in std::mem::take(&mut self.buffered) {
            self.print(&row, out)?;
        }
        self.buffered_bytes = 0;
        Ok(())
    }

    /// Prints a row; a `+` marks a value that goes on in the next line.
    fn print(&self, row: &[String], out: &mut dyn Write) -> io::Result<()> {
        let height = row.iter().map(|cell| cell.split('\n').count()).max().unwrap_or(1);
        for line_index in 0..height {
            let cells = row.iter().enumerate().map(|(index, cell)| {
                let mut lines = cell.split('\n').skip(line_index);
                let (line, goes_on) = (lines.next().unwrap_or_default(), lines.next().is_some());
                let (width, is_last) = (self.widths[index], index + 1 == row.len());
                match (self.right[index], goes_on) {
                    (true, _) => format!(" {line:>width$}{}", if is_last { "" } else { " " }),
                    (false, true) => format!(" {line:<width$}+"),
                    (false, false) if is_last => format!(" {line}"),
                    (false, false) => format!(" {line:<width$} "),
                }
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("|"))?;
        }
        Ok(())
    }
}

impl Printer for Table {
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let columns = batch.columns().iter().map(Values::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| Ok(column.text(row)?.unwrap_or_default()));
            let cells = cells.collect::<Result<Vec<_>, Failure>>()?;
            self.row_count += 1;
            if self.header_printed {
                self.print(&cells, out)?;
                continue;
            }
            for (known, cell) in self.widths.iter_mut().zip(&cells) {
                *known = (*known).max(width(cell));
            }
            self.buffered_bytes += cells.iter().map(String::len).sum::<usize>();
            self.buffered.push(cells);
            if self.buffered.len() >= BUFFERED_ROWS_MAX_COUNT || self.buffered_bytes >= BUFFERED_MAX_BYTES {
                self.release(out)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.release(out)?;
        let noun = if self.row_count == 1 { "row" } else { "rows" };
        Ok(writeln!(out, "({} {noun})\n", self.row_count)?)
    }
}

/// Width of the widest line, in characters.
fn width(text: &str) -> usize {
    text.split('\n').map(|line| line.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, printer};
    use super::*;
    use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn batch() -> RecordBatch {
        let decimals = Decimal128Array::from(vec![Some(150), None]).with_precision_and_scale(10, 2).unwrap();
        RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![1, 1000])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec![Some("a\nbé"), None])) as ArrayRef),
            ("d", Arc::new(decimals) as ArrayRef),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef),
            ("q,", Arc::new(StringArray::from(vec!["", "x\"y"])) as ArrayRef),
        ])
        .unwrap()
    }

    fn printed(format: Format, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut printer = printer(format, &batch().schema());
        for batch in batches {
            printer.rows(batch, &mut out).unwrap();
        }
        printer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn aligned_tables_look_as_in_psql() {
        let expected = [
            "  n   | text |  d   | ok | q,  ",
            "------+------+------+----+-----",
            "    1 | a   +| 1.50 | t  | ",
            "      | bé   |      |    | ",
            " 1000 |      |      |    | x\"y",
            "(2 rows)",
            "",
            "",
        ];
        assert_eq!(printed(Format::Aligned, &[batch()]), expected.join("\n"));
        assert!(printed(Format::Aligned, &[]).ends_with("(0 rows)\n\n"));
    }

    #[test]
    fn rows_behind_the_buffer_stream_with_its_widths() {
        let many = vec![batch(); BUFFERED_ROWS_MAX_COUNT / 2 + 1];
        let text = printed(Format::Aligned, &many);
        assert_eq!(text.matches(" 1000 |").count(), many.len());
        assert!(text.ends_with(&format!("({} rows)\n\n", many.len() * 2)));
    }

    #[test]
    fn csv_tells_null_from_empty_and_json_is_one_object_per_line() {
        assert_eq!(printed(Format::Csv, &[batch()]), "n,text,d,ok,\"q,\"\n1,\"a\nbé\",1.50,t,\"\"\n1000,,,,\"x\"\"y\"\n");
        assert_eq!(printed(Format::Csv, &[]), "n,text,d,ok,\"q,\"\n");
        let json = printed(Format::Json, &[batch(), batch()]);
        let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!((&rows[0]["n"], &rows[0]["ok"]), (&1.into(), &true.into()));
        assert!(rows[1].as_object().unwrap()["text"].is_null());
    }

    #[test]
    fn markdown_and_expanded_rows_look_as_they_should() {
        let expected = [
            "| n | text | d | ok | q, |",
            "|---:|---|---:|---|---|",
            "| 1 | a<br>bé | 1.50 | t |  |",
            "| 1000 |  |  |  | x\"y |",
            "",
            "",
        ];
        assert_eq!(printed(Format::Markdown, &[batch()]), expected.join("\n"));
        let expanded = printed(Format::Expanded, &[batch()]);
        let record = "-[ RECORD 1 ]----\nn    | 1\ntext | a\n     | bé\nd    | 1.50\nok   | t\nq,   | \n-[ RECORD 2 ]----\n";
        assert!(expanded.starts_with(record), "{expanded}");
        assert_eq!(printed(Format::Expanded, &[]), "(0 rows)\n\n");
    }

    #[test]
    fn an_arrow_stream_is_read_back() {
        let mut out = Vec::new();
        let mut printer = printer(Format::Arrow, &batch().schema());
        for _ in 0..2 {
            printer.rows(&batch(), &mut out).unwrap();
        }
        printer.finish(&mut out).unwrap();
        let read: Vec<RecordBatch> =
            arrow::ipc::reader::StreamReader::try_new(out.as_slice(), None).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, [batch(), batch()]);
    }
}
