//! Long chains of AND or OR, as tools write them, become shallow trees: the parser builds them as deep as they are long,
//! and everything behind it walks trees by recursion.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Chains shorter than this stay as they were written.
const TERMS_MIN: usize = 8;

/// Balances the chain whose topmost operator is `expression`, if it is one and long enough.
pub(super) fn balance(expression: &mut Expr) {
    let Some(op) = chained(expression) else { return };
    let mut length = 1;
    let mut rest: &Expr = expression;
    while let Expr::BinaryOp { left, op: own, .. } = rest
        && *own == op
    {
        length += 1;
        rest = left;
    }
    if length < TERMS_MIN {
        return;
    }
    let mut terms = Vec::with_capacity(length);
    let mut rest = std::mem::replace(expression, Expr::value(Value::Null));
    loop {
        match rest {
            Expr::BinaryOp { left, op: own, right } if own == op => {
                terms.push(*right);
                rest = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    *expression = join(terms, &op);
}

fn chained(expression: &Expr) -> Option<BinaryOperator> {
    match expression {
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => Some(op.clone()),
        _ => None,
    }
}

/// Joins neighbours until one tree is left; the order of the terms stays. NULL where there are none.
pub(super) fn join(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while terms.len() > 1 {
        let mut joined = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            joined.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        terms = joined;
    }
    terms.pop().unwrap_or_else(|| Expr::value(Value::Null))
}
