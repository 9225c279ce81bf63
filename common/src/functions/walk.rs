//! The way from a root of a hierarchy to a row of it, as CONNECT BY walks it.

use super::{Function, is_text, no_such_call};
use crate::{Error, ErrorKind, Result};
use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_walk(way, key)`: the way with the key of one more row at its end; an error where the key is on it already. A key stands in it with
/// its length in bytes before it, so that no two ways are one text.
pub const WALK: &str = "slipher_walk";

pub(super) fn function() -> Function {
    let texts = |types: &[DataType]| match types {
        [way, key] if (is_text(way) || *way == DataType::Null) && (is_text(key) || *key == DataType::Null) => {
            Ok(vec![DataType::Utf8View; 2])
        }
        _ => Err(no_such_call(WALK, types, "a way and a key")),
    };
    Function::new(WALK, texts, |_| Ok(DataType::Utf8View), |v| walk(&v[0], &v[1]))
}

fn walk(ways: &ArrayRef, keys: &ArrayRef) -> Result<ArrayRef> {
    let (ways, keys) = (cast(ways, &DataType::Utf8View)?, cast(keys, &DataType::Utf8View)?);
    let rows = ways.as_string_view().iter().zip(keys.as_string_view());
    let longer = rows.map(|(way, key)| {
        let (way, key) = (way.unwrap_or_default(), key.unwrap_or_default());
        match on_the_way(way, key) {
            true => Err(a_loop(key)),
            false => Ok(Some(format!("{way}{}:{key}", key.len()))),
        }
    });
    Ok(Arc::new(longer.collect::<Result<StringViewArray>>()?))
}

fn on_the_way(mut way: &str, key: &str) -> bool {
    while let Some((length, rest)) = way.split_once(':') {
        let Some((known, others)) = length.parse::<usize>().ok().and_then(|length| rest.split_at_checked(length)) else {
            return false;
        };
        if known == key {
            return true;
        }
        way = others;
    }
    false
}

fn a_loop(key: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, "CONNECT BY loop in the rows")
        .with_detail(format!("the row of key {key:?} is below itself"))
        .with_hint("leave such rows out with a condition in CONNECT BY, for example AND LEVEL < 10")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_on_the_way() {
        let one = |way: &str, key: &str| {
            let column = |text: &str| Arc::new(StringViewArray::from(vec![text])) as ArrayRef;
            walk(&column(way), &column(key)).map(|ways| ways.as_string_view().value(0).to_owned())
        };
        let way = ["1", "2", "12", "1:2", ""].iter().try_fold(String::new(), |way, key| one(&way, key)).unwrap();
        assert_eq!(way, "1:11:22:123:1:20:");
        for key in ["1", "2", "12", "1:2", ""] {
            assert!(one(&way, key).is_err(), "{key:?}");
        }
        assert!(one(&way, "3").is_ok());
    }
}
