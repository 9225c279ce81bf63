//! Places where the engine's rules for expressions are wrong, and how they are kept off: by [`slipher_held`](slipher_common::functions::HELD), which they do not see through.
//!
//! 1. An IN list is taken for constant when all its items, computed for no rows, are single values: so are CASE and some functions of
//!    columns. Such items are held.
//! 2. `x IN (...) AND x IN (...)`, and the same with NOT IN and OR, become one list by set operations on the items as they are written. That
//!    is wrong where x or an item is NULL, or an item is no constant. Lists that could meet so are held.
//! 3. `x # x` becomes 0, also where x is NULL. Operands of `#` are held.

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use slipher_common::functions::{held_udf, unknown_udf};
use std::cell::Cell;
use std::sync::Arc;

/// The rule. It runs after types have been brought together.
#[derive(Debug)]
pub(crate) struct HeldValues;

impl AnalyzerRule for HeldValues {
    fn name(&self) -> &str {
        "held_values"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let numbers = Cell::new(0);
        let held = plan.transform_up_with_subqueries(|node| {
            let mut wanted = false;
            node.apply_expressions(|expr| {
                wanted |= concerns(expr)?;
                Ok(if wanted { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })?;
            if !wanted {
                return Ok(Transformed::no(node));
            }
            let names = NamePreserver::new(&node);
            // Where a condition that is NULL is as good as one that is false.
            let is_condition = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let held = expr.transform_up(|inner| Ok(operand_held(inner, &numbers)))?;
                let met = meet(held.data, false, is_condition)?.0;
                Ok(Transformed::yes(name.restore(met)))
            })
        })?;
        Ok(held.data)
    }
}

/// Whether the rule has anything to look at.
fn concerns(expr: &Expr) -> Result<bool> {
    expr.exists(|inner| {
        Ok(matches!(inner, Expr::InList(_) | Expr::BinaryExpr(BinaryExpr { op: Operator::BitwiseXor | Operator::Or, .. })))
    })
}

/// Rules 1 and 3.
fn operand_held(expr: Expr, numbers: &Cell<i64>) -> Transformed<Expr> {
    match expr {
        // A list of one is an equality, which needs no constant.
        Expr::InList(InList { expr, list, negated }) if list.len() > 1 && !list.iter().all(is_plain_item) => {
            let list = list.into_iter().map(|item| if is_plain_item(&item) { item } else { hold(item, None) }).collect();
            Transformed::yes(Expr::InList(InList::new(expr, list, negated)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ Operator::BitwiseXor, right }) => {
            let [left, right] = [left, right].map(|side| match *side {
                constant @ Expr::Literal(..) => Box::new(constant),
                other => {
                    numbers.set(numbers.get() + 1);
                    Box::new(hold(other, Some(numbers.get())))
                }
            });
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(left, op, right)))
        }
        other => Transformed::no(other),
    }
}

/// What is one value for each row, or a constant; either is known for what it is.
fn is_plain_item(item: &Expr) -> bool {
    matches!(item, Expr::Literal(..) | Expr::Placeholder(_) | Expr::Column(_) | Expr::OuterReferenceColumn(..))
}

/// `value` as something that the engine does not see through. Values with different numbers are different to it.
pub(super) fn hold(value: Expr, number: Option<i64>) -> Expr {
    let number = number.map(|number| Expr::Literal(ScalarValue::Int64(Some(number)), None));
    Expr::ScalarFunction(ScalarFunction::new_udf(held_udf(), std::iter::once(value).chain(number).collect()))
}

/// The physical `value` as something of which nothing is known, not even that it is constant where its parts are.
pub(super) fn held(value: Arc<dyn PhysicalExpr>, schema: &Schema, config: &Arc<ConfigOptions>) -> Result<Arc<dyn PhysicalExpr>> {
    let call = |function, arguments| ScalarFunctionExpr::try_new(function, arguments, schema, Arc::clone(config));
    Ok(Arc::new(call(held_udf(), vec![value, Arc::new(call(unknown_udf(), Vec::new())?)])?))
}

