//! The order of running aggregates, where the engine is wrong about it (DataFusion 55.2).
//!
//! It knows that MAX over a frame that grows never becomes less, and MIN never greater, and leaves out a sort by them. But it takes NULL, which
//! they are as long as the frame has no value, for the last value instead of the first one; and the same where the frame becomes smaller or
//! moves. So results of that kind that may be NULL are computed anew above the window, in a way that it cannot follow.

use super::held::held_above;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::SetMonotonicity;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr, WindowExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use std::sync::Arc;

/// The rule. It runs before anything asks for an order.
#[derive(Debug)]
pub(super) struct WindowOrder;

impl PhysicalOptimizerRule for WindowOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        plan.transform_up(|node| {
            let Some(windows) = windows_of(&node) else { return Ok(Transformed::no(node)) };
            // They follow the columns of what is below.
            let first = node.schema().fields().len() - windows.len();
            let above = held_above(&node, &config, |index, field| {
                let window = index.checked_sub(first).and_then(|number| windows.get(number));
                field.is_nullable() && window.is_some_and(|window| is_taken_for_ordered(window.as_ref()))
            })?;
            Ok(above.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "window_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

pub(super) fn windows_of(node: &Arc<dyn ExecutionPlan>) -> Option<&[Arc<dyn WindowExpr>]> {
    let bounded = node.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
    bounded.or_else(|| node.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr))
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
