//! Parameter values of a Bind message.

use super::binary::{EPOCH_DAYS, EPOCH_MICROS, NUMERIC_GROUP_DIGITS, NUMERIC_NEGATIVE};
use super::message::{Fields, text};
use super::oid;
use crate::wire::values::parse::{Decimal, fit_decimal, parse_value};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use slipher_common::assign::Zone;
use slipher_common::numeric::{canonical_f32, canonical_f64};
use slipher_common::time_units::{MICROS_PER_DAY, MICROS_PER_SECOND};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::sync::Arc;

/// Format code of a text value.
pub(super) const TEXT_FORMAT: i16 = 0;
/// Format code of a binary value.
pub(super) const BINARY_FORMAT: i16 = 1;

/// A parameter's type: what the client declared or, where it left it open, what the statement wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParameterType {
    /// PostgreSQL's number.
    pub oid: u32,
    /// The type of the value.
    pub sql_type: SqlType,
}

/// The format of item `index`: none given means text, one given holds for all.
pub(super) fn format_of(formats: &[i16], index: usize) -> i16 {
    match formats {
        [] => TEXT_FORMAT,
        [only] => *only,
        all => all.get(index).copied().unwrap_or(TEXT_FORMAT),
    }
}

/// Refuses formats that do not exist, or are not as many as the items.
pub(super) fn check_formats(formats: &[i16], items: usize, what: &str) -> Result<()> {
    if formats.len() > 1 && formats.len() != items {
        let message = format!("binding: {} {what} formats for {items} {what}s", formats.len());
        return Err(Error::new(ErrorKind::InvalidParameter, message));
    }
    match formats.iter().find(|format| !matches!(**format, TEXT_FORMAT | BINARY_FORMAT)) {
        Some(format) => Err(Error::new(ErrorKind::InvalidParameter, format!("binding: unknown {what} format {format}"))),
        None => Ok(()),
    }
}

/// Decodes all values, moments as texts in `zone`; an error names the parameter.
pub(super) fn decode_all(
    types: &[ParameterType],
    formats: &[i16],
    values: &[Option<Bytes>],
    zone: Option<&Arc<Zone>>,
) -> Result<Vec<ScalarValue>> {
    check_formats(formats, values.len(), "parameter")?;
    let decode_one = |(index, (parameter, value)): (usize, (&ParameterType, &Option<Bytes>))| {
        let decoded = match value {
            None => ScalarValue::try_from(&parameter.sql_type.to_arrow()).map_err(Error::from),
            Some(bytes) if format_of(formats, index) == BINARY_FORMAT => decode_binary(*parameter, bytes),
            Some(bytes) => text(bytes).and_then(|text| parse_value(text, parameter.sql_type, zone)),
        };
        decoded.map_err(|error| Error { message: format!("parameter ${}: {}", index + 1, error.message), ..error })
    };
    types.iter().zip(values).enumerate().map(decode_one).collect()
}

