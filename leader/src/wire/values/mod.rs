//! Column values for endpoints that send rows as text or in PostgreSQL's binary form.
//!
//! A [`ValueType`] says what a column looks like to a client, a [`Column`] is one batch's worth of it, brought to the
//! one Arrow form that the writers know. What has no form is refused when the type is asked for, before any row.

pub mod parse;
pub mod text;

use arrow::array::types::{Decimal128Type, Decimal256Type};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringViewArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use slipher_common::assign::json_texts;
use slipher_common::sql_type::TYPE_METADATA_KEY;
use slipher_common::{Error, Result, SqlType};
use std::sync::Arc;

/// What a result column is to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One of Slipher's column types. `declared` is false where an expression has no type of its own and the length
    /// of a string is a guess.
    Sql {
        /// The type.
        sql_type: SqlType,
        /// Whether length or precision mean something.
        declared: bool,
    },
    /// A numeric of more than 38 digits, which only expressions yield.
    WideDecimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
    },
    /// Months, days and nanoseconds.
    Interval,
    /// Bytes.
    Bytes,
    /// A one-dimensional array.
    Array(Box<ValueType>),
}

impl ValueType {
    /// The type of a field, 0A000 when clients have no form for it.
    pub fn of_field(field: &Field) -> Result<Self> {
        let declared = field.metadata().contains_key(TYPE_METADATA_KEY);
        Self::of_arrow(field.data_type(), || Ok(Self::Sql { sql_type: SqlType::of_field(field)?, declared }))
            .map_err(|error| Error { message: format!("column \"{}\": {}", field.name(), error.message), ..error })
    }

    fn of_arrow(data_type: &DataType, sql: impl FnOnce() -> Result<Self>) -> Result<Self> {
        Ok(match data_type {
            DataType::Dictionary(_, value) => Self::of_arrow(value, sql)?,
            DataType::Decimal256(precision, scale) => Self::WideDecimal { precision: *precision, scale: *scale },
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            DataType::FixedSizeBinary(_) => Self::Bytes,
            DataType::List(element)
            | DataType::LargeList(element)
            | DataType::ListView(element)
            | DataType::LargeListView(element)
            | DataType::FixedSizeList(element, _) => match Self::of_field(element)? {
                Self::Array(_) => {
                    return Err(Error::not_supported("an array of arrays in a result", "flatten it or cast it to VARCHAR"));
                }
                element => Self::Array(Box::new(element)),
            },
            _ => sql()?,
        })
    }

    /// The one Arrow type in which [`Column`] keeps values of this type.
    fn to_arrow(&self) -> DataType {
        match self {
            Self::Sql { sql_type, .. } => sql_type.to_arrow(),
            Self::WideDecimal { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Bytes => DataType::BinaryView,
            Self::Array(element) => DataType::List(Arc::new(Field::new("item", element.to_arrow(), true))),
        }
    }
}

/// The values of one column of one batch.
#[derive(Clone, Debug)]
pub enum Column {
    /// BOOLEAN.
    Boolean(BooleanArray),
    /// SMALLINT.
    SmallInt(Int16Array),
    /// INTEGER.
    Integer(Int32Array),
    /// BIGINT.
    BigInt(Int64Array),
    /// REAL.
    Real(Float32Array),
    /// DOUBLE PRECISION.
    Double(Float64Array),
    /// DECIMAL with digits behind the point.
    Decimal(Decimal128Array, i8),
    /// More than 38 digits.
    WideDecimal(Decimal256Array, i8),
    /// VARCHAR, and CHAR with the width to which it is padded.
    Text(StringViewArray, Option<u32>),
    /// DATE: days since 1970.
    Date(Date32Array),
    /// TIME: microseconds.
    Time(Time64MicrosecondArray),
    /// TIMETZ: microseconds in UTC.
    TimeTz(Time64MicrosecondArray),
    /// TIMESTAMP: microseconds since 1970.
    Timestamp(TimestampMicrosecondArray),
    /// TIMESTAMPTZ: microseconds since 1970 in UTC.
    TimestampTz(TimestampMicrosecondArray),
    /// Interval.
    Interval(IntervalMonthDayNanoArray),
    /// Bytes.
    Bytes(BinaryViewArray),
    /// Arrays: where each row's elements lie, and all elements.
    Array(ListArray, Box<Column>),
}

impl Column {
    /// Brings `values` to the form of `value_type`.
    pub fn new(value_type: &ValueType, values: &ArrayRef) -> Result<Self> {
        let wanted = value_type.to_arrow();
        let values = to_type(values, &wanted)?;
        Ok(match value_type {
            // Clients see its JSON.
            ValueType::Sql { sql_type: SqlType::Super, .. } => {
                Self::Text(json_texts(values.as_binary_view(), usize::MAX)?.as_string_view().clone(), None)
            }
            ValueType::Sql { sql_type, .. } => Self::of_sql_type(*sql_type, &values)?,
            ValueType::WideDecimal { scale, .. } => Self::WideDecimal(values.as_primitive::<Decimal256Type>().clone(), *scale),
            ValueType::Interval => Self::Interval(values.as_primitive::<IntervalMonthDayNanoType>().clone()),
            ValueType::Bytes => Self::Bytes(values.as_binary_view().clone()),
            ValueType::Array(element) => {
                let lists = values.as_list::<i32>().clone();
                let elements = Self::new(element, lists.values())?;
                Self::Array(lists, Box::new(elements))
            }
        })
    }

