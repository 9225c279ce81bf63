//! Trailing blanks: comparisons of strings do not see them, everything else does.

use super::supers::{key_column, keyed_column, unkeyed_column};
use super::{Function, downcast, is_text, no_such_call};
use crate::assign::strings::fit;
use crate::{Error, Result, SqlType};
use arrow::array::{
    Array, ArrayRef, ByteView, GenericStringArray, Int64Array, OffsetSizeTrait, StringViewArray, StringViewBuilder, make_view,
};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::sync::{Arc, LazyLock};

/// `tight(x)`: x without trailing blanks, of the same type. What a string is compared by that may end in one.
pub const TIGHT: &str = "tight";
/// `slipher_blank_key(x)`: a string whose order by bytes is the order of `tight(x)`, then of the number of blanks behind it.
pub const BLANK_KEY: &str = "slipher_blank_key";
/// `slipher_blank_value(slipher_blank_key(x))`: x again.
pub const BLANK_VALUE: &str = "slipher_blank_value";
/// `slipher_as(x, 'type', nullable)`: x, declared to be of this type (if one is named), NULL or not: aggregates forget what their arguments are.
pub const AS_TYPE: &str = "slipher_as";
/// `slipher_char(x, bytes)`: x as a CHAR of so many bytes, which is kept without trailing blanks.
pub const AS_CHAR: &str = "slipher_char";

/// Longest string whose bytes are in its view.
const INLINE_MAX_BYTES: u32 = 12;
/// Ends the string itself in [`BLANK_KEY`]; blanks follow.
const END: u8 = 0;
/// Stands before a byte of the string that would be taken for [`END`] or for this one.
const ESCAPE: u8 = 1;

pub(super) fn functions() -> Vec<Function> {
    let mut tight = Function::new(TIGHT, |types| one_text(TIGHT, types), |types| same_type(TIGHT, types), tight);
    tight.describe = Some(|fields, _| declared(TIGHT, fields.first()?, fields.first()?.is_nullable()));
    let mut as_type =
        Function::new(AS_TYPE, as_type_coerce, |types| same_type(AS_TYPE, types), |arguments| Ok(Arc::clone(&arguments[0])));
    as_type.describe = Some(describe_as_type);
    let mut as_char = Function::new(AS_CHAR, as_char_coerce, |_| Ok(DataType::Utf8View), as_char);
    as_char.describe = Some(describe_as_char);
    vec![
        tight,
        Function::new(
            BLANK_KEY,
            |types| one_view(BLANK_KEY, types),
            |types| same_type(BLANK_KEY, types),
            |arguments| match arguments[0].data_type() {
                DataType::BinaryView => keyed_column(&arguments[0]),
                _ => recoded(&arguments[0], key_of),
            },
        ),
        Function::new(
            BLANK_VALUE,
            |types| one_view(BLANK_VALUE, types),
            |types| same_type(BLANK_VALUE, types),
            |arguments| match arguments[0].data_type() {
                DataType::BinaryView => unkeyed_column(&arguments[0]),
                _ => recoded(&arguments[0], value_of),
            },
        ),
        as_type,
        as_char,
    ]
}

/// The argument of a call of `tight`: whatever hashes, counts or estimates strings as comparisons see them need not know the difference. None for
/// SUPER values: equal ones may have different bytes, their keys have not.
pub fn tight_argument(expression: &Arc<dyn PhysicalExpr>) -> Option<&Arc<dyn PhysicalExpr>> {
    let call = expression
        .downcast_ref::<ScalarFunctionExpr>()
        .filter(|call| call.name() == TIGHT && *call.return_type() != DataType::BinaryView)?;
    call.args().first()
}

/// `tight`, for plans that are made by hand.
pub fn tight_udf() -> Result<Arc<ScalarUDF>> {
    static FUNCTION: LazyLock<Option<Arc<ScalarUDF>>> =
        LazyLock::new(|| super::all().into_iter().find(|function| function.name() == TIGHT));
    FUNCTION.clone().ok_or_else(|| Error::internal("there is no function \"tight\""))
}

