//! ARRAY, ARRAY_CONCAT, ARRAY_FLATTEN, GET_ARRAY_LENGTH, SPLIT_TO_ARRAY, SUBARRAY.

use super::{Function, SUPER, array_of, documents, each_document, is_super, is_text, no_such_call, one_super, put_or_refuse};
use crate::assign::put_scalar;
use crate::super_value::{ArrayView, Builder, Node};
use crate::{Result, SqlType};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, Int32Array};
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("array", |types| types.iter().map(|known| put_or_refuse("ARRAY", known)).collect(), is_super, array),
        Function::new("array_concat", coerce_concat, is_super, concat),
        Function::new(
            "array_flatten",
            |types| one_super("array_flatten", types),
            is_super,
            |arguments| each_document(&arguments[0], flattened),
        ),
        Function::new("get_array_length", |types| one_super("get_array_length", types), |_| Ok(DataType::Int32), length),
        Function::new("split_to_array", coerce_split, is_super, split),
        Function::new("subarray", coerce_subarray, is_super, subarray),
    ]
}

/// The rows' values in an array each.
fn array(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    // Without arguments there is one row; the engine repeats it.
    let rows = arguments.first().map_or(1, |first| first.len());
    let mut values = BinaryViewBuilder::with_capacity(rows);
    let mut builder = Builder::default();
    for row in 0..rows {
        builder.open_array()?;
        for argument in arguments {
            put_scalar(&mut builder, argument, row)?;
        }
        builder.close()?;
        values.append_value(builder.finish()?);
    }
    Ok(Arc::new(values.finish()))
}

fn coerce_concat(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_super = |known: &DataType| matches!(known, DataType::BinaryView | DataType::Null);
    match types {
        [_, _, ..] if types.iter().all(is_super) => Ok(vec![SUPER; types.len()]),
        _ => Err(no_such_call("array_concat", types, "array_concat(an_array, another_array)")),
    }
}

/// The elements of several arrays in one.
pub(super) fn put_all<'a>(arrays: impl IntoIterator<Item = ArrayView<'a>>) -> Result<Vec<u8>> {
    let mut builder = Builder::default();
    builder.open_array()?;
    for array in arrays {
        for element in array.iter() {
            builder.value(element?)?;
        }
    }
    builder.close()?;
    builder.finish()
}

/// The arrays of a row; None where one is none.
pub(super) fn arrays_of_row(arguments: &[ArrayRef], row: usize) -> Result<Option<Vec<ArrayView<'_>>>> {
    let mut arrays = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let values = documents(argument)?;
        if values.is_null(row) {
            return Ok(None);
        }
        match array_of(Node::new(values.value(row)))? {
            Some(array) => arrays.push(array),
            None => return Ok(None),
        }
    }
    Ok(Some(arrays))
}

fn concat(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = arguments[0].len();
    let mut values = BinaryViewBuilder::with_capacity(rows);
    for row in 0..rows {
        match arrays_of_row(arguments, row)? {
            Some(arrays) => values.append_value(put_all(arrays)?),
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// Arrays inside of the array give way to their elements, on all levels.
fn flattened(node: Node<'_>) -> Result<Option<Vec<u8>>> {
    let Some(array) = array_of(node)? else { return Ok(None) };
    let mut builder = Builder::default();
    builder.open_array()?;
    let mut open = vec![(array, 0)];
    while let Some((array, at)) = open.last_mut() {
        let Some(element) = array.get(*at)? else {
            open.pop();
            continue;
        };
        *at += 1;
        match array_of(element)? {
            Some(inner) => open.push((inner, 0)),
            None => builder.value(element)?,
        }
    }
    builder.close()?;
    builder.finish().map(Some)
}

fn length(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let mut answers = Vec::with_capacity(values.len());
    for value in values {
        let array = value.map(|value| array_of(Node::new(value))).transpose()?.flatten();
        answers.push(array.and_then(|array| i32::try_from(array.len()).ok()));
    }
    Ok(Arc::new(Int32Array::from(answers)))
}

fn coerce_split(types: &[DataType]) -> Result<Vec<DataType>> {
    let textual = |known: &DataType| is_text(known) || *known == DataType::Null;
    match types {
        [_] | [_, _] if types.iter().all(textual) => Ok(vec![DataType::Utf8View; types.len()]),
        _ => Err(no_such_call("split_to_array", types, "split_to_array(a_text [, a_delimiter])")),
    }
}

fn split(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = arguments[0].as_string_view();
    let delimiters = arguments.get(1).map(|delimiters| delimiters.as_string_view());
    let mut values = BinaryViewBuilder::with_capacity(texts.len());
    let mut builder = Builder::default();
    for row in 0..texts.len() {
        let delimiter = match delimiters {
            None => Some(","),
            Some(delimiters) => delimiters.is_valid(row).then(|| delimiters.value(row)),
        };
        let (true, Some(delimiter)) = (texts.is_valid(row), delimiter) else {
            values.append_null();
            continue;
        };
        builder.open_array()?;
        match delimiter {
            "" => builder.string(texts.value(row))?,
            _ => texts.value(row).split(delimiter).try_for_each(|part| builder.string(part))?,
        }
        builder.close()?;
        values.append_value(builder.finish()?);
    }
    Ok(Arc::new(values.finish()))
}

fn coerce_subarray(types: &[DataType]) -> Result<Vec<DataType>> {
    let whole = |known: &DataType| known.is_integer() || *known == DataType::Null;
    match types {
        [DataType::BinaryView | DataType::Null, start, count] if whole(start) && whole(count) => {
            Ok(vec![SUPER, SqlType::BigInt.to_arrow(), SqlType::BigInt.to_arrow()])
        }
        _ => Err(no_such_call("subarray", types, "subarray(an_array, start, length)")),
    }
}

fn subarray(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let (starts, counts) = (arguments[1].as_primitive::<Int64Type>(), arguments[2].as_primitive::<Int64Type>());
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let array = value.map(|value| array_of(Node::new(value))).transpose()?.flatten();
        let (Some(array), true, true) = (array, starts.is_valid(row), counts.is_valid(row)) else {
            answers.append_null();
            continue;
        };
        // Negative places count from the end.
        let length = array.len() as i64;
        let given = starts.value(row);
        let start = if given < 0 { given.saturating_add(length) } else { given };
        let end = start.saturating_add(counts.value(row).max(0));
        let (start, end) = (start.clamp(0, length) as usize, end.clamp(0, length) as usize);
        let mut builder = Builder::default();
        builder.open_array()?;
        for index in start..end {
            if let Some(element) = array.get(index)? {
                builder.value(element)?;
            }
        }
        builder.close()?;
        answers.append_value(builder.finish()?);
    }
    Ok(Arc::new(answers.finish()))
}
