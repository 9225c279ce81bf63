//! Casts: Redshift's type names, and what its casts do that the engine's do not (rounding, lengths, formats).

use super::build::{call, cast, number, string};
use crate::types::{DECIMAL_PRECISION_DEFAULT_DIGITS, decimal_digits};
use datafusion::sql::sqlparser::ast::{
    BinaryLength, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, ObjectName, TimezoneInfo, TypedString,
    UnaryOperator, Value, Values,
};
use slipher_common::functions::{AS_BYTES, AS_CHAR, CAST_FROM, ROUND_TO_WHOLE, TO_TEXT, TO_TIMETZ};
use slipher_common::sql_type::{CHAR_LENGTH_MAX_BYTES, VARBYTE_LENGTH_MAX_BYTES, VARCHAR_LENGTH_MAX_BYTES};
use slipher_common::{Error, ErrorKind, Result};

/// FLOAT(n) up to here is REAL.
const REAL_PRECISION_MAX_BITS: u64 = 24;

/// What a type means for a cast.
enum Target {
    /// Whole numbers: fractions are rounded, not cut off.
    Whole(DataType),
    /// Text of at most so many bytes.
    Text(Option<u64>),
    /// CHAR of so many bytes.
    Char(u64),
    /// At most so many bytes.
    Bytes(Option<u64>),
    /// A time of day with a zone.
    TimeTz,
    /// A type the engine casts to as Redshift does.
    Plain(DataType),
}

/// Rewrites a cast, CONVERT or typed literal; leaves other expressions alone.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::Cast { kind, expr, data_type, array: false, format: None } => {
            let target = target_of(data_type)?;
            let inner = std::mem::replace(expr.as_mut(), number(0));
            *expression = cast_to(inner, target, kind.clone())?;
        }
        Expr::Convert { expr, data_type: Some(data_type), is_try: false, styles, charset: None, .. } if styles.is_empty() => {
            let target = target_of(data_type)?;
            let inner = std::mem::replace(expr.as_mut(), number(0));
            *expression = cast_to(inner, target, CastKind::Cast)?;
        }
        // A number with an exponent is a float; every other one is exact.
        Expr::Value(value) => {
            if let Value::Number(digits, _) = &value.value
                && digits.contains(['e', 'E'])
            {
                *expression = cast(string(digits), DataType::DoublePrecision);
            }
        }
        Expr::TypedString(TypedString { data_type, value, .. }) => match target_of(data_type)? {
            Target::Plain(plain) => *data_type = plain,
            Target::TimeTz => *expression = call(TO_TIMETZ, vec![Expr::Value(value.clone())]),
            Target::Whole(_) | Target::Text(_) | Target::Char(_) | Target::Bytes(_) => {}
        },
        _ => {}
    }
    Ok(())
}

/// Numbers beside a float in a column of VALUES are floats: the planner would make decimals of both before anybody else sees them.
pub(super) fn floats_in_columns(values: &mut Values) {
    let columns = values.rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut is_float = vec![false; columns];
    for row in &values.rows {
        for (cell, is_float) in row.iter().zip(&mut is_float) {
            *is_float |= is_float_cell(cell);
        }
    }
    if !is_float.contains(&true) {
        return;
    }
    for row in &mut values.rows {
        for (cell, _) in row.iter_mut().zip(&is_float).filter(|(_, is_float)| **is_float) {
            let negative = matches!(cell, Expr::UnaryOp { op: UnaryOperator::Minus, .. });
            let number = match &*cell {
                Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => expr.as_ref(),
                plain => plain,
            };
            let sign = if negative { "-" } else { "" };
            let text = match number {
                Expr::Value(value) => match &value.value {
                    Value::Number(digits, _) => Some(format!("{sign}{digits}")),
                    _ => None,
                },
                _ => None,
            };
            if let Some(text) = text {
                *cell = cast(string(&text), DataType::DoublePrecision);
            }
        }
    }
}

/// Rows of VALUES whose cells may be brought together one by one; more of them must be of one form.
const MIXED_ROWS_MAX: usize = 200;

/// What a cell of VALUES is by its form.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Number,
    Boolean,
    Computed,
}

