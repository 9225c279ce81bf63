//! `H`, Slipher's distribution hash: `slice = H(DISTKEY) mod slice_count`.
//!
//! Version 1 is XXH3-64 (<https://github.com/Cyan4973/xxHash>, seed 0) over a value's canonical bytes, so that values that
//! compare equal have one hash whatever their type's width:
//! - integers, dates, times and timestamps: the 64-bit integer, little endian;
//! - decimals: without trailing zeros behind the point; those that are whole numbers in 64 bits as the integer, others as the
//!   128-bit number (256-bit where it has so many), little endian, followed by one byte for the scale;
//! - floats: the bits of the 64-bit float, little endian, with −0.0 as 0.0 and one NaN;
//! - booleans: as the integers 0 and 1;
//! - strings: their bytes without trailing blanks;
//! - NULL: the constant [`NULL_HASH`].
//!
//! Several columns are folded left to right: `h = rotate_left(h, 5) xor next, then multiplied by an odd constant`.
//! Stored rows are placed by these numbers: a change is a new version with new golden vectors, never an edit.

use crate::error::{Error, ErrorKind, Result};
use crate::time_units::interval_nanos;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::*;
use xxhash_rust::xxh3::xxh3_64;

/// The version of `H` that this code computes; kept with every cluster.
pub const HASH_VERSION: u32 = 1;
/// `H(NULL)`.
pub const NULL_HASH: u64 = 0x9e37_79b9_7f4a_7c15;
/// Multiplier of the fold over several columns (odd, from the golden ratio).
const FOLD_MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

/// `H` of each row of `columns` (all of the same length); one column is its plain hash, several are folded.
pub fn hash_columns(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![0u64; rows];
    for (index, column) in columns.iter().enumerate() {
        if index == 0 {
            hash_one(column, |row, hash| hashes[row] = hash)?;
        } else {
            hash_one(column, |row, hash| {
                hashes[row] = (hashes[row].rotate_left(5) ^ hash).wrapping_mul(FOLD_MULTIPLIER);
            })?;
        }
    }
    Ok(hashes)
}

/// The slice of each row for a DISTKEY column.
pub fn slices_of(key: &ArrayRef, slice_count: u32) -> Result<Vec<u32>> {
    let hashes = hash_columns(std::slice::from_ref(key), key.len())?;
    Ok(hashes.into_iter().map(|hash| (hash % u64::from(slice_count)) as u32).collect())
}

