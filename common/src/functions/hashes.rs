//! Hashes of values: SHA1, SHA2, CRC32, FNV_HASH, MURMUR3_32_HASH, FARMFINGERPRINT64.

use super::farm::fingerprint64;
use super::{Function, downcast, is_text, no_such_call};
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use ring::digest::{self, Algorithm};
use sha2::{Digest, Sha224};
use std::sync::Arc;

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// The polynomial of CRC-32C, its bits in reverse.
const CASTAGNOLI: u32 = 0x82f6_3b78;

pub(super) fn functions() -> Vec<Function> {
    let text = |_: &[DataType]| Ok(DataType::Utf8View);
    vec![
        Function::new("sha", |types| one_text("sha", types), text, sha1),
        Function::new("sha1", |types| one_text("sha1", types), text, sha1),
        Function::new("func_sha1", |types| one_text("func_sha1", types), text, sha1),
        Function::new("sha2", coerce_sha2, text, sha2),
        Function::new("crc32", |types| one_text("crc32", types), text, crc32),
        Function::new("fnv_hash", coerce_fnv, |_| Ok(DataType::Int64), fnv_hash),
        Function::new("murmur3_32_hash", coerce_murmur, |_| Ok(DataType::Int32), murmur3_hash),
        Function::new(
            "farmfingerprint64",
            |types| one_text("farmfingerprint64", types),
            |_| Ok(DataType::Int64),
            farm_fingerprint,
        ),
    ]
}

fn textual(data_type: &DataType) -> bool {
    is_text(data_type) || *data_type == DataType::Null
}

fn one_text(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if textual(text) => Ok(vec![DataType::Utf8View]),
        _ => Err(no_such_call(name, types, &format!("{name}(a_text), and cast what is none"))),
    }
}

fn coerce_sha2(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, bits] if textual(text) && (bits.is_integer() || *bits == DataType::Null) => {
            Ok(vec![DataType::Utf8View, DataType::Int64])
        }
        _ => Err(no_such_call("sha2", types, "sha2(a_text, 256)")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_texts(arguments: &[ArrayRef], each: impl Fn(&str) -> String) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(&arguments[0])?;
    Ok(Arc::new(texts.iter().map(|text| text.map(&each)).collect::<StringViewArray>()))
}

fn sha1(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    of_texts(arguments, |text| hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref()))
}

fn sha2(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let bits: &Int64Array = downcast(&arguments[1])?;
    let of = |algorithm: &'static Algorithm, text: &str| hex(digest::digest(algorithm, text.as_bytes()).as_ref());
    let answers = texts.iter().zip(bits.iter()).map(|(text, bits)| {
        let (text, bits) = text.zip(bits)?;
        Some(match bits {
            0 | 256 => of(&digest::SHA256, text),
            224 => hex(&Sha224::digest(text.as_bytes())),
            384 => of(&digest::SHA384, text),
            512 => of(&digest::SHA512, text),
            // There is no such hash.
            _ => String::new(),
        })
    });
    Ok(Arc::new(answers.collect::<StringViewArray>()))
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ CASTAGNOLI } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

static CRC_TABLE: [u32; 256] = crc_table();

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

fn crc32(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    of_texts(arguments, |text| format!("{:08x}", crc32c(text.as_bytes())))
}

fn farm_fingerprint(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let answers = texts.iter().map(|text| text.map(|text| fingerprint64(text.as_bytes()) as i64));
    Ok(Arc::new(answers.collect::<Int64Array>()))
}

/// The argument of a hash in the one form that is hashed, and the seed.
fn hashed(name: &str, types: &[DataType], takes: fn(&DataType) -> bool, seed: DataType) -> Result<Vec<DataType>> {
    let wrong = || no_such_call(name, types, &format!("{name}(a_value [, a_seed]), and cast what is not taken to VARCHAR"));
    let value = match types.first().ok_or_else(wrong)? {
        text if textual(text) => DataType::Utf8View,
        DataType::Int8 => DataType::Int16,
        other => other.clone(),
    };
    if !takes(&value) {
        return Err(wrong());
    }
    match types.get(1..).unwrap_or_default() {
        [] => Ok(vec![value]),
        [given] if given.is_integer() || *given == DataType::Null => Ok(vec![value, seed]),
        _ => Err(wrong()),
    }
}

fn coerce_fnv(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = |known: &DataType| {
        use DataType::{Boolean, Float32, Float64, Int16, Int32, Int64, Utf8View};
        matches!(known, Utf8View | Boolean | Int16 | Int32 | Int64 | Float32 | Float64)
    };
    hashed("fnv_hash", types, takes, DataType::Int64)
}

fn coerce_murmur(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = |known: &DataType| {
        use DataType::{Boolean, Date32, Decimal128, Float32, Float64, Int16, Int32, Int64, Timestamp, Utf8View};
        let plain = matches!(known, Utf8View | Boolean | Int16 | Int32 | Int64 | Float32 | Float64 | Date32);
        plain || matches!(known, Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) | Decimal128(..))
    };
    hashed("murmur3_32_hash", types, takes, DataType::Int32)
}

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

fn unexpected(array: &ArrayRef) -> Error {
    Error::internal(format!("a hash got a column of {}", array.data_type()))
}

