//! Delimited text files, read as Redshift's COPY reads them.

mod options;
mod scanner;
mod source;

use super::{Emit, FileReader};
use crate::activity::Progress;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use options::Options;
use scanner::{Field, Outcome, Record, Records};
use slipher_common::assign::{Fault, parse_column};
use slipher_common::plan::{FileRef, LaneFiles};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_proto::plan::CsvOptions;
use source::Source;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A batch ends when its rows have so many bytes.
const BATCH_TEXT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Reads a lane's delimited files.
pub(super) struct Reader {
    options: Options,
    file_schema: SchemaRef,
    types: Vec<SqlType>,
    projection: Vec<usize>,
    schema: SchemaRef,
    batch_rows: usize,
    /// Bad rows are counted over all lanes of the node; the leader adds up the nodes.
    progress: Arc<Progress>,
}

impl Reader {
    /// `schema` is the lane's after projection.
    pub(super) fn new(
        options: &CsvOptions,
        lane: &LaneFiles,
        schema: SchemaRef,
        batch_rows: usize,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        Ok(Self {
            options: Options::new(options)?,
            file_schema: Arc::clone(&lane.schema),
            types: lane.schema.fields().iter().map(|field| SqlType::of_field(field)).collect::<Result<_>>()?,
            projection: lane.projection.clone(),
            schema,
            batch_rows,
            progress,
        })
    }

    /// Reads rows until a batch is full; `false` at the end of the file.
    fn fill(&mut self, source: &mut Source, records: &mut Records) -> Result<bool> {
        records.clear();
        while records.records.len() < self.batch_rows && records.text.len() < BATCH_TEXT_MAX_BYTES {
            match source.scanner.next(records)? {
                Outcome::End => return Ok(false),
                Outcome::Bad(line, fault) => {
                    let place = source.place(line)?;
                    self.reject(row_error(fault, &place))?;
                }
                Outcome::Record => {
                    let Some(record) = records.records.last().copied() else { continue };
                    if let Some(fault) = self.check(&record, records) {
                        records.pop();
                        let place = source.place(record.line)?;
                        self.reject(row_error(fault, &place))?;
                    } else if self.options.ignore_blank_lines && is_blank(&record, records) {
                        records.pop();
                    }
                }
            }
        }
        Ok(true)
    }

    /// What is wrong with a row before its values are looked at. Replaces invalid bytes where that is wanted.
    fn check(&self, record: &Record, records: &mut Records) -> Option<Fault> {
        if self.options.ignore_blank_lines && is_blank(record, records) {
            return None;
        }
        let fields = records.fields_of(record);
        let (found, expected) = (fields.len(), self.types.len());
        // Lines may end with a delimiter, as those of TPC-H's own generator do.
        let ends_with_delimiter = self.options.dialect.csv_quote.is_none()
            && found == expected + 1
            && fields.last().is_some_and(|last| !last.quoted && last.start == last.end);
        let counts = format!("the line has {found} fields, the load {expected} columns");
        if found > expected && !ends_with_delimiter {
            return Some(shape("extra column(s) found", counts));
        }
        if found < expected && !self.options.fill_record {
            return Some(shape("delimiter not found", counts));
        }
        let start = fields.first().map_or(records.text.len(), |first| first.start as usize);
        if records.text[start..].is_ascii() && !records.text[start..].contains(&0) {
            return None;
        }
        check_encoding(records, record, self.options.accept_invalid)
    }

    /// Counts a bad row; an error when there are too many.
    fn reject(&mut self, error: Error) -> Result<()> {
        if self.progress.rejected.add(&error) < self.options.max_error {
            let detail = error.detail.as_deref().unwrap_or_default();
            tracing::warn!(sqlstate = error.sqlstate(), detail, "load skips a row: {error}");
            return Ok(());
        }
        match self.options.max_error {
            0 | 1 => Err(error),
            limit => Err(error.with_hint(format!("MAXERROR {limit} is reached"))),
        }
    }

