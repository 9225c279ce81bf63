//! What needs sorted rows gets them.
//!
//! The engine takes a sort away where its keys are constant below, and other rules then move projections into joins, or let their sides change
//! places, above which nobody knows the constants any more (DataFusion 55.2): what is left is a merge or a window of rows of which nothing says
//! that they are sorted, and the plan is refused. The sort is put back there.
//!
//! A merge by fewer keys than its rows are sorted by is taken for one by all of them: sorts above it, which stood there for the others, are left
//! out. It merges by all of them then.
//!
//! And what keeps no rows has none: a sort of the first 0 rows ends the thread it runs on.

use super::align::{as_required, merged_by_all};
use super::replaced::replaced;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};
use std::sync::Arc;

/// The engine's rule that refuses such plans.
const SANITY_CHECK: &str = "SanityCheckPlan";

/// The rule.
#[derive(Debug)]
struct SortedMerges;

/// `rules` with this one before the plan is checked.
pub(crate) fn with_sorted_merges(
    mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let check = rules.iter().position(|rule| rule.name() == SANITY_CHECK).unwrap_or(rules.len());
    rules.insert(check, Arc::new(SortedMerges));
    rules
}

impl PhysicalOptimizerRule for SortedMerges {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, without_rows)?.transform_up(sorted_below).data()
    }

    fn name(&self) -> &str {
        "sorted_merges"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn sorted_below(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(merged) = merged_by_all(&node)? {
        return Ok(Transformed::yes(merged));
    }
    let children: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
    let sorted = children.iter().enumerate().map(|(index, child)| as_required(&node, index, Arc::clone(child)));
    let sorted = sorted.collect::<Result<Vec<_>>>()?;
    if sorted.iter().zip(&children).all(|(sorted, child)| Arc::ptr_eq(sorted, child)) {
        return Ok(Transformed::no(node));
    }
    Ok(Transformed::yes(replace_children_if_necessary(node, sorted)?))
}

/// What takes the place of a sort that keeps no rows: one of none, which are in its order, too.
fn without_rows(sort: &SortExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if sort.fetch() != Some(0) {
        return Ok(None);
    }
    let partitions = sort.input().output_partitioning().partition_count();
    let none = Arc::new(EmptyExec::new(sort.schema()).with_partitions(partitions));
    Ok(Some(Arc::new(SortExec::new(sort.expr().clone(), none).with_preserve_partitioning(sort.preserve_partitioning()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn the_engine_checks_plans_after_this_rule() {
        let rules = with_sorted_merges(PhysicalOptimizer::default().rules);
        let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
        let at = |wanted: &str| names.iter().position(|name| *name == wanted);
        assert!(
            at("sorted_merges").is_some() && at(SANITY_CHECK).is_some_and(|check| at("sorted_merges") < Some(check)),
            "{names:?}"
        );
    }
}
