//! Arrays as sets and lists: ARRAY_CONTAINS, ARRAY_POSITION, ARRAY_POSITIONS, ARRAY_DISTINCT, ARRAY_UNION, ARRAY_INTERSECTION, ARRAY_EXCEPT,
//! ARRAY_SORT.

use super::arrays::arrays_of_row;
use super::{Function, SUPER, array_of, documents, each_document, is_super, no_such_call, one_super, put_or_refuse};
use crate::Result;
use crate::assign::put_scalar;
use crate::super_value::{ArrayView, Builder, Node, Number, key_of};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Int32Array};
use arrow::datatypes::DataType;
use std::collections::HashSet;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("array_contains", |types| coerce_search("array_contains", types), |_| Ok(DataType::Boolean), contains),
        Function::new("array_position", |types| coerce_search("array_position", types), |_| Ok(DataType::Int32), position),
        Function::new("array_positions", |types| coerce_search("array_positions", types), is_super, positions),
        Function::new(
            "array_distinct",
            |types| one_super("array_distinct", types),
            is_super,
            |arguments| {
                each_document(&arguments[0], |node| array_of(node)?.map(|array| chosen(&[array], |_, _| true)).transpose())
            },
        ),
        Function::new("array_sort", coerce_sort, is_super, sort),
        Function::new(
            "array_union",
            |types| coerce_two("array_union", types),
            is_super,
            |arguments| both(arguments, |one, other| chosen(&[one, other], |_, _| true)),
        ),
        Function::new(
            "array_intersection",
            |types| coerce_two("array_intersection", types),
            is_super,
            |arguments| {
                both(arguments, |one, other| {
                    let there = keys(other)?;
                    chosen(&[one], |key, _| there.contains(key))
                })
            },
        ),
        Function::new(
            "array_except",
            |types| coerce_two("array_except", types),
            is_super,
            |arguments| {
                both(arguments, |one, other| {
                    let there = keys(other)?;
                    chosen(&[one], |key, _| !there.contains(key))
                })
            },
        ),
    ]
}

fn coerce_search(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null, value] => Ok(vec![SUPER, put_or_refuse(&name.to_uppercase(), value)?]),
        [DataType::BinaryView | DataType::Null, value, DataType::Boolean] => {
            Ok(vec![SUPER, put_or_refuse(&name.to_uppercase(), value)?, DataType::Boolean])
        }
        _ => Err(no_such_call(name, types, &format!("{name}(an_array, a_value [, null_match])"))),
    }
}

fn coerce_two(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null, DataType::BinaryView | DataType::Null] => Ok(vec![SUPER; 2]),
        _ => Err(no_such_call(name, types, &format!("{name}(an_array, another_array)"))),
    }
}

fn keys(array: ArrayView<'_>) -> Result<HashSet<Vec<u8>>> {
    array.iter().map(|element| key_of(element?)).collect()
}

