//! VARBYTE: casts to it, and what it is written as and read from.

use super::{Function, downcast, is_text, no_such_call};
use crate::assign::{from_hex, to_hex};
use crate::sql_type::{SqlType, VARBYTE_LENGTH_DEFAULT_BYTES};
use crate::{Error, ErrorKind, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int16Array, Int32Array, Int64Array, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, FieldRef};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use datafusion::common::ScalarValue;
use std::sync::Arc;

/// `slipher_bytes(x [, bytes])`: the UTF-8 of a text, the bytes of a whole number from the highest to the lowest, at most so many of them. What
/// CAST(x AS VARBYTE(n)) becomes.
pub const AS_BYTES: &str = "slipher_bytes";

pub(super) fn functions() -> Vec<Function> {
    let bytes = |_: &[DataType]| Ok(DataType::Binary);
    let text = |_: &[DataType]| Ok(DataType::Utf8View);
    let mut cast = Function::new(AS_BYTES, cast_coerce, bytes, as_bytes);
    cast.describe = Some(describe_bytes);
    vec![
        cast,
        Function::new("to_varbyte", to_varbyte_coerce, bytes, to_varbyte),
        Function::new("from_varbyte", from_varbyte_coerce, text, from_varbyte),
        Function::new("from_hex", from_hex_coerce, bytes, read_hex),
        Function::new("getbit", getbit_coerce, |_| Ok(DataType::Int32), getbit),
    ]
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary)
}

fn cast_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let source = |data_type: &DataType| match data_type {
        text if is_text(text) => Some(DataType::Utf8View),
        DataType::Null => Some(DataType::Binary),
        bytes if is_bytes(bytes) => Some(DataType::Binary),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(data_type.clone()),
        _ => None,
    };
    match types {
        [value] => source(value).map(|value| vec![value]),
        [value, length] if length.is_integer() => source(value).map(|value| vec![value, DataType::Int64]),
        _ => None,
    }
    .ok_or_else(|| {
        let from = types.first().map_or_else(|| "nothing".to_owned(), crate::casts::type_name);
        Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to binary varying"))
            .with_hint("cast text or a whole number to VARBYTE")
    })
}

/// The result knows its length, as a column of CREATE TABLE AS does.
fn describe_bytes(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let nullable = fields.iter().any(|field| field.is_nullable());
    let own = || match SqlType::of_field(fields.first()?).ok()? {
        SqlType::VarByte(length) | SqlType::VarChar(length) | SqlType::Char(length) => Some(length),
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => Some(8),
        _ => None,
    };
    let length = match literals.get(1) {
        Some(Some(ScalarValue::Int64(Some(bytes)))) => u32::try_from(*bytes).ok()?,
        _ => own().unwrap_or(VARBYTE_LENGTH_DEFAULT_BYTES),
    };
    Some(Arc::new(SqlType::VarByte(length).to_field(AS_BYTES, nullable)))
}

fn as_bytes(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let most = match arguments.get(1) {
        Some(lengths) => {
            let lengths: &Int64Array = downcast(lengths)?;
            lengths.iter().flatten().next().and_then(|length| usize::try_from(length).ok())
        }
        None => None,
    };
    let mut column = BinaryBuilder::new();
    let mut add = |value: Option<&[u8]>| match value {
        Some(value) => column.append_value(&value[..value.len().min(most.unwrap_or(usize::MAX))]),
        None => column.append_null(),
    };
    let value = &arguments[0];
    match value.data_type() {
        DataType::Utf8View => value.as_string_view().iter().for_each(|text| add(text.map(str::as_bytes))),
        DataType::Binary => value.as_binary::<i32>().iter().for_each(add),
        DataType::Int16 => {
            downcast::<Int16Array>(value)?.iter().for_each(|n| add(n.map(i16::to_be_bytes).as_ref().map(|b| &b[..])))
        }
        DataType::Int32 => {
            downcast::<Int32Array>(value)?.iter().for_each(|n| add(n.map(i32::to_be_bytes).as_ref().map(|b| &b[..])))
        }
        _ => downcast::<Int64Array>(value)?.iter().for_each(|n| add(n.map(i64::to_be_bytes).as_ref().map(|b| &b[..]))),
    }
    Ok(Arc::new(column.finish()))
}