/// `node` with its columns at `places` held above it; None where there are none.
pub(super) fn held_above(
    node: &Arc<dyn ExecutionPlan>,
    config: &Arc<ConfigOptions>,
    places: &[usize],
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if places.is_empty() {
        return Ok(None);
    }
    let schema = node.schema();
    let column = |(index, field): (usize, &Arc<Field>)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        let expr = if places.contains(&index) { held(column, &schema, config)? } else { column };
        Ok(ProjectionExpr { expr, alias: field.name().clone() })
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Some(Arc::new(ProjectionExec::try_new(columns, Arc::clone(node))?)))
}

/// That an expression is compared with values.
struct Test {
    tested: Expr,
    /// It holds for all other values.
    negated: bool,
    /// The values are known, and none is NULL.
    plain: bool,
    /// With several, or with one that the engine adds to others.
    is_list: bool,
}

/// Rule 2: `expr`, in which no two lists come together that must not, and the tests in it that may meet others above. `negated`: an odd number
/// of NOTs stands above; `is_condition`: nothing but AND does, and NULL is as good as false.
fn meet(expr: Expr, negated: bool, is_condition: bool) -> Result<(Expr, Vec<Test>)> {
    match expr {
        Expr::Not(inner) => {
            let (inner, tests) = meet(*inner, !negated, false)?;
            let tests = tests.into_iter().map(|test| Test { negated: !test.negated, ..test });
            Ok((Expr::Not(Box::new(inner)), tests.collect()))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let is_condition = is_condition && op == Operator::And;
            let (left, mut tests) = meet(*left, negated, is_condition)?;
            let (mut right, others) = meet(*right, negated, is_condition)?;
            let pairs = tests.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
            if pairs.into_iter().any(|(one, other)| must_not_meet(one, other, op, negated, is_condition)) {
                right = hold(right, None);
            } else {
                add(&mut tests, others);
            }
            Ok((Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))), tests))
        }
        Expr::InList(list) => {
            let plain = list.list.iter().all(is_known);
            let test = Test { tested: list.expr.as_ref().clone(), negated: list.negated, plain, is_list: true };
            Ok((Expr::InList(list), vec![test]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::NotEq), right }) => {
            let (value, tested) = if matches!(*left, Expr::Literal(..)) { (&left, &right) } else { (&right, &left) };
            let of_column = matches!(**tested, Expr::Column(_)) && matches!(**value, Expr::Literal(..));
            let (negated, plain) = (op == Operator::NotEq, is_known(value));
            let test = of_column.then(|| Test { tested: tested.as_ref().clone(), negated, plain, is_list: false });
            Ok((Expr::BinaryExpr(BinaryExpr::new(left, op, right)), test.into_iter().collect()))
        }
        other => Ok((other.map_children(|child| Ok(Transformed::yes(meet(child, false, false)?.0)))?.data, Vec::new())),
    }
}

/// Whether the engine would make something wrong of two tests on both sides of `op`: as they stand, or once NOT has gone down to them.
fn must_not_meet(one: &Test, other: &Test, op: Operator, negated: bool, is_condition: bool) -> bool {
    let (none, both) = (!one.negated && !other.negated, one.negated && other.negated);
    let is_wrong = match op {
        // All lists of what is not so are one, and in a condition known lists may be taken for what they have in common.
        Operator::And => !(both || is_condition && one.plain && other.plain),
        _ if negated => !none,
        _ => both,
    };
    is_wrong && one.tested == other.tested && one.is_list && other.is_list
}

fn add(tests: &mut Vec<Test>, others: Vec<Test>) {
    for test in others {
        match tests.iter_mut().find(|known| known.tested == test.tested && known.negated == test.negated) {
            Some(known) => (known.is_list, known.plain) = (true, known.plain && test.plain),
            None => tests.push(test),
        }
    }
}

/// A constant that is not NULL.
fn is_known(item: &Expr) -> bool {
    matches!(item, Expr::Literal(value, _) if !value.is_null())
}
