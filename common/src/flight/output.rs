//! Rows as clients get them: types that every Arrow client reads, CHAR padded to its length, SQL types as metadata.

use crate::assign::json_texts;
use crate::error::{Error, Result};
use crate::sql_type::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use std::sync::Arc;

/// Flight SQL's field metadata key of a column's type name.
const TYPE_NAME_KEY: &str = "ARROW:FLIGHT:SQL:TYPE_NAME";
/// Flight SQL's field metadata key of a column's digits or length.
const PRECISION_KEY: &str = "ARROW:FLIGHT:SQL:PRECISION";
/// Flight SQL's field metadata key of a column's digits behind the point.
const SCALE_KEY: &str = "ARROW:FLIGHT:SQL:SCALE";

/// Turns one query's batches into what was announced for it.
#[derive(Clone, Debug)]
pub struct Output {
    schema: SchemaRef,
    /// Per column: the length to pad to, for CHAR.
    char_bytes: Arc<[Option<usize>]>,
}

impl Output {
    /// For rows of `schema`. Columns are announced as nullable: a plan's nullability is a hint, not a promise.
    pub fn new(schema: &Schema) -> Self {
        let fields = schema.fields().iter().map(|field| client_field(field).with_nullable(true)).collect::<Vec<_>>();
        let char_bytes = schema.fields().iter().map(|field| char_bytes(field)).collect();
        Self { schema: Arc::new(Schema::new(fields)), char_bytes }
    }

    /// For rows that another node announced as `schema`, which [`Output::new`] gave there.
    pub fn announced(schema: SchemaRef) -> Self {
        let char_bytes = schema.fields().iter().map(|field| char_bytes(field)).collect();
        Self { schema, char_bytes }
    }

    /// The schema as clients get it.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// One batch as clients get it.
    pub fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if batch.num_columns() != self.schema.fields().len() {
            return Err(Error::internal(format!(
                "sending rows: {} columns came where {} were announced",
                batch.num_columns(),
                self.schema.fields().len()
            )));
        }
        let columns = batch.columns().iter().zip(self.schema.fields()).zip(self.char_bytes.iter());
        let columns = columns.map(|((column, field), char_bytes)| {
            let column = cast(column, field.data_type())?;
            Ok(match char_bytes {
                Some(bytes) => pad(&column, *bytes),
                None => column,
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn char_bytes(field: &Field) -> Option<usize> {
    match SqlType::of_field(field) {
        Ok(SqlType::Char(length)) => Some(length as usize),
        _ => None,
    }
}

/// Casts without losing values silently.
pub fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    if let (DataType::BinaryView, DataType::Utf8) = (column.data_type(), to) {
        return cast(&json_texts(column.as_binary_view(), usize::MAX)?, to);
    }
    let options = CastOptions { safe: false, ..Default::default() };
    Ok(cast_with_options(column, to, &options)?)
}

/// A schema as clients get it, with the nullability it has.
pub fn client_schema(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().map(|field| client_field(field)).collect::<Vec<_>>())
}

fn client_field(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    if let Ok(sql_type) = SqlType::of_field(field) {
        metadata.insert(TYPE_NAME_KEY.to_owned(), sql_type.to_string());
        match sql_type {
            SqlType::Decimal { precision, scale } => {
                metadata.insert(PRECISION_KEY.to_owned(), precision.to_string());
                metadata.insert(SCALE_KEY.to_owned(), scale.to_string());
            }
            SqlType::Char(length) | SqlType::VarChar(length) | SqlType::VarByte(length) => {
                metadata.insert(PRECISION_KEY.to_owned(), length.to_string());
            }
            _ => {}
        }
    }
    Field::new(field.name(), client_type(field.data_type()), field.is_nullable()).with_metadata(metadata)
}

/// Views, large strings and dictionaries are unknown to some clients; plain arrays are known to all.
fn client_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        // SUPER is sent as its JSON.
        DataType::BinaryView => DataType::Utf8,
        DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => client_type(value),
        DataType::List(item) | DataType::ListView(item) | DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(client_type(item.data_type()))))
        }
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|field| field.as_ref().clone().with_data_type(client_type(field.data_type()))).collect(),
        ),
        other => other.clone(),
    }
}

fn pad(column: &ArrayRef, bytes: usize) -> ArrayRef {
    let Some(strings) = column.as_string_opt::<i32>() else { return column.clone() };
    let mut padded = StringBuilder::with_capacity(strings.len(), strings.len() * bytes);
    for value in strings {
        match value {
            Some(value) => {
                // The length of a CHAR is in bytes, so the padding is too.
                padded.append_value(format!("{value}{:1$}", "", bytes.saturating_sub(value.len())));
            }
            None => padded.append_null(),
        }
    }
    Arc::new(padded.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    #[test]
    fn strings_become_utf8_and_char_is_padded() {
        let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None].into_iter().collect();
        let schema = Arc::new(Schema::new(vec![
            SqlType::Char(4).to_field("c", false),
            SqlType::VarChar(4).to_field("v", true),
            Field::new("d", dictionary.data_type().clone(), true),
        ]));
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("é"), Some("")]));
        let batch = RecordBatch::try_new(schema.clone(), vec![text.clone(), text, Arc::new(dictionary)]).unwrap();
        let sent = Output::new(&schema).convert(&batch).unwrap();
        assert_eq!(sent.schema().field(0).data_type(), &DataType::Utf8);
        assert_eq!(sent.schema().field(0).metadata()[PRECISION_KEY], "4");
        assert_eq!(sent.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("é  "), Some("    ")]);
        assert_eq!(sent.column(1).as_string::<i32>().value(0), "é");
        assert_eq!(sent.column(2).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("x"), None]);
    }
}
