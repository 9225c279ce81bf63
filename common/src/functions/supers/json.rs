//! JSON text and SUPER values: JSON_PARSE, CAN_JSON_PARSE, JSON_SERIALIZE, JSON_SIZE.

use super::{Function, documents, is_super, is_text, no_such_call, one_super};
use crate::assign::{append_super, json_texts, strings_of};
use crate::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use crate::super_value::{Node, ParseOptions, parse_json, write_json};
use crate::{Error, Result, SqlType};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Int32Array};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_super_string(x)`: the string that a SUPER value is; NULL where it is none. What patterns are matched with.
pub const SUPER_STRING: &str = "slipher_super_string";

/// `json_parse(text [, options])`.
pub const JSON_PARSE: &str = "json_parse";

/// Of the options of JSON_PARSE in its second argument: what is no JSON is NULL.
const NULL_ON_ERROR: i64 = 1;
/// The last one of equal attributes stays.
const DEDUP_ATTRIBUTES: i64 = 2;
/// Long strings are cut.
const TRUNCATE_STRINGS: i64 = 4;

pub(super) fn functions() -> Vec<Function> {
    let mut serialize = Function::new(
        "json_serialize",
        |types| one_super("json_serialize", types),
        |_| Ok(DataType::Utf8View),
        |arguments| json_texts(documents(&arguments[0])?, VARCHAR_LENGTH_MAX_BYTES as usize),
    );
    serialize.describe = Some(|fields, _| {
        let nullable = fields.iter().any(|field| field.is_nullable());
        Some(Arc::new(SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES).to_field("json_serialize", nullable)))
    });
    vec![
        Function::new(JSON_PARSE, coerce_parse, is_super, parse),
        Function::new("can_json_parse", |types| one_text("can_json_parse", types), |_| Ok(DataType::Boolean), can_parse),
        serialize,
        Function::new("json_size", |types| one_super("json_size", types), |_| Ok(DataType::Int32), size),
        Function::new(
            SUPER_STRING,
            |types| one_super(SUPER_STRING, types),
            |_| Ok(DataType::Utf8View),
            |arguments| strings_of(documents(&arguments[0])?),
        ),
    ]
}

fn one_text(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if is_text(text) || *text == DataType::Null => Ok(vec![DataType::Utf8View]),
        _ => Err(no_such_call(name, types, &format!("{name}(a_text)"))),
    }
}

fn coerce_parse(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, options] if (is_text(text) || *text == DataType::Null) && options.is_integer() => {
            Ok(vec![DataType::Utf8View, DataType::Int64])
        }
        _ => one_text(JSON_PARSE, types),
    }
}

fn parse(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = arguments[0].as_string_view();
    let chosen = arguments
        .get(1)
        .map_or(0, |options| options.as_primitive::<arrow::datatypes::Int64Type>().values().first().copied().unwrap_or(0));
    let options =
        ParseOptions { dedup_attributes: chosen & DEDUP_ATTRIBUTES != 0, truncate_strings: chosen & TRUNCATE_STRINGS != 0 };
    let mut values = BinaryViewBuilder::with_capacity(texts.len());
    for text in texts {
        match text.map(|text| parse_json(text, options)) {
            None => values.append_null(),
            Some(Ok(value)) => append_super(&mut values, &value),
            Some(Err(_)) if chosen & NULL_ON_ERROR != 0 => values.append_null(),
            Some(Err(error)) => {
                return Err(Error { message: format!("JSON_PARSE: {}", error.message), ..error });
            }
        }
    }
    Ok(Arc::new(values.finish()))
}

fn can_parse(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = arguments[0].as_string_view();
    let answers = texts.iter().map(|text| text.map(|text| parse_json(text, ParseOptions::default()).is_ok()));
    Ok(Arc::new(answers.collect::<BooleanArray>()))
}

/// Bytes of the JSON text.
fn size(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let mut answers = Vec::with_capacity(values.len());
    let mut text = String::new();
    for value in values {
        text.clear();
        answers.push(match value {
            Some(value) => {
                write_json(Node::new(value), usize::MAX, &mut text)?;
                i32::try_from(text.len()).ok()
            }
            None => None,
        });
    }
    Ok(Arc::new(Int32Array::from(answers)))
}
