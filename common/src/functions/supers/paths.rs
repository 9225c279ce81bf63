//! Navigation: `x.name`, `x[3]`.

use super::{Function, SUPER, documents, is_super, is_text, no_such_call};
use crate::assign::append_super;
use crate::super_value::{Node, Value};
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder};
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

/// `slipher_super_path(x, strict, step, step, ...)`: what the steps lead to, from x on: texts are names of attributes, numbers places of elements.
/// NULL where they lead nowhere, or an error if it is strict.
pub const SUPER_PATH: &str = "slipher_super_path";

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new(SUPER_PATH, coerce, is_super, navigate)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let step = |known: &DataType| match known {
        text if is_text(text) => Some(DataType::Utf8View),
        whole if whole.is_integer() => Some(DataType::Int64),
        DataType::Null => Some(DataType::Int64),
        DataType::BinaryView => Some(SUPER),
        _ => None,
    };
    let wrong = || no_such_call("[]", types, "a_super.attribute or a_super[position]");
    match types {
        [DataType::BinaryView | DataType::Null, DataType::Boolean, steps @ ..] if !steps.is_empty() => {
            let steps = steps.iter().map(step).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            Ok([SUPER, DataType::Boolean].into_iter().chain(steps).collect())
        }
        [other, ..] if *other != DataType::BinaryView => {
            let name = super::super::sql_name(other);
            Err(Error::new(ErrorKind::WrongObjectType, format!("a value of type {name} has no attributes and no elements"))
                .with_hint("only SUPER values can be navigated; JSON_PARSE makes one of JSON text"))
        }
        _ => Err(wrong()),
    }
}

/// A step of one row.
enum Step<'a> {
    Name(&'a str),
    Place(i64),
    Nowhere,
}

fn step_of(steps: &ArrayRef, row: usize) -> Result<Step<'_>> {
    if steps.is_null(row) {
        return Ok(Step::Nowhere);
    }
    Ok(match steps.data_type() {
        DataType::Utf8View => Step::Name(steps.as_string_view().value(row)),
        DataType::Int64 => Step::Place(steps.as_primitive::<Int64Type>().value(row)),
        _ => match Node::new(documents(steps)?.value(row)).read()? {
            Value::String(name) => Step::Name(name),
            Value::Number(crate::super_value::Number::Int(place)) => Step::Place(place),
            _ => Step::Nowhere,
        },
    })
}

fn go<'a>(node: Node<'a>, step: &Step<'_>) -> Result<Option<Node<'a>>> {
    match (node.read()?, step) {
        (Value::Object(object), Step::Name(name)) => object.get(name),
        (Value::Array(array), Step::Place(place)) => match usize::try_from(*place) {
            Ok(place) => array.get(place),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}

fn nowhere(node: Node<'_>, step: &Step<'_>) -> Error {
    let kind = super::inspect::kind_of(node).unwrap_or("value");
    let kind = if kind.starts_with(['a', 'o']) { format!("an {kind}") } else { format!("a {kind}") };
    let message = match step {
        Step::Name(name) => format!("the super value, {kind}, has no attribute \"{}\"", crate::assign::shorten(name)),
        Step::Place(place) => format!("the super value, {kind}, has no element at position {place}"),
        Step::Nowhere => format!("the super value, {kind}, has no attribute or element of this name"),
    };
    Error::new(ErrorKind::InvalidParameter, message).with_hint("SET navigate_super_null_on_error TO on gives NULL instead")
}

fn navigate(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let strict = arguments[1].as_boolean().iter().next().flatten() == Some(true);
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let mut at = value.map(Node::new);
        for steps in &arguments[2..] {
            let Some(node) = at.filter(|node| !node.is_null()) else { break };
            let step = step_of(steps, row)?;
            at = go(node, &step)?;
            if strict && at.is_none() {
                return Err(nowhere(node, &step));
            }
        }
        match at {
            Some(node) => append_super(&mut answers, node.bytes()),
            None => answers.append_null(),
        }
    }
    Ok(Arc::new(answers.finish()))
}
