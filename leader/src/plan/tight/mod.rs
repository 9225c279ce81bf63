//! Trailing blanks do not count where strings are compared, and count everywhere else.
//!
//! The engine compares bytes. So wherever strings are compared (operators, IN, CASE x WHEN, keys of joins, groups, sorts and windows,
//! DISTINCT, set operations, MIN, MAX and their like), an operand that may end in a blank becomes `tight(operand)`. What cannot end in one
//! stays as it is and costs nothing: CHAR, columns of whose segments it is known, literals, trimmed strings ([`scope`] has the list).
//!
//! This rule runs after types have been brought together and before subqueries become joins. A second run changes nothing; debug builds check that,
//! so that no comparison that this rule knows is left without the property. The matches over kinds of expressions have no wildcard: what
//! the engine adds must be decided on.
//!
//! Everything below compares, hashes, sorts and prunes what it is given. `H` ignores trailing blanks, so rows with equal `tight(k)` lie
//! together wherever `k` is a DISTKEY: a scan of such a column says that its rows lie by `tight(k)`.

mod expressions;
mod groups;
mod scope;
#[cfg(test)]
mod tests;

use crate::plan::tight::scope::{Scope, outputs};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, Filter, Join, JoinConstraint, LogicalPlan, Operator, Projection, RecursiveQuery, Sort, SortExpr,
};
use datafusion::optimizer::AnalyzerRule;
use slipher_common::Error;
use std::cell::Cell;
use std::sync::Arc;

/// Names of columns that this rule adds begin so.
const ADDED: &str = "slipher$tight";

/// The rule.
#[derive(Debug)]
pub(crate) struct TightComparisons;

impl AnalyzerRule for TightComparisons {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let compared = Tightening::default().plan(plan, None)?;
        if cfg!(debug_assertions) {
            let again = Tightening::default().plan(compared.plan.clone(), None)?;
            if again.changed {
                let shown = compared.plan.display_indent();
                return Err(Error::internal(format!("strings are compared with their trailing blanks:\n{shown}")).into());
            }
        }
        Ok(compared.plan)
    }

    fn name(&self) -> &str {
        "tight_comparisons"
    }
}

/// A plan whose comparisons do not see trailing blanks.
struct Compared {
    plan: LogicalPlan,
    /// For each output column whether no string of it ends in a blank.
    tight: Vec<bool>,
    changed: bool,
}

/// One run of the rule.
#[derive(Default)]
struct Tightening {
    /// Columns that were added.
    added: Cell<usize>,
}

impl Tightening {
    /// `outer` is what correlated columns refer to.
    fn plan(&self, plan: LogicalPlan, outer: Option<&Scope<'_>>) -> Result<Compared> {
        let mut inputs: Vec<Vec<bool>> = Vec::new();
        let below = plan.map_children(|child| {
            let compared = self.plan(child, outer)?;
            inputs.push(compared.tight);
            Ok(Transformed::new_transformed(compared.plan, compared.changed))
        })?;
        let plan = if below.transformed { below.data.recompute_schema()? } else { below.data };
        let mut schema = DFSchema::empty();
        match plan.inputs().as_slice() {
            // A leaf's expressions see its own columns, or none.
            [] => schema = DFSchema::clone(plan.schema()),
            [only] => schema = DFSchema::clone(only.schema()),
            several => {
                let fields = several.iter().flat_map(|input| input.schema().iter());
                let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
                // Where two inputs have columns of one name, no expression is over both.
                schema = DFSchema::new_with_metadata(fields, Default::default()).unwrap_or(schema);
            }
        }
        let flags = if inputs.is_empty() { outputs(&plan, &[], outer) } else { inputs.concat() };
        let scope = Scope { schema: &schema, tight: &flags, outer };
        let here = self.node(plan, &scope, &inputs)?;
        let tight = match here.transformed {
            // The node may have become several.
            true => scope::of_plan(&here.data, outer),
            false => outputs(&here.data, &inputs, outer),
        };
        Ok(Compared { plan: here.data, tight, changed: below.transformed || here.transformed })
    }