/// The first of equal elements of arrays, where they are wanted.
fn chosen(arrays: &[ArrayView<'_>], wanted: impl Fn(&[u8], usize) -> bool) -> Result<Vec<u8>> {
    let mut seen = HashSet::new();
    let mut builder = Builder::default();
    builder.open_array()?;
    for (index, array) in arrays.iter().enumerate() {
        for element in array.iter() {
            let element = element?;
            let key = key_of(element)?;
            if wanted(&key, index) && seen.insert(key) {
                builder.value(element)?;
            }
        }
    }
    builder.close()?;
    builder.finish()
}

fn both(arguments: &[ArrayRef], answer: impl Fn(ArrayView<'_>, ArrayView<'_>) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let rows = arguments[0].len();
    let mut values = BinaryViewBuilder::with_capacity(rows);
    for row in 0..rows {
        match arrays_of_row(arguments, row)?.as_deref() {
            Some([one, other]) => values.append_value(answer(*one, *other)?),
            _ => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// Where the value of a row stands in its array.
struct Found {
    places: Vec<usize>,
    /// A NULL takes part that matches nothing: nobody knows.
    unknown: bool,
}

fn search(arguments: &[ArrayRef], row: usize, only_first: bool) -> Result<Option<Found>> {
    let values = documents(&arguments[0])?;
    let null_match = match arguments.get(2) {
        None => true,
        Some(flags) if flags.is_null(row) => return Ok(None),
        Some(flags) => flags.as_boolean().value(row),
    };
    if values.is_null(row) {
        return Ok(None);
    }
    let Some(array) = array_of(Node::new(values.value(row)))? else { return Ok(None) };
    let mut builder = Builder::default();
    put_scalar(&mut builder, &arguments[1], row)?;
    let wanted = builder.finish()?;
    if Node::new(&wanted).is_null() && !null_match {
        return Ok(None);
    }
    let wanted = key_of(Node::new(&wanted))?;
    let mut found = Found { places: Vec::new(), unknown: false };
    for (place, element) in array.iter().enumerate() {
        let element = element?;
        found.unknown |= element.is_null() && !null_match;
        if key_of(element)? == wanted {
            found.places.push(place);
            if only_first {
                break;
            }
        }
    }
    Ok(Some(found))
}

fn contains(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let answer = |row: usize| -> Result<Option<bool>> {
        Ok(search(arguments, row, true)?.and_then(|found| match found.places.is_empty() {
            false => Some(true),
            true if found.unknown => None,
            true => Some(false),
        }))
    };
    Ok(Arc::new((0..arguments[0].len()).map(answer).collect::<Result<BooleanArray>>()?))
}

/// From 0; -1 where it is not.
fn position(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let answer = |row: usize| -> Result<Option<i32>> {
        Ok(search(arguments, row, true)?.and_then(|found| match found.places.first() {
            Some(place) => i32::try_from(*place).ok(),
            None if found.unknown => None,
            None => Some(-1),
        }))
    };
    Ok(Arc::new((0..arguments[0].len()).map(answer).collect::<Result<Int32Array>>()?))
}

fn positions(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut values = BinaryViewBuilder::with_capacity(arguments[0].len());
    for row in 0..arguments[0].len() {
        match search(arguments, row, false)? {
            Some(found) if !(found.places.is_empty() && found.unknown) => {
                let mut builder = Builder::default();
                builder.open_array()?;
                for place in found.places {
                    builder.number(Number::Int(place as i64))?;
                }
                builder.close()?;
                values.append_value(builder.finish()?);
            }
            _ => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

fn coerce_sort(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null] => Ok(vec![SUPER]),
        [DataType::BinaryView | DataType::Null, DataType::Boolean] => Ok(vec![SUPER, DataType::Boolean]),
        [DataType::BinaryView | DataType::Null, DataType::Boolean, DataType::Boolean] => {
            Ok(vec![SUPER, DataType::Boolean, DataType::Boolean])
        }
        _ => Err(no_such_call("array_sort", types, "array_sort(an_array [, ascending [, nulls_first]])")),
    }
}

fn sort(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values = documents(&arguments[0])?;
    let flag = |index: usize, row: usize| {
        arguments.get(index).map(|flags| flags.as_boolean()).filter(|flags| flags.is_valid(row)).map(|flags| flags.value(row))
    };
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let Some(array) = value.map(|value| array_of(Node::new(value))).transpose()?.flatten() else {
            answers.append_null();
            continue;
        };
        let ascending = flag(1, row).unwrap_or(true);
        let nulls_first = flag(2, row).unwrap_or(!ascending);
        let mut sorted = Vec::with_capacity(array.len());
        for element in array.iter() {
            let element = element?;
            sorted.push((element.is_null() != nulls_first, key_of(element)?, element));
        }
        sorted.sort_by(|one, other| {
            let values = if ascending { one.1.cmp(&other.1) } else { other.1.cmp(&one.1) };
            one.0.cmp(&other.0).then(values)
        });
        let mut builder = Builder::default();
        builder.open_array()?;
        for (_, _, element) in sorted {
            builder.value(element)?;
        }
        builder.close()?;
        answers.append_value(builder.finish()?);
    }
    Ok(Arc::new(answers.finish()))
}
