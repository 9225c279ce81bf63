//! SUPER values in expressions: operators find out what they are when they are there (dynamic typing), casts give NULL where they cannot be cast.
//!
//! Equality is that of keys, which the rule of trailing blanks puts around both sides (`plan/tight/`): so joins, groups and IN have it, too.
//! Other comparisons are by `slipher_super_order`, which is NULL where the values are of different kinds.

use super::{call, is_comparison, is_text, type_of};
use crate::plan::super_options::SuperOptions;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::TransformedResult;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, InList, Like, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Between, Case, Expr, Operator, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use slipher_common::Error;
use slipher_common::functions::{
    JSON_PARSE, SUPER_AS, SUPER_NEGATE, SUPER_ORDER, SUPER_PATH, SUPER_STRING, TO_SUPER, TO_TEXT, super_arithmetic,
};

/// Whether an expression is a SUPER value.
pub(super) fn is_super(expr: &Expr, schema: &DFSchema) -> bool {
    type_of(expr, schema) == Some(DataType::BinaryView)
}

fn any_super<'e>(exprs: impl IntoIterator<Item = &'e Expr>, schema: &DFSchema) -> bool {
    exprs.into_iter().any(|expr| is_super(expr, schema))
}

/// Plans operators with a SUPER operand, which the engine has none for.
#[derive(Debug)]
pub(super) struct SuperPlanner;

impl ExprPlanner for SuperPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if !any_super([&expr.left, &expr.right], schema) {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        let compared = match &op {
            BinaryOperator::Eq => Some(Operator::Eq),
            BinaryOperator::NotEq => Some(Operator::NotEq),
            BinaryOperator::Lt => Some(Operator::Lt),
            BinaryOperator::LtEq => Some(Operator::LtEq),
            BinaryOperator::Gt => Some(Operator::Gt),
            BinaryOperator::GtEq => Some(Operator::GtEq),
            _ => None,
        };
        if let Some(op) = compared {
            return Ok(PlannerResult::Planned(comparison(left, op, right, schema)?));
        }
        let symbol = op.to_string();
        if let Some(function) = super_arithmetic(&symbol) {
            let operands = vec![as_super(left, schema)?, as_super(right, schema)?];
            return Ok(PlannerResult::Planned(call(function, operands).data()?));
        }
        match op {
            BinaryOperator::StringConcat => {
                let (left, right) = (as_string(left, schema)?, as_string(right, schema)?);
                let joined = BinaryExpr::new(Box::new(left), Operator::StringConcat, Box::new(right));
                Ok(PlannerResult::Planned(Expr::BinaryExpr(joined)))
            }
            BinaryOperator::And | BinaryOperator::Or => Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
            other => {
                let hint = "cast the SUPER value to the type that the operator takes";
                Err(Error::not_supported(format_args!("operator {other} of a SUPER value"), hint).into())
            }
        }
    }
}

fn as_super(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if is_super(&expr, schema) { Ok(expr) } else { call(TO_SUPER, vec![expr]).data() }
}

/// Its string, if it is one.
fn as_string(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match type_of(&expr, schema) {
        Some(DataType::BinaryView) => call(SUPER_STRING, vec![expr]).data(),
        Some(known) if !is_text(&known) => call(TO_TEXT, vec![expr]).data(),
        _ => Ok(expr),
    }
}

fn comparison(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let (left, right) = (as_super(left, schema)?, as_super(right, schema)?);
    Ok(match op {
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            let order = call(SUPER_ORDER, vec![left, right]).data()?;
            Expr::BinaryExpr(BinaryExpr::new(Box::new(order), op, Box::new(lit(0_i32))))
        }
        _ => Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))),
    })
}

/// What a binary expression means if an operand is SUPER.
pub(super) fn binary(expr: &BinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    let BinaryExpr { left, op, right } = expr;
    let (one, other) = (is_super(left, schema), is_super(right, schema));
    let ordered = matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    if !is_comparison(*op) || !(one || other) || (one && other && !ordered) {
        return Ok(None);
    }
    comparison(*left.clone(), *op, *right.clone(), schema).map(Some)
}

/// The same of BETWEEN.
pub(super) fn between(expr: &Between, schema: &DFSchema) -> Result<Option<Expr>> {
    let Between { expr, negated, low, high } = expr;
    if !any_super([expr.as_ref(), low, high], schema) {
        return Ok(None);
    }
    let above = comparison(*expr.clone(), Operator::GtEq, *low.clone(), schema)?;
    let below = comparison(*expr.clone(), Operator::LtEq, *high.clone(), schema)?;
    let inside = above.and(below);
    Ok(Some(if *negated { Expr::Not(Box::new(inside)) } else { inside }))
}

