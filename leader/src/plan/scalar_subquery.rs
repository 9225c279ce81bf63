//! A scalar subquery that could yield several rows is wrapped so that it fails when it does.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use slipher_common::single_value::single_value_udaf;
use std::sync::Arc;

/// `(SELECT x FROM t)` becomes `(SELECT single_value(x) FROM t)` unless it yields at most one row by its form.
pub(crate) fn check_scalar_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| node.map_expressions(|expression| expression.transform_up(checked)))
        .map(|transformed| transformed.data)
}

/// The subquery of ANY and ALL under a name of its own.
const QUANTIFIED: &str = "__quantified";

fn checked(expression: Expr) -> Result<Transformed<Expr>> {
    if let Expr::SetComparison(mut comparison) = expression {
        // The engine compares the outer column with the subquery's by name: they must not be the same table's.
        let named = LogicalPlanBuilder::from(comparison.subquery.subquery.as_ref().clone()).alias(QUANTIFIED)?.build()?;
        comparison.subquery.subquery = Arc::new(named);
        return Ok(Transformed::yes(Expr::SetComparison(comparison)));
    }
    let Expr::ScalarSubquery(subquery) = expression else {
        return Ok(Transformed::no(expression));
    };
    if subquery.subquery.max_rows().is_some_and(|rows| rows <= 1) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let inner = subquery.subquery.as_ref().clone();
    let (qualifier, field) = inner.schema().qualified_field(0);
    let column = Expr::Column((qualifier, field).into());
    let name = field.name().clone();
    let call = AggregateFunction::new_udf(single_value_udaf(), vec![column], false, None, Vec::new(), None);
    let no_groups: Vec<Expr> = Vec::new();
    let plan = LogicalPlanBuilder::from(inner).aggregate(no_groups, vec![Expr::AggregateFunction(call).alias(name)])?.build()?;
    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery })))
}
