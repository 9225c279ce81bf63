//! Intervals are compared by value: a day is 24 hours, a month 30 days. The engine compares their parts.
//!
//! Wherever values are compared (operators, keys of groups, joins, order and windows, DISTINCT, MIN and MAX), an interval stands in the one
//! form that its value has.

use super::{call, type_of};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, Projection, SortExpr};
use slipher_common::functions::{INTERVAL_NANOS, INTERVAL_VALUE};
use std::sync::Arc;

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(type_of(expr, schema), Some(DataType::Interval(_)))
}

/// An interval in the form of its value; anything else as it is.
pub(super) fn by_value(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let done = matches!(&expr, Expr::ScalarFunction(function) if function.name() == INTERVAL_VALUE);
    match !done && is_interval(&expr, schema) {
        true => call(INTERVAL_VALUE, vec![expr]),
        false => Ok(Transformed::no(expr)),
    }
}

/// The plan with windows ordered by the lengths of intervals. That is for the plan as the SQL planner made it: a frame is a range of
/// numbers, and no type of its bounds is found beside intervals.
pub(crate) fn with_windows_by_length(plan: LogicalPlan) -> Result<LogicalPlan> {
    let by_length = |node: LogicalPlan| {
        let LogicalPlan::Window(window) = &node else { return Ok(Transformed::no(node)) };
        let schema = Arc::clone(window.input.schema());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|expr| ordered_by_length(expr, &schema))?.update_data(|expr| name.restore(expr)))
        })
    };
    plan.transform_up_with_subqueries(by_length).data()
}

fn ordered_by_length(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut window) = expr else { return Ok(Transformed::no(expr)) };
    let order = sorts_by(std::mem::take(&mut window.params.order_by), |key| match is_interval(&key, schema) {
        true => call(INTERVAL_NANOS, vec![key]),
        false => Ok(Transformed::no(key)),
    })?;
    window.params.order_by = order.data;
    Ok(Transformed::new_transformed(Expr::WindowFunction(window), order.transformed))
}

/// The node with everything that it compares by value.
pub(super) fn compare_by_value(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    if !schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Interval(_)))
        && !computes_intervals(&plan, &schema)
    {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|expr| calls_by_value(expr, &schema))?.update_data(|expr| name.restore(expr)))
    })?;
    plan.transform_data(|plan| match plan {
        LogicalPlan::Sort(mut sort) => {
            let sorted = sorts_by_value(std::mem::take(&mut sort.expr), &schema)?;
            sort.expr = sorted.data;
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), sorted.transformed))
        }
        LogicalPlan::Aggregate(aggregate) => groups_by_value(aggregate, &names, &schema),
        LogicalPlan::Distinct(Distinct::All(input)) => distinct_by_value(input),
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                for key in [left, right] {
                    let compared = by_value(key.clone(), &schema)?;
                    changed |= compared.transformed;
                    *key = compared.data;
                }
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Whether a node that sorts, groups or joins does it by intervals that it computes itself.
fn computes_intervals(plan: &LogicalPlan, schema: &DFSchema) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let mut arguments = aggregate.aggr_expr.iter().chain(&aggregate.group_expr);
            arguments.any(|expr| expr.exists(|expr| Ok(is_interval(expr, schema))).unwrap_or(false))
        }
        LogicalPlan::Sort(sort) => sort.expr.iter().any(|sort| is_interval(&sort.expr, schema)),
        LogicalPlan::Window(window) => {
            window.window_expr.iter().any(|expr| expr.exists(|expr| Ok(is_interval(expr, schema))).unwrap_or(false))
        }
        LogicalPlan::Join(join) => join.on.iter().any(|(left, right)| is_interval(left, schema) || is_interval(right, schema)),
        _ => false,
    }
}

fn sorts_by_value(sorts: Vec<SortExpr>, schema: &DFSchema) -> Result<Transformed<Vec<SortExpr>>> {
    sorts_by(sorts, |key| by_value(key, schema))
}

