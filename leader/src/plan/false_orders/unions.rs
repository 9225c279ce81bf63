//! Columns of UNION ALL that are constant in each of its parts, but not the same in all: `SELECT 'a' AS source, ... UNION ALL SELECT 'b', ...`.
//!
//! The engine knows of them that they are constant in each partition, and sorts each without them. But `ORDER BY source, x LIMIT n` then keeps
//! the first rows of each partition by `x` alone, and its partitions tell each other how many they have, so that rows get lost; and what merges
//! them by `source, x` is taken for ordered by `x`, too.

use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{AcrossPartitions, PhysicalExpr};
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

pub(super) fn false_columns(node: &Arc<dyn ExecutionPlan>) -> Vec<usize> {
    if !node.is::<UnionExec>() && !node.is::<InterleaveExec>() {
        return Vec::new();
    }
    let known = node.equivalence_properties();
    let schema = node.schema();
    let columns = (0..).zip(schema.fields()).map(|(index, field)| Column::new(field.name(), index));
    // Constant in each partition, of which others may have another value.
    let differs = |column: &Column| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(column.clone());
        matches!(known.is_expr_constant(&column), Some(AcrossPartitions::Heterogeneous | AcrossPartitions::Uniform(None)))
    };
    columns.filter(differs).map(|column| column.index()).collect()
}
