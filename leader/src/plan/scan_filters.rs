//! Filters run inside the scans they stand on.

use super::replaced::replaced;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use slipher_common::plan::SliceScanExec;
use std::sync::Arc;

/// The engine's rule of the same purpose.
const ENGINE_RULE: &str = "FilterPushdown";

/// What a session calls it that scans leave segments out.
pub(crate) const SEGMENT_PRUNING: &str = "segment_pruning";

/// The engine's rule that chooses build sides.
pub(crate) const JOIN_SELECTION: &str = "join_selection";

/// Moves a filter into the scan directly below it. The logical optimizer has brought it there already.
///
/// It stands in for the engine's own rule, which takes filters through projections, joins and unions and finds their columns there
/// *by name*: where two sides of an outer join have columns of one name, the filter may end on the wrong side (DataFusion 55.2).
#[derive(Debug)]
pub(crate) struct FilterInScans {
    /// Scans leave segments out in which no row passes.
    prunes: bool,
}

/// `rules` with [`FilterInScans`] instead of the engine's rule.
pub fn with_filters_in_scans(
    mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    prunes: bool,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    rules.retain(|rule| rule.name() != ENGINE_RULE);
    // Before sides of joins are chosen: a scan knows better than the engine how many rows pass its filters.
    let selection = rules.iter().position(|rule| rule.name() == JOIN_SELECTION).unwrap_or(0);
    rules.insert(selection, Arc::new(FilterInScans { prunes }));
    rules
}

impl PhysicalOptimizerRule for FilterInScans {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |filter| moved_into_scan(filter, self.prunes))
    }

    fn name(&self) -> &str {
        "filter_in_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn moved_into_scan(filter: &FilterExec, prunes: bool) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(scan) = filter.input().downcast_ref::<SliceScanExec>() else {
        return Ok(None);
    };
    // A limit counts the rows that pass.
    if filter.fetch().is_some() || scan.limit().is_some() {
        return Ok(None);
    }
    let mut conditions: Vec<&Arc<dyn PhysicalExpr>> = Vec::new();
    for condition in split_conjunction(filter.predicate()) {
        // The engine derives conditions of one side from those of a join, and each of its passes may derive them again.
        if !conditions.contains(&condition) {
            conditions.push(condition);
        }
    }
    let (scan, left) = scan.with_filters(&conditions, prunes)?;
    let projection = filter.projection().as_ref().map(|columns| columns.to_vec());
    if left.is_empty() {
        let scan = match projection {
            Some(columns) => scan.with_columns(&columns)?,
            None => scan,
        };
        return Ok(Some(Arc::new(scan)));
    }
    let rest = FilterExecBuilder::new(conjunction(left), Arc::new(scan))
        .with_default_selectivity(filter.default_selectivity())
        .apply_projection(projection)?
        .build()?;
    Ok(Some(Arc::new(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn the_rule_of_the_engine_is_replaced() {
        let rules = with_filters_in_scans(PhysicalOptimizer::default().rules, true);
        let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.iter().filter(|name| **name == "filter_in_scans").count(), 1, "{names:?}");
        assert!(!names.contains(&ENGINE_RULE), "{names:?}");
        let at = |wanted: &str| names.iter().position(|name| *name == wanted);
        assert!(at("filter_in_scans") < at(JOIN_SELECTION) && at(JOIN_SELECTION).is_some(), "{names:?}");
    }
}
