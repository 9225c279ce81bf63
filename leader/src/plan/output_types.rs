//! The SQL types of a plan's columns.

use datafusion::logical_expr::LogicalPlan;
use slipher_common::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use slipher_common::{Result, SqlType};

/// Name and type of each column of a query; an expression's text may be as long as VARCHAR allows.
pub(crate) fn column_types(plan: &LogicalPlan) -> Result<Vec<(String, SqlType)>> {
    plan.schema()
        .fields()
        .iter()
        .map(|field| {
            let known = field.metadata().contains_key(slipher_common::sql_type::TYPE_METADATA_KEY);
            let sql_type = match SqlType::of_field(field)? {
                SqlType::VarChar(_) if !known => SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES),
                other => other,
            };
            Ok((field.name().clone(), sql_type))
        })
        .collect()
}
