//! Text as other types, read as COPY and INSERT read it.

use super::{Function, downcast, is_text, no_such_call};
use crate::assign::{Fault, TextFormats, assign_column, from_super, parse_column};
use crate::casts::{Kind, type_name};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// The function that reads text as `target`, if there is one: what a cast of text becomes.
pub fn text_parser(target: &DataType) -> Option<&'static str> {
    if matches!(target, DataType::Interval(_)) {
        return Some(super::PARSE_INTERVAL);
    }
    TYPES.iter().find(|(_, sql_type, ..)| sql_type.to_arrow() == *target).map(|(name, ..)| *name)
}

/// `slipher_parse_decimal(text, NULL::decimal(p, s))`: the text as a number of the second argument's type.
pub const PARSE_DECIMAL: &str = "slipher_parse_decimal";

/// `slipher_timetz(x)`: text, a time or a timestamp with time zone as a time with time zone, kept in UTC.
pub const TO_TIMETZ: &str = "slipher_timetz";
/// `slipher_time(a_timetz)`: its time in UTC.
pub const TO_TIME: &str = "slipher_time";

type Compute = fn(&[ArrayRef]) -> Result<ArrayRef>;
type Returns = fn(&[DataType]) -> Result<DataType>;

/// A function has no state, so each type has its own.
macro_rules! parsers {
    ($($name:literal => $sql_type:ident),* $(,)?) => {
        &[$((
            $name,
            SqlType::$sql_type,
            (|_| Ok(SqlType::$sql_type.to_arrow())) as Returns,
            (|arguments| parse(arguments, SqlType::$sql_type)) as Compute,
        )),*]
    };
}

/// Function, type, and how they work.
const TYPES: &[(&str, SqlType, Returns, Compute)] = parsers! {
    "slipher_parse_smallint" => SmallInt,
    "slipher_parse_integer" => Integer,
    "slipher_parse_bigint" => BigInt,
    "slipher_parse_real" => Real,
    "slipher_parse_double" => DoublePrecision,
    "slipher_parse_boolean" => Boolean,
    "slipher_parse_date" => Date,
    "slipher_parse_time" => Time,
    "slipher_parse_timestamp" => Timestamp,
    "slipher_parse_timestamptz" => TimestampTz,
};

pub(super) fn functions() -> Vec<Function> {
    let parsers = TYPES.iter().map(|(name, _, returns, compute)| Function::new(name, one_text, *returns, *compute));
    let mut timetz = Function::new(TO_TIMETZ, to_timetz_coerce, |_| Ok(SqlType::TimeTz.to_arrow()), to_timetz);
    // Only its field tells a time with a zone from one without.
    timetz.describe = Some(|fields, _| {
        let nullable = fields.iter().any(|field| field.is_nullable() || *field.data_type() == DataType::BinaryView);
        Some(Arc::new(SqlType::TimeTz.to_field(TO_TIMETZ, nullable)))
    });
    let mut time = Function::new(TO_TIME, to_time_coerce, |_| Ok(SqlType::Time.to_arrow()), |times| Ok(Arc::clone(&times[0])));
    time.describe = Some(|fields, _| {
        let nullable = fields.iter().any(|field| field.is_nullable());
        Some(Arc::new(SqlType::Time.to_field(TO_TIME, nullable)))
    });
    let decimal = Function::new(PARSE_DECIMAL, text_and_decimal, |types| Ok(types[1].clone()), parse_decimals);
    parsers.chain([timetz, time, decimal]).collect()
}

fn text_and_decimal(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, decimal @ DataType::Decimal128(..)] if is_text(text) || *text == DataType::Null => {
            Ok(vec![DataType::Utf8View, decimal.clone()])
        }
        _ => Err(no_such_call(PARSE_DECIMAL, types, "CAST(a_text AS DECIMAL(p, s))")),
    }
}

fn parse_decimals(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    parse(arguments, SqlType::from_arrow(arguments[1].data_type())?)
}

fn to_timetz_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if is_text(text) || *text == DataType::Null => Ok(vec![DataType::Utf8View]),
        [DataType::Time32(_) | DataType::Time64(_)] => Ok(vec![SqlType::TimeTz.to_arrow()]),
        [DataType::Timestamp(_, Some(_))] => Ok(vec![SqlType::TimestampTz.to_arrow()]),
        [DataType::BinaryView] => Ok(types.to_vec()),
        [other] => {
            let message = format!("cannot cast type {} to {}", type_name(other), Kind::TimeTz.name());
            Err(Error::new(ErrorKind::CannotCoerce, message))
        }
        _ => Err(no_such_call(TO_TIMETZ, types, "CAST('10:11:12+02' AS TIMETZ)")),
    }
}

fn to_time_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [time] if *time == SqlType::Time.to_arrow() => Ok(types.to_vec()),
        _ => Err(no_such_call(TO_TIME, types, "CAST(a_timetz AS TIME)")),
    }
}

fn to_timetz(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if let Some(documents) = arguments[0].as_binary_view_opt() {
        return from_super(documents, SqlType::TimeTz, &mut |_, _| Ok(()));
    }
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    let source = if *arguments[0].data_type() == DataType::Utf8View { None } else { Some(SqlType::TimestampTz) };
    assign_column(&arguments[0], source, SqlType::TimeTz, &TextFormats::default(), &mut refuse)
}

fn one_text(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if is_text(text) || *text == DataType::Null => Ok(vec![DataType::Utf8View]),
        _ => Err(no_such_call("slipher_parse", types, "CAST(a_text AS a_type)")),
    }
}

fn parse(arguments: &[ArrayRef], target: SqlType) -> Result<ArrayRef> {
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    let texts: &StringViewArray = downcast(&arguments[0])?;
    parse_column(texts.iter(), target, &TextFormats::default(), &mut refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_read_what_loads_read() {
        let read = |text: &str, target: SqlType| {
            let texts: ArrayRef = Arc::new(StringViewArray::from(vec![text]));
            let name = text_parser(&target.to_arrow()).unwrap();
            let function = functions().into_iter().find(|function| function.name == name).unwrap();
            (function.compute)(&[texts]).map(|array| arrow::util::display::array_value_to_string(&array, 0).unwrap())
        };
        assert_eq!(read("January 31, 2024", SqlType::Date).unwrap(), "2024-01-31");
        assert_eq!(read("yes", SqlType::Boolean).unwrap(), "true");
        assert_eq!(read("40000", SqlType::SmallInt).unwrap_err().sqlstate(), "22003");
        assert_eq!(read("4x", SqlType::Integer).unwrap_err().sqlstate(), "22P02");
        assert_eq!(read("2024-02-30", SqlType::Date).unwrap_err().sqlstate(), "22008");
        assert_eq!(text_parser(&DataType::Utf8), None);
    }
}
