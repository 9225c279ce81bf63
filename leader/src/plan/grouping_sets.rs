//! Keys of GROUPING SETS, ROLLUP and CUBE that are expressions become columns of a projection below the aggregate.
//!
//! The engine keeps the names of expressions that its passes change by giving them aliases, and does not plan a grouping set under an alias.
//! A set of plain columns is never changed.
//!
//! GROUPING SETS (()) has no key at all: it is the aggregate of all rows, and planned as one, because a set without keys does not travel.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, lit};
use slipher_common::Error;
use std::collections::HashMap;
use std::sync::Arc;

/// The engine's function that says by which keys a row is grouped.
const GROUPING: &str = "grouping";
/// What counts rows where no aggregate is asked for.
const ROWS: &str = "__rows";

/// The plan with plain columns as keys of all its grouping sets.
pub(crate) fn with_plain_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => plain_keys(aggregate),
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

fn plain_keys(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
    if keys.is_empty() {
        return all_rows(set, aggregate.input, aggregate.aggr_expr.clone()).map(Transformed::yes);
    }
    // The key's name stays what it was: what stands above the aggregate asks for it.
    let named: HashMap<Expr, Expr> = keys
        .into_iter()
        .filter(|key| !matches!(key, Expr::Column(_)))
        .map(|key| (key.clone(), Expr::Column(Column::new_unqualified(key.schema_name().to_string()))))
        .collect();
    if named.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let column = |key: &Expr| named.get(key).cloned().unwrap_or_else(|| key.clone());
    let columns = |keys: &[Expr]| keys.iter().map(column).collect::<Vec<_>>();
    let set = match set {
        GroupingSet::Rollup(keys) => GroupingSet::Rollup(columns(keys)),
        GroupingSet::Cube(keys) => GroupingSet::Cube(columns(keys)),
        GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(sets.iter().map(|keys| columns(keys)).collect()),
    };
    let calls = aggregate.aggr_expr.iter().map(|call| of_columns(call, &columns)).collect::<Result<Vec<_>>>()?;
    let below = below(Arc::unwrap_or_clone(aggregate.input), &named)?;
    let aggregate = Aggregate::try_new(Arc::new(below), vec![Expr::GroupingSet(set)], calls)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

/// The aggregate of all rows. Something is counted where nothing else is asked for: an aggregate without anything has no rows.
fn all_rows(set: &GroupingSet, input: Arc<LogicalPlan>, mut calls: Vec<Expr>) -> Result<LogicalPlan> {
    if !matches!(set, GroupingSet::GroupingSets(sets) if sets.len() == 1) {
        return Err(Error::not_supported(
            "GROUPING SETS of nothing but ()",
            "write one (), or UNION ALL of the query with itself",
        )
        .into());
    }
    if calls.is_empty() {
        calls.push(count(lit(1_i64)).alias(ROWS));
    }
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, Vec::new(), calls)?))
}

/// The input with one more column for each key. Sorted by name: the plan of a query must not differ from one time to the next.
fn below(input: LogicalPlan, named: &HashMap<Expr, Expr>) -> Result<LogicalPlan> {
    let mut computed: Vec<Expr> = named.keys().map(|key| key.clone().alias(key.schema_name().to_string())).collect();
    computed.sort_by_key(|key| key.schema_name().to_string());
    widened(input, computed)
}

/// `input` with further columns.
pub(super) fn widened(input: LogicalPlan, further: impl IntoIterator<Item = Expr>) -> Result<LogicalPlan> {
    let all = input.schema().columns().into_iter().map(Expr::Column).chain(further);
    LogicalPlanBuilder::from(input).project(all.collect::<Vec<_>>())?.build()
}

/// GROUPING(key) asks for the key as it is named now; its own name stays.
fn of_columns(call: &Expr, columns: &impl Fn(&[Expr]) -> Vec<Expr>) -> Result<Expr> {
    let name = call.schema_name().to_string();
    let renamed = call.clone().transform_down(|inner| match inner {
        Expr::AggregateFunction(mut function) if function.func.name() == GROUPING => {
            function.params.args = columns(&function.params.args);
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(if renamed.data.schema_name().to_string() == name { renamed.data } else { renamed.data.alias(name) })
}
