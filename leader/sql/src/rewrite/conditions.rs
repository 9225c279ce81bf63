//! Marks what may be no condition by its form, where one must stand: `WHERE 1`, `WHERE a_column`, `ON f(x)`.

use super::build::{call, string};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, JoinConstraint, JoinOperator, Select, UnaryOperator, Value};
use slipher_common::functions::CONDITION;

/// Marks the conditions of a SELECT.
pub(super) fn mark(select: &mut Select) {
    let Select { selection, having, qualify, from, .. } = select;
    for (condition, clause) in [(selection, "WHERE"), (having, "HAVING"), (qualify, "QUALIFY")] {
        condition.iter_mut().for_each(|condition| mark_one(condition, clause));
    }
    let joins = from.iter_mut().flat_map(|table| &mut table.joins);
    for join in joins {
        if let Some(JoinConstraint::On(condition)) = constraint(&mut join.join_operator) {
            mark_one(condition, "ON");
        }
    }
}

fn constraint(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// Marks an expression unless it is a condition by its form.
pub(super) fn mark_one(condition: &mut Expr, clause: &str) {
    if !is_condition(condition) {
        let inner = std::mem::replace(condition, Expr::value(Value::Null));
        *condition = call(CONDITION, vec![inner, string(clause)]);
    }
}

/// Whether an expression is true or false by its form.
fn is_condition(expr: &Expr) -> bool {
    use BinaryOperator as B;
    match expr {
        Expr::Nested(inner) => is_condition(inner),
        Expr::Value(value) => matches!(value.value, Value::Boolean(_) | Value::Null),
        Expr::UnaryOp { op, .. } => *op == UnaryOperator::Not,
        Expr::BinaryOp { op, .. } => !matches!(
            op,
            B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo | B::StringConcat | B::BitwiseAnd | B::BitwiseOr
        ),
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Function(_)
        | Expr::Case { .. }
        | Expr::Cast { .. }
        | Expr::TypedString(_)
        | Expr::Interval(_)
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Position { .. } => false,
        _ => true,
    }
}