    fn node(&self, plan: LogicalPlan, scope: &Scope<'_>, inputs: &[Vec<bool>]) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, scope),
            LogicalPlan::Window(window) => self.window(window, scope),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input, scope),
            LogicalPlan::Distinct(Distinct::On(on)) => self.distinct_on(on, scope),
            LogicalPlan::Join(join) => self.join(join, scope, inputs),
            LogicalPlan::Sort(Sort { expr, input, fetch }) => {
                let sorted = self.sorts(expr, scope)?;
                Ok(sorted.update_data(|expr| LogicalPlan::Sort(Sort { expr, input, fetch })))
            }
            LogicalPlan::Filter(filter) => self.filter(filter, scope),
            LogicalPlan::RecursiveQuery(query) if query.is_distinct => recursive(query, inputs),
            other => self.expressions(other, scope),
        }
    }

    /// Any node whose expressions are values.
    fn expressions(&self, plan: LogicalPlan, scope: &Scope<'_>) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let value = self.value(expr, scope)?;
            Ok(if value.transformed { value.update_data(|expr| name.restore(expr)) } else { value })
        })?;
        if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
    }

    fn sorts(&self, sorts: Vec<SortExpr>, scope: &Scope<'_>) -> Result<Transformed<Vec<SortExpr>>> {
        let mut changed = false;
        let mut sorted = Vec::with_capacity(sorts.len());
        for sort in sorts {
            let key = self.compared(sort.expr, scope)?;
            changed |= key.transformed;
            sorted.push(SortExpr { expr: key.data, ..sort });
        }
        Ok(Transformed::new_transformed(sorted, changed))
    }

    fn join(&self, join: Join, scope: &Scope<'_>, inputs: &[Vec<bool>]) -> Result<Transformed<LogicalPlan>> {
        let mut changed = false;
        let mut on = Vec::with_capacity(join.on.len());
        let side = |index: usize| inputs.get(index).map(Vec::as_slice).unwrap_or_default();
        let left = Scope { schema: join.left.schema(), tight: side(0), outer: scope.outer };
        let right = Scope { schema: join.right.schema(), tight: side(1), outer: scope.outer };
        for (one, other) in join.on {
            let (one, other) = (self.compared(one, &left)?, self.compared(other, &right)?);
            changed |= one.transformed || other.transformed;
            on.push((one.data, other.data));
        }
        let filter = match join.filter {
            Some(_) if scope.schema.fields().len() != scope.tight.len() => {
                return Err(Error::internal("the condition of a join is over two columns of one name").into());
            }
            Some(filter) => {
                let filter = self.value(filter, scope)?;
                changed |= filter.transformed;
                Some(filter.data)
            }
            None => None,
        };
        // The keys of USING are columns; names have been found long before.
        let join_constraint = if changed { JoinConstraint::On } else { join.join_constraint };
        Ok(Transformed::new_transformed(LogicalPlan::Join(Join { on, filter, join_constraint, ..join }), changed))
    }

    fn filter(&self, filter: Filter, scope: &Scope<'_>) -> Result<Transformed<LogicalPlan>> {
        let predicate = self.value(filter.predicate, scope)?;
        if !predicate.transformed {
            return Ok(Transformed::no(LogicalPlan::Filter(Filter::try_new(predicate.data, filter.input)?)));
        }
        let plan = match scope.outer {
            Some(_) => self.correlated(predicate.data, filter.input)?,
            None => LogicalPlan::Filter(Filter::try_new(predicate.data, filter.input)?),
        };
        Ok(Transformed::yes(plan))
    }

    /// A condition of a correlated subquery. Decorrelation knows `column = outer expression` only, so `tight(column)` becomes a column.
    fn correlated(&self, predicate: Expr, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let mut added = Vec::new();
        let mut conditions = Vec::new();
        for part in split_conjunction_owned(predicate) {
            conditions.push(match part {
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                    let (own, other) = (is_own(&left) && is_outer(&right), is_outer(&left) && is_own(&right));
                    let left = if own { self.add(*left, &mut added) } else { *left };
                    let right = if other { self.add(*right, &mut added) } else { *right };
                    left.eq(right)
                }
                other => other,
            });
        }
        let condition = conjunction(conditions).ok_or_else(|| Error::internal("a filter without a condition"))?;
        if added.is_empty() {
            return Ok(LogicalPlan::Filter(Filter::try_new(condition, input)?));
        }
        let all = columns.iter().cloned().chain(added).collect();
        let widened = Arc::new(LogicalPlan::Projection(Projection::try_new(all, input)?));
        let filtered = Arc::new(LogicalPlan::Filter(Filter::try_new(condition, widened)?));
        Ok(LogicalPlan::Projection(Projection::try_new(columns, filtered)?))
    }

    fn add(&self, expr: Expr, added: &mut Vec<Expr>) -> Expr {
        let name = self.name();
        added.push(expr.alias(&name));
        Expr::Column(Column::new_unqualified(name))
    }

    /// A name that nobody else has in this plan.
    fn name(&self) -> String {
        let number = self.added.get();
        self.added.set(number + 1);
        format!("{ADDED}_{number}")
    }
}

/// A key that is computed from columns of the subquery.
fn is_own(expr: &Expr) -> bool {
    !matches!(expr, Expr::Column(_)) && !expr.column_refs().is_empty() && !expr.contains_outer()
}

fn is_outer(expr: &Expr) -> bool {
    expr.contains_outer() && expr.column_refs().is_empty()
}

/// UNION in WITH RECURSIVE leaves rows out that were there, whatever they end in.
fn recursive(query: RecursiveQuery, inputs: &[Vec<bool>]) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    let mut term = |index: usize, plan: Arc<LogicalPlan>| -> Result<Arc<LogicalPlan>> {
        let schema = Arc::clone(plan.schema());
        let flags = inputs.get(index).map(Vec::as_slice).unwrap_or_default();
        let scope = Scope { schema: &schema, tight: flags, outer: None };
        let tight = expressions::tight_columns(&scope)?;
        changed |= tight.transformed;
        Ok(if tight.transformed { Arc::new(LogicalPlan::Projection(Projection::try_new(tight.data, plan)?)) } else { plan })
    };
    let (static_term, recursive_term) = (term(0, query.static_term)?, term(1, query.recursive_term)?);
    let query = RecursiveQuery { static_term, recursive_term, ..query };
    Ok(Transformed::new_transformed(LogicalPlan::RecursiveQuery(query), changed))
}
