//! TEXT_TO_INT_ALT and TEXT_TO_NUMERIC_ALT: numbers as Teradata reads them. A sign may stand behind, an exponent is allowed, `/ , : %` and blanks
//! around are left out, and an empty text is zero. DB_COLLATION.

use super::{Function, becomes_text, downcast, is_text, no_such_call};
use crate::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use crate::{Error, ErrorKind, Result};
use arrow::array::{ArrayRef, Decimal128Array, Int32Array, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use std::sync::Arc;

const TO_INT: &str = "text_to_int_alt";
const TO_NUMERIC: &str = "text_to_numeric_alt";
/// Digits that an exponent may move the point by.
const EXPONENT_MAX: i32 = 400;

pub(super) fn functions() -> Vec<Function> {
    let to_int = Function::new(TO_INT, coerce_int, |_| Ok(DataType::Int32), to_int);
    let no_type = |_: &[DataType]| {
        Err(Error::new(ErrorKind::InvalidParameter, "text_to_numeric_alt: precision and scale must be literals"))
    };
    let mut to_numeric =
        Function::new(TO_NUMERIC, coerce_numeric, no_type, |_| Err(Error::internal("text_to_numeric_alt without a type")));
    to_numeric.describe = Some(describe_numeric);
    to_numeric.compute_as = Some(to_numeric_as);
    let none = |types: &[DataType]| match types {
        [] => Ok(Vec::new()),
        _ => Err(no_such_call("db_collation", types, "db_collation()")),
    };
    let collation = Function::new(
        "db_collation",
        none,
        |_| Ok(DataType::Utf8View),
        |_| Ok(Arc::new(StringViewArray::from(vec!["case_sensitive"])) as ArrayRef),
    );
    vec![to_int, to_numeric, collation]
}

fn no_format(name: &str) -> Error {
    Error::not_supported(format_args!("a format in {name}"), "leave it out, or use TO_NUMBER")
}

fn coerce_int(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if becomes_text(text) => Ok(vec![DataType::Utf8View]),
        [text, format] if becomes_text(text) && is_text(format) => Err(no_format(TO_INT)),
        _ => Err(no_such_call(TO_INT, types, "text_to_int_alt(a_text)")),
    }
}

fn coerce_numeric(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if becomes_text(text) => Ok(vec![DataType::Utf8View]),
        [text, precision, scale] if becomes_text(text) && precision.is_integer() && scale.is_integer() => {
            Ok(vec![DataType::Utf8View, precision.clone(), scale.clone()])
        }
        [text, format, ..] if becomes_text(text) && is_text(format) => Err(no_format(TO_NUMERIC)),
        _ => Err(no_such_call(TO_NUMERIC, types, "text_to_numeric_alt(a_text [, precision, scale])")),
    }
}

fn describe_numeric(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let number = |index: usize| match literals.get(index).copied().flatten()? {
        ScalarValue::Int64(number) => u8::try_from((*number)?).ok(),
        ScalarValue::Int32(number) => u8::try_from((*number)?).ok(),
        _ => None,
    };
    let (precision, scale) = match fields.len() {
        1 => (DECIMAL_PRECISION_MAX_DIGITS, 0),
        _ => (number(1)?, number(2)?),
    };
    let fits = (1..=DECIMAL_PRECISION_MAX_DIGITS).contains(&precision) && scale <= precision.min(37);
    fits.then(|| Arc::new(Field::new(TO_NUMERIC, DataType::Decimal128(precision, scale as i8), true)))
}

fn to_int(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let one = |text: Option<&str>| {
        let Some(text) = text else { return Ok(None) };
        let number = Number::read(TO_INT, text)?.at_scale(0, Rest::Cut);
        let number = number.and_then(|number| i32::try_from(number).ok());
        number.map(Some).ok_or_else(|| out_of_range(TO_INT, text))
    };
    Ok(Arc::new(texts.iter().map(one).collect::<Result<Int32Array>>()?))
}

