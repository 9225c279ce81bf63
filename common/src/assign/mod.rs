//! Assignment: how values become a table's values (INSERT, CREATE TABLE AS, COPY). Conversions as Redshift makes them by itself,
//! lengths, ranges and NOT NULL checked; every refusal names the column, the value and its place.

mod bytes;
mod calendar;
mod canonical;
mod datetime_pattern;
mod datetime_text;
mod display;
mod fault;
mod json;
mod numbers;
mod scalar_text;
pub(crate) mod strings;
mod super_values;
mod temporal;
mod text;
mod to_text;
mod zone;

#[cfg(test)]
mod tests;

pub use bytes::{from_hex, to_hex};
pub(crate) use calendar::{civil_from_days, days_from_civil};
pub use canonical::{canonical, canonical_type, normalize_load_schema};
pub use datetime_pattern::DatetimeFormat;
pub use display::{
    EXTRA_FLOAT_DIGITS_DEFAULT, write_date, write_decimal, write_f32, write_f64, write_instant, write_interval, write_time,
    write_timestamp,
};
pub use fault::{Fault, OnFault, TextFault, base_name, shorten};
pub use json::append as append_super;
pub(crate) use scalar_text::parse_decimal_cut;
pub use super_values::{from_super, json_texts, put_scalar, strings_of, super_of};
pub use text::{TextFormats, parse_column, parse_scalar};
pub use to_text::text_of;
pub use zone::{UTC, Zone, special_moment};

use crate::casts::{Kind, When, cast};
use crate::catalog::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::sql_type::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::*;
use slipher_proto::plan::CsvOptions;
use std::sync::Arc;

/// How an [`Assigner`] treats what does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignOptions {
    /// Strings that are too long are cut, not refused (COPY … TRUNCATECOLUMNS).
    pub truncate_strings: bool,
    /// The zone in which wall clocks are those of instants; None: UTC.
    pub zone: Option<Arc<Zone>>,
    /// What time it is, in microseconds since 1970, for texts that ask (`now`, `today`).
    pub now: Option<i64>,
}

/// Turns batches of a source into batches of a table.
#[derive(Clone, Debug)]
pub struct Assigner {
    table: Arc<Table>,
    schema: SchemaRef,
    /// The type of each source column; `None` for columns of NULLs without a type.
    sources: Vec<Option<SqlType>>,
    formats: TextFormats,
}

impl Assigner {
    /// For a source whose columns are the table's, in order. Types that Redshift does not convert by itself are refused here.
    pub fn new(table: Arc<Table>, source: &Schema, options: AssignOptions) -> Result<Self> {
        let (expected, found) = (table.columns.len(), source.fields().len());
        if expected != found {
            let more = if found > expected { "expressions than target columns" } else { "target columns than expressions" };
            return Err(Error::new(ErrorKind::Syntax, format!("writing to table \"{table}\": there are more {more}"))
                .with_detail(format!("the table has {expected} columns, the source {found}")));
        }
        let sources = table
            .columns
            .iter()
            .zip(source.fields())
            .map(|(column, field)| assignable_source(field, column.sql_type, &column.name))
            .collect::<Result<_>>()?;
        let schema = table.arrow_schema();
        let AssignOptions { truncate_strings, zone, now } = options;
        let formats = TextFormats { truncate_strings, zone, now, ..TextFormats::default() };
        Ok(Self { table, schema, sources, formats })
    }

    /// The schema of the batches that [`Assigner::assign`] yields: the table's.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// One batch in the table's schema. `place` says where a row of `batch` comes from, such as `row 3`.
    pub fn assign(&self, batch: &RecordBatch, place: &dyn Fn(usize) -> String) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.sources.len());
        for ((column, source), array) in self.table.columns.iter().zip(&self.sources).zip(batch.columns()) {
            let mut refuse = |row: usize, fault: Fault| {
                Err(fault.at(&format!("\"{}\" of table \"{}\"", column.name, self.table), &place(row)))
            };
            let array = assign_column(array, *source, column.sql_type, &self.formats, &mut refuse)?;
            if column.not_null && array.null_count() > 0 {
                let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or_default();
                refuse(row, Fault::null(&column.name))?;
            }
            columns.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema(), columns, &options)?)
    }
}

/// The source's type, if a column of type `target` takes it by assignment.
fn assignable_source(field: &Field, target: SqlType, column: &str) -> Result<Option<SqlType>> {
    if *field.data_type() == DataType::Null {
        return Ok(None);
    }
    let source = SqlType::of_field(field).ok();
    if source.is_some_and(|source| is_assignable(source, target)) {
        return Ok(source);
    }
    let shown = source.map_or_else(|| field.data_type().to_string(), base_name);
    Err(Error::new(
        ErrorKind::DatatypeMismatch,
        format!("column \"{column}\" is of type {} but expression is of type {shown}", base_name(target)),
    )
    .with_hint("rewrite the expression, or cast it if there is a cast"))
}

/// Whether Redshift converts `source` to `target` by itself when it is written to a column.
pub fn is_assignable(source: SqlType, target: SqlType) -> bool {
    cast(Kind::of(source), Kind::of(target)).is_some_and(|when| when <= When::Assignment)
}

/// One column as `target`. Values that do not fit go to `on_fault`; where it lets them pass, they become NULL.
pub fn assign_column(
    array: &ArrayRef,
    source: Option<SqlType>,
    target: SqlType,
    formats: &TextFormats,
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(&target.to_arrow(), array.len()));
    }
    if *array.data_type() == DataType::BinaryView && target == SqlType::Super {
        return Ok(Arc::clone(array));
    }
    if matches!(target, SqlType::VarByte(_))
        && let Some(fitting) = bytes::fit(array, target, on_fault)?
    {
        return Ok(fitting);
    }
    let array = canonical(array, on_fault)?;
    if target == SqlType::Super {
        return super_of(&array);
    }
    let is_string = strings::length_limit(target).is_some();
    if *array.data_type() == DataType::Utf8View {
        let texts = array.as_string_view();
        return match is_string {
            true => strings::fit_column(texts, target, formats.truncate_strings, on_fault),
            false => parse_column(texts.iter(), target, formats, on_fault),
        };
    }
    if is_string {
        let texts = text_of(&array, source, formats.zone.as_deref())?;
        return strings::fit_column(texts.as_string_view(), target, formats.truncate_strings, on_fault);
    }
    // Only the engine's own check keeps a decimal within its precision, and equal types have the same.
    if *array.data_type() == target.to_arrow() {
        return Ok(array);
    }
    if let Some(converted) = numbers::convert(&array, target, on_fault)? {
        return Ok(converted);
    }
    temporal::convert(&array, target, formats.zone.as_deref(), on_fault)?
        .ok_or_else(|| Error::internal(format!("there is no assignment from {} to {target}", array.data_type())))
}

/// Whether a delimited file with these options may be cut into byte ranges at line ends: no field can hold a line end, and the
/// bytes are not compressed.
pub fn can_split_delimited(options: &CsvOptions) -> bool {
    let plain = options.compression.is_empty() || options.compression.eq_ignore_ascii_case("none");
    plain && !options.csv_mode && options.escape.is_empty()
}