    fn of_sql_type(sql_type: SqlType, values: &ArrayRef) -> Result<Self> {
        Ok(match sql_type {
            SqlType::Boolean => Self::Boolean(values.as_boolean().clone()),
            SqlType::SmallInt => Self::SmallInt(values.as_primitive::<Int16Type>().clone()),
            SqlType::Integer => Self::Integer(values.as_primitive::<Int32Type>().clone()),
            SqlType::BigInt => Self::BigInt(values.as_primitive::<Int64Type>().clone()),
            SqlType::Real => Self::Real(values.as_primitive::<Float32Type>().clone()),
            SqlType::DoublePrecision => Self::Double(values.as_primitive::<Float64Type>().clone()),
            SqlType::Decimal { scale, .. } => Self::Decimal(values.as_primitive::<Decimal128Type>().clone(), scale as i8),
            SqlType::Char(width) => Self::Text(values.as_string_view().clone(), Some(width)),
            SqlType::VarChar(_) => Self::Text(values.as_string_view().clone(), None),
            SqlType::Date => Self::Date(values.as_primitive::<Date32Type>().clone()),
            SqlType::Time => Self::Time(values.as_primitive::<Time64MicrosecondType>().clone()),
            SqlType::TimeTz => Self::TimeTz(values.as_primitive::<Time64MicrosecondType>().clone()),
            SqlType::Timestamp => Self::Timestamp(values.as_primitive::<TimestampMicrosecondType>().clone()),
            SqlType::TimestampTz => Self::TimestampTz(values.as_primitive::<TimestampMicrosecondType>().clone()),
            SqlType::VarByte(_) => Self::Bytes(arrow::compute::cast(values, &DataType::BinaryView)?.as_binary_view().clone()),
            SqlType::Super => return Err(Error::internal("sending a SUPER value that has no text")),
        })
    }

    /// Whether the value of `row` is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(values) => values.is_null(row),
            Self::SmallInt(values) => values.is_null(row),
            Self::Integer(values) => values.is_null(row),
            Self::BigInt(values) => values.is_null(row),
            Self::Real(values) => values.is_null(row),
            Self::Double(values) => values.is_null(row),
            Self::Decimal(values, _) => values.is_null(row),
            Self::WideDecimal(values, _) => values.is_null(row),
            Self::Text(values, _) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Time(values) | Self::TimeTz(values) => values.is_null(row),
            Self::Timestamp(values) | Self::TimestampTz(values) => values.is_null(row),
            Self::Interval(values) => values.is_null(row),
            Self::Bytes(values) => values.is_null(row),
            Self::Array(lists, _) => lists.is_null(row),
        }
    }
}

/// `values` as `wanted`; a value that does not fit is an error, not a NULL.
fn to_type(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let have = values.data_type();
    let same_but_zone = matches!(
        (have, wanted),
        (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), DataType::Timestamp(TimeUnit::Microsecond, Some(_)))
    );
    if have == wanted || same_but_zone {
        return Ok(Arc::clone(values));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, wanted, &options)
        .map_err(|error| Error { message: format!("sending a value of type {have}: {error}"), ..Error::from(error) })
}
