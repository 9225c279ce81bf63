//! The engine's rules for aggregates, where they are wrong (DataFusion 55.2).
//!
//! Its rule for aggregates that are known without reading rows looks below one for the part that reads rows, and goes on looking where that
//! part has a FILTER: through projections and limits to the next aggregate without one, whose answer it then takes. `max(m) FILTER (WHERE
//! m > 5)` over `(SELECT max(id) AS m FROM t)` would be `max(id)`. So it sees no plan with a FILTER in it, only what is below.
//!
//! Its rule that keeps only the first groups of `ORDER BY key LIMIT n` compares floats with `==`, by which no NaN is another: each NaN
//! would be a group. So groups by floats keep all.
//!
//! It takes what it knows of a column below grouping sets for known above: that it has one value, or that of another column. But a set without
//! the column shows NULL. So such keys are computed in a way that it cannot follow.

use super::held::held;
use super::replaced::replaced;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode, PhysicalGroupBy};
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use std::sync::Arc;

/// The engine's rule for aggregates that are known.
const KNOWN_AGGREGATES: &str = "aggregate_statistics";
/// The engine's rule for the first groups.
const FIRST_GROUPS: &str = "LimitAggregation";

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// `rules` with ours around the engine's.
pub(crate) fn with_aggregate_rules(rules: Vec<Rule>) -> Vec<Rule> {
    let ours = |rule: Rule| -> Rule {
        match rule.name() {
            KNOWN_AGGREGATES => Arc::new(KnownAggregates(rule)),
            FIRST_GROUPS => Arc::new(FirstGroups(rule)),
            _ => rule,
        }
    };
    std::iter::once(Arc::new(PlainKeys) as Rule).chain(rules.into_iter().map(ours)).collect()
}

/// Around the engine's rule for aggregates that are known.
#[derive(Debug)]
struct KnownAggregates(Rule);

impl PhysicalOptimizerRule for KnownAggregates {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        match self.around_filters(&plan, config)? {
            Some(changed) => Ok(changed),
            None => self.0.optimize(plan, config),
        }
    }

    fn name(&self) -> &str {
        KNOWN_AGGREGATES
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

impl KnownAggregates {
    /// `plan` with the engine's rule on the largest parts without a FILTER; nothing where none is in it.
    fn around_filters(&self, plan: &Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let parts = plan.children().into_iter().map(|part| self.around_filters(part, config)).collect::<Result<Vec<_>>>()?;
        if !filters(plan) && parts.iter().all(Option::is_none) {
            return Ok(None);
        }
        let children = plan.children().into_iter().zip(parts).map(|(whole, changed)| match changed {
            Some(changed) => Ok(changed),
            None => self.0.optimize(Arc::clone(whole), config),
        });
        let children = children.collect::<Result<Vec<_>>>()?;
        replace_children_if_necessary(Arc::clone(plan), children).map(Some)
    }
}

/// Around the engine's rule for the first groups.
#[derive(Debug)]
struct FirstGroups(Rule);

impl PhysicalOptimizerRule for FirstGroups {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(self.0.optimize(plan, config)?, |aggregate: &AggregateExec| {
            // The keys are the first columns.
            let keys = aggregate.group_expr().expr().len();
            let by_float = aggregate.schema().fields().iter().take(keys).any(|key| key.data_type().is_floating());
            let limited = aggregate.limit_options().is_some() && by_float;
            Ok(limited.then(|| Arc::new(aggregate.with_new_limit_options(None)) as Arc<dyn ExecutionPlan>))
        })
    }

    fn name(&self) -> &str {
        FIRST_GROUPS
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Keys of grouping sets, of which nothing is known.
#[derive(Debug)]
struct PlainKeys;

impl PhysicalOptimizerRule for PlainKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        replaced(plan, |aggregate| with_plain_keys(aggregate, &config))
    }

    fn name(&self) -> &str {
        "plain_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn with_plain_keys(aggregate: &AggregateExec, config: &Arc<ConfigOptions>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let keys = aggregate.group_expr();
    if !keys.has_grouping_set() || aggregate.mode().input_mode() != AggregateInputMode::Raw {
        return Ok(None);
    }
    let schema = aggregate.input_schema();
    let plain = |(key, name): &(Arc<dyn PhysicalExpr>, String)| Ok((held(Arc::clone(key), &schema, config)?, name.clone()));
    let exprs = keys.expr().iter().map(plain).collect::<Result<Vec<_>>>()?;
    let keys = PhysicalGroupBy::new(exprs, keys.null_expr().to_vec(), keys.groups().to_vec(), true);
    let (calls, filters) = (aggregate.aggr_expr().to_vec(), aggregate.filter_expr().to_vec());
    let plain = AggregateExec::try_new(*aggregate.mode(), keys, calls, filters, Arc::clone(aggregate.input()), schema)?;
    Ok(Some(Arc::new(plain.with_limit_options(aggregate.limit_options()))))
}

/// Whether `node` is an aggregate with a FILTER.
fn filters(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.downcast_ref::<AggregateExec>().is_some_and(|aggregate| aggregate.filter_expr().iter().any(Option::is_some))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn the_rules_of_the_engine_are_wrapped() {
        let rules = with_aggregate_rules(PhysicalOptimizer::default().rules);
        for ours in ["KnownAggregates", "FirstGroups"] {
            assert_eq!(rules.iter().filter(|rule| format!("{rule:?}").starts_with(ours)).count(), 1, "{ours}");
        }
    }
}
