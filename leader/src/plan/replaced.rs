//! Other nodes in place of those of one kind.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// The plan with each node of type `N` replaced, from below, where `change` has another one for it.
pub(super) fn replaced<N: ExecutionPlan>(
    plan: Arc<dyn ExecutionPlan>,
    change: impl Fn(&N) -> Result<Option<Arc<dyn ExecutionPlan>>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let other = match node.downcast_ref::<N>() {
            Some(found) => change(found)?,
            None => None,
        };
        Ok(other.map_or_else(|| Transformed::no(node), Transformed::yes))
    })
    .data()
}
