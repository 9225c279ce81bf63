//! Projections that were put into filters come out again before the engine looks at projections once more.
//!
//! Its rule takes a projection through a filter when every column of the condition is in it, and looks for those by name and index. But the
//! condition counts the filter's input, the projection its output: where both sides of an outer join have columns of one name, the condition
//! may end on the wrong side's (DataFusion 55.2). Without a projection of its own, a filter's input and output are the same.

use super::replaced::replaced;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::ProjectionExec;
use std::sync::Arc;

/// The engine's rule that moves projections down.
const ENGINE_RULE: &str = "ProjectionPushdown";

/// The rule.
#[derive(Debug)]
struct PlainFilters;

/// `rules` with the rule before each run of the engine's.
pub(crate) fn with_plain_filters(
    rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut all: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = Vec::with_capacity(rules.len() + 2);
    for rule in rules {
        if rule.name() == ENGINE_RULE {
            all.push(Arc::new(PlainFilters));
        }
        all.push(rule);
    }
    all
}

impl PhysicalOptimizerRule for PlainFilters {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, with_projection_above)
    }

    fn name(&self) -> &str {
        "plain_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn with_projection_above(filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = filter.projection() else { return Ok(None) };
    let schema = filter.input().schema();
    let column = |index: &usize| {
        let name = schema.field(*index).name();
        (Arc::new(Column::new(name, *index)) as Arc<dyn PhysicalExpr>, name.clone())
    };
    let columns: Vec<_> = projection.iter().map(column).collect();
    let plain = FilterExecBuilder::from(filter).apply_projection(None)?.build()?;
    Ok(Some(Arc::new(ProjectionExec::try_new(columns, Arc::new(plain))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn each_run_of_the_engines_rule_meets_plain_filters() {
        let rules = with_plain_filters(PhysicalOptimizer::default().rules);
        let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
        let runs: Vec<usize> = (0..names.len()).filter(|index| names[*index] == ENGINE_RULE).collect();
        assert!(!runs.is_empty(), "{names:?}");
        assert!(runs.iter().all(|run| *run > 0 && names[run - 1] == "plain_filters"), "{names:?}");
    }
}
