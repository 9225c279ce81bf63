//! Arithmetic has Redshift's types of results; overflow and division by zero are errors.

use super::{call, type_of};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{AggregateUDF, Expr, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use slipher_common::functions::arithmetic_function;
use slipher_common::numeric::{Operation, computation, number};
use slipher_common::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use slipher_common::{Error, ErrorKind};
use std::sync::Arc;

/// Digits of the greatest whole number that the planner reads as one of 64 bits without a sign.
const UNSIGNED_DIGITS: u8 = 20;

/// Plans arithmetic while the SQL planner builds its tree: whatever is typed above has the right types to begin with.
#[derive(Debug)]
pub(super) struct ArithmeticPlanner;

impl ExprPlanner for ArithmeticPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let operator = match &expr.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = (literal(left)?, literal(right)?);
        let left = beside(left, &right, schema);
        let right = beside(right, &left, schema);
        match operation_of(operator, &left, &right, schema) {
            Some(operation) => Ok(PlannerResult::Planned(call(arithmetic_function(operation), vec![left, right])?.data)),
            None => Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        }
    }
}

/// The literal with the type it has by itself, if that is another one.
pub(crate) fn typed_literal(value: &ScalarValue) -> Result<Option<ScalarValue>> {
    Ok(match value {
        ScalarValue::Int64(Some(value)) => i32::try_from(*value).ok().map(|value| ScalarValue::Int32(Some(value))),
        ScalarValue::UInt64(Some(value)) => Some(ScalarValue::Decimal128(Some(i128::from(*value)), UNSIGNED_DIGITS, 0)),
        ScalarValue::Decimal256(Some(_), ..) => {
            let message = format!("a number of more than {DECIMAL_PRECISION_MAX_DIGITS} digits");
            let error = Error::new(ErrorKind::NumericOutOfRange, message);
            return Err(error.with_hint("write it with an exponent: then it is a DOUBLE PRECISION").into());
        }
        _ => None,
    })
}

/// The same of an expression.
pub(super) fn literal(expression: Expr) -> Result<Expr> {
    Ok(match &expression {
        Expr::Literal(value, None) => typed_literal(value)?.map_or(expression, |value| Expr::Literal(value, None)),
        _ => expression,
    })
}

/// A parameter that nobody has given a type has the type of the number beside it.
fn beside(expression: Expr, other: &Expr, schema: &DFSchema) -> Expr {
    let Expr::Placeholder(Placeholder { id, field: None }) = &expression else { return expression };
    match type_of(other, schema) {
        Some(known) if known.is_numeric() => {
            let field = arrow::datatypes::Field::new(id.clone(), known, true);
            Expr::Placeholder(Placeholder { id: id.clone(), field: Some(Arc::new(field)) })
        }
        _ => expression,
    }
}

/// What a number operator computes; `None` for other operators, and where an operand is no number.
fn operation_of(op: Operator, left: &Expr, right: &Expr, schema: &DFSchema) -> Option<Operation> {
    let operation = match op {
        Operator::Plus => Operation::Add,
        Operator::Minus => Operation::Subtract,
        Operator::Multiply => Operation::Multiply,
        Operator::Divide => Operation::Divide,
        Operator::Modulo => Operation::Modulo,
        _ => return None,
    };
    let (left, right) = (type_of(left, schema)?, type_of(right, schema)?);
    computation(operation, &left, &right).map(|_| operation)
}

/// Overflow and division by zero are errors.
pub(super) fn arithmetic(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    if let Some(operation) = operation_of(op, &left, &right, schema) {
        return call(arithmetic_function(operation), vec![*left, *right]);
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// SUM of SMALLINT or INTEGER.
pub(super) fn is_sum_of_integers(function: &AggregateUDF, arguments: &[Expr], schema: &DFSchema) -> bool {
    let one = arguments.first().filter(|_| arguments.len() == 1);
    let of = one.and_then(|argument| type_of(argument, schema));
    function.name() == "sum" && matches!(of, Some(DataType::Int16 | DataType::Int32))
}

/// CEIL and FLOOR of a decimal have no digits behind the point.
pub(super) fn whole_number(function: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    match function.args.first().and_then(|argument| type_of(argument, schema)) {
        Some(DataType::Decimal128(precision, scale)) if scale > 0 => {
            let digits = precision.saturating_sub(scale as u8).saturating_add(1).min(DECIMAL_PRECISION_MAX_DIGITS);
            let rounded = Box::new(Expr::ScalarFunction(function));
            Transformed::yes(Expr::Cast(Cast::new(rounded, DataType::Decimal128(digits, 0))))
        }
        _ => Transformed::no(Expr::ScalarFunction(function)),
    }
}

pub(super) fn is_number(expr: &Expr, schema: &DFSchema) -> bool {
    type_of(expr, schema).is_some_and(|data_type| number(&data_type).is_some())
}