/// As many bytes of a value as its type has.
fn fnv_hash(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, seeds) = (&arguments[0], arguments.get(1).map(downcast::<Int64Array>).transpose()?);
    let bytes: Box<dyn Fn(u64, usize) -> u64 + '_> = match values.data_type() {
        DataType::Utf8View => {
            let texts = values.as_string_view();
            Box::new(|seed, row| fnv(seed, texts.value(row).as_bytes()))
        }
        DataType::Boolean => {
            let flags = values.as_boolean();
            Box::new(|seed, row| fnv(seed, &[u8::from(flags.value(row))]))
        }
        DataType::Int16 => Box::new(|seed, row| fnv(seed, &values.as_primitive::<Int16Type>().value(row).to_le_bytes())),
        DataType::Int32 => Box::new(|seed, row| fnv(seed, &values.as_primitive::<Int32Type>().value(row).to_le_bytes())),
        DataType::Int64 => Box::new(|seed, row| fnv(seed, &values.as_primitive::<Int64Type>().value(row).to_le_bytes())),
        DataType::Float32 => Box::new(|seed, row| fnv(seed, &values.as_primitive::<Float32Type>().value(row).to_le_bytes())),
        DataType::Float64 => Box::new(|seed, row| fnv(seed, &values.as_primitive::<Float64Type>().value(row).to_le_bytes())),
        _ => return Err(unexpected(values)),
    };
    let one = |row: usize| {
        let seed = match seeds {
            None => FNV_START,
            Some(seeds) if seeds.is_null(row) => return None,
            Some(seeds) => seeds.value(row) as u64,
        };
        values.is_valid(row).then(|| bytes(seed, row) as i64)
    };
    Ok(Arc::new((0..values.len()).map(one).collect::<Int64Array>()))
}

/// Murmur3 of 32 bits, as Iceberg uses it.
fn murmur3(seed: i32, bytes: &[u8]) -> i32 {
    let mixed = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut hash = blocks.iter().fold(seed as u32, |hash, block| {
        (hash ^ mixed(u32::from_le_bytes(*block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
    hash ^= mixed(tail) ^ bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    (hash ^ (hash >> 16)) as i32
}

/// Whole numbers, dates and times are hashed as BIGINT, so that those of several types agree; decimals as the fewest bytes of their digits.
fn murmur3_hash(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, seeds) = (&arguments[0], arguments.get(1).map(downcast::<Int32Array>).transpose()?);
    let wide = match values.data_type() {
        whole if whole.is_integer() => Some(cast(values, &DataType::Int64)?),
        DataType::Float32 => Some(cast(values, &DataType::Float64)?),
        _ => None,
    };
    let values = wide.as_ref().unwrap_or(values);
    let long = |seed: i32, value: i64| murmur3(seed, &value.to_le_bytes());
    let hash: Box<dyn Fn(i32, usize) -> i32 + '_> = match values.data_type() {
        DataType::Utf8View => Box::new(|seed, row| murmur3(seed, values.as_string_view().value(row).as_bytes())),
        DataType::Boolean => Box::new(|seed, row| murmur3(seed, &i32::from(values.as_boolean().value(row)).to_le_bytes())),
        DataType::Int64 => Box::new(|seed, row| long(seed, values.as_primitive::<Int64Type>().value(row))),
        DataType::Date32 => Box::new(|seed, row| long(seed, values.as_primitive::<Date32Type>().value(row).into())),
        DataType::Timestamp(..) => Box::new(|seed, row| long(seed, values.as_primitive::<TimestampMicrosecondType>().value(row))),
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            Box::new(|seed, row| long(seed, floats.value(row).to_bits() as i64))
        }
        DataType::Decimal128(..) => {
            let numbers = values.as_primitive::<Decimal128Type>();
            Box::new(|seed, row| {
                let bytes = numbers.value(row).to_be_bytes();
                murmur3(seed, fewest_bytes(&bytes))
            })
        }
        _ => return Err(unexpected(values)),
    };
    let one = |row: usize| {
        let seed = match seeds {
            None => 0,
            Some(seeds) if seeds.is_null(row) => return None,
            Some(seeds) => seeds.value(row),
        };
        values.is_valid(row).then(|| hash(seed, row))
    };
    Ok(Arc::new((0..values.len()).map(one).collect::<Int32Array>()))
}

/// A number's bytes, the most first, without those that only repeat its sign.
fn fewest_bytes(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, second, ..] = rest
        && ((*first == 0 && *second < 0x80) || (*first == 0xff && *second >= 0x80))
    {
        rest = &rest[1..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_are_published() {
        assert_eq!(crc32c(b"Amazon Redshift"), 0xf272_6906);
        assert_eq!(fnv(FNV_START, &1_i16.to_le_bytes()) as i64, 589_727_492_704_079_044);
        assert_eq!(fnv(FNV_START, &1_i32.to_le_bytes()) as i64, -5_968_735_742_475_085_980);
        assert_eq!(fnv(FNV_START, &1_i64.to_le_bytes()) as i64, -8_517_097_267_634_966_620);
        assert_eq!(fnv(FNV_START, b"Amazon Redshift") as i64, 7_783_490_368_944_507_294);
        assert_eq!(murmur3(0, &1_i64.to_le_bytes()), 1_392_991_556);
        assert_eq!(murmur3(0, &34_i64.to_le_bytes()), 2_017_239_379);
        assert_eq!(murmur3(0, b"Amazon Redshift"), -1_563_580_564);
        assert_eq!(murmur3(murmur3(0, b"ab"), b"cd"), 1_711_522_338);
        assert_eq!(murmur3(0, b"abcd"), 1_139_631_978);
        assert_eq!(murmur3(0, fewest_bytes(&1420_i128.to_be_bytes())), -500_754_589);
        assert_eq!(fewest_bytes(&(-129_i128).to_be_bytes()), [0xff, 0x7f]);
        assert_eq!(fewest_bytes(&0_i128.to_be_bytes()), [0]);
    }
}
