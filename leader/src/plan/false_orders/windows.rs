//! Running aggregates.
//!
//! The engine knows that MAX over a frame that grows never becomes less, and MIN never greater. But it takes NULL, which they are as long as
//! the frame has no value, for the last value instead of the first one; and the same where the frame becomes smaller or moves.

use datafusion::logical_expr::SetMonotonicity;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr, WindowExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
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
