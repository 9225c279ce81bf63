//! The order of inner joins, from the statistics of the tables.
//!
//! The engine joins in the order of the FROM list. This rule takes each region of inner joins apart, counts what every order costs
//! (rows built, looked up, handed on and sent between nodes) and keeps the given order unless another is clearly cheaper.

mod estimate;
mod graph;
mod one_match;
mod search;
mod semi_joins;

pub(crate) use one_match::OneMatch;

use crate::plan::join_order::graph::{Graph, is_inner, is_passed_through};
use crate::plan::join_order::search::Search;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Another order must cost at most this share of the given one: the estimates are not better than that.
const GAIN_SHARE_MAX: f64 = 0.9;

/// The rule.
#[derive(Debug)]
pub(crate) struct JoinOrder;

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        ordered(plan, config.options().optimizer.hash_join_single_partition_threshold_rows)
    }
}

/// Orders every region of `plan`; joins copy a side of at most `broadcast_rows_max` rows.
fn ordered(plan: LogicalPlan, broadcast_rows_max: usize) -> Result<Transformed<LogicalPlan>> {
    plan.transform_down(|node| {
        if let LogicalPlan::Join(join) = &node
            && let Some(plan) = semi_joins::pushed(join).or_else(|| semi_joins::spared_subquery(join, broadcast_rows_max))
        {
            let below = ordered(plan, broadcast_rows_max)?;
            return Ok(Transformed::new(below.data, true, TreeNodeRecursion::Jump));
        }
        if !is_inner(&node) {
            return Ok(Transformed::no(node));
        }
        let below = order_region(node, broadcast_rows_max)?;
        Ok(Transformed::new(below.data, below.transformed, TreeNodeRecursion::Jump))
    })
}

/// Orders the region at `root` and those inside its inputs.
fn order_region(root: LogicalPlan, broadcast_rows_max: usize) -> Result<Transformed<LogicalPlan>> {
    if let Some(LogicalPlan::Projection(spared)) = semi_joins::spared_groups(&root, broadcast_rows_max) {
        let region = order_region(Arc::unwrap_or_clone(Arc::clone(&spared.input)), broadcast_rows_max)?.data;
        return Projection::try_new(spared.expr, Arc::new(region)).map(|plan| Transformed::yes(LogicalPlan::Projection(plan)));
    }
    let below = order_inputs(root, broadcast_rows_max)?;
    Ok(match cheaper(&below.data, broadcast_rows_max) {
        Some(plan) => Transformed::yes(plan),
        None => below,
    })
}

/// Orders the regions inside the inputs of the region at `node`.
fn order_inputs(node: LogicalPlan, broadcast_rows_max: usize) -> Result<Transformed<LogicalPlan>> {
    node.map_children(|child| {
        if is_inner(&child) || is_passed_through(&child) {
            order_inputs(child, broadcast_rows_max)
        } else {
            ordered(child, broadcast_rows_max)
        }
    })
}

/// The region at `root` in a cheaper order, if there is one.
fn cheaper(root: &LogicalPlan, broadcast_rows_max: usize) -> Option<LogicalPlan> {
    let graph = Graph::new(root).filter(|graph| graph.inputs.len() > 2)?;
    let mut search = Search::new(&graph, broadcast_rows_max);
    let given = search.cost(&graph.shape);
    let (shape, cost) = search.best()?;
    tracing::debug!(given, cost, ?shape, "join order");
    if given.is_some_and(|given| cost > given * GAIN_SHARE_MAX) {
        return None;
    }
    graph.plan(&shape, root)
}