fn decode_binary(parameter: ParameterType, bytes: &Bytes) -> Result<ScalarValue> {
    let mut fields = Fields::new(bytes.clone());
    let wrong = |_| {
        let message = format!("incorrect binary data format: {} bytes for type {}", bytes.len(), parameter.sql_type);
        Error::new(ErrorKind::InvalidText, message)
    };
    if matches!(parameter.sql_type, SqlType::Char(_) | SqlType::VarChar(_) | SqlType::Super) {
        let text = text(bytes)?;
        if text.contains('\0') {
            // Most likely another type's bytes that nobody declared.
            return Err(Error::new(ErrorKind::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\": 0x00")
                .with_hint("declare the parameter's type, or send it as text"));
        }
        return parse_value(text, parameter.sql_type, None);
    }
    if matches!(parameter.sql_type, SqlType::VarByte(_)) {
        return Ok(ScalarValue::Binary(Some(bytes.to_vec())));
    }
    let value = match parameter.sql_type {
        SqlType::SmallInt => ScalarValue::Int16(Some(fields.i16().map_err(wrong)?)),
        SqlType::Integer => ScalarValue::Int32(Some(fields.i32().map_err(wrong)?)),
        SqlType::BigInt if parameter.oid == oid::OID => ScalarValue::Int64(Some(i64::from(fields.u32().map_err(wrong)?))),
        SqlType::BigInt => ScalarValue::Int64(Some(i64_field(&mut fields).map_err(wrong)?)),
        SqlType::Real => {
            let value = f32::from_bits(fields.u32().map_err(wrong)?);
            ScalarValue::Float32(Some(canonical_f32(value)))
        }
        SqlType::DoublePrecision => {
            let value = f64::from_bits(i64_field(&mut fields).map_err(wrong)?.cast_unsigned());
            ScalarValue::Float64(Some(canonical_f64(value)))
        }
        SqlType::Boolean => ScalarValue::Boolean(Some(fields.u8().map_err(wrong)? != 0)),
        SqlType::Decimal { precision, scale } => fit_decimal(numeric(&mut fields, wrong)?, precision, scale)?,
        SqlType::Date => {
            let days = fields.i32().map_err(wrong)?;
            ScalarValue::Date32(Some(days.checked_add(EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?))
        }
        SqlType::Time => ScalarValue::Time64Microsecond(Some(time(&mut fields, wrong)?)),
        SqlType::TimeTz => {
            let micros = time(&mut fields, wrong)?;
            let west = i64::from(fields.i32().map_err(wrong)?) * MICROS_PER_SECOND;
            let utc = if west == 0 { micros } else { (micros + west).rem_euclid(MICROS_PER_DAY) };
            ScalarValue::Time64Microsecond(Some(utc))
        }
        SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(timestamp(&mut fields, wrong)?), None),
        SqlType::TimestampTz => ScalarValue::TimestampMicrosecond(Some(timestamp(&mut fields, wrong)?), Some(Arc::from("UTC"))),
        SqlType::Char(_) | SqlType::VarChar(_) | SqlType::Super | SqlType::VarByte(_) => {
            return Err(Error::internal("decoding a string as a number"));
        }
    };
    fields.end().map_err(wrong)?;
    Ok(value)
}

fn out_of_range(sql_type: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("{sql_type} out of range"))
}

fn i64_field(fields: &mut Fields) -> Result<i64> {
    let high = i64::from(fields.i32()?);
    Ok(high << 32 | i64::from(fields.u32()?))
}

fn time(fields: &mut Fields, wrong: impl Fn(Error) -> Error) -> Result<i64> {
    let micros = i64_field(fields).map_err(wrong)?;
    if (0..=MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(out_of_range("time")) }
}

fn timestamp(fields: &mut Fields, wrong: impl Fn(Error) -> Error) -> Result<i64> {
    let micros = i64_field(fields).map_err(wrong)?;
    // PostgreSQL's infinities are the ends of the range.
    let finite = (i64::MIN + 1..i64::MAX).contains(&micros);
    micros.checked_add(EPOCH_MICROS).filter(|_| finite).ok_or_else(|| out_of_range("timestamp"))
}