fn text_like(data_type: &DataType) -> bool {
    is_text(data_type) || *data_type == DataType::Null
}

fn to_varbyte_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, format] if text_like(text) && text_like(format) => Ok(vec![DataType::Utf8View; 2]),
        _ => Err(no_such_call("to_varbyte", types, "to_varbyte(a_text, 'hex')")),
    }
}

fn from_varbyte_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [bytes, format] if (is_bytes(bytes) || *bytes == DataType::Null) && text_like(format) => {
            Ok(vec![DataType::Binary, DataType::Utf8View])
        }
        _ => Err(no_such_call("from_varbyte", types, "from_varbyte(a_varbyte, 'hex')")),
    }
}

fn from_hex_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if text_like(text) => Ok(vec![DataType::Utf8View]),
        _ => Err(no_such_call("from_hex", types, "from_hex(a_text)")),
    }
}

fn getbit_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [bytes, index] if (is_bytes(bytes) || *bytes == DataType::Null) && (index.is_integer() || *index == DataType::Null) => {
            Ok(vec![DataType::Binary, DataType::Int64])
        }
        _ => Err(no_such_call("getbit", types, "getbit(a_varbyte, index_of_the_bit)")),
    }
}

/// How bytes are written as text.
enum Form {
    Hex,
    Utf8,
    Base64,
}

impl Form {
    fn parse(function: &str, name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
            "hex" => Ok(Self::Hex),
            "utf8" => Ok(Self::Utf8),
            "base64" => Ok(Self::Base64),
            _ => Err(Error::new(ErrorKind::InvalidParameter, format!("{function}: there is no format \"{name}\""))
                .with_hint("say 'hex', 'utf8' or 'base64'")),
        }
    }
}

fn not_in_form(function: &str, text: &str, what: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::new(ErrorKind::InvalidText, format!("{function}: \"{shown}\" is not {what}"))
}

fn read(function: &str, text: &str, form: &Form) -> Result<Vec<u8>> {
    match form {
        Form::Hex => from_hex(text).ok_or_else(|| not_in_form(function, text, "two hexadecimal digits for each byte")),
        Form::Utf8 => Ok(text.as_bytes().to_vec()),
        Form::Base64 => BASE64_STANDARD.decode(text).map_err(|_| not_in_form(function, text, "base64")),
    }
}

fn to_varbyte(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, formats): (&StringViewArray, &StringViewArray) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let values = texts.iter().zip(formats.iter()).map(|(text, format)| match (text, format) {
        (Some(text), Some(format)) => read("to_varbyte", text, &Form::parse("to_varbyte", format)?).map(Some),
        _ => Ok(None),
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>()))
}

fn read_hex(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let values = texts.iter().map(|text| text.map(|text| read("from_hex", text, &Form::Hex)).transpose());
    let values = values.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>()))
}

fn from_varbyte(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, formats): (&BinaryArray, &StringViewArray) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let mut texts = StringViewBuilder::with_capacity(values.len());
    for (value, format) in values.iter().zip(formats.iter()) {
        let (Some(value), Some(format)) = (value, format) else {
            texts.append_null();
            continue;
        };
        let text = match Form::parse("from_varbyte", format)? {
            Form::Hex => to_hex(value),
            Form::Base64 => BASE64_STANDARD.encode(value),
            Form::Utf8 => std::str::from_utf8(value)
                .map_err(|_| {
                    let message =
                        format!("from_varbyte: the bytes {} are not valid UTF-8", to_hex(&value[..value.len().min(20)]));
                    Error::new(ErrorKind::InvalidEncoding, message).with_hint("write them with the format 'hex'")
                })?
                .to_owned(),
        };
        texts.append_value(text);
    }
    let texts = texts.finish();
    super::bounded::check_lengths("from_varbyte", &texts)?;
    Ok(Arc::new(texts))
}

/// Hexadecimal digits of VARBYTE.
pub(super) fn hex_of(values: &BinaryArray) -> Result<ArrayRef> {
    let texts: StringViewArray = values.iter().map(|value| value.map(to_hex)).collect();
    super::bounded::check_lengths("to_hex", &texts)?;
    Ok(Arc::new(texts))
}