fn hash_one(column: &ArrayRef, mut put: impl FnMut(usize, u64)) -> Result<()> {
    let n = column.nulls().filter(|nulls| nulls.null_count() > 0);
    let mut emit = |row: usize, hash: u64| put(row, if n.is_some_and(|n| n.is_null(row)) { NULL_HASH } else { hash });
    match column.data_type() {
        DataType::Null => (0..column.len()).for_each(|row| put(row, NULL_HASH)),
        DataType::Boolean => {
            let values = column.as_boolean().values();
            (0..column.len()).for_each(|row| emit(row, hash_i64(i64::from(values.value(row)))));
        }
        DataType::Int8 => integers::<Int8Type>(column, emit),
        DataType::Int16 => integers::<Int16Type>(column, emit),
        DataType::Int32 => integers::<Int32Type>(column, emit),
        DataType::Int64 => integers::<Int64Type>(column, emit),
        DataType::UInt8 => integers::<UInt8Type>(column, emit),
        DataType::UInt16 => integers::<UInt16Type>(column, emit),
        DataType::UInt32 => integers::<UInt32Type>(column, emit),
        DataType::UInt64 => {
            for (row, value) in column.as_primitive::<UInt64Type>().values().iter().enumerate() {
                emit(row, hash_decimal(i128::from(*value), 0));
            }
        }
        DataType::Date32 => integers::<Date32Type>(column, emit),
        DataType::Time64(TimeUnit::Microsecond) => integers::<Time64MicrosecondType>(column, emit),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers::<TimestampMicrosecondType>(column, emit),
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            values.iter().enumerate().for_each(|(row, value)| emit(row, hash_f64(f64::from(*value))));
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            values.iter().enumerate().for_each(|(row, value)| emit(row, hash_f64(*value)));
        }
        DataType::Decimal128(_, scale) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            values.iter().enumerate().for_each(|(row, value)| emit(row, hash_decimal(*value, *scale)));
        }
        // Expressions have these, columns of tables do not.
        DataType::Decimal256(_, scale) => {
            let values = column.as_primitive::<Decimal256Type>().values();
            values.iter().enumerate().for_each(|(row, value)| emit(row, hash_wide_decimal(*value, *scale)));
        }
        DataType::Utf8 => strings(column.as_string::<i32>().iter(), emit),
        DataType::LargeUtf8 => strings(column.as_string::<i64>().iter(), emit),
        DataType::Utf8View => strings(column.as_string_view().iter(), emit),
        DataType::Dictionary(_, value) => {
            let flat = arrow::compute::cast(column, value)?;
            return hash_one(&flat, put);
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            values.iter().enumerate().for_each(|(row, value)| emit(row, xxh3_64(value.unwrap_or_default())));
        }
        // Of SUPER only keys are hashed, or whole values where nobody compares them: a column of it is no DISTKEY.
        DataType::BinaryView => {
            let values = column.as_binary_view();
            values.iter().enumerate().for_each(|(row, value)| emit(row, xxh3_64(value.unwrap_or_default())));
        }
        // Expressions have these, columns of tables do not: equal ones have one hash, however they are written.
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            for (row, value) in column.as_primitive::<IntervalMonthDayNanoType>().values().iter().enumerate() {
                emit(row, xxh3_64(&interval_nanos(*value).to_le_bytes()));
            }
        }
        // Other units and widths of times and decimals come from expressions only; equal values stay equal.
        DataType::Timestamp(_, zone) => {
            let micros = arrow::compute::cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            return hash_one(&micros, put);
        }
        DataType::Date64 => return hash_one(&arrow::compute::cast(column, &DataType::Date32)?, put),
        DataType::Time32(_) | DataType::Time64(_) => {
            return hash_one(&arrow::compute::cast(column, &DataType::Time64(TimeUnit::Microsecond))?, put);
        }
        DataType::Struct(_) => {
            let message = "distributing rows by a row of values is not supported";
            return Err(Error::new(ErrorKind::NotSupported, message).with_hint("name its columns one by one"));
        }
        other => {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("distributing rows by a value of type {other} is not supported"),
            )
            .with_hint("cast the key to an integer, numeric, string or date type"));
        }
    }
    Ok(())
}

fn integers<T: ArrowPrimitiveType>(column: &ArrayRef, mut emit: impl FnMut(usize, u64))
where
    T::Native: Into<i64>,
{
    let values: &PrimitiveArray<T> = column.as_primitive::<T>();
    for (row, value) in values.values().iter().enumerate() {
        emit(row, hash_i64((*value).into()));
    }
}

fn strings<'a>(values: impl Iterator<Item = Option<&'a str>>, mut emit: impl FnMut(usize, u64)) {
    for (row, value) in values.enumerate() {
        emit(row, xxh3_64(value.unwrap_or_default().trim_end_matches(' ').as_bytes()));
    }
}

fn hash_i64(value: i64) -> u64 {
    xxh3_64(&value.to_le_bytes())
}

fn hash_f64(value: f64) -> u64 {
    let canonical = if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    };
    xxh3_64(&canonical.to_le_bytes())
}

/// The same of a wider number: one that is no wider without its zeros has the hash of the narrow one.
fn hash_wide_decimal(mut value: i256, mut scale: i8) -> u64 {
    let ten = i256::from_i128(10);
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        (value, scale) = (value.wrapping_div(ten), scale - 1);
    }
    match value.to_i128() {
        Some(narrow) => hash_decimal(narrow, scale),
        None => {
            let mut bytes = [0; 33];
            bytes[..32].copy_from_slice(&value.to_le_bytes());
            bytes[32] = scale.to_le_bytes()[0];
            xxh3_64(&bytes)
        }
    }
}

