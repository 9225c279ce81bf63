//! Scalar subqueries: one value, NULL where there is no row, an error where there are several.

use super::outer::with_columns;
use super::push_nodes::empty_values;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, FetchType, LogicalPlan, Projection, ScalarUDF, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use slipher_common::functions::only_value_udf;
use slipher_common::single_value::single_value_udaf;
use std::sync::{Arc, LazyLock};

/// The name of the value: none that a column has, which may be grouped by beside it.
const VALUE: &str = "__value";
/// The name of the number of rows.
const ROWS: &str = "__rows";

static ONLY_VALUE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(only_value_udf);

/// `plan`, a scalar subquery, with one row at most. What could have more is made one row with a value and the number of rows, and the
/// value is checked where it is used: in a branch of CASE that is not taken, or for an outer row that is not there, it is no error.
pub(super) fn one_row(plan: LogicalPlan) -> Result<(LogicalPlan, bool)> {
    if has_at_most_one_row(&plan) {
        return Ok((plan, false));
    }
    let column = Expr::Column(plan.schema().qualified_field(0).into());
    let call = AggregateFunction::new_udf(single_value_udaf(), vec![column], false, None, Vec::new(), None);
    let calls = vec![Expr::AggregateFunction(call).alias(VALUE), count(lit(1i64)).alias(ROWS)];
    Ok((LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plan), Vec::new(), calls)?), true))
}

/// The value of a subquery that [`one_row`] made count its rows.
pub(super) fn checked(value: Column, rows: Column) -> Expr {
    let arguments = vec![Expr::Column(value), Expr::Column(rows)];
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&ONLY_VALUE), arguments))
}

/// Whether `plan` cannot have two rows, by its form.
fn has_at_most_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || has_at_most_one_row(&limit.input)
        }
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Window(_) => {
            plan.inputs().into_iter().all(has_at_most_one_row)
        }
        LogicalPlan::Sort(sort) => has_at_most_one_row(&sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => has_at_most_one_row(input),
        _ => false,
    }
}

/// What the columns of `plan`, an ungrouped aggregate under projections and names, are over no rows. None for other plans.
pub(super) fn values_of_nothing(plan: &LogicalPlan) -> Result<Option<Vec<Expr>>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            Ok(Some(empty_values(aggregate)?.into_iter().map(lit).collect()))
        }
        LogicalPlan::SubqueryAlias(alias) => values_of_nothing(&alias.input),
        LogicalPlan::Projection(projection) => {
            let Some(values) = values_of_nothing(&projection.input)? else { return Ok(None) };
            substituted(projection, &values).map(Some)
        }
        _ => Ok(None),
    }
}

fn substituted(projection: &Projection, values: &[Expr]) -> Result<Vec<Expr>> {
    let schema = projection.input.schema();
    let value = |column: &Column| values.get(schema.maybe_index_of_column(column)?).cloned();
    projection.expr.iter().map(|expr| with_columns(expr.clone().unalias(), value)).collect()
}

/// Whether `expr`, which has no columns, is NULL.
pub(super) fn is_null(expr: &Expr) -> bool {
    if expr.is_volatile() {
        return false;
    }
    let context = SimplifyContext::builder().build();
    let simple = ExprSimplifier::new(context).simplify(expr.clone());
    matches!(simple, Ok(Expr::Literal(value, _)) if value.is_null() || matches!(value, ScalarValue::Null))
}