/// The bit of an index, which counts from the lowest bit of the last byte.
fn getbit(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, indexes): (&BinaryArray, &Int64Array) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let bit = |value: &[u8], index: i64| {
        let place = usize::try_from(index).ok().filter(|index| index / 8 < value.len());
        let place = place.ok_or_else(|| {
            let message = format!("getbit: bit {index} is outside of a value of {} bits", 8 * value.len());
            Error::new(ErrorKind::InvalidParameter, message).with_hint("bits count from 0")
        })?;
        Ok(i32::from(value[value.len() - 1 - place / 8] >> (place % 8) & 1))
    };
    let bits = values.iter().zip(indexes.iter()).map(|(value, index)| match (value, index) {
        (Some(value), Some(index)) => bit(value, index).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(bits.collect::<Result<Int32Array>>()?))
}

/// A function of texts that VARBYTE has, too.
pub(super) struct OfBytes {
    name: &'static str,
    /// Whole numbers behind the value: at least so many, and at most.
    numbers: (usize, usize),
    /// The type of the result.
    pub(super) returns: DataType,
    /// Computes it.
    pub(super) compute: super::Compute,
}

const OF_BYTES: &[OfBytes] = &[
    OfBytes { name: "character_length", numbers: (0, 0), returns: DataType::Int32, compute: lengths },
    OfBytes { name: "octet_length", numbers: (0, 0), returns: DataType::Int32, compute: lengths },
    OfBytes { name: "reverse", numbers: (0, 0), returns: DataType::Binary, compute: reversed },
    OfBytes { name: "substr", numbers: (1, 2), returns: DataType::Binary, compute: parts },
];

/// What a function is where its first argument is VARBYTE.
pub(super) fn of_bytes(name: &str, first: Option<&DataType>) -> Option<&'static OfBytes> {
    if first != Some(&DataType::Binary) {
        return None;
    }
    OF_BYTES.iter().find(|function| function.name == name)
}

impl OfBytes {
    /// The types of its arguments; None: it has no such ones.
    pub(super) fn coerced(&self, types: &[DataType]) -> Option<Vec<DataType>> {
        let numbers = types.get(1..)?;
        let fits = (self.numbers.0..=self.numbers.1).contains(&numbers.len())
            && numbers.iter().all(|known| known.is_integer() || *known == DataType::Null);
        fits.then(|| std::iter::once(DataType::Binary).chain(numbers.iter().map(|_| DataType::Int64)).collect())
    }
}

fn lengths(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values: &BinaryArray = downcast(&arguments[0])?;
    Ok(Arc::new(values.iter().map(|value| value.and_then(|value| i32::try_from(value.len()).ok())).collect::<Int32Array>()))
}

fn reversed(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let values: &BinaryArray = downcast(&arguments[0])?;
    let values = values.iter().map(|value| value.map(|value| value.iter().rev().copied().collect::<Vec<u8>>()));
    Ok(Arc::new(values.collect::<BinaryArray>()))
}

/// The bytes from a place, which counts from 1, on; so many of them where that is said.
fn parts(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, starts): (&BinaryArray, &Int64Array) = (downcast(&arguments[0])?, downcast(&arguments[1])?);
    let lengths: Option<&Int64Array> = arguments.get(2).map(downcast).transpose()?;
    let part = |value: &[u8], start: i64, length: Option<i64>| {
        if length.is_some_and(|length| length < 0) {
            return Err(Error::new(ErrorKind::InvalidParameter, "negative substring length not allowed"));
        }
        let place = |at: i64| usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(value.len());
        let from = start.saturating_sub(1);
        let to = length.map_or(value.len(), |length| place(from.saturating_add(length)));
        Ok(value.get(place(from)..to).unwrap_or_default().to_vec())
    };
    let mut answer = BinaryBuilder::new();
    for row in 0..values.len() {
        let is_null = values.is_null(row) || starts.is_null(row) || lengths.is_some_and(|lengths| lengths.is_null(row));
        if is_null {
            answer.append_null();
        } else {
            answer.append_value(part(values.value(row), starts.value(row), lengths.map(|lengths| lengths.value(row)))?);
        }
    }
    Ok(Arc::new(answer.finish()))
}
