//! Trailing blanks do not count where values are compared.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, InList};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use slipher_common::SqlType;

pub(super) fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// CHAR is kept without its trailing blanks, so the literal it meets must have none either.
pub(super) fn without_blanks(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    let BinaryExpr { left, op, right } = binary;
    let (left, right) = (*left, *right);
    let trimmed = match (trimmed(&left), trimmed(&right)) {
        (None, Some(right)) if is_char(&left, schema) => Some((left.clone(), right)),
        (Some(left), None) if is_char(&right, schema) => Some((left, right.clone())),
        _ => None,
    };
    match trimmed {
        Some((left, right)) => Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))),
        None => Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))),
    }
}

pub(super) fn list_without_blanks(list: InList, schema: &DFSchema) -> Transformed<Expr> {
    if !is_char(&list.expr, schema) || !list.list.iter().any(|item| trimmed(item).is_some()) {
        return Transformed::no(Expr::InList(list));
    }
    let items = list.list.into_iter().map(|item| trimmed(&item).unwrap_or(item)).collect();
    Transformed::yes(Expr::InList(InList::new(list.expr, items, list.negated)))
}

fn is_char(expr: &Expr, schema: &DFSchema) -> bool {
    let Expr::Column(_) = expr else { return false };
    expr.to_field(schema).is_ok_and(|(_, field)| matches!(SqlType::of_field(&field), Ok(SqlType::Char(_))))
}

/// The literal without trailing blanks; `None` when it has none, or is no literal.
fn trimmed(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) = expr else { return None };
    let short = text.trim_end_matches(' ');
    (short.len() < text.len()).then(|| Expr::Literal(ScalarValue::Utf8(Some(short.to_owned())), None))
}
