//! Row values in comparisons: `(a, b) = (1, 2)`, `(a, b) IN ((1, 2), (3, 4))`, `(a, b) IN (SELECT x, y ...)`.
//!
//! Lists become AND and OR of their columns. The planner takes subqueries of one column only, so columns travel to it as one
//! (`struct(a, b) IN (SELECT struct(x, y) FROM (SELECT x, y ...))`), and `plan::subqueries` takes them apart again.

use super::balance::join;
use super::build::{binary, call, nested};
use crate::made::parse_made;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, TableFactor,
    UnaryOperator, Value,
};
use slipher_common::{Error, ErrorKind, Result};

/// What may stand before the parentheses of a row.
const ROW_KEYWORD: &str = "row";
/// The function that carries several columns in one.
const ROW: &str = "struct";
/// The name of a subquery whose columns travel together.
const ROWS: &str = "__rows";

/// Rewrites a comparison of row values; leaves other expressions alone.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    with_tuples(expression);
    match expression {
        Expr::InSubquery { expr, subquery, .. } => {
            if let Expr::Tuple(values) = expr.as_mut() {
                let columns = values.len();
                **expr = call(ROW, std::mem::take(values));
                carry(subquery, columns)?;
            }
        }
        Expr::InList { expr, list, negated } => {
            if let Expr::Tuple(values) = expr.as_ref() {
                *expression = in_list(values, list, *negated)?;
            }
        }
        Expr::AnyOp { left, compare_op, right, .. } => {
            carry_row(left, right)?;
            if let Some(elements) = elements(right) {
                *expression = any_of(left, compare_op, elements);
            }
        }
        Expr::AllOp { left, compare_op, right } => {
            carry_row(left, right)?;
            if let Some(elements) = elements(right) {
                *expression = all_of(left, compare_op, elements);
            }
        }
        Expr::BinaryOp { left, op, right } if is_comparison(op) => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(one), Expr::Tuple(other)) => {
                *expression = match op {
                    BinaryOperator::Eq => equality(one, other)?,
                    BinaryOperator::NotEq => not(equality(one, other)?),
                    _ => in_order(one, op, other)?,
                };
            }
            (Expr::Tuple(_), Expr::Subquery(_)) | (Expr::Subquery(_), Expr::Tuple(_)) => {
                let instead = "write (a, b) IN (SELECT x, y ...), or compare each column with a subquery of its own";
                return Err(Error::not_supported("comparing a row with a subquery by an operator", instead));
            }
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// `ROW(a, b)` and `((a, b))` as `(a, b)`, where they are compared.
fn with_tuples(expression: &mut Expr) {
    match expression {
        Expr::InSubquery { expr, .. } => as_tuple(expr),
        Expr::InList { expr, list, .. } => {
            as_tuple(expr);
            list.iter_mut().for_each(as_tuple);
        }
        Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => as_tuple(left),
        Expr::BinaryOp { left, op, right } if is_comparison(op) => {
            as_tuple(left);
            as_tuple(right);
        }
        _ => {}
    }
}

fn as_tuple(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) if matches!(inner.as_ref(), Expr::Tuple(_) | Expr::Function(_)) => {
            as_tuple(inner);
            if let Expr::Tuple(values) = inner.as_mut() {
                *expr = Expr::Tuple(std::mem::take(values));
            }
        }
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case(ROW_KEYWORD) => {
            let FunctionArguments::List(list) = &mut function.args else { return };
            let plain = |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
            if list.args.len() > 1 && list.args.iter().all(plain) {
                let value = |argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
                    _ => None,
                };
                *expr = Expr::Tuple(std::mem::take(&mut list.args).into_iter().filter_map(value).collect());
            }
        }
        _ => {}
    }
}

/// `(a, b) < (c, d)` as `a < c OR a = c AND b < d`: the first entries that differ decide.
fn in_order(one: &[Expr], op: &BinaryOperator, other: &[Expr]) -> Result<Expr> {
    if one.is_empty() || one.len() != other.len() {
        return Err(unequal());
    }
    let strict = match op {
        BinaryOperator::LtEq => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::Gt,
        other => other.clone(),
    };
    let mut pairs = one.iter().zip(other).rev();
    let last = pairs.next().map(|(left, right)| entries(left, op, right)).ok_or_else(unequal)?;
    Ok(nested(pairs.fold(last, |rest, (left, right)| {
        let equal = entries(left, &BinaryOperator::Eq, right);
        let both = join(vec![equal, nested(rest)], &BinaryOperator::And);
        join(vec![entries(left, &strict, right), nested(both)], &BinaryOperator::Or)
    })))
}

