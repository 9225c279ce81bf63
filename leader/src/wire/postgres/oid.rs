//! PostgreSQL type numbers, sizes and modifiers of Redshift's types.

use crate::wire::values::ValueType;
use slipher_common::sql_type::{VARBYTE_LENGTH_MAX_BYTES, VARCHAR_LENGTH_MAX_BYTES};
use slipher_common::{Error, Result, SqlType};

pub(super) const BOOL: u32 = 16;
pub(super) const BYTEA: u32 = 17;
pub(super) const CHAR: u32 = 18;
pub(super) const NAME: u32 = 19;
pub(super) const INT8: u32 = 20;
pub(super) const INT2: u32 = 21;
pub(super) const INT4: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const OID: u32 = 26;
pub(super) const FLOAT4: u32 = 700;
pub(super) const FLOAT8: u32 = 701;
pub(super) const UNKNOWN: u32 = 705;
pub(super) const BPCHAR: u32 = 1042;
pub(super) const VARCHAR: u32 = 1043;
pub(super) const DATE: u32 = 1082;
pub(super) const TIME: u32 = 1083;
pub(super) const TIMESTAMP: u32 = 1114;
pub(super) const TIMESTAMPTZ: u32 = 1184;
pub(super) const INTERVAL: u32 = 1186;
pub(super) const TIMETZ: u32 = 1266;
pub(super) const NUMERIC: u32 = 1700;
pub(super) const SUPER: u32 = 4000;
pub(super) const VARBYTE: u32 = 6551;

/// Bytes that PostgreSQL adds to every length in a type modifier.
const MODIFIER_HEADER_BYTES: i32 = 4;
/// No modifier.
const NO_MODIFIER: i32 = -1;
/// A size that varies.
const VARIABLE_SIZE: i16 = -1;
/// Type of a numeric parameter that a client declares; it has no precision of its own there.
const PARAMETER_NUMERIC: SqlType = SqlType::Decimal { precision: 38, scale: 10 };

/// The type number of a column type.
pub(super) fn of_sql_type(sql_type: SqlType) -> u32 {
    match sql_type {
        SqlType::SmallInt => INT2,
        SqlType::Integer => INT4,
        SqlType::BigInt => INT8,
        SqlType::Decimal { .. } => NUMERIC,
        SqlType::Real => FLOAT4,
        SqlType::DoublePrecision => FLOAT8,
        SqlType::Boolean => BOOL,
        SqlType::Char(_) => BPCHAR,
        SqlType::VarChar(_) => VARCHAR,
        SqlType::Date => DATE,
        SqlType::Time => TIME,
        SqlType::TimeTz => TIMETZ,
        SqlType::Timestamp => TIMESTAMP,
        SqlType::TimestampTz => TIMESTAMPTZ,
        SqlType::Super => SUPER,
        SqlType::VarByte(_) => VARBYTE,
    }
}

/// The type number of a result column.
pub(super) fn of_value_type(value_type: &ValueType) -> u32 {
    match value_type {
        ValueType::Sql { sql_type, .. } => of_sql_type(*sql_type),
        ValueType::WideDecimal { .. } => NUMERIC,
        ValueType::Interval => INTERVAL,
        ValueType::Bytes => BYTEA,
        ValueType::Array(element) => of_array(of_value_type(element)),
    }
}

fn of_array(element: u32) -> u32 {
    match element {
        BOOL => 1000,
        BYTEA => 1001,
        INT2 => 1005,
        INT4 => 1007,
        INT8 => 1016,
        FLOAT4 => 1021,
        FLOAT8 => 1022,
        BPCHAR => 1014,
        VARCHAR => 1015,
        DATE => 1182,
        TIME => 1183,
        TIMESTAMP => 1115,
        TIMESTAMPTZ => 1185,
        INTERVAL => 1187,
        TIMETZ => 1270,
        NUMERIC => 1231,
        _ => 1009,
    }
}

/// Bytes of a value in PostgreSQL's memory, which clients expect in a row description.
pub(super) fn size(value_type: &ValueType) -> i16 {
    let ValueType::Sql { sql_type, .. } = value_type else {
        return if *value_type == ValueType::Interval { 16 } else { VARIABLE_SIZE };
    };
    match sql_type {
        SqlType::Boolean => 1,
        SqlType::SmallInt => 2,
        SqlType::Integer | SqlType::Real | SqlType::Date => 4,
        SqlType::BigInt | SqlType::DoublePrecision | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => 8,
        SqlType::TimeTz => 12,
        SqlType::Decimal { .. } | SqlType::Char(_) | SqlType::VarChar(_) | SqlType::Super | SqlType::VarByte(_) => VARIABLE_SIZE,
    }
}

/// Length or precision of a result column.
pub(super) fn modifier(value_type: &ValueType) -> i32 {
    let ValueType::Sql { sql_type, declared } = value_type else {
        return NO_MODIFIER;
    };
    match sql_type {
        SqlType::Decimal { precision, scale } => (i32::from(*precision) << 16 | i32::from(*scale)) + MODIFIER_HEADER_BYTES,
        SqlType::Char(length) | SqlType::VarChar(length) | SqlType::VarByte(length) if *declared => {
            i32::try_from(*length).map_or(NO_MODIFIER, |length| length + MODIFIER_HEADER_BYTES)
        }
        _ => NO_MODIFIER,
    }
}

/// The type that a client declares for a parameter, `None` when it leaves it open.
pub(super) fn to_sql_type(oid: u32) -> Result<Option<SqlType>> {
    Ok(Some(match oid {
        0 | UNKNOWN => return Ok(None),
        BOOL => SqlType::Boolean,
        INT2 => SqlType::SmallInt,
        INT4 => SqlType::Integer,
        INT8 | OID => SqlType::BigInt,
        FLOAT4 => SqlType::Real,
        FLOAT8 => SqlType::DoublePrecision,
        NUMERIC => PARAMETER_NUMERIC,
        CHAR | NAME | TEXT | BPCHAR | VARCHAR => SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES),
        DATE => SqlType::Date,
        TIME => SqlType::Time,
        TIMETZ => SqlType::TimeTz,
        TIMESTAMP => SqlType::Timestamp,
        TIMESTAMPTZ => SqlType::TimestampTz,
        SUPER => SqlType::Super,
        VARBYTE | BYTEA => SqlType::VarByte(VARBYTE_LENGTH_MAX_BYTES),
        other => {
            return Err(Error::not_supported(
                format_args!("a parameter of the type with OID {other}"),
                "leave the type open (OID 0) and cast the parameter in the statement",
            ));
        }
    }))
}
