//! Results as JSON.

use crate::wire::values::text::Style;
use crate::wire::values::{Column, ValueType};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};
use slipher_common::assign::Zone;
use slipher_common::{Error, Result, SqlType};
use std::sync::Arc;

/// Numbers read back as they were; moments are in the session's zone.
fn style(zone: Option<Arc<Zone>>) -> Style {
    Style { extra_float_digits: 1, zone }
}

/// What is told of an error.
pub(super) fn error(error: &Error) -> Value {
    json!({
        "sqlstate": error.sqlstate(),
        "message": error.message,
        "detail": error.detail,
        "hint": error.hint,
        "position": error.position,
    })
}

/// Names and types of columns.
pub(super) fn columns(schema: &Schema) -> Vec<Value> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let sql_type = SqlType::of_field(field).map_or_else(|_| field.data_type().to_string(), |known| known.to_string());
        json!({ "name": field.name(), "type": sql_type, "nullable": field.is_nullable() })
    };
    schema.fields().iter().map(column).collect()
}

/// Rows as arrays of values: whole numbers, finite floats and booleans as such, everything else as text, since JSON's numbers would
/// lose digits of DECIMAL.
pub(super) fn rows(batch: &RecordBatch, zone: Option<&Arc<Zone>>) -> Result<Vec<Value>> {
    let style = style(zone.cloned());
    let schema = batch.schema();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, values) in schema.fields().iter().zip(batch.columns()) {
        columns.push((Column::new(&ValueType::of_field(field)?, values)?, SqlType::of_field(field).ok()));
    }
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|(column, sql_type)| value(column, *sql_type, row, &style))
                .collect::<Result<Vec<_>>>()
                .map(Value::from)
        })
        .collect()
}

fn value(column: &Column, sql_type: Option<SqlType>, row: usize, style: &Style) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let mut text = String::new();
    column.write_text(row, style, &mut text).map_err(|error| Error::internal(format!("writing a value as text: {error}")))?;
    Ok(match sql_type {
        Some(SqlType::Boolean) => Value::Bool(text == "t"),
        Some(SqlType::SmallInt | SqlType::Integer | SqlType::BigInt | SqlType::Real | SqlType::DoublePrecision) => {
            // NaN and infinity are no JSON numbers.
            serde_json::from_str::<serde_json::Number>(&text).map_or(Value::String(text), Value::Number)
        }
        _ => Value::String(text),
    })
}
