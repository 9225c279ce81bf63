//! Columns of outer joins that are constant below.
//!
//! What the engine knows of a column below a join it takes for known above. But a row without a partner shows NULL in it: so it would leave out
//! `ORDER BY b.x` above `a LEFT JOIN (SELECT id, 5 AS x FROM t) b`.

use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// What a side knows of its columns counts, not what the join says: that is right for some types of joins, and their sides may still change
/// places.
pub(super) fn false_columns(join: &Arc<dyn ExecutionPlan>) -> Vec<usize> {
    let (fills_left, fills_right) = filled_sides(join);
    let [left, right] = join.children()[..] else { return Vec::new() };
    if !fills_left && !fills_right {
        return Vec::new();
    }
    let of_left = left.schema().fields().len();
    let is_constant_below = |place: usize, name: &str| {
        let (side, fills, index) =
            if place < of_left { (left, fills_left, place) } else { (right, fills_right, place - of_left) };
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, index));
        fills && side.equivalence_properties().is_expr_constant(&column).is_some()
    };
    let places = shown(join);
    let is_false = |index: usize, name: &str| {
        let place = places.as_ref().map_or(Some(index), |places| places.get(index).copied());
        place.is_some_and(|place| is_constant_below(place, name))
    };
    let schema = join.schema();
    (0..).zip(schema.fields()).filter(|(index, field)| is_false(*index, field.name())).map(|(index, _)| index).collect()
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