/// Reads a numeric as `binary::write` writes it.
fn numeric(fields: &mut Fields, wrong: impl Fn(Error) -> Error) -> Result<Decimal> {
    let too_long = || Error::new(ErrorKind::NumericOutOfRange, "a numeric has at most 38 digits");
    let mut field = || fields.i16().map_err(&wrong);
    let (count, weight, sign, scale) = (field()?, field()?, field()?.cast_unsigned(), field()?);
    if !matches!(sign, 0 | NUMERIC_NEGATIVE) {
        return Err(Error::new(ErrorKind::InvalidText, "NaN and infinity are not values of type numeric"));
    }
    let scale = u8::try_from(scale).map_err(|_| too_long())?;
    let group_digits = NUMERIC_GROUP_DIGITS as i32;
    let mut unscaled: i128 = 0;
    // Digits from here to the end of the scale; what a group has beyond are filling zeros.
    let mut left = (i32::from(weight) + 1) * group_digits + i32::from(scale);
    for _ in 0..count {
        let kept = left.clamp(0, group_digits);
        let group = i128::from(field()?) / 10i128.pow((group_digits - kept).unsigned_abs());
        unscaled = unscaled
            .checked_mul(10i128.pow(kept.unsigned_abs()))
            .and_then(|value| value.checked_add(group))
            .ok_or_else(too_long)?;
        left -= group_digits;
    }
    if left > 0 && unscaled != 0 {
        let factor = 10i128.checked_pow(left.unsigned_abs());
        unscaled = factor.and_then(|factor| unscaled.checked_mul(factor)).ok_or_else(too_long)?;
    }
    Ok(Decimal { unscaled: if sign == NUMERIC_NEGATIVE { -unscaled } else { unscaled }, scale })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::postgres::binary;
    use crate::wire::values::{Column, ValueType};
    use bytes::BytesMut;
    use proptest::prelude::*;

    /// Sends `value` as a result column of `sql_type` and reads it back as a parameter.
    fn round_trip(value: &ScalarValue, sql_type: SqlType) -> ScalarValue {
        let value_type = ValueType::Sql { sql_type, declared: true };
        let column = Column::new(&value_type, &value.to_array().unwrap()).unwrap();
        let mut out = BytesMut::new();
        binary::write(&column, &value_type, 0, &mut out).unwrap();
        let parameter = ParameterType { oid: oid::of_sql_type(sql_type), sql_type };
        let decoded = decode_all(&[parameter], &[BINARY_FORMAT], &[Some(out.freeze())], None).unwrap();
        decoded.into_iter().next().unwrap()
    }

    #[test]
    fn every_type_survives_the_binary_form() {
        let utc = || Some(Arc::from("UTC"));
        for (value, sql_type) in [
            (ScalarValue::Int16(Some(-2)), SqlType::SmallInt),
            (ScalarValue::Int32(Some(i32::MIN)), SqlType::Integer),
            (ScalarValue::Int64(Some(-3_000_000_000)), SqlType::BigInt),
            (ScalarValue::Float32(Some(1.5)), SqlType::Real),
            (ScalarValue::Float64(Some(-1e300)), SqlType::DoublePrecision),
            (ScalarValue::Boolean(Some(true)), SqlType::Boolean),
            (ScalarValue::Utf8View(Some("aé".into())), SqlType::VarChar(9)),
            (ScalarValue::Utf8View(Some("ab".into())), SqlType::Char(9)),
            (ScalarValue::Date32(Some(-1)), SqlType::Date),
            (ScalarValue::Time64Microsecond(Some(1)), SqlType::Time),
            (ScalarValue::Time64Microsecond(Some(2)), SqlType::TimeTz),
            (ScalarValue::TimestampMicrosecond(Some(-5), None), SqlType::Timestamp),
            (ScalarValue::TimestampMicrosecond(Some(1 << 60), utc()), SqlType::TimestampTz),
        ] {
            assert_eq!(round_trip(&value, sql_type), value, "{sql_type}");
        }
    }

    proptest! {
        #[test]
        fn every_decimal_survives_the_binary_form(unscaled in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0u8..38) {
            let value = ScalarValue::Decimal128(Some(unscaled), 38, scale as i8);
            prop_assert_eq!(round_trip(&value, SqlType::Decimal { precision: 38, scale }), value);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, sql_type in 0usize..5) {
            let sql_type = [SqlType::Decimal { precision: 38, scale: 37 }, SqlType::Date, SqlType::TimeTz, SqlType::TimestampTz,
                SqlType::Boolean][sql_type];
            let parameter = ParameterType { oid: oid::of_sql_type(sql_type), sql_type };
            let _ = decode_all(&[parameter], &[BINARY_FORMAT], &[Some(bytes.into())], None);
        }
    }
}
