//! VARBYTE: bytes of texts, hexadecimal digits, and lengths.

use super::fault::{Fault, OnFault};
use crate::error::{ErrorKind, Result};
use crate::sql_type::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::datatypes::DataType;
use std::fmt::Write;

/// Longest value of a column in bytes.
fn limit(target: SqlType) -> usize {
    match target {
        SqlType::VarByte(length) => length as usize,
        _ => usize::MAX,
    }
}

/// Two digits a byte.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The bytes of hexadecimal digits; None: they are no whole number of bytes, or no digits.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn add(column: &mut BinaryBuilder, row: usize, value: &[u8], target: SqlType, on_fault: OnFault<'_>) -> Result<()> {
    if value.len() > limit(target) {
        on_fault(row, Fault::too_long(target, &to_hex(value)))?;
        column.append_null();
    } else {
        column.append_value(value);
    }
    Ok(())
}

/// Texts as bytes: their UTF-8, or what their hexadecimal digits say, as in files (`are_hex`).
pub(super) fn parse<'a>(
    values: impl Iterator<Item = Option<&'a str>>,
    target: SqlType,
    are_hex: bool,
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    let mut column = BinaryBuilder::new();
    for (row, value) in values.enumerate() {
        match value {
            None => column.append_null(),
            Some(text) if !are_hex => add(&mut column, row, text.as_bytes(), target, on_fault)?,
            Some(text) => match from_hex(text) {
                Some(bytes) => add(&mut column, row, &bytes, target, on_fault)?,
                None => {
                    let message = format!("invalid input syntax for type {target}: give two hexadecimal digits for each byte");
                    on_fault(row, Fault { kind: ErrorKind::InvalidText, message, value: Some(super::fault::shorten(text)) })?;
                    column.append_null();
                }
            },
        }
    }
    Ok(std::sync::Arc::new(column.finish()))
}

/// A column of bytes as `target`; None: its values are no bytes.
pub(super) fn fit(array: &ArrayRef, target: SqlType, on_fault: OnFault<'_>) -> Result<Option<ArrayRef>> {
    if !matches!(array.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) {
        return Ok(None);
    }
    let array = arrow::compute::cast(array, &DataType::Binary)?;
    let values = array.as_binary::<i32>();
    if values.iter().flatten().all(|value| value.len() <= limit(target)) {
        return Ok(Some(array));
    }
    let mut column = BinaryBuilder::with_capacity(values.len(), values.values().len());
    for (row, value) in values.iter().enumerate() {
        match value {
            Some(value) => add(&mut column, row, value, target, on_fault)?,
            None => column.append_null(),
        }
    }
    Ok(Some(std::sync::Arc::new(column.finish())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes_and_back() {
        assert_eq!(from_hex("00ffA1"), Some(vec![0, 255, 0xa1]));
        assert_eq!(to_hex(&[0, 255, 0xa1]), "00ffa1");
        for wrong in ["0", "0g", "é", "0x"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
