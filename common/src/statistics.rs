//! Per-segment, per-column statistics: nulls, bounds and a distinct-count sketch, with their stored form.

use crate::error::{Error, ErrorKind, Result};
use crate::sql_type::SqlType;
use datafusion::common::ScalarValue;
use std::sync::Arc;

/// Longest string bound that is kept, in bytes; a longer minimum is cut, a longer maximum is dropped.
const STRING_BOUND_MAX_BYTES: usize = 64;
/// Registers of the sketch, as a power of two: standard error 1.04 / sqrt(512) = 4.6 %.
const SKETCH_REGISTER_BITS: u32 = 9;
const SKETCH_REGISTERS: usize = 1 << SKETCH_REGISTER_BITS;
/// Bits of a register's value: at most 64 - 9 + 1.
const RANK_BITS: u32 = 6;
const RANK_MASK: u16 = (1 << RANK_BITS) - 1;
/// The stored form of a sketch that counted nothing.
const EMPTY_SKETCH: &[u8] = &[0];

/// Encodes a bound of a column of `sql_type`; `None` where no bound can be kept.
pub fn encode_bound(value: &ScalarValue, sql_type: SqlType, is_maximum: bool) -> Option<Vec<u8>> {
    if value.is_null() || value.data_type() != sql_type.to_arrow() {
        return None;
    }
    Some(match value {
        ScalarValue::Boolean(Some(v)) => vec![u8::from(*v)],
        ScalarValue::Int16(Some(v)) => v.to_le_bytes().to_vec(),
        ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => v.to_le_bytes().to_vec(),
        ScalarValue::Int64(Some(v)) | ScalarValue::Time64Microsecond(Some(v)) | ScalarValue::TimestampMicrosecond(Some(v), _) => {
            v.to_le_bytes().to_vec()
        }
        ScalarValue::Decimal128(Some(v), _, _) => v.to_le_bytes().to_vec(),
        // NaN has no place in an order that predicates agree with.
        ScalarValue::Float32(Some(v)) if !v.is_nan() => v.to_le_bytes().to_vec(),
        ScalarValue::Float64(Some(v)) if !v.is_nan() => v.to_le_bytes().to_vec(),
        ScalarValue::Utf8View(Some(text)) if text.len() <= STRING_BOUND_MAX_BYTES => [b"=", text.as_bytes()].concat(),
        ScalarValue::Utf8View(Some(text)) if !is_maximum => {
            let cut = (0..=STRING_BOUND_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            [b"<", &text.as_bytes()[..cut]].concat()
        }
        _ => return None,
    })
}

/// Reads what [`encode_bound`] wrote: the bound, and whether it is the exact value.
pub fn decode_bound(bytes: &[u8], sql_type: SqlType) -> Result<Option<(ScalarValue, bool)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let damaged = || Error::new(ErrorKind::DataCorrupted, format!("reading a bound of type {sql_type}: {} bytes", bytes.len()));
    macro_rules! number {
        ($type:ty) => {
            <$type>::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)
        };
    }
    let value = match sql_type {
        SqlType::Boolean => ScalarValue::Boolean(Some(bytes[0] != 0)),
        SqlType::SmallInt => ScalarValue::Int16(Some(number!(i16))),
        SqlType::Integer => ScalarValue::Int32(Some(number!(i32))),
        SqlType::BigInt => ScalarValue::Int64(Some(number!(i64))),
        SqlType::Decimal { precision, scale } => ScalarValue::Decimal128(Some(number!(i128)), precision, scale as i8),
        SqlType::Real => ScalarValue::Float32(Some(number!(f32))),
        SqlType::DoublePrecision => ScalarValue::Float64(Some(number!(f64))),
        SqlType::Date => ScalarValue::Date32(Some(number!(i32))),
        SqlType::Time | SqlType::TimeTz => ScalarValue::Time64Microsecond(Some(number!(i64))),
        SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(number!(i64)), None),
        SqlType::TimestampTz => ScalarValue::TimestampMicrosecond(Some(number!(i64)), Some(Arc::from("UTC"))),
        // None is ever written.
        SqlType::Super | SqlType::VarByte(_) => return Ok(None),
        SqlType::Char(_) | SqlType::VarChar(_) => {
            let text = std::str::from_utf8(&bytes[1..]).map_err(|_| damaged())?;
            return Ok(Some((ScalarValue::Utf8View(Some(text.to_owned())), bytes[0] == b'=')));
        }
    };
    Ok(Some((value, true)))
}

/// HyperLogLog over `H` of the values (Flajolet, Fusy, Gandouet, Meunier 2007), 512 registers of one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinctSketch {
    registers: Vec<u8>,
}

impl Default for DistinctSketch {
    fn default() -> Self {
        Self { registers: vec![0; SKETCH_REGISTERS] }
    }
}