fn hash_decimal(mut unscaled: i128, mut scale: i8) -> u64 {
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    if scale <= 0 {
        let whole = 10i128.checked_pow(u32::from(scale.unsigned_abs())).and_then(|power| unscaled.checked_mul(power));
        if let Some(integer) = whole.and_then(|whole| i64::try_from(whole).ok()) {
            return hash_i64(integer);
        }
    }
    let mut bytes = [0u8; 17];
    bytes[..16].copy_from_slice(&unscaled.to_le_bytes());
    bytes[16] = scale as u8;
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;
    use std::sync::Arc;

    fn one(array: impl Array + 'static) -> u64 {
        hash_columns(&[Arc::new(array)], 1).map(|hashes| hashes[0]).unwrap_or_default()
    }

    /// Computed with the reference implementation of XXH3 (Python's xxhash package) from the canonical bytes above.
    #[test]
    fn golden_vectors_of_version_1() {
        assert_eq!(HASH_VERSION, 1, "a new version needs vectors of its own beside these");
        let integers: [(i64, u64); 6] = [
            (0, 0xc77b_3abb_6f87_acd9),
            (1, 0x2fbc_5935_64db_792e),
            (-1, 0x5111_c7e4_7d78_4413),
            (7, 0x8167_1e58_d6b5_96af),
            (i64::MAX, 0xa233_cf37_6558_df46),
            (i64::MIN, 0x828f_2476_789a_0e5f),
        ];
        for (value, hash) in integers {
            assert_eq!(one(Int64Array::from(vec![value])), hash, "{value}");
        }
        let strings = [
            ("", 0x2d06_8005_38d3_94c2),
            ("a", 0xe6c6_32b6_1e96_4e1f),
            ("Slipher", 0x3790_9a23_fc67_b0ab),
            ("Zürich   ", 0x0ba4_4fcc_12cc_a74e),
        ];
        for (value, hash) in strings {
            assert_eq!(one(StringViewArray::from(vec![value])), hash, "{value}");
        }
        let floats = [(0.0, 0xc77b_3abb_6f87_acd9), (1.5, 0x2561_a488_9ff6_3458), (-2.25, 0xff86_175a_8390_a37a)];
        for (value, hash) in floats {
            assert_eq!(one(Float64Array::from(vec![value])), hash, "{value}");
        }
        assert_eq!(one(Float64Array::from(vec![f64::NAN])), 0x0aa6_1dcf_a381_c167);
        let decimal = |value, scale| one(Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap());
        assert_eq!(decimal(1_500, 3), 0x65f0_e0fa_ac5a_c00f);
        assert_eq!(decimal(10i128.pow(38) - 1, 2), 0x3185_4cb2_4fea_b4d3);
        assert_eq!(NULL_HASH, 0x9e37_79b9_7f4a_7c15);
        let columns: [ArrayRef; 2] = [Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["a"]))];
        assert_eq!(hash_columns(&columns, 1).unwrap(), [0x71c9_e0d9_0a24_181b]);
    }

    #[test]
    fn equal_values_of_different_types_have_one_hash() {
        let seven = one(Int64Array::from(vec![7]));
        assert_eq!(one(Int16Array::from(vec![7])), seven);
        assert_eq!(one(Int32Array::from(vec![7])), seven);
        assert_eq!(one(Decimal128Array::from(vec![700]).with_precision_and_scale(10, 2).unwrap()), seven);
        assert_eq!(one(Float64Array::from(vec![-0.0])), one(Float64Array::from(vec![0.0])));
        assert_eq!(one(Float32Array::from(vec![1.5])), one(Float64Array::from(vec![1.5])));
        assert_eq!(one(StringArray::from(vec!["ab  "])), one(StringViewArray::from(vec!["ab"])));
        assert_eq!(
            one(Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).unwrap()),
            one(Decimal128Array::from(vec![15_000]).with_precision_and_scale(20, 4).unwrap())
        );
        let wide = |value: i256| one(Decimal256Array::from(vec![value]).with_precision_and_scale(56, 37).unwrap());
        let unit = i256::from_i128(10).wrapping_pow(37);
        assert_eq!(wide(i256::from_i128(7).wrapping_mul(unit)), seven);
        let narrow = |value| one(Decimal128Array::from(vec![value]).with_precision_and_scale(38, 37).unwrap());
        for value in [15 * 10_i128.pow(36), -1, 0, 10_i128.pow(38) - 1] {
            assert_eq!(wide(i256::from_i128(value)), narrow(value), "{value}");
        }
        let large = i256::from_i128(i128::MAX).wrapping_mul(i256::from_i128(7));
        assert_ne!(wide(large), wide(large.wrapping_add(i256::ONE)));
        assert_eq!(one(Int64Array::from(vec![None])), NULL_HASH);
        assert_eq!(one(StringArray::from(vec![None::<&str>])), NULL_HASH);
    }
}
