//! What a value is: JSON_TYPEOF, IS_ARRAY and the like.

use super::{Function, documents, one_super};
use crate::Result;
use crate::super_value::{Node, Number, Value};
use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, StringViewArray};
use arrow::datatypes::DataType;
use std::sync::Arc;

macro_rules! tests {
    ($($name:literal => $test:expr),* $(,)?) => {
        vec![$(Function::new(
            $name,
            |types| one_super($name, types),
            |_| Ok(DataType::Boolean),
            |arguments| each(arguments, $test),
        )),*]
    };
}

pub(super) fn functions() -> Vec<Function> {
    let mut all = tests! {
        "is_array" => |value| matches!(value, Value::Array(_)),
        "is_object" => |value| matches!(value, Value::Object(_)),
        "is_scalar" => |value| matches!(value, Value::Boolean(_) | Value::Number(_) | Value::String(_)),
        "is_boolean" => |value| matches!(value, Value::Boolean(_)),
        "is_varchar" => |value| matches!(value, Value::String(_)),
        "is_char" => |value| matches!(value, Value::String(_)),
        "is_smallint" => |value| whole_in(value, i16::MIN.into(), i16::MAX.into()),
        "is_integer" => |value| whole_in(value, i32::MIN.into(), i32::MAX.into()),
        "is_bigint" => |value| whole_in(value, i64::MIN, i64::MAX),
        "is_decimal" => |value| matches!(value, Value::Number(Number::Int(_) | Number::Decimal(..))),
        "is_float" => |value| matches!(value, Value::Number(Number::Double(_))),
    };
    all.push(Function::new("json_typeof", |types| one_super("json_typeof", types), |_| Ok(DataType::Utf8View), type_of));
    all.push(Function::new(
        "decimal_precision",
        |types| one_super("decimal_precision", types),
        |_| Ok(DataType::Int32),
        |arguments| {
            digits(arguments, |unscaled, scale| {
                unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1).max(scale) as i32
            })
        },
    ));
    all.push(Function::new(
        "decimal_scale",
        |types| one_super("decimal_scale", types),
        |_| Ok(DataType::Int32),
        |arguments| digits(arguments, |_, scale| scale as i32),
    ));
    all
}

fn whole_in(value: Value<'_>, least: i64, most: i64) -> bool {
    matches!(value, Value::Number(Number::Int(whole)) if (least..=most).contains(&whole))
}

/// NULL is nothing of all that.
fn each(arguments: &[ArrayRef], test: impl Fn(Value<'_>) -> bool) -> Result<ArrayRef> {
    let test = |value: Option<&[u8]>| match value {
        Some(value) => Ok(test(Node::new(value).read()?)),
        None => Ok(false),
    };
    let answers = documents(&arguments[0])?.iter().map(test).collect::<Result<Vec<bool>>>()?;
    Ok(Arc::new(BooleanArray::from(answers)))
}

/// The name of a value's kind, as JSON_TYPEOF tells it.
pub(super) fn kind_of(node: Node<'_>) -> Result<&'static str> {
    Ok(match node.read()? {
        Value::Null => "null",
        Value::Boolean(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

fn type_of(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let kinds = values.iter().map(|value| value.map_or(Ok("null"), |value| kind_of(Node::new(value))));
    Ok(Arc::new(StringViewArray::from(kinds.collect::<Result<Vec<_>>>()?)))
}

fn digits(arguments: &[ArrayRef], tell: impl Fn(i128, u32) -> i32) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let mut answers = Vec::with_capacity(values.len());
    for value in values {
        answers.push(match value.map(|value| Node::new(value).read()).transpose()? {
            Some(Value::Number(Number::Int(whole))) => Some(tell(whole.into(), 0)),
            Some(Value::Number(Number::Decimal(unscaled, scale))) => Some(tell(unscaled, scale.into())),
            _ => None,
        });
    }
    Ok(Arc::new(Int32Array::from(answers)))
}