/// The same of IN.
pub(super) fn in_list(expr: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
    let InList { expr, list, negated } = expr;
    let all = || std::iter::once(expr.as_ref()).chain(list);
    if !any_super(all(), schema) || all().all(|item| is_super(item, schema)) {
        return Ok(None);
    }
    let items = list.iter().map(|item| as_super(item.clone(), schema)).collect::<Result<Vec<_>>>()?;
    Ok(Some(Expr::InList(InList::new(Box::new(as_super(*expr.clone(), schema)?), items, *negated))))
}

/// The same of CASE x WHEN y.
pub(super) fn case(case: &Case, schema: &DFSchema) -> Result<Option<Case>> {
    let Some(operand) = &case.expr else { return Ok(None) };
    let compared = || std::iter::once(operand.as_ref()).chain(case.when_then_expr.iter().map(|(when, _)| when.as_ref()));
    if !any_super(compared(), schema) || compared().all(|expr| is_super(expr, schema)) {
        return Ok(None);
    }
    let pair = |(when, then): &(Box<Expr>, Box<Expr>)| Ok((Box::new(as_super(*when.clone(), schema)?), then.clone()));
    let pairs = case.when_then_expr.iter().map(pair).collect::<Result<_>>()?;
    let operand = Box::new(as_super(*operand.clone(), schema)?);
    Ok(Some(Case::new(Some(operand), pairs, case.else_expr.clone())))
}

/// The same of LIKE and SIMILAR TO: what is no string matches nothing.
pub(super) fn like(expr: &Like, schema: &DFSchema) -> Result<Option<Like>> {
    if !any_super([expr.expr.as_ref(), &expr.pattern], schema) {
        return Ok(None);
    }
    let string = |side: &Expr| as_string(side.clone(), schema).map(Box::new);
    Ok(Some(Like { expr: string(&expr.expr)?, pattern: string(&expr.pattern)?, ..expr.clone() }))
}

/// `- x`.
pub(super) fn negated(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    if is_super(expr, schema) { call(SUPER_NEGATE, vec![expr.clone()]).data().map(Some) } else { Ok(None) }
}

/// Calls whose meaning depends on the session's options; None for others, and where they mean what they mean anyway.
pub(super) fn with_options(call_of: &ScalarFunction, schema: &DFSchema, options: &SuperOptions) -> Result<Option<Expr>> {
    match (call_of.name(), call_of.args.as_slice()) {
        (SUPER_PATH, [value, Expr::Literal(ScalarValue::Boolean(Some(false)), _), steps @ ..]) if options.strict_navigation => {
            call(SUPER_PATH, [value.clone(), lit(true)].into_iter().chain(steps.iter().cloned()).collect()).data().map(Some)
        }
        (JSON_PARSE, [text]) => {
            let bits = [options.parse_to_null, options.dedup_attributes, options.truncate_strings];
            let chosen = bits.into_iter().zip([1, 2, 4]).filter(|(on, _)| *on).map(|(_, bit)| bit).sum::<i64>();
            if chosen == 0 { Ok(None) } else { call(JSON_PARSE, vec![text.clone(), lit(chosen)]).data().map(Some) }
        }
        (TO_TEXT, [value, rest @ ..]) if options.strict_casts && is_super(value, schema) => {
            let like = Expr::Literal(ScalarValue::Utf8View(None), None);
            let text = call(SUPER_AS, vec![value.clone(), like, lit(true)]).data()?;
            call(TO_TEXT, std::iter::once(text).chain(rest.iter().cloned()).collect()).data().map(Some)
        }
        _ => Ok(None),
    }
}

/// A cast to SUPER, or from it. None for other casts.
pub(super) fn cast(expr: &Expr, target: &DataType, schema: &DFSchema, strict: bool) -> Result<Option<Expr>> {
    let source = type_of(expr, schema);
    Ok(match (source, target) {
        (Some(DataType::BinaryView), DataType::BinaryView) => Some(expr.clone()),
        (Some(_), DataType::BinaryView) => Some(call(TO_SUPER, vec![expr.clone()]).data()?),
        (Some(DataType::BinaryView), DataType::Utf8View) => Some(call(TO_TEXT, vec![expr.clone()]).data()?),
        (Some(DataType::BinaryView), text) if is_text(text) => {
            let text_of = call(TO_TEXT, vec![expr.clone()]).data()?;
            Some(Expr::Cast(datafusion::logical_expr::expr::Cast::new(Box::new(text_of), text.clone())))
        }
        (Some(DataType::BinaryView), other) => {
            let like = Expr::Literal(ScalarValue::try_new_null(other)?, None);
            Some(call(SUPER_AS, vec![expr.clone(), like, lit(strict)]).data()?)
        }
        _ => None,
    })
}