/// Whether any value ends in a blank.
pub fn ends_in_blank(array: &StringViewArray) -> bool {
    first_with_blank(array).is_some()
}

fn one_text(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if is_text(text) || *text == DataType::BinaryView => Ok(types.to_vec()),
        [DataType::Null] => Ok(vec![DataType::Utf8View]),
        _ => Err(no_such_call(name, types, &format!("{name}(a_string)"))),
    }
}

fn one_view(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    one_text(name, types).map(|types| match types.as_slice() {
        [DataType::BinaryView] => types,
        _ => vec![DataType::Utf8View],
    })
}

fn same_type(name: &str, types: &[DataType]) -> Result<DataType> {
    types.first().cloned().ok_or_else(|| no_such_call(name, types, &format!("{name}(a_string)")))
}

/// A field of the SQL type of `like`, where that has one of its own.
fn declared(name: &str, like: &Field, nullable: bool) -> Option<FieldRef> {
    if !like.metadata().contains_key(crate::sql_type::TYPE_METADATA_KEY) {
        return None;
    }
    let sql_type = SqlType::of_field(like).ok().filter(|known| known.to_arrow() == *like.data_type())?;
    Some(Arc::new(sql_type.to_field(name, nullable)))
}

/// A column as comparisons see it: strings without trailing blanks, everything else as it is.
pub fn tight_key(column: &ArrayRef) -> Result<ArrayRef> {
    if is_text(column.data_type()) || *column.data_type() == DataType::BinaryView {
        tight(std::slice::from_ref(column))
    } else {
        Ok(Arc::clone(column))
    }
}

fn tight(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let array = &arguments[0];
    Ok(match array.data_type() {
        DataType::Utf8View => tight_views(array)?,
        DataType::Utf8 => tight_strings::<i32>(array)?,
        DataType::LargeUtf8 => tight_strings::<i64>(array)?,
        DataType::BinaryView => key_column(array)?,
        other => return Err(Error::internal(format!("{TIGHT} got a column of {other}"))),
    })
}

fn tight_strings<O: OffsetSizeTrait>(array: &ArrayRef) -> Result<ArrayRef> {
    let texts: &GenericStringArray<O> = downcast(array)?;
    if !texts.iter().flatten().any(|text| text.ends_with(' ')) {
        return Ok(Arc::clone(array));
    }
    let shortened = texts.iter().map(|text| text.map(|text| text.trim_end_matches(' ')));
    Ok(Arc::new(shortened.collect::<GenericStringArray<O>>()))
}

/// New views of the same bytes; the array itself where no value ends in a blank.
fn tight_views(array: &ArrayRef) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(array)?;
    let Some(first) = first_with_blank(texts) else { return Ok(Arc::clone(array)) };
    let mut views = texts.views().to_vec();
    for (row, view) in views.iter_mut().enumerate().skip(first) {
        if texts.is_null(row) || last_byte(*view, texts.data_buffers()) != Some(b' ') {
            continue;
        }
        let place = ByteView::from(*view);
        let kept = texts.value(row).trim_end_matches(' ');
        // A short string's view holds its bytes, not a place: make_view looks at the length first.
        *view = make_view(kept.as_bytes(), place.buffer_index, place.offset);
    }
    let tight = StringViewArray::try_new(views.into(), texts.data_buffers().to_vec(), texts.nulls().cloned())?;
    Ok(Arc::new(tight))
}

fn first_with_blank(texts: &StringViewArray) -> Option<usize> {
    let buffers = texts.data_buffers();
    let mut views = texts.views().iter().enumerate();
    views.find(|(row, view)| last_byte(**view, buffers) == Some(b' ') && texts.is_valid(*row)).map(|(row, _)| row)
}

/// The last byte of a view's string, without looking at the others.
fn last_byte(view: u128, buffers: &[Buffer]) -> Option<u8> {
    // The lower 32 bits of a view are its length.
    let length = view as u32;
    match length {
        0 => None,
        1..=INLINE_MAX_BYTES => Some((view >> (24 + 8 * length)) as u8),
        _ => {
            let place = ByteView::from(view);
            let end = (place.offset as usize).checked_add(length as usize)?;
            buffers.get(place.buffer_index as usize)?.get(end - 1).copied()
        }
    }
}

