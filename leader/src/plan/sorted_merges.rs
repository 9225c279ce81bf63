//! What merges sorted rows gets sorted rows.
//!
//! The engine takes a sort away where its keys are constant below, and other rules then move projections into joins, above which nobody knows
//! the constants any more (DataFusion 55.2): what is left is a merge of rows of which nothing says that they are sorted, and the plan is
//! refused. The sort is put back there.
//!
//! And what keeps no rows has none: a sort of the first 0 rows ends the thread it runs on.

use super::replaced::replaced;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
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
        replaced(replaced(plan, sorted_below)?, without_rows)
    }

    fn name(&self) -> &str {
        "sorted_merges"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn sorted_below(merge: &SortPreservingMergeExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (order, input) = (merge.expr(), merge.input());
    if input.equivalence_properties().ordering_satisfy(order.clone())? {
        return Ok(None);
    }
    let sort = SortExec::new(order.clone(), Arc::clone(input)).with_preserve_partitioning(true).with_fetch(merge.fetch());
    Ok(Some(Arc::new(SortPreservingMergeExec::new(order.clone(), Arc::new(sort)).with_fetch(merge.fetch()))))
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