fn sorts_by(sorts: Vec<SortExpr>, by: impl Fn(Expr) -> Result<Transformed<Expr>>) -> Result<Transformed<Vec<SortExpr>>> {
    let mut changed = false;
    let mut all = Vec::with_capacity(sorts.len());
    for sort in sorts {
        let key = by(sort.expr)?;
        changed |= key.transformed;
        all.push(SortExpr { expr: key.data, ..sort });
    }
    Ok(Transformed::new_transformed(all, changed))
}

fn all_by_value(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Transformed<Vec<Expr>>> {
    let mut changed = false;
    let mut all = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let compared = by_value(expr, schema)?;
        changed |= compared.transformed;
        all.push(compared.data);
    }
    Ok(Transformed::new_transformed(all, changed))
}

/// Aggregates that compare their arguments, and windows.
fn calls_by_value(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let compares = |name: &str, distinct: bool| distinct || matches!(name, "min" | "max");
    match expr {
        Expr::AggregateFunction(AggregateFunction { func, mut params }) if compares(func.name(), params.distinct) => {
            let args = all_by_value(params.args, schema)?;
            params.args = args.data;
            Ok(Transformed::new_transformed(Expr::AggregateFunction(AggregateFunction { func, params }), args.transformed))
        }
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, mut params } = *window;
            let keys = all_by_value(std::mem::take(&mut params.partition_by), schema)?;
            let order = sorts_by_value(std::mem::take(&mut params.order_by), schema)?;
            let mut changed = keys.transformed || order.transformed;
            (params.partition_by, params.order_by) = (keys.data, order.data);
            if compares(fun.name(), params.distinct) {
                let args = all_by_value(std::mem::take(&mut params.args), schema)?;
                changed |= args.transformed;
                params.args = args.data;
            }
            Ok(Transformed::new_transformed(Expr::WindowFunction(Box::new(WindowFunction { fun, params })), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn groups_by_value(aggregate: Aggregate, names: &NamePreserver, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let one = |expr: Expr| -> Result<Transformed<Expr>> {
        let name = names.save(&expr);
        Ok(by_value(expr, schema)?.update_data(|expr| name.restore(expr)))
    };
    let mut changed = false;
    let mut each = |expr: Expr| -> Result<Expr> {
        let compared = one(expr)?;
        changed |= compared.transformed;
        Ok(compared.data)
    };
    let mut groups = Vec::with_capacity(aggregate.group_expr.len());
    for group in aggregate.group_expr.clone() {
        groups.push(match group {
            Expr::GroupingSet(GroupingSet::Rollup(exprs)) => {
                Expr::GroupingSet(GroupingSet::Rollup(exprs.into_iter().map(&mut each).collect::<Result<_>>()?))
            }
            Expr::GroupingSet(GroupingSet::Cube(exprs)) => {
                Expr::GroupingSet(GroupingSet::Cube(exprs.into_iter().map(&mut each).collect::<Result<_>>()?))
            }
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                let sets = sets.into_iter().map(|set| set.into_iter().map(&mut each).collect::<Result<_>>());
                Expr::GroupingSet(GroupingSet::GroupingSets(sets.collect::<Result<_>>()?))
            }
            other => each(other)?,
        });
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, groups, aggregate.aggr_expr)?)))
}

fn distinct_by_value(input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(input.schema());
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match by_value(column, &schema)? {
            compared if compared.transformed => Ok(compared.data.alias_qualified(qualifier.cloned(), field.name())),
            column => Ok(column.data),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let projection = LogicalPlan::Projection(Projection::try_new(columns, input)?);
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(Arc::new(projection)))))
}

/// Both sides of a comparison.
pub(super) fn both_by_value(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr, bool)> {
    if !is_interval(&left, schema) || !is_interval(&right, schema) {
        return Ok((left, right, false));
    }
    Ok((by_value(left, schema).data()?, by_value(right, schema).data()?, true))
}
