//! Windows: the order of running aggregates, and that of their keys.
//!
//! - The engine knows that MAX over a frame that grows never becomes less, and MIN never greater. But it takes NULL, which they are as long as
//!   the frame has no value, for the last value instead of the first one; and the same where the frame becomes smaller or moves.
//! - Rows that are ordered by the key of a GROUP BY are ordered by anything behind it, as no two have the same one: so a window that wants its
//!   rows by that key and another one gets no sort, then looks for the order of each of its keys by itself, and does not find it.

use crate::plan::held::held_above;
use datafusion::common::{Constraint, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::SetMonotonicity;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr, WindowExpr};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};
use std::sync::Arc;

/// The windows of a node that computes them.
pub(in crate::plan) fn windows_of(node: &Arc<dyn ExecutionPlan>) -> Option<&[Arc<dyn WindowExpr>]> {
    let bounded = node.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
    bounded.or_else(|| node.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr))
}

/// Running aggregates that may be NULL.
pub(super) fn false_columns(node: &Arc<dyn ExecutionPlan>) -> Vec<usize> {
    let Some(windows) = windows_of(node) else { return Vec::new() };
    let schema = node.schema();
    // They follow the columns of what is below.
    let first = schema.fields().len() - windows.len();
    let columns = (first..).zip(windows);
    let is_false = |(index, window): &(usize, &Arc<dyn WindowExpr>)| {
        schema.field(*index).is_nullable() && is_taken_for_ordered(window.as_ref())
    };
    columns.filter(is_false).map(|(index, _)| index).collect()
}

fn is_taken_for_ordered(window: &dyn WindowExpr) -> bool {
    let plain = window.as_any().downcast_ref::<PlainAggregateWindowExpr>();
    // Over all rows it is one value.
    let growing = plain.filter(|window| !window.get_window_frame().end_bound.is_unbounded());
    let moving = window.as_any().downcast_ref::<SlidingAggregateWindowExpr>();
    let aggregate = growing.map(|window| window.get_aggregate_expr());
    let aggregate = aggregate.or_else(|| moving.map(|window| window.get_aggregate_expr()));
    aggregate.is_some_and(|aggregate| aggregate.set_monotonicity() != SetMonotonicity::NotMonotonic)
}

/// A window over keys of which nothing is known, where some of them are known to be in no two rows alike and others stand beside them. Each row
/// is a partition then: nobody minds a sort.
pub(super) fn above_plain_keys(
    node: &Arc<dyn ExecutionPlan>,
    config: &Arc<ConfigOptions>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(window) = windows_of(node).and_then(|windows| windows.first()) else { return Ok(None) };
    let [below] = node.children()[..] else { return Ok(None) };
    let keys = window.partition_by();
    let place = |key: &Arc<dyn PhysicalExpr>| key.downcast_ref::<Column>().map(Column::index);
    let places: Vec<usize> = keys.iter().filter_map(place).collect();
    let unique = below.equivalence_properties().constraints().iter().map(|constraint| match constraint {
        Constraint::PrimaryKey(columns) | Constraint::Unique(columns) => columns,
    });
    let of_some_keys = |columns: &&Vec<usize>| columns.len() < keys.len() && columns.iter().all(|column| places.contains(column));
    let Some(columns) = unique.into_iter().find(of_some_keys) else { return Ok(None) };
    let Some(below) = held_above(below, config, columns)? else { return Ok(None) };
    replace_children_if_necessary(Arc::clone(node), vec![below]).map(Some)
}
