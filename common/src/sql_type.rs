//! Redshift's types, their names, limits and Arrow form.

use crate::error::{Error, ErrorKind, Result};
use arrow::datatypes::{DataType, Field, TimeUnit};
use slipher_proto::meta as proto;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Arrow field metadata key under which a field's SQL type is kept.
pub const TYPE_METADATA_KEY: &str = "slipher.type";
/// Longest CHAR, in bytes.
pub const CHAR_LENGTH_MAX_BYTES: u32 = 4096;
/// Longest VARCHAR, in bytes.
pub const VARCHAR_LENGTH_MAX_BYTES: u32 = 65_535;
/// Length of a bare VARCHAR, in bytes.
pub const VARCHAR_LENGTH_DEFAULT_BYTES: u32 = 256;
/// Longest VARBYTE, in bytes.
pub const VARBYTE_LENGTH_MAX_BYTES: u32 = 16_777_216;
/// Length of a bare VARBYTE, in bytes.
pub const VARBYTE_LENGTH_DEFAULT_BYTES: u32 = 64_000;
/// Most digits of a DECIMAL.
pub const DECIMAL_PRECISION_MAX_DIGITS: u8 = 38;
/// Most digits of a DECIMAL behind the point.
pub const DECIMAL_SCALE_MAX_DIGITS: u8 = 37;

/// A column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// 16 bits, signed.
    SmallInt,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    BigInt,
    /// Exact, with `precision` digits, `scale` of them behind the point.
    Decimal {
        /// All digits, 1 to 38.
        precision: u8,
        /// Digits behind the point, 0 to 37.
        scale: u8,
    },
    /// 32-bit float.
    Real,
    /// 64-bit float.
    DoublePrecision,
    /// True, false or NULL.
    Boolean,
    /// Fixed length in bytes; stored without trailing blanks, shown with them.
    Char(u32),
    /// Up to so many bytes.
    VarChar(u32),
    /// A day.
    Date,
    /// Time of day in microseconds.
    Time,
    /// Time of day in microseconds, kept in UTC.
    TimeTz,
    /// Day and time in microseconds, no zone.
    Timestamp,
    /// Day and time in microseconds, kept in UTC.
    TimestampTz,
    /// A value without a schema: a scalar, an array or an object. No other column has its Arrow type.
    Super,
    /// Up to so many bytes of any value.
    VarByte(u32),
}

impl SqlType {
    /// Whether rows may lie and be found by its values: they have bounds, and can be keys. SUPER and VARBYTE have none.
    pub fn has_bounds(self) -> bool {
        !matches!(self, Self::Super | Self::VarByte(_))
    }

    /// The Arrow type of values in plans and segments.
    pub fn to_arrow(self) -> DataType {
        match self {
            Self::SmallInt => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
            Self::Real => DataType::Float32,
            Self::DoublePrecision => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Char(_) | Self::VarChar(_) => DataType::Utf8View,
            Self::Date => DataType::Date32,
            Self::Time | Self::TimeTz => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::Super => DataType::BinaryView,
            Self::VarByte(_) => DataType::Binary,
        }
    }

