//! How SUPER values are compared.

use super::{Function, SUPER, documents, no_such_call};
use crate::super_value::{Node, Rank, key_of, rank_of_key};
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, BinaryViewBuilder, Int32Array};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_super_order(a, b)`: -1, 0 or 1 as a is less than, equal to or greater than b; NULL where they are not two booleans, numbers or
/// strings: others have no order.
pub const SUPER_ORDER: &str = "slipher_super_order";

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new(SUPER_ORDER, coerce, |_| Ok(DataType::Int32), order)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null, DataType::BinaryView | DataType::Null] => Ok(vec![SUPER; 2]),
        _ => Err(no_such_call("<", types, "a comparison of SUPER values")),
    }
}

fn order(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (documents(&arguments[0])?, documents(&arguments[1])?);
    let mut answers = Vec::with_capacity(left.len());
    for (one, other) in left.iter().zip(right) {
        let (Some(one), Some(other)) = (one, other) else {
            answers.push(None);
            continue;
        };
        let (one, other) = (key_of(Node::new(one))?, key_of(Node::new(other))?);
        let rank = rank_of_key(&one).filter(|rank| matches!(rank, Rank::Boolean | Rank::Number | Rank::String));
        answers.push((rank.is_some() && rank == rank_of_key(&other)).then(|| one.cmp(&other) as i32));
    }
    Ok(Arc::new(Int32Array::from(answers)))
}

fn recoded(array: &ArrayRef, recode: impl Fn(&[u8]) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let values = documents(array)?;
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    for value in values {
        match value {
            Some(value) => answers.append_value(recode(value)?),
            None => answers.append_null(),
        }
    }
    Ok(Arc::new(answers.finish()))
}

/// The keys of values: what they are compared, sorted, grouped and joined by.
pub(in crate::functions) fn key_column(array: &ArrayRef) -> Result<ArrayRef> {
    recoded(array, |value| key_of(Node::new(value)))
}

/// Bytes of a length behind a value.
const LENGTH_BYTES: usize = 4;

/// Keys that bring their values along: key, value, and how long that is.
pub(in crate::functions) fn keyed_column(array: &ArrayRef) -> Result<ArrayRef> {
    recoded(array, |value| {
        let mut key = key_of(Node::new(value))?;
        key.extend_from_slice(value);
        key.extend_from_slice(&(value.len() as u32).to_le_bytes());
        Ok(key)
    })
}

/// The values of [`keyed_column`].
pub(in crate::functions) fn unkeyed_column(array: &ArrayRef) -> Result<ArrayRef> {
    recoded(array, |key| {
        let torn = || Error::internal("a key of a SUPER value with its value is torn");
        let (rest, length) = key.split_last_chunk::<LENGTH_BYTES>().ok_or_else(torn)?;
        let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize).ok_or_else(torn)?;
        Ok(rest[start..].to_vec())
    })
}
