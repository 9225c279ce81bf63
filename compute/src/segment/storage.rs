//! The types of columns inside segment files. Dates and times are stored as the integers they are: Vortex's own date and time
//! types end at the year 9999, Redshift's go to 294276. Everything else is stored as its Arrow type.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use slipher_common::Result;
use slipher_common::catalog::STORED_NAME_KEY;
use std::sync::Arc;

/// The type in files of a column of type `logical`.
pub(crate) fn storage_type(logical: &DataType) -> DataType {
    match logical {
        DataType::Date32 => DataType::Int32,
        DataType::Time64(_) | DataType::Timestamp(_, _) => DataType::Int64,
        other => other.clone(),
    }
}

/// Whether values of `logical` are stored as another type.
pub(crate) fn is_restored(logical: &DataType) -> bool {
    storage_type(logical) != *logical
}

/// The schema in files of rows of schema `logical`.
pub(crate) fn storage_schema(logical: &Schema) -> SchemaRef {
    let field = |field: &Arc<arrow::datatypes::Field>| {
        let stored_name = field.metadata().get(STORED_NAME_KEY).unwrap_or(field.name());
        field.as_ref().clone().with_name(stored_name).with_data_type(storage_type(field.data_type()))
    };
    Arc::new(Schema::new(logical.fields().iter().map(field).collect::<Vec<_>>()))
}

/// A literal as it compares with stored values; `None` for types that are never stored.
pub(crate) fn storage_literal(value: &ScalarValue) -> Option<ScalarValue> {
    Some(match value {
        ScalarValue::Date32(day) => ScalarValue::Int32(*day),
        ScalarValue::Time64Microsecond(micros) | ScalarValue::TimestampMicrosecond(micros, _) => ScalarValue::Int64(*micros),
        other if is_restored(&other.data_type()) => return None,
        other => other.clone(),
    })
}

/// `batch` with its columns in the types of `schema`: from the logical types to the stored ones or back. Copies nothing.
pub(crate) fn with_types(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            // Arrow's cast between an integer and a time in microseconds keeps the bits.
            if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { Ok(cast(column, field.data_type())?) }
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
