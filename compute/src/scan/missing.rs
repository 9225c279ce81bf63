//! Values of columns that a segment does not have: those that were added to the table after it was written.

use crate::segment::storage::storage_literal;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory, replace_columns_with_literals,
};
use slipher_common::Error;
use slipher_common::catalog::MISSING_VALUE_KEY;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads columns that a file does not have as the values that ALTER TABLE gave to the rows that were there, NULL where it gave none.
#[derive(Debug)]
pub(super) struct MissingColumns {
    /// By the column's name in files.
    values: HashMap<String, ScalarValue>,
}

impl MissingColumns {
    /// The values that `logical`, the table's schema, has for its columns; `storage` is the same with names and types of files.
    pub(super) fn new(logical: &SchemaRef, storage: &SchemaRef) -> slipher_common::Result<Self> {
        let mut values = HashMap::new();
        for (field, stored) in logical.fields().iter().zip(storage.fields()) {
            if let Some(text) = field.metadata().get(MISSING_VALUE_KEY) {
                values.insert(stored.name().clone(), missing_value(field, text)?);
            }
        }
        Ok(Self { values })
    }
}

/// A value as files would hold it.
fn missing_value(field: &Field, text: &str) -> slipher_common::Result<ScalarValue> {
    let value = ScalarValue::Utf8(Some(text.to_owned())).cast_to(field.data_type())?;
    let unusable = || Error::internal(format!("column \"{}\" has no stored form of its value \"{text}\"", field.name()));
    match value.data_type() {
        // The literal carries no time zone; the bits are the same.
        DataType::Timestamp(_, _) | DataType::Time64(_) => Ok(value.cast_to(&DataType::Int64)?),
        _ => storage_literal(&value).ok_or_else(unusable),
    }
}

impl PhysicalExprAdapterFactory for MissingColumns {
    fn create(&self, logical: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let missing = self.values.iter().filter(|(name, _)| file.field_with_name(name).is_err());
        let values = missing.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Arc::new(Filled { values, others: DefaultPhysicalExprAdapterFactory.create(logical, file)? }))
    }
}

#[derive(Debug)]
struct Filled {
    values: HashMap<String, ScalarValue>,
    others: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for Filled {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        self.others.rewrite(replace_columns_with_literals(expression, &self.values)?)
    }
}
