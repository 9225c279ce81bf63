//! Subqueries in expressions become joins, all of them and by one room, so that none is left to rules that know some shapes only.
//!
//! 1. `quantified`: IN, ANY, ALL and NOT IN become EXISTS, whose answer is never NULL, in expressions that are NULL where they must
//!    be. It runs twice: before types are brought together, so that `x = y` means what it means elsewhere, and as part of the rule.
//! 2. `lift`: each EXISTS and each scalar subquery of a node becomes a join below the node: semi, anti and mark joins, left joins.
//! 3. What makes a subquery depend on the row outside: its conditions move up into that join where they can (`pull`), otherwise the
//!    subquery is computed for all the outer values there are at once (`push`).
//!
//! Neumann and Kemper, "Unnesting arbitrary queries", BTW 2015, is the model of the last step.

mod lift;
mod outer;
mod pull;
mod push;
mod push_nodes;
mod quantified;
mod scalar;
mod values;

pub(crate) use quantified::without_quantifiers;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use slipher_common::Error;

/// The rule. It is the last of the analyzer's that see subqueries: types are final, and nobody adds subqueries after it.
#[derive(Debug)]
pub(crate) struct SubqueriesToJoins;

impl AnalyzerRule for SubqueriesToJoins {
    fn name(&self) -> &str {
        "subqueries_to_joins"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if !has_subqueries_anywhere(&plan)? {
            return Ok(plan);
        }
        let plan = lift::Lifter::default().plan(without_quantifiers(plan)?)?;
        if has_subqueries_anywhere(&plan)? {
            return Err(Error::not_supported("a subquery at this place", "write it in FROM and join it").into());
        }
        Ok(plan)
    }
}

/// Whether `expr` is a subquery.
fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

/// Whether `expr` holds a subquery.
fn holds_subquery(expr: &Expr) -> Result<bool> {
    expr.exists(|inner| Ok(is_subquery(inner)))
}

/// Whether an expression of `plan` itself holds a subquery.
fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= holds_subquery(expr)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn has_subqueries_anywhere(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(has_subqueries)
}
