//! Filters that must not be taken below the node they stand on.

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The engine's rule that takes filters towards the tables, except where that changes the answer.
///
/// The engine takes a condition below a node when the node has all its columns, and so always when it has none: `NULL`, or
/// `random() > 0.5`. Below an aggregate that answers with a row even if it gets none (`SELECT max(x) FROM a`, the total of a ROLLUP)
/// a condition that nothing passes would no longer take that row away. And a volatile condition is asked once for each row that it
/// stands above, not for each row that a group, a window or DISTINCT was made from.
#[derive(Debug, Default)]
pub(crate) struct FiltersStayAbove(PushDownFilter);

/// The engine's rules with [`FiltersStayAbove`] instead of its own.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    for rule in &mut rules {
        if rule.name() == PushDownFilter::new().name() {
            *rule = Arc::new(FiltersStayAbove::default());
        }
    }
    rules
}

impl OptimizerRule for FiltersStayAbove {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return self.0.rewrite(plan, config) };
        // The engine's rule merges filters and goes on by itself: it must not meet two.
        let (filter, merged) = merged(filter);
        let (held, free): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate.clone()).into_iter().partition(|condition| stays(condition, &filter.input));
        let Some(held) = conjunction(held) else {
            let below = self.0.rewrite(LogicalPlan::Filter(filter), config)?;
            return Ok(Transformed::new(below.data, below.transformed || merged, below.tnr));
        };
        let Some(free) = conjunction(free) else {
            return Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), merged));
        };
        let below = self.0.rewrite(LogicalPlan::Filter(Filter::try_new(free, filter.input)?), config)?;
        let changed = below.transformed || merged;
        let plan = match below.data {
            // Nothing of it went down: one filter, as it was.
            LogicalPlan::Filter(rest) if !below.transformed => Filter::try_new(held.and(rest.predicate), rest.input)?,
            other => Filter::try_new(held, Arc::new(other))?,
        };
        Ok(Transformed::new_transformed(LogicalPlan::Filter(plan), changed))
    }
}

/// Filters over one another as one.
fn merged(mut filter: Filter) -> (Filter, bool) {
    let mut merged = false;
    while let LogicalPlan::Filter(below) = filter.input.as_ref() {
        let predicate = below.predicate.clone().and(filter.predicate);
        let input = Arc::clone(&below.input);
        filter = Filter::new(predicate, input);
        merged = true;
    }
    (filter, merged)
}

/// Whether `condition` must be asked above `input`.
fn stays(condition: &Expr, input: &LogicalPlan) -> bool {
    match input {
        LogicalPlan::Aggregate(aggregate) if answers_without_rows(aggregate) => {
            condition.column_refs().is_empty() || condition.is_volatile()
        }
        LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(_) => condition.is_volatile(),
        _ => false,
    }
}

/// Whether there is a group of all rows, which is there even if there are no rows.
fn answers_without_rows(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
}
