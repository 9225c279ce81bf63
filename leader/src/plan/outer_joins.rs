//! Columns of outer joins that the engine takes for constant.
//!
//! What it knows of a column below a join it takes for known above (DataFusion 55.2). But a row without a partner shows NULL in it: so it
//! would leave out `ORDER BY b.x` above `a LEFT JOIN (SELECT id, 5 AS x FROM t) b`. Such columns are computed anew above the join, in a way that
//! it cannot follow.

use super::held::held_above;
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// The rule. It runs before anything asks for an order.
#[derive(Debug)]
pub(super) struct OuterColumns;

impl PhysicalOptimizerRule for OuterColumns {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        plan.transform_up(|node| {
            let above = with_plain_columns(&node, &config)?;
            Ok(above.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "outer_columns"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The sides of an outer join whose columns are NULL for rows without a partner: the left one, the right one.
fn filled_sides(node: &Arc<dyn ExecutionPlan>) -> (bool, bool) {
    let hash = node.downcast_ref::<HashJoinExec>().map(|join| *join.join_type());
    let merge = node.downcast_ref::<SortMergeJoinExec>().map(|join| join.join_type());
    let loops = node.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type());
    match hash.or(merge).or(loops) {
        Some(JoinType::Left) => (false, true),
        Some(JoinType::Right) => (true, false),
        Some(JoinType::Full) => (true, true),
        _ => (false, false),
    }
}

/// Which columns of a join the join itself gives, where it leaves some out.
fn shown(join: &Arc<dyn ExecutionPlan>) -> Option<Vec<usize>> {
    let hash = join.downcast_ref::<HashJoinExec>().and_then(|join| join.projection.as_deref().map(<[usize]>::to_vec));
    hash.or_else(|| {
        join.downcast_ref::<NestedLoopJoinExec>().and_then(|join| join.projection().as_deref().map(<[usize]>::to_vec))
    })
}

/// What a side knows of its columns counts, not what the join says: that is right for some types of joins, and their sides may still change
/// places.
fn with_plain_columns(join: &Arc<dyn ExecutionPlan>, config: &Arc<ConfigOptions>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (fills_left, fills_right) = filled_sides(join);
    let [left, right] = join.children()[..] else { return Ok(None) };
    if !fills_left && !fills_right {
        return Ok(None);
    }
    let of_left = left.schema().fields().len();
    let is_constant_below = |place: usize, name: &str| {
        let (side, fills, index) =
            if place < of_left { (left, fills_left, place) } else { (right, fills_right, place - of_left) };
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, index));
        fills && side.equivalence_properties().is_expr_constant(&column).is_some()
    };
    let places = shown(join);
    held_above(join, config, |index, field| {
        let place = places.as_ref().map_or(Some(index), |places| places.get(index).copied());
        place.is_some_and(|place| is_constant_below(place, field.name()))
    })
}
