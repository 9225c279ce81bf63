//! JSON kept in strings: JSON_EXTRACT_PATH_TEXT, JSON_EXTRACT_ARRAY_ELEMENT_TEXT, JSON_ARRAY_LENGTH, IS_VALID_JSON, IS_VALID_JSON_ARRAY.

use super::json_scan::{self, Kind, Value};
use super::{Function, downcast, is_text, no_such_call};
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, StringViewArray, StringViewBuilder};
use arrow::datatypes::DataType;
use std::borrow::Cow;
use std::sync::Arc;

/// Names that a path may have.
const PATH_NAMES_MAX: usize = 5;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("json_extract_path_text", coerce_path, |_| Ok(DataType::Utf8View), extract_path),
        Function::new("json_extract_array_element_text", coerce_element, |_| Ok(DataType::Utf8View), extract_element),
        Function::new("json_array_length", coerce_length, |_| Ok(DataType::Int32), array_length),
        Function::new(
            "is_valid_json",
            |types| one_text("is_valid_json", types),
            |_| Ok(DataType::Boolean),
            |arguments| valid(arguments, |value| value.kind == Kind::Object),
        ),
        Function::new(
            "is_valid_json_array",
            |types| one_text("is_valid_json_array", types),
            |_| Ok(DataType::Boolean),
            |arguments| valid(arguments, |value| value.kind == Kind::Array),
        ),
    ]
}

fn textual(data_type: &DataType) -> bool {
    is_text(data_type) || *data_type == DataType::Null
}

fn one_text(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if textual(text) => Ok(vec![DataType::Utf8View]),
        _ => Err(no_such_call(name, types, &format!("{name}(a_text)"))),
    }
}

fn coerce_path(types: &[DataType]) -> Result<Vec<DataType>> {
    let usage = "json_extract_path_text(json, name [, name ...] [, null_if_invalid]), with at most five names";
    let names = match types.split_last() {
        Some((DataType::Boolean, rest)) => rest.len(),
        _ => types.len(),
    };
    if !(2..=PATH_NAMES_MAX + 1).contains(&names) || !types[..names].iter().all(textual) {
        return Err(no_such_call("json_extract_path_text", types, usage));
    }
    Ok(types.iter().map(|known| if *known == DataType::Boolean { DataType::Boolean } else { DataType::Utf8View }).collect())
}

fn coerce_element(types: &[DataType]) -> Result<Vec<DataType>> {
    let whole = |known: &DataType| known.is_integer() || *known == DataType::Null;
    match types {
        [text, at] if textual(text) && whole(at) => Ok(vec![DataType::Utf8View, DataType::Int64]),
        [text, at, DataType::Boolean] if textual(text) && whole(at) => {
            Ok(vec![DataType::Utf8View, DataType::Int64, DataType::Boolean])
        }
        _ => {
            let usage = "json_extract_array_element_text(json, position [, null_if_invalid])";
            Err(no_such_call("json_extract_array_element_text", types, usage))
        }
    }
}

fn coerce_length(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if textual(text) => Ok(vec![DataType::Utf8View]),
        [text, DataType::Boolean] if textual(text) => Ok(vec![DataType::Utf8View, DataType::Boolean]),
        _ => Err(no_such_call("json_array_length", types, "json_array_length(json [, null_if_invalid])")),
    }
}

/// The flag of a row: whether JSON that is none is NULL. `None`: the flag is NULL, and so is the answer.
fn null_if_invalid(flags: Option<&BooleanArray>, row: usize) -> Option<bool> {
    match flags {
        None => Some(false),
        Some(flags) => flags.is_valid(row).then(|| flags.value(row)),
    }
}

/// The JSON value of a text; NULL where it is none and may be.
fn parsed<'a>(text: &'a str, wanted: Kind, lenient: bool) -> Result<Option<Value<'a>>> {
    match json_scan::parse(text) {
        Some(value) if value.kind == wanted => Ok(Some(value)),
        _ if lenient => Ok(None),
        _ => {
            let what = if wanted == Kind::Array { "array" } else { "object" };
            Err(Error::new(ErrorKind::InvalidText, format!("invalid JSON {what}"))
                .with_detail(format!("\"{}\"", crate::assign::shorten(text)))
                .with_hint("give TRUE as the last argument to get NULL instead"))
        }
    }
}

/// What a value is as text: strings without quotes, NULL for null, all else as it stands.
fn shown<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    match value.kind {
        Kind::Null => None,
        Kind::String => Some(json_scan::unescape(value.text)),
        _ => Some(Cow::Borrowed(value.text)),
    }
}

fn extract_path(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (flags, texts) = match arguments.split_last() {
        Some((last, rest)) if *last.data_type() == DataType::Boolean => (Some(downcast::<BooleanArray>(last)?), rest),
        _ => (None, arguments),
    };
    let texts = texts.iter().map(downcast::<StringViewArray>).collect::<Result<Vec<_>>>()?;
    let Some((documents, names)) = texts.split_first() else { return Err(Error::internal("a path without JSON")) };
    let mut answer = StringViewBuilder::with_capacity(documents.len());
    for row in 0..documents.len() {
        let lenient = null_if_invalid(flags, row).filter(|_| texts.iter().all(|text| text.is_valid(row)));
        let Some(lenient) = lenient else {
            answer.append_null();
            continue;
        };
        let mut value = parsed(documents.value(row), Kind::Object, lenient)?;
        for name in names {
            value = value.and_then(|object| json_scan::member(&object, name.value(row)));
        }
        answer.append_option(value.as_ref().and_then(shown));
    }
    Ok(Arc::new(answer.finish()))
}

fn extract_element(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let documents: &StringViewArray = downcast(&arguments[0])?;
    let positions: &Int64Array = downcast(&arguments[1])?;
    let flags = arguments.get(2).map(downcast::<BooleanArray>).transpose()?;
    let mut answer = StringViewBuilder::with_capacity(documents.len());
    for row in 0..documents.len() {
        let known = documents.is_valid(row) && positions.is_valid(row);
        let Some(lenient) = null_if_invalid(flags, row).filter(|_| known) else {
            answer.append_null();
            continue;
        };
        let array = parsed(documents.value(row), Kind::Array, lenient)?;
        let position = usize::try_from(positions.value(row)).ok();
        let value = array.zip(position).and_then(|(array, position)| json_scan::elements(&array).nth(position));
        answer.append_option(value.as_ref().and_then(shown));
    }
    Ok(Arc::new(answer.finish()))
}

fn array_length(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let documents: &StringViewArray = downcast(&arguments[0])?;
    let flags = arguments.get(1).map(downcast::<BooleanArray>).transpose()?;
    let one = |row: usize| {
        let Some(lenient) = null_if_invalid(flags, row).filter(|_| documents.is_valid(row)) else { return Ok(None) };
        let array = parsed(documents.value(row), Kind::Array, lenient)?;
        Ok(array.map(|array| i32::try_from(json_scan::elements(&array).count()).unwrap_or(i32::MAX)))
    };
    Ok(Arc::new((0..documents.len()).map(one).collect::<Result<Int32Array>>()?))
}

fn valid(arguments: &[ArrayRef], is: fn(&Value<'_>) -> bool) -> Result<ArrayRef> {
    let documents: &StringViewArray = downcast(&arguments[0])?;
    let answers = documents.iter().map(|text| text.map(|text| json_scan::parse(text).is_some_and(|value| is(&value))));
    Ok(Arc::new(answers.collect::<BooleanArray>()))
}