    /// The rows as a batch, without the bad ones.
    fn convert(&mut self, source: &mut Source, records: &Records) -> Result<RecordBatch> {
        let text = std::str::from_utf8(&records.text).map_err(|error| Error::internal(format!("reading rows: {error}")))?;
        let mut faults: BTreeMap<usize, (usize, Fault)> = BTreeMap::new();
        let mut columns = Vec::with_capacity(self.projection.len());
        for index in &self.projection {
            columns.push(self.convert_column(*index, text, records, &mut faults)?);
        }
        let rows = records.records.len();
        for (row, (column, fault)) in &faults {
            let place = source.place(records.records[*row].line)?;
            let field = self.file_schema.field(*column);
            self.reject(fault.clone().at(&format!("\"{}\"", field.name()), &place))?;
        }
        if !faults.is_empty() {
            let good: BooleanArray = (0..rows).map(|row| Some(!faults.contains_key(&row))).collect();
            columns = columns.iter().map(|column| arrow::compute::filter(column, &good)).collect::<Result<_, _>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows - faults.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// One column; the first fault of each row is kept.
    fn convert_column(
        &self,
        index: usize,
        text: &str,
        records: &Records,
        faults: &mut BTreeMap<usize, (usize, Fault)>,
    ) -> Result<ArrayRef> {
        let (target, field) = (self.types[index], self.file_schema.field(index));
        let is_string = matches!(target, SqlType::Char(_) | SqlType::VarChar(_));
        // FILLRECORD: as an empty field.
        let missing = Field { start: 0, end: 0, quoted: false, null: self.options.dialect.null_as.is_empty() };
        let values = records.records.iter().map(|record| match records.fields_of(record).get(index) {
            Some(field) => self.value(field, text, is_string),
            None => self.value(&missing, text, is_string),
        });
        let mut keep = |row: usize, fault: Fault| {
            faults.entry(row).or_insert((index, fault));
            Ok(())
        };
        let array = parse_column(values, target, &self.options.formats, &mut keep)?;
        if !field.is_nullable() && array.null_count() > 0 {
            for row in (0..array.len()).filter(|row| array.is_null(*row)) {
                keep(row, Fault::null(field.name()))?;
            }
        }
        Ok(array)
    }

    /// A field's text, or `None` for NULL. Empty and blank fields are NULL in columns that are no strings.
    fn value<'a>(&self, field: &Field, text: &'a str, is_string: bool) -> Option<&'a str> {
        if field.null {
            return None;
        }
        let value = &text[field.start as usize..field.end as usize];
        let null = match (is_string, value.is_empty()) {
            (false, _) => value.trim_ascii().is_empty(),
            (true, true) => self.options.empty_as_null && !field.quoted,
            (true, false) => self.options.blanks_as_null && value.trim().is_empty(),
        };
        (!null).then_some(value)
    }
}

impl FileReader for Reader {
    fn read(&mut self, file: &FileRef, emit: Emit<'_>) -> Result<bool> {
        let mut source = Source::open(file, &self.options)?;
        let mut records = Records { supers: self.types.contains(&SqlType::Super), ..Records::default() };
        loop {
            let more = self.fill(&mut source, &mut records)?;
            if !records.records.is_empty() {
                let batch = self.convert(&mut source, &records)?;
                if batch.num_rows() > 0 && !emit(batch) {
                    return Ok(false);
                }
            }
            if !more {
                return Ok(true);
            }
        }
    }
}

fn shape(message: &str, counts: String) -> Fault {
    Fault { kind: ErrorKind::BadFileFormat, message: message.to_owned(), value: Some(counts) }
}

/// The error for a row as a whole.
fn row_error(fault: Fault, place: &str) -> Error {
    let detail = match &fault.value {
        Some(what) => format!("{place}: {what}"),
        None => place.to_owned(),
    };
    Error::new(fault.kind, fault.message).with_detail(detail)
}

fn is_blank(record: &Record, records: &Records) -> bool {
    matches!(records.fields_of(record), [only] if !only.quoted && only.start == only.end)
}

/// Every field must be UTF-8 by itself, without NUL; ACCEPTINVCHARS puts a question mark for each byte that is not.
fn check_encoding(records: &mut Records, record: &Record, accept: bool) -> Option<Fault> {
    for (number, field) in records.fields_of(record).to_vec().iter().enumerate() {
        let bytes = records.bytes_of(field);
        if field.null {
            // NULL AS '\0' is the one place for a NUL byte; it is not read any further, but the batch's text must stay UTF-8.
            records.text[field.start as usize..field.end as usize].fill(b'?');
            continue;
        }
        if accept {
            let valid = replace_invalid(bytes);
            records.text[field.start as usize..field.end as usize].copy_from_slice(&valid);
            continue;
        }
        let what = match std::str::from_utf8(bytes) {
            Err(error) => {
                let bad = &bytes[error.valid_up_to()..];
                let shown: Vec<String> = bad.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                format!("bytes 0x{}", shown.join(" 0x"))
            }
            Ok(text) if text.contains('\0') => "a NUL byte".to_owned(),
            Ok(_) => continue,
        };
        return Some(Fault {
            kind: ErrorKind::InvalidEncoding,
            message: "text is not valid UTF-8".to_owned(),
            value: Some(format!("field {} has {what}; ACCEPTINVCHARS replaces them", number + 1)),
        });
    }
    None
}

fn replace_invalid(bytes: &[u8]) -> Vec<u8> {
    let mut valid = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        valid.extend(chunk.valid().bytes().map(|byte| if byte == 0 { b'?' } else { byte }));
        valid.extend(chunk.invalid().iter().map(|_| b'?'));
    }
    valid
}