fn form_of(cell: &Expr) -> Option<Form> {
    match cell {
        Expr::Nested(inner) => form_of(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => form_of(expr),
        Expr::Value(value) => match &value.value {
            Value::Null | Value::Placeholder(_) => None,
            Value::Number(..) => Some(Form::Number),
            Value::Boolean(_) => Some(Form::Boolean),
            _ => Some(Form::Text),
        },
        Expr::Cast { expr, data_type, .. } if matches!(expr.as_ref(), Expr::Value(_)) => match target_of(data_type) {
            Ok(Target::Plain(DataType::DoublePrecision | DataType::Real | DataType::Numeric(_)) | Target::Whole(_)) => {
                Some(Form::Number)
            }
            _ => Some(Form::Computed),
        },
        _ => Some(Form::Computed),
    }
}

/// Whether a column of VALUES has literals beside something else: the planner wants one type of each, and knows none of text in quotes.
pub(super) fn has_mixed_columns(values: &Values) -> bool {
    if values.rows.len() > MIXED_ROWS_MAX {
        return false;
    }
    let columns = values.rows.iter().map(|row| row.len()).max().unwrap_or(0);
    (0..columns).any(|column| {
        let mut forms = values.rows.iter().filter_map(|row| row.get(column)).filter_map(form_of);
        let first = forms.next();
        forms.any(|form| form == Form::Computed || Some(form) != first)
    })
}

fn is_float_cell(cell: &Expr) -> bool {
    match cell {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.contains(['e', 'E'])),
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_float_cell(expr),
        Expr::Cast { data_type, .. } => {
            matches!(target_of(data_type), Ok(Target::Plain(DataType::DoublePrecision | DataType::Real)))
        }
        _ => false,
    }
}

fn cast_to(inner: Expr, target: Target, kind: CastKind) -> Result<Expr> {
    let is_try = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
    let with_kind =
        |expr: Expr, data_type: DataType| Expr::Cast { kind, expr: Box::new(expr), data_type, array: false, format: None };
    Ok(match target {
        Target::Plain(data_type) if is_literal(&inner) => with_kind(inner, data_type),
        Target::Plain(data_type) => with_kind(named(inner, &data_type), data_type),
        Target::TimeTz if is_try => {
            return Err(Error::not_supported("TRY_CAST to TIMETZ", "use CAST"));
        }
        Target::TimeTz => call(TO_TIMETZ, vec![inner]),
        Target::Whole(data_type) if is_whole_literal(&inner) => with_kind(inner, data_type),
        Target::Whole(data_type) => with_kind(call(ROUND_TO_WHOLE, vec![named(inner, &data_type)]), data_type),
        Target::Text(_) | Target::Char(_) if is_try => {
            return Err(Error::not_supported("TRY_CAST to a string", "CAST to a string never fails; use it"));
        }
        Target::Text(length) => {
            // A bare parameter has no type but that of its cast.
            let inner = if is_parameter(&inner) { cast(inner, DataType::Varchar(None)) } else { inner };
            call(TO_TEXT, std::iter::once(inner).chain(length.map(number)).collect())
        }
        Target::Bytes(_) if is_try => {
            return Err(Error::not_supported("TRY_CAST to VARBYTE", "CAST to VARBYTE never fails; use it"));
        }
        Target::Bytes(length) => {
            let inner = if is_parameter(&inner) { cast(inner, DataType::Varchar(None)) } else { inner };
            call(AS_BYTES, std::iter::once(inner).chain(length.map(number)).collect())
        }
        Target::Char(length) => {
            let inner = if is_parameter(&inner) { cast(inner, DataType::Varchar(None)) } else { inner };
            call(AS_CHAR, vec![call(TO_TEXT, vec![inner]), number(length)])
        }
    })
}

/// What is cast, under a name that says to what.
fn named(inner: Expr, data_type: &DataType) -> Expr {
    call(CAST_FROM, vec![inner, string(&data_type.to_string())])
}

/// Whether it says by itself what it is: NULL does not.
fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => value.value != Value::Null,
        other => matches!(other, Expr::TypedString(_)),
    }
}

fn is_parameter(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

fn is_whole_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.bytes().all(|byte| byte.is_ascii_digit()),
            _ => true,
        },
        _ => false,
    }
}