impl DistinctSketch {
    /// Counts one value by its hash.
    pub fn insert(&mut self, hash: u64) {
        let register = (hash >> (64 - SKETCH_REGISTER_BITS)) as usize;
        let rank = (hash << SKETCH_REGISTER_BITS).leading_zeros().min(64 - SKETCH_REGISTER_BITS) as u8 + 1;
        self.registers[register] = self.registers[register].max(rank);
    }

    /// Takes up what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The estimated number of distinct values.
    pub fn estimate(&self) -> u64 {
        let m = SKETCH_REGISTERS as f64;
        // 2^-rank by its exponent: statistics are asked for many times while a statement is planned.
        let share = |rank: &u8| f64::from_bits((f64::MAX_EXP as u64 - 1 - u64::from(*rank)) << (f64::MANTISSA_DIGITS - 1));
        let sum: f64 = self.registers.iter().map(share).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        let estimate = if raw <= 2.5 * m && empty > 0 { m * (m / empty as f64).ln() } else { raw };
        estimate.round() as u64
    }

    /// The stored form: all registers, or, where that is shorter, those that are not 0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let set = || (0u16..).zip(&self.registers).filter(|(_, rank)| **rank > 0);
        match set().count() {
            0 => EMPTY_SKETCH.to_vec(),
            count if count * 2 >= SKETCH_REGISTERS => self.registers.clone(),
            _ => set().flat_map(|(register, rank)| (register << RANK_BITS | u16::from(*rank)).to_le_bytes()).collect(),
        }
    }

    /// Reads the stored form; `None` when none was kept or it is another version's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == SKETCH_REGISTERS {
            return Some(Self { registers: bytes.to_vec() });
        }
        let mut sketch = Self::default();
        if bytes == EMPTY_SKETCH {
            return Some(sketch);
        }
        let (set, rest) = bytes.as_chunks::<2>();
        if set.is_empty() || !rest.is_empty() {
            return None;
        }
        for one in set {
            let one = u16::from_le_bytes(*one);
            *sketch.registers.get_mut(usize::from(one >> RANK_BITS))? = (one & RANK_MASK) as u8;
        }
        Some(sketch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn sketch_counts_within_its_error() {
        for count in [10u64, 1_000, 200_000] {
            let (mut left, mut right) = (DistinctSketch::default(), DistinctSketch::default());
            for value in 0..count {
                let sketch = if value % 3 == 0 { &mut left } else { &mut right };
                sketch.insert(xxh3_64(&value.to_le_bytes()));
                sketch.insert(xxh3_64(&value.to_le_bytes()));
            }
            left.merge(&right);
            let error = (left.estimate() as f64 - count as f64).abs() / count as f64;
            assert!(error < 0.15, "{count}: estimated {}", left.estimate());
        }
    }

    /// Of few values a few bytes are kept, and either form is the same sketch.
    #[test]
    fn sketches_survive_in_either_form() {
        let mut sketch = DistinctSketch::default();
        let mut lengths = Vec::new();
        for value in 0..2_000u64 {
            let stored = sketch.to_bytes();
            assert_eq!(DistinctSketch::from_bytes(&stored), Some(sketch.clone()), "{value} values");
            lengths.push(stored.len());
            sketch.insert(xxh3_64(&value.to_le_bytes()));
        }
        assert_eq!((lengths[0], lengths[1], lengths[5], lengths[1_999]), (1, 2, 10, SKETCH_REGISTERS));
        assert!(lengths.iter().all(|length| *length <= SKETCH_REGISTERS));
        let full = DistinctSketch { registers: vec![64 - SKETCH_REGISTER_BITS as u8 + 1; SKETCH_REGISTERS] };
        assert_eq!(DistinctSketch::from_bytes(&full.to_bytes()), Some(full));
        for nothing in [&[][..], &[1], &[1, 2, 3], &[0; 513]] {
            assert_eq!(DistinctSketch::from_bytes(nothing), None);
        }
    }

    #[test]
    fn bounds_survive_and_long_strings_stay_bounds() {
        let sql_type = SqlType::VarChar(256);
        let long = "ä".repeat(100);
        let value = ScalarValue::Utf8View(Some(long.clone()));
        assert_eq!(encode_bound(&value, sql_type, true), None);
        let lower = decode_bound(&encode_bound(&value, sql_type, false).unwrap(), sql_type).unwrap().unwrap();
        assert!(!lower.1);
        assert!(matches!(&lower.0, ScalarValue::Utf8View(Some(text)) if long.starts_with(text.as_str()) && text.len() == 64));
        let decimal = SqlType::Decimal { precision: 38, scale: 2 };
        let value = ScalarValue::Decimal128(Some(-12_345), 38, 2);
        assert_eq!(decode_bound(&encode_bound(&value, decimal, true).unwrap(), decimal).unwrap(), Some((value, true)));
    }
}