fn recoded(array: &ArrayRef, recode: fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(array)?;
    let mut answer = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        match text {
            Some(text) => answer.append_value(recode(text)?),
            None => answer.append_null(),
        }
    }
    Ok(Arc::new(answer.finish()))
}

fn key_of(text: &str) -> Result<String> {
    let tight = text.trim_end_matches(' ');
    let mut key = String::with_capacity(text.len() + 1);
    for letter in tight.chars() {
        match letter as u32 {
            byte if byte == u32::from(END) || byte == u32::from(ESCAPE) => {
                key.push(char::from(ESCAPE));
                key.push(char::from(ESCAPE + byte as u8));
            }
            _ => key.push(letter),
        }
    }
    key.push(char::from(END));
    key.push_str(&text[tight.len()..]);
    Ok(key)
}

fn value_of(key: &str) -> Result<String> {
    let torn = || Error::internal("a key of a string with its blanks is torn");
    let (tight, blanks) = key.split_once(char::from(END)).ok_or_else(torn)?;
    let mut value = String::with_capacity(key.len());
    let mut letters = tight.chars();
    while let Some(letter) = letters.next() {
        if letter != char::from(ESCAPE) {
            value.push(letter);
            continue;
        }
        let escaped = letters.next().and_then(|letter| u8::try_from(letter).ok());
        value.push(char::from(escaped.and_then(|byte| byte.checked_sub(ESCAPE)).ok_or_else(torn)?));
    }
    value.push_str(blanks);
    Ok(value)
}

fn as_type_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [value, name, nullable] if is_text(name) && *nullable == DataType::Boolean => {
            Ok(vec![value.clone(), name.clone(), nullable.clone()])
        }
        _ => Err(no_such_call(AS_TYPE, types, "CAST(a_value AS a_type)")),
    }
}

fn describe_as_type(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let value = fields.first()?;
    let name = (*literals.get(1)?)?.try_as_str().flatten()?;
    let nullable = !matches!(literals.get(2)?, Some(ScalarValue::Boolean(Some(false))));
    let sql_type = SqlType::from_name(name).filter(|known| known.to_arrow() == *value.data_type());
    let plain = || Field::new(AS_TYPE, value.data_type().clone(), nullable);
    Some(Arc::new(sql_type.map_or_else(plain, |known| known.to_field(AS_TYPE, nullable))))
}

fn as_char_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, bytes] if (is_text(text) || *text == DataType::Null) && bytes.is_integer() => {
            Ok(vec![DataType::Utf8View, DataType::Int64])
        }
        _ => Err(no_such_call(AS_CHAR, types, "CAST(a_value AS CHAR(n))")),
    }
}

fn describe_as_char(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let Some(Some(ScalarValue::Int64(Some(bytes)))) = literals.get(1) else { return None };
    let length = u32::try_from(*bytes).ok()?;
    Some(Arc::new(SqlType::Char(length).to_field(AS_CHAR, fields.iter().any(|field| field.is_nullable()))))
}