fn to_numeric_as(arguments: &[ArrayRef], target: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *target else {
        return Err(Error::internal(format!("text_to_numeric_alt makes no {target}")));
    };
    let texts: &StringViewArray = downcast(&arguments[0])?;
    let limit = 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
    let one = |text: Option<&str>| {
        let Some(text) = text else { return Ok(None) };
        let number = Number::read(TO_NUMERIC, text)?.at_scale(scale.into(), Rest::ToEven);
        number.filter(|number| number.abs() < limit).map(Some).ok_or_else(|| out_of_range(TO_NUMERIC, text))
    };
    let numbers = texts.iter().map(one).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(numbers.with_precision_and_scale(precision, scale)?))
}

fn out_of_range(name: &str, text: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("{name}: \"{text}\" is out of range"))
}

/// What becomes of digits that there is no room for.
#[derive(Clone, Copy, PartialEq)]
enum Rest {
    Cut,
    ToEven,
}

/// digits / 10^scale.
#[derive(Debug, PartialEq)]
struct Number {
    digits: i128,
    scale: i32,
}

impl Number {
    fn read(name: &str, text: &str) -> Result<Self> {
        let fault = || Error::new(ErrorKind::InvalidText, format!("{name}: \"{text}\" is no number"));
        let plain: String = text.trim().chars().filter(|c| !matches!(c, '/' | ',' | ':' | '%')).collect();
        let (mantissa, exponent) = match plain.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.parse::<i32>().map_err(|_| fault())?),
            None => (plain, 0),
        };
        if exponent.abs() > EXPONENT_MAX {
            return Err(out_of_range(name, text));
        }
        let (mut digits, mut scale, mut point, mut negative, mut signs) = (0_i128, 0_i32, false, false, 0);
        let last = mantissa.chars().count().saturating_sub(1);
        for (at, c) in mantissa.chars().enumerate() {
            match c {
                '-' | '+' if at == 0 || at == last => {
                    negative |= c == '-';
                    signs += 1;
                }
                '.' if !point => point = true,
                _ => {
                    let digit = c.to_digit(10).ok_or_else(fault)?;
                    let more = digits.checked_mul(10).and_then(|digits| digits.checked_add(digit.into()));
                    digits = more.ok_or_else(|| out_of_range(name, text))?;
                    scale += i32::from(point);
                }
            }
        }
        if signs > 1 {
            return Err(fault());
        }
        Ok(Self { digits: if negative { -digits } else { digits }, scale: scale - exponent })
    }

    /// The number times 10^scale as a whole one; None: too large.
    fn at_scale(&self, scale: i32, rest: Rest) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        let less = self.scale - scale;
        if less <= 0 {
            return self.digits.checked_mul(10_i128.checked_pow(less.unsigned_abs())?);
        }
        let Some(unit) = 10_i128.checked_pow(less.unsigned_abs()) else { return Some(0) };
        let (whole, left) = (self.digits / unit, self.digits % unit);
        let up = match (rest, left.abs().cmp(&(unit - left.abs()))) {
            (Rest::Cut, _) | (Rest::ToEven, std::cmp::Ordering::Less) => 0,
            (Rest::ToEven, std::cmp::Ordering::Greater) => 1,
            (Rest::ToEven, std::cmp::Ordering::Equal) => whole.abs() % 2,
        };
        Some(whole + up * self.digits.signum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_teradata_does() {
        let whole = |text: &str| Number::read(TO_INT, text).map(|number| number.at_scale(0, Rest::Cut));
        assert_eq!(whole("123-").unwrap(), Some(-123));
        assert_eq!(whole("2147483647+").unwrap(), Some(2_147_483_647));
        assert_eq!(whole("-123E-2").unwrap(), Some(-1));
        assert_eq!(whole(" 1,234 ").unwrap(), Some(1234));
        assert_eq!(whole("").unwrap(), Some(0));
        assert!(whole("-1-").is_err() && whole("1x").is_err() && whole("1 2").is_err());
        let even = |text: &str| Number::read(TO_NUMERIC, text).unwrap().at_scale(0, Rest::ToEven);
        assert_eq!((even("1.5"), even("2.5"), even("-1.5"), even("-0.51")), (Some(2), Some(2), Some(-2), Some(-1)));
        assert_eq!(Number::read(TO_NUMERIC, "15.7").unwrap().at_scale(2, Rest::ToEven), Some(1570));
        assert_eq!(even("1e300"), None);
    }
}
