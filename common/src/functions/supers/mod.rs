//! Functions of SUPER values.

mod arithmetic;
mod arrays;
mod compare;
mod convert;
mod inspect;
mod json;
mod objects;
mod paths;
mod search;
mod unnest;

pub use arithmetic::{SUPER_NEGATE, super_arithmetic};
pub use compare::SUPER_ORDER;
pub(super) use compare::{key_column, keyed_column, unkeyed_column};
pub use convert::{SUPER_AS, TO_SUPER};
pub use json::{JSON_PARSE, SUPER_STRING};
pub use paths::SUPER_PATH;
pub use unnest::{SUPER_ELEMENTS, SUPER_NAMES, SUPER_PLACES, SUPER_VALUES};

use super::{Function, is_text, no_such_call};
use crate::super_value::{ArrayView, Node, ObjectView, Value};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder};
use arrow::datatypes::DataType;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    [
        arithmetic::functions(),
        arrays::functions(),
        compare::functions(),
        convert::functions(),
        inspect::functions(),
        json::functions(),
        objects::functions(),
        paths::functions(),
        search::functions(),
        unnest::functions(),
    ]
    .into_iter()
    .flatten()
    // Almost all of them answer NULL where they find something else than they look for.
    .map(|function| Function { may_be_null: true, ..function })
    .collect()
}

/// The type of SUPER columns.
const SUPER: DataType = DataType::BinaryView;

/// The result is SUPER.
fn is_super(_types: &[DataType]) -> Result<DataType> {
    Ok(SUPER)
}

/// The type in which values of `data_type` are put into SUPER values; `None` where they cannot be.
fn put_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Null => DataType::Null,
        DataType::Boolean => DataType::Boolean,
        DataType::BinaryView => SUPER,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => DataType::Int16,
        DataType::UInt16 | DataType::Int32 => DataType::Int32,
        DataType::UInt32 | DataType::Int64 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Float64 => DataType::Float64,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        text if is_text(text) => DataType::Utf8View,
        DataType::Dictionary(_, value) => return put_type(value),
        _ => return None,
    })
}

/// The same; 42846 where there is none. `who` cannot convert it.
fn put_or_refuse(who: &str, data_type: &DataType) -> Result<DataType> {
    put_type(data_type).ok_or_else(|| {
        let message = format!("{who} could not convert type {} to super", name_of(data_type));
        Error::new(ErrorKind::CannotCoerce, message).with_hint("cast the value to VARCHAR first")
    })
}

/// A type's name in SQL.
fn name_of(data_type: &DataType) -> String {
    SqlType::from_arrow(data_type)
        .map_or_else(|_| super::sql_name(data_type), |known| crate::assign::base_name(known).to_string())
}

/// One SUPER argument; other scalars become one.
fn one_super(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null] => Ok(vec![SUPER]),
        _ => Err(no_such_call(name, types, &format!("{name}(a_super)"))),
    }
}

fn documents(array: &ArrayRef) -> Result<&BinaryViewArray> {
    array
        .as_binary_view_opt()
        .ok_or_else(|| Error::internal(format!("a function of SUPER got a column of {}", array.data_type())))
}

/// A value of each row's; rows that are NULL, or of which nothing comes, are NULL.
fn each_document(array: &ArrayRef, mut answer: impl FnMut(Node<'_>) -> Result<Option<Vec<u8>>>) -> Result<ArrayRef> {
    let values = documents(array)?;
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    for value in values {
        match value.map(|value| answer(Node::new(value))).transpose()?.flatten() {
            Some(bytes) => crate::assign::append_super(&mut answers, &bytes),
            None => answers.append_null(),
        }
    }
    Ok(Arc::new(answers.finish()))
}

fn array_of(node: Node<'_>) -> Result<Option<ArrayView<'_>>> {
    Ok(match node.read()? {
        Value::Array(array) => Some(array),
        _ => None,
    })
}

fn object_of(node: Node<'_>) -> Result<Option<ObjectView<'_>>> {
    Ok(match node.read()? {
        Value::Object(object) => Some(object),
        _ => None,
    })
}