/// What does not fit is cut off, as an explicit cast does.
fn as_char(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = cast(&arguments[0], &DataType::Utf8View)?;
    let texts: &StringViewArray = downcast(&texts)?;
    let bytes: &Int64Array = downcast(&arguments[1])?;
    let mut answer = StringViewBuilder::with_capacity(texts.len());
    for (text, bytes) in texts.iter().zip(bytes) {
        let fitted = text.zip(bytes.and_then(|bytes| u32::try_from(bytes).ok()));
        answer.append_option(fitted.and_then(|(text, bytes)| fit(text, SqlType::Char(bytes), true)));
    }
    Ok(Arc::new(answer.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::hash_columns;
    use arrow::array::{AsArray, LargeStringArray, StringArray};
    use proptest::prelude::*;

    /// Strings around the limit of what a view holds itself, with blanks and what sorts before them.
    fn texts() -> impl Strategy<Value = Vec<Option<String>>> {
        let text = prop_oneof!["[ab\t\u{0}\u{1}ü ]{0,16} {0,14}", " {0,3}", "[a-z]{13,30} {0,20}"];
        prop::collection::vec(prop::option::weighted(0.8, text), 1..40)
    }

    fn call(function: fn(&[ArrayRef]) -> Result<ArrayRef>, array: ArrayRef) -> ArrayRef {
        function(&[array]).unwrap()
    }

    fn strings(array: &ArrayRef) -> Vec<Option<String>> {
        cast(array, &DataType::Utf8View).unwrap().as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
    }

    proptest! {
        #[test]
        fn every_kind_of_array_loses_its_blanks_and_nothing_else(texts in texts()) {
            let expected: Vec<_> = texts.iter().map(|text| text.as_ref().map(|text| text.trim_end_matches(' ').to_owned())).collect();
            let view: ArrayRef = Arc::new(StringViewArray::from_iter(texts.iter()));
            let all: [ArrayRef; 3] = [Arc::clone(&view), Arc::new(StringArray::from_iter(texts.iter())), Arc::new(LargeStringArray::from_iter(texts.iter()))];
            for array in all {
                let shorter = call(tight, Arc::clone(&array));
                prop_assert_eq!(shorter.data_type(), array.data_type());
                prop_assert_eq!(strings(&shorter), expected.clone());
                prop_assert_eq!(hash_columns(&[Arc::clone(&shorter)], texts.len()).unwrap(), hash_columns(&[array], texts.len()).unwrap());
                prop_assert!(Arc::ptr_eq(&call(tight, Arc::clone(&shorter)), &shorter), "a second time changes nothing");
            }
            // Equal strings have equal views, whether they were shortened or made.
            let shorter = call(tight, Arc::clone(&view));
            let made = StringViewArray::from_iter(expected.iter());
            for (row, text) in expected.iter().enumerate() {
                if text.as_ref().is_some_and(|text| text.len() <= INLINE_MAX_BYTES as usize) {
                    prop_assert_eq!(shorter.as_string_view().views()[row], made.views()[row]);
                }
            }
            prop_assert_eq!(ends_in_blank(view.as_string_view()), texts.iter().flatten().any(|text| text.ends_with(' ')));
            // A part of an array has other rows and the same buffers.
            let half = view.slice(texts.len() / 2, texts.len() - texts.len() / 2);
            prop_assert_eq!(strings(&call(tight, half)), expected[texts.len() / 2..].to_vec());
        }

        #[test]
        fn keys_sort_as_comparisons_do_and_can_be_read_again(one in "[ab\t\u{0}\u{1}ü ]{0,5} {0,3}", other in "[ab\t\u{0}\u{1}ü ]{0,5} {0,3}") {
            let (key, other_key) = (key_of(&one).unwrap(), key_of(&other).unwrap());
            prop_assert_eq!(value_of(&key).unwrap(), one.clone());
            let order = one.trim_end_matches(' ').cmp(other.trim_end_matches(' ')).then(one.len().cmp(&other.len()));
            prop_assert_eq!(key.as_bytes().cmp(other_key.as_bytes()), order);
        }
    }

    #[test]
    fn casts_to_char_cut_and_lose_blanks() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("ab cd"), Some("ab   "), Some("ü"), None]));
        let bytes = |length: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![length; 4])) };
        let cut = |length: i64| strings(&as_char(&[Arc::clone(&texts), bytes(length)]).unwrap());
        assert_eq!(cut(3), [Some("ab".to_owned()), Some("ab".to_owned()), Some("ü".to_owned()), None]);
        assert_eq!(cut(1), [Some("a".to_owned()), Some("a".to_owned()), Some(String::new()), None]);
    }

    #[test]
    fn a_key_that_is_none_is_an_error() {
        assert!(value_of("without an end").is_err());
        assert!(value_of("\u{1}\u{0}").is_err());
    }
}
