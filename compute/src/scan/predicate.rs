//! Which predicates the Vortex scan may evaluate.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use slipher_common::{Error, Result};
use std::sync::Arc;

/// Whether Vortex yields the engine's answer for `predicate`. Floats are left to the engine, whose order has a place for NaN and
/// tells −0.0 from 0.0; so is arithmetic, which Vortex checks for overflow in its own way.
pub(super) fn same_in_vortex(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let differs = predicate.exists(|node| {
        let float = matches!(node.data_type(schema)?, DataType::Float16 | DataType::Float32 | DataType::Float64);
        let arithmetic = node.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
            matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
        });
        Ok(float || arithmetic)
    });
    matches!(differs, Ok(false))
}

/// A predicate over the table's columns as one over `columns` (indexes into the table's).
pub(super) fn over_columns(predicate: Arc<dyn PhysicalExpr>, columns: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = predicate.transform_down(|node| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        match columns.iter().position(|index| *index == column.index()) {
            Some(place) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as Arc<dyn PhysicalExpr>)),
            None => Err(Error::internal(format!("a filter needs column \"{}\", which is not read", column.name())).into()),
        }
    });
    Ok(moved.data()?)
}
