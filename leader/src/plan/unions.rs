//! Columns of UNION ALL that are constant in each of its parts, but not the same in all: `SELECT 'a' AS source, ... UNION ALL SELECT 'b', ...`.
//!
//! The engine knows of them that they are constant in each partition (DataFusion 55.2), and sorts each without them. But `ORDER BY source, x
//! LIMIT n` then keeps the first rows of each partition by `x` alone, and its partitions tell each other how many they have, so that rows get
//! lost; and what merges them by `source, x` is taken for ordered by `x`, too. So such columns are computed anew above the union, in a way that
//! it cannot follow.

use super::held::held_above;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::equivalence::EquivalenceProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{AcrossPartitions, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// The rule. It runs before anything asks for an order.
#[derive(Debug)]
pub(super) struct UnionColumns;

impl PhysicalOptimizerRule for UnionColumns {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        plan.transform_up(|node| {
            if !node.is::<UnionExec>() && !node.is::<InterleaveExec>() {
                return Ok(Transformed::no(node));
            }
            let known = node.equivalence_properties();
            let above = held_above(&node, &config, |index, field| differs(known, &Column::new(field.name(), index)))?;
            Ok(above.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "union_columns"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a column is constant in each partition, of which others may have another value.
fn differs(known: &EquivalenceProperties, column: &Column) -> bool {
    let column: Arc<dyn PhysicalExpr> = Arc::new(column.clone());
    matches!(known.is_expr_constant(&column), Some(AcrossPartitions::Heterogeneous | AcrossPartitions::Uniform(None)))
}
