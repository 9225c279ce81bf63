//! Keys of GROUP BY, which are in no two rows alike.
//!
//! The engine knows that rows that are in the order of such keys are in any longer order, too, and leaves out sorts by them. But where a
//! projection stands above, it takes for unique what stands in the place of the keys then: in `SELECT k % 2, k ... GROUP BY k` that is `k % 2`
//! (DataFusion 55.2). And a window over such a key and others looks for the order of each by itself, and does not find it. So nothing is known of
//! keys where an order can be: below a sort or a window, if another one is above it, or below the aggregate.

use super::windows_of;
use crate::plan::first_rows::ENSURE_REQUIREMENTS;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateOutputMode};
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};
use slipher_common::plan::WithoutKeysExec;
use std::sync::Arc;

type Plan = Arc<dyn ExecutionPlan>;

/// The rule.
#[derive(Debug)]
struct UniqueKeys;

/// `rules` with this one before sorts are left out, and behind those that look for aggregates below limits.
pub(in crate::plan) fn with_unique_keys(
    mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    if let Some(place) = rules.iter().position(|rule| rule.name() == ENSURE_REQUIREMENTS) {
        rules.insert(place, Arc::new(UniqueKeys));
    }
    rules
}

impl PhysicalOptimizerRule for UniqueKeys {
    fn optimize(&self, plan: Plan, _config: &ConfigOptions) -> Result<Plan> {
        without_keys(plan, 0)
    }

    fn name(&self) -> &str {
        "unique_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `orders`: how many nodes above make an order.
fn without_keys(plan: Plan, orders: usize) -> Result<Plan> {
    let orders_below = orders + usize::from(makes_order(&plan));
    let children = plan.children().into_iter().map(|child| without_keys(Arc::clone(child), orders_below));
    let plan = replace_children_if_necessary(Arc::clone(&plan), children.collect::<Result<Vec<_>>>()?)?;
    let is_concerned = has_unique_keys(&plan) && orders > 0 && (orders > 1 || may_be_ordered(&plan));
    Ok(if is_concerned { Arc::new(WithoutKeysExec::new(plan)) } else { plan })
}

fn has_unique_keys(plan: &Plan) -> bool {
    let aggregate = plan.downcast_ref::<AggregateExec>().filter(|aggregate| !aggregate.group_expr().is_empty());
    aggregate.is_some_and(|aggregate| aggregate.mode().output_mode() == AggregateOutputMode::Final)
}

fn makes_order(plan: &Plan) -> bool {
    plan.is::<SortExec>() || plan.is::<SortMergeJoinExec>() || windows_of(plan).is_some()
}

/// Whether rows are in an order, or may come to be.
fn may_be_ordered(plan: &Plan) -> bool {
    makes_order(plan) || plan.output_ordering().is_some() || plan.children().into_iter().any(may_be_ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn keys_are_forgotten_before_sorts_are_left_out() {
        let rules = with_unique_keys(PhysicalOptimizer::default().rules);
        let at = |wanted: &str| rules.iter().position(|rule| rule.name() == wanted);
        assert!(at("unique_keys").is_some() && at("unique_keys") < at(ENSURE_REQUIREMENTS));
        assert!(at("LimitedDistinctAggregation").is_some() && at("LimitedDistinctAggregation") < at("unique_keys"));
    }
}
