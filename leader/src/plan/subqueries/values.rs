//! VALUES with subqueries in them.

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{EmptyRelation, ExprSchemable, LogicalPlan, Projection, Union, Values};
use std::sync::Arc;

/// VALUES as a union of rows, whose expressions may hold what constants may not.
pub(super) fn values_as_union(values: &Values) -> Result<LogicalPlan> {
    let mut rows = Vec::with_capacity(values.values.len());
    for row in &values.values {
        let input =
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::clone(DFSchema::empty_ref()) });
        let mut exprs = Vec::with_capacity(row.len());
        for (expr, field) in row.iter().zip(values.schema.fields()) {
            exprs.push(expr.clone().cast_to(field.data_type(), input.schema())?.alias(field.name()));
        }
        rows.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)));
    }
    match rows.len() {
        1 => Ok(rows.pop().map(Arc::unwrap_or_clone).unwrap_or_default()),
        _ => Ok(LogicalPlan::Union(Union::try_new(rows)?)),
    }
}
