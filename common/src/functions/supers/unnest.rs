//! What FROM iterates over: the elements of arrays and where they stand, the attributes of objects and their names.

use super::{Function, SUPER, array_of, documents, no_such_call, object_of};
use crate::Result;
use crate::super_value::Node;
use arrow::array::{ArrayRef, AsArray, BinaryViewBuilder, Int64Builder, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;

/// `slipher_super_elements(x, keeps_row)`: the elements of an array; NULL where it is none, or, if the row is kept, one element that is NULL
/// where there is none. The same of the others.
pub const SUPER_ELEMENTS: &str = "slipher_super_elements";
/// `slipher_super_places(x, keeps_row)`: the places of the elements of an array, from 0.
pub const SUPER_PLACES: &str = "slipher_super_places";
/// `slipher_super_values(x, keeps_row)`: the values of an object's attributes.
pub const SUPER_VALUES: &str = "slipher_super_values";
/// `slipher_super_names(x, keeps_row)`: the names of an object's attributes.
pub const SUPER_NAMES: &str = "slipher_super_names";

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null, DataType::Boolean] => Ok(vec![SUPER, DataType::Boolean]),
        [other, ..] => Err(no_such_call("unnest", std::slice::from_ref(other), "FROM t, t.a_super AS element")),
        [] => Err(no_such_call("unnest", types, "FROM t, t.a_super AS element")),
    }
}

/// Whether a row without elements stays.
fn keeps_row(arguments: &[ArrayRef]) -> bool {
    arguments.get(1).is_some_and(|flags| flags.as_boolean().iter().next().flatten() == Some(true))
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(SUPER_ELEMENTS, coerce, |_| Ok(list_of(SUPER)), elements),
        Function::new(SUPER_PLACES, coerce, |_| Ok(list_of(DataType::Int64)), places),
        Function::new(SUPER_VALUES, coerce, |_| Ok(list_of(SUPER)), values),
        Function::new(SUPER_NAMES, coerce, |_| Ok(list_of(DataType::Utf8View)), names),
    ]
}

fn elements(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(BinaryViewBuilder::new());
    let keeps = keeps_row(arguments);
    for value in documents(&arguments[0])? {
        let array = value.map(|value| array_of(Node::new(value))).transpose()?.flatten();
        for element in array.iter().flat_map(|array| array.iter()) {
            crate::assign::append_super(lists.values(), element?.bytes());
        }
        if keeps && array.is_none_or(|array| array.is_empty()) {
            lists.values().append_null();
        }
        lists.append(keeps || array.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

fn places(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(Int64Builder::new());
    let keeps = keeps_row(arguments);
    for value in documents(&arguments[0])? {
        let array = value.map(|value| array_of(Node::new(value))).transpose()?.flatten();
        (0..array.map_or(0, |array| array.len() as i64)).for_each(|place| lists.values().append_value(place));
        if keeps && array.is_none_or(|array| array.is_empty()) {
            lists.values().append_null();
        }
        lists.append(keeps || array.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

fn values(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(BinaryViewBuilder::new());
    let keeps = keeps_row(arguments);
    for value in documents(&arguments[0])? {
        let object = value.map(|value| object_of(Node::new(value))).transpose()?.flatten();
        for entry in object.iter().flat_map(|object| object.iter()) {
            crate::assign::append_super(lists.values(), entry?.1.bytes());
        }
        if keeps && object.is_none_or(|object| object.is_empty()) {
            lists.values().append_null();
        }
        lists.append(keeps || object.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

fn names(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    let keeps = keeps_row(arguments);
    for value in documents(&arguments[0])? {
        let object = value.map(|value| object_of(Node::new(value))).transpose()?.flatten();
        for entry in object.iter().flat_map(|object| object.iter()) {
            lists.values().append_value(entry?.0);
        }
        if keeps && object.is_none_or(|object| object.is_empty()) {
            lists.values().append_null();
        }
        lists.append(keeps || object.is_some());
    }
    Ok(Arc::new(lists.finish()))
}