/// A row beside a subquery of several columns.
fn carry_row(left: &mut Expr, right: &mut Expr) -> Result<()> {
    if let (Expr::Tuple(values), Expr::Subquery(subquery)) = (&mut *left, right) {
        let columns = values.len();
        let row = call(ROW, std::mem::take(values));
        carry(subquery, columns)?;
        *left = row;
    }
    Ok(())
}

/// What `ARRAY[...]` lists, with a cast or without.
fn elements(right: &Expr) -> Option<Vec<Expr>> {
    match right {
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Nested(inner) => elements(inner),
        Expr::Cast { expr, .. } => elements(expr),
        _ => None,
    }
}

/// `x = ANY(ARRAY[a, b])` is `x IN (a, b)`: the engine's search in an array would see blanks at the end.
fn any_of(left: &Expr, op: &BinaryOperator, elements: Vec<Expr>) -> Expr {
    match op {
        _ if elements.is_empty() => Expr::value(Value::Boolean(false)),
        BinaryOperator::Eq => Expr::InList { expr: Box::new(left.clone()), list: elements, negated: false },
        _ => nested(join(compared(left, op, elements), &BinaryOperator::Or)),
    }
}

fn all_of(left: &Expr, op: &BinaryOperator, elements: Vec<Expr>) -> Expr {
    match op {
        _ if elements.is_empty() => Expr::value(Value::Boolean(true)),
        BinaryOperator::NotEq => Expr::InList { expr: Box::new(left.clone()), list: elements, negated: true },
        _ => nested(join(compared(left, op, elements), &BinaryOperator::And)),
    }
}

fn compared(left: &Expr, op: &BinaryOperator, elements: Vec<Expr>) -> Vec<Expr> {
    elements.iter().map(|element| entries(left, op, element)).collect()
}

/// Two values that are compared.
fn entries(left: &Expr, op: &BinaryOperator, right: &Expr) -> Expr {
    binary(nested(left.clone()), op.clone(), nested(right.clone()))
}

fn not(expression: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expression)) }
}

/// `(a, b) IN ((1, 2), (3, 4))` as `a = 1 AND b = 2 OR a = 3 AND b = 4`.
fn in_list(values: &[Expr], list: &[Expr], negated: bool) -> Result<Expr> {
    let mut rows = Vec::with_capacity(list.len());
    for item in list {
        let Expr::Tuple(row) = item else { return Err(unequal()) };
        rows.push(nested(equality(values, row)?));
    }
    if rows.is_empty() {
        return Err(unequal());
    }
    let any = join(rows, &BinaryOperator::Or);
    Ok(if negated { not(any) } else { nested(any) })
}

fn equality(one: &[Expr], other: &[Expr]) -> Result<Expr> {
    if one.is_empty() || one.len() != other.len() {
        return Err(unequal());
    }
    let parts = one.iter().zip(other).map(|(left, right)| entries(left, &BinaryOperator::Eq, right)).collect();
    Ok(nested(join(parts, &BinaryOperator::And)))
}

fn unequal() -> Error {
    Error::new(ErrorKind::Syntax, "unequal number of entries in row expressions")
}

/// `query`, of so many columns, with all of them in one.
fn carry(query: &mut Query, columns: usize) -> Result<()> {
    if let Some(given) = width(&query.body)
        && given != columns
    {
        let much = if given > columns { "many" } else { "few" };
        return Err(Error::new(ErrorKind::Syntax, format!("subquery has too {much} columns")));
    }
    let names: Vec<String> = (1..=columns).map(|index| format!("c{index}")).collect();
    let shown: Vec<String> = names.iter().map(|name| format!("{ROWS}.{name}")).collect();
    let text = format!("SELECT {ROW}({}) FROM (SELECT 1) AS {ROWS}({})", shown.join(", "), names.join(", "));
    let mut outer = parse_made(&text)?;
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    {
        std::mem::swap(subquery.as_mut(), query);
        std::mem::swap(query, outer.as_mut());
    }
    Ok(())
}

/// How many columns a query has, where its text says so.
fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let named = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            select.projection.iter().all(named).then_some(select.projection.len())
        }
        SetExpr::Query(query) => width(&query.body),
        SetExpr::SetOperation { left, .. } => width(left),
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    }
}