fn target_of(data_type: &DataType) -> Result<Target> {
    use DataType as T;
    let tz = |zone: &TimezoneInfo| matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
    Ok(match data_type {
        T::SmallInt(None) | T::Int2(None) => Target::Whole(T::SmallInt(None)),
        T::Int(None) | T::Integer(None) | T::Int4(None) => Target::Whole(T::Integer(None)),
        T::BigInt(None) | T::Int8(None) => Target::Whole(T::BigInt(None)),
        T::Float(ExactNumberInfo::Precision(bits)) if *bits <= REAL_PRECISION_MAX_BITS => Target::Plain(T::Real),
        T::Float(_) | T::Float8 | T::Double(_) | T::DoublePrecision => Target::Plain(T::DoublePrecision),
        T::Real | T::Float4 => Target::Plain(T::Real),
        T::Numeric(info) | T::Decimal(info) | T::Dec(info) => Target::Plain(T::Numeric(decimal(info)?)),
        T::Char(length) | T::Character(length) => char_of(bytes(length, CHAR_LENGTH_MAX_BYTES)?),
        T::Varchar(length) | T::Nvarchar(length) | T::CharacterVarying(length) | T::CharVarying(length) => {
            Target::Text(bytes(length, VARCHAR_LENGTH_MAX_BYTES)?)
        }
        T::Text | T::String(None) => Target::Text(None),
        T::Timestamp(_, zone) if tz(zone) => Target::Plain(T::Timestamp(Some(6), TimezoneInfo::WithTimeZone)),
        T::Timestamp(..) | T::Datetime(_) => Target::Plain(T::Timestamp(Some(6), TimezoneInfo::None)),
        T::Time(_, zone) if tz(zone) => Target::TimeTz,
        T::Time(..) => Target::Plain(T::Time(None, TimezoneInfo::None)),
        T::Bool | T::Boolean => Target::Plain(T::Boolean),
        T::Custom(name, modifiers) => return custom(name, modifiers),
        T::Varbinary(None) | T::Binary(None) => Target::Bytes(None),
        T::Varbinary(Some(BinaryLength::Max)) => Target::Bytes(Some(u64::from(VARBYTE_LENGTH_MAX_BYTES))),
        T::Varbinary(Some(BinaryLength::IntegerLength { length })) | T::Binary(Some(length)) => {
            let length = CharacterLength::IntegerLength { length: *length, unit: None };
            Target::Bytes(bytes(&Some(length), VARBYTE_LENGTH_MAX_BYTES)?)
        }
        T::JSON | T::JSONB | T::Bytea | T::Uuid => {
            return Err(Error::not_supported(format_args!("a cast to {data_type}"), "cast to VARCHAR"));
        }
        other => Target::Plain(other.clone()),
    })
}

fn char_of(length: Option<u64>) -> Target {
    length.map_or(Target::Text(None), Target::Char)
}

fn decimal(info: &ExactNumberInfo) -> Result<ExactNumberInfo> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => (u64::from(DECIMAL_PRECISION_DEFAULT_DIGITS), 0),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let (precision, scale) = decimal_digits(i64::try_from(precision).unwrap_or(i64::MAX), scale)?;
    Ok(ExactNumberInfo::PrecisionAndScale(precision.into(), scale.into()))
}

/// The length of a cast; without one the value keeps its own.
fn bytes(length: &Option<CharacterLength>, most: u32) -> Result<Option<u64>> {
    match length {
        None => Ok(None),
        Some(CharacterLength::Max) => Ok(Some(u64::from(most))),
        Some(CharacterLength::IntegerLength { length, .. }) if (1..=u64::from(most)).contains(length) => Ok(Some(*length)),
        Some(CharacterLength::IntegerLength { length, .. }) => {
            Err(Error::new(ErrorKind::InvalidParameter, format!("length {length} of a string type must be between 1 and {most}")))
        }
    }
}

/// The only modifier of a type that the parser does not know, if there is one.
fn one_length(name: &str, modifiers: &[String], most: u32) -> Result<Option<u64>> {
    match modifiers {
        [] => Ok(None),
        [length] => {
            let length = length.parse().map_err(|_| Error::new(ErrorKind::Syntax, format!("length {length} of {name}")))?;
            bytes(&Some(CharacterLength::IntegerLength { length, unit: None }), most)
        }
        _ => Err(Error::new(ErrorKind::Syntax, format!("type {name} takes one length"))),
    }
}

fn custom(name: &ObjectName, modifiers: &[String]) -> Result<Target> {
    let lower = name.to_string().to_lowercase();
    match lower.as_str() {
        "bpchar" | "nchar" | "name" => Ok(char_of(one_length(&lower, modifiers, CHAR_LENGTH_MAX_BYTES)?)),
        "timetz" => Ok(Target::TimeTz),
        "timestamptz" => Ok(Target::Plain(DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone))),
        "super" => Ok(Target::Plain(DataType::Custom(name.clone(), Vec::new()))),
        "varbyte" | "varbinary" => Ok(Target::Bytes(one_length(&lower, modifiers, VARBYTE_LENGTH_MAX_BYTES)?)),
        "geometry" | "geography" | "hllsketch" => {
            Err(Error::not_supported(format_args!("a cast to {}", lower.to_uppercase()), "cast to VARCHAR"))
        }
        "regtype" | "regproc" | "oid" | "xid" => Ok(Target::Whole(DataType::BigInt(None))),
        _ => Err(Error::new(ErrorKind::UndefinedObject, format!("type \"{lower}\" does not exist"))),
    }
}
