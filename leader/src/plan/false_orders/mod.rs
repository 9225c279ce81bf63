//! Columns that the engine takes for constant or ordered where they are not (DataFusion 55.2): it leaves out sorts by them, and rows come in a
//! wrong order, or get lost. They are computed anew above the node that is wrong about them, in a way that it cannot follow.

mod outer_joins;
mod unions;
mod unique_keys;
mod windows;

pub(super) use unique_keys::with_unique_keys;
pub(super) use windows::windows_of;

use super::held::held_above;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// The rule. It runs before anything asks for an order.
#[derive(Debug)]
pub(super) struct FalseOrders;

impl PhysicalOptimizerRule for FalseOrders {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        plan.transform_up(|node| {
            let mut places = outer_joins::false_columns(&node);
            places.extend(unions::false_columns(&node));
            places.extend(windows::false_columns(&node));
            Ok(held_above(&node, &config, &places)?.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "false_orders"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