    /// The SQL type that fits an expression's Arrow type; what CREATE TABLE AS gives a column.
    pub fn from_arrow(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::SmallInt,
            DataType::Int32 | DataType::UInt16 => Self::Integer,
            // The engine counts ranks in UInt64; they are BIGINT to users.
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::BigInt,
            DataType::Float16 | DataType::Float32 => Self::Real,
            DataType::Float64 => Self::DoublePrecision,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
                let scale = (*s).max(0) as u8;
                Self::Decimal { precision: (*p).min(DECIMAL_PRECISION_MAX_DIGITS), scale: scale.min(DECIMAL_SCALE_MAX_DIGITS) }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::VarChar(VARCHAR_LENGTH_DEFAULT_BYTES)
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::TimestampTz,
            DataType::BinaryView => Self::Super,
            DataType::Binary | DataType::LargeBinary => Self::VarByte(VARBYTE_LENGTH_DEFAULT_BYTES),
            DataType::Dictionary(_, value) => Self::from_arrow(value)?,
            _ => {
                return Err(Error::not_supported(
                    "a column of this type",
                    "cast the expression to one of Slipher's column types",
                ));
            }
        })
    }

    /// The SQL type of a field: its metadata where it has some, else what fits its Arrow type.
    pub fn of_field(field: &Field) -> Result<Self> {
        match field.metadata().get(TYPE_METADATA_KEY).and_then(|name| Self::from_name(name)) {
            Some(sql_type) if sql_type.to_arrow() == *field.data_type() => Ok(sql_type),
            _ => Self::from_arrow(field.data_type()),
        }
    }

    /// An Arrow field of this type that remembers it.
    pub fn to_field(self, name: &str, nullable: bool) -> Field {
        Field::new(name, self.to_arrow(), nullable)
            .with_metadata(HashMap::from([(TYPE_METADATA_KEY.to_owned(), self.to_string())]))
    }

    /// Reads what `Display` prints.
    pub fn from_name(name: &str) -> Option<Self> {
        let (base, arguments) = match name.split_once('(') {
            Some((base, rest)) => (base, rest.strip_suffix(')')?),
            None => (name, ""),
        };
        Some(match base {
            "smallint" => Self::SmallInt,
            "integer" => Self::Integer,
            "bigint" => Self::BigInt,
            "numeric" => {
                let (precision, scale) = arguments.split_once(',')?;
                Self::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? }
            }
            "real" => Self::Real,
            "double precision" => Self::DoublePrecision,
            "boolean" => Self::Boolean,
            "character" => Self::Char(arguments.parse().ok()?),
            "character varying" => Self::VarChar(arguments.parse().ok()?),
            "date" => Self::Date,
            "time without time zone" => Self::Time,
            "time with time zone" => Self::TimeTz,
            "timestamp without time zone" => Self::Timestamp,
            "timestamp with time zone" => Self::TimestampTz,
            "super" => Self::Super,
            "binary varying" => Self::VarByte(arguments.parse().ok()?),
            _ => return None,
        })
    }

    /// The frozen form.
    pub fn to_proto(self) -> proto::Type {
        use proto::TypeKind as Kind;
        let (kind, length, precision, scale) = match self {
            Self::SmallInt => (Kind::Smallint, 0, 0, 0),
            Self::Integer => (Kind::Integer, 0, 0, 0),
            Self::BigInt => (Kind::Bigint, 0, 0, 0),
            Self::Decimal { precision, scale } => (Kind::Decimal, 0, u32::from(precision), u32::from(scale)),
            Self::Real => (Kind::Real, 0, 0, 0),
            Self::DoublePrecision => (Kind::Double, 0, 0, 0),
            Self::Boolean => (Kind::Boolean, 0, 0, 0),
            Self::Char(length) => (Kind::Char, length, 0, 0),
            Self::VarChar(length) => (Kind::Varchar, length, 0, 0),
            Self::Date => (Kind::Date, 0, 0, 0),
            Self::Time => (Kind::Time, 0, 0, 0),
            Self::TimeTz => (Kind::Timetz, 0, 0, 0),
            Self::Timestamp => (Kind::Timestamp, 0, 0, 0),
            Self::TimestampTz => (Kind::Timestamptz, 0, 0, 0),
            Self::Super => (Kind::Super, 0, 0, 0),
            Self::VarByte(length) => (Kind::Varbyte, length, 0, 0),
        };
        proto::Type { kind: kind.into(), length, precision, scale }
    }

    /// Reads the frozen form.
    pub fn from_proto(stored: &proto::Type) -> Result<Self> {
        use proto::TypeKind as Kind;
        let digits = |value: u32| u8::try_from(value).map_err(|_| Error::internal(format!("reading a type: {value} digits")));
        Ok(match stored.kind() {
            Kind::Smallint => Self::SmallInt,
            Kind::Integer => Self::Integer,
            Kind::Bigint => Self::BigInt,
            Kind::Decimal => Self::Decimal { precision: digits(stored.precision)?, scale: digits(stored.scale)? },
            Kind::Real => Self::Real,
            Kind::Double => Self::DoublePrecision,
            Kind::Boolean => Self::Boolean,
            Kind::Char => Self::Char(stored.length),
            Kind::Varchar => Self::VarChar(stored.length),
            Kind::Date => Self::Date,
            Kind::Time => Self::Time,
            Kind::Timetz => Self::TimeTz,
            Kind::Timestamp => Self::Timestamp,
            Kind::Timestamptz => Self::TimestampTz,
            Kind::Super => Self::Super,
            Kind::Varbyte => Self::VarByte(stored.length),
            Kind::Unspecified => {
                return Err(Error::new(ErrorKind::DataCorrupted, format!("reading a type: unknown kind {}", stored.kind)));
            }
        })
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallInt => f.write_str("smallint"),
            Self::Integer => f.write_str("integer"),
            Self::BigInt => f.write_str("bigint"),
            Self::Decimal { precision, scale } => write!(f, "numeric({precision},{scale})"),
            Self::Real => f.write_str("real"),
            Self::DoublePrecision => f.write_str("double precision"),
            Self::Boolean => f.write_str("boolean"),
            Self::Char(length) => write!(f, "character({length})"),
            Self::VarChar(length) => write!(f, "character varying({length})"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time without time zone"),
            Self::TimeTz => f.write_str("time with time zone"),
            Self::Timestamp => f.write_str("timestamp without time zone"),
            Self::TimestampTz => f.write_str("timestamp with time zone"),
            Self::Super => f.write_str("super"),
            Self::VarByte(length) => write!(f, "binary varying({length})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_its_name_its_proto_and_its_field() {
        let all = [
            SqlType::SmallInt,
            SqlType::Integer,
            SqlType::BigInt,
            SqlType::Decimal { precision: 38, scale: 37 },
            SqlType::Real,
            SqlType::DoublePrecision,
            SqlType::Boolean,
            SqlType::Char(4096),
            SqlType::VarChar(65_535),
            SqlType::Date,
            SqlType::Time,
            SqlType::TimeTz,
            SqlType::Timestamp,
            SqlType::TimestampTz,
            SqlType::Super,
            SqlType::VarByte(16_777_216),
        ];
        for sql_type in all {
            assert_eq!(SqlType::from_name(&sql_type.to_string()), Some(sql_type));
            assert_eq!(SqlType::from_proto(&sql_type.to_proto()), Ok(sql_type));
            assert_eq!(SqlType::of_field(&sql_type.to_field("c", true)), Ok(sql_type));
        }
    }
}
