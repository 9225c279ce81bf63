//! The first rows of a sort above what needs all rows.
//!
//! Where the engine moves sorts, it tells whoever is already in the order of a sort how many rows are enough, and all below (DataFusion 55.2):
//! windows, too, which then count those rows only, and filters. So where something below may come to be in an order, the number stands in a limit
//! above the sort until the sorts are where they stay. The engine's rule for limits puts it back into the sort.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// The engine's rule that moves sorts.
pub(super) const ENSURE_REQUIREMENTS: &str = "EnsureRequirements";

type Plan = Arc<dyn ExecutionPlan>;

/// The rule.
#[derive(Debug)]
struct FirstRows;

/// `rules` with this one before sorts are moved.
pub(crate) fn with_first_rows(
    mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    if let Some(place) = rules.iter().position(|rule| rule.name() == ENSURE_REQUIREMENTS) {
        rules.insert(place, Arc::new(FirstRows));
    }
    rules
}

impl PhysicalOptimizerRule for FirstRows {
    fn optimize(&self, plan: Plan, _config: &ConfigOptions) -> Result<Plan> {
        plan.transform_up(|node| {
            let above = node.downcast_ref::<SortExec>().and_then(with_limit_above);
            Ok(above.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "first_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn with_limit_above(sort: &SortExec) -> Option<Plan> {
    let fetch = sort.fetch().filter(|fetch| *fetch > 0)?;
    if !may_be_told(sort.input()) {
        return None;
    }
    let all: Plan = Arc::new(sort.with_fetch(None));
    Some(match sort.preserve_partitioning() {
        true => Arc::new(LocalLimitExec::new(all, fetch)),
        false => Arc::new(GlobalLimitExec::new(all, 0, Some(fetch))),
    })
}

/// Whether a node below, down to the next sort, needs more rows than it gives, and may give them in an order.
fn may_be_told(input: &Plan) -> bool {
    let mut node = input;
    loop {
        let passes_rows_on = node.supports_limit_pushdown() && matches!(node.cardinality_effect(), CardinalityEffect::Equal);
        match node.children()[..] {
            [] => return false,
            [below] if passes_rows_on => node = below,
            _ if node.is::<SortExec>() => return false,
            _ => return may_be_ordered(node),
        }
    }
}

fn may_be_ordered(plan: &Plan) -> bool {
    let mut found = false;
    let looked = plan.apply(|node| {
        found |= node.output_ordering().is_some() || node.required_input_ordering().iter().any(Option::is_some);
        // A window over all rows asks for no order, and what is above it may be ordered all the same.
        found |= super::false_orders::windows_of(node).is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || looked.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn the_engine_moves_sorts_after_this_rule() {
        let rules = with_first_rows(PhysicalOptimizer::default().rules);
        let at = |wanted: &str| rules.iter().position(|rule| rule.name() == wanted);
        let limits = at("LimitPushdown");
        assert!(at("first_rows").is_some() && at("first_rows") < at(ENSURE_REQUIREMENTS) && at(ENSURE_REQUIREMENTS) < limits);
    }
}
