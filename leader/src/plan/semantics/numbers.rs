//! Arithmetic: overflow and division by zero are errors.

use super::{call, type_of};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction};
use datafusion::logical_expr::{AggregateUDF, Expr, Operator};
use slipher_common::functions::{CHECKED_ADD, CHECKED_DIVIDE, CHECKED_MODULO, CHECKED_MULTIPLY, CHECKED_SUBTRACT};
use slipher_common::sql_type::DECIMAL_PRECISION_MAX_DIGITS;

/// Overflow and division by zero are errors; a day and a time of day make a moment.
pub(super) fn arithmetic(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    let checked = match op {
        Operator::Plus => Some(CHECKED_ADD),
        Operator::Minus => Some(CHECKED_SUBTRACT),
        Operator::Multiply => Some(CHECKED_MULTIPLY),
        _ => None,
    };
    if let Some(name) = checked
        && whole(&left, schema)
        && whole(&right, schema)
    {
        return call(name, vec![*left, *right]);
    }
    if matches!(op, Operator::Divide | Operator::Modulo) && floating(&left, &right, schema) {
        let name = if op == Operator::Divide { CHECKED_DIVIDE } else { CHECKED_MODULO };
        return call(name, vec![*left, *right]);
    }
    let moves = matches!(op, Operator::Plus | Operator::Minus);
    if moves && is_date(&left, schema) && has_time_of_day(&right) {
        let moment = Box::new(Expr::Cast(Cast::new(left, DataType::Timestamp(TimeUnit::Microsecond, None))));
        return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(moment, op, right))));
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// SUM of BIGINT.
pub(super) fn is_sum(function: &AggregateUDF, distinct: bool, arguments: &[Expr], schema: &DFSchema) -> bool {
    let one = arguments.first().filter(|_| arguments.len() == 1);
    function.name() == "sum" && !distinct && one.and_then(|argument| type_of(argument, schema)) == Some(DataType::Int64)
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

pub(super) fn whole(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(type_of(expr, schema), Some(DataType::Int16 | DataType::Int32 | DataType::Int64))
}

fn floating(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    let float = |data_type: &DataType| matches!(data_type, DataType::Float32 | DataType::Float64);
    let (Some(left), Some(right)) = (type_of(left, schema), type_of(right, schema)) else { return false };
    (float(&left) && right.is_numeric()) || (float(&right) && left.is_numeric())
}

fn is_date(expr: &Expr, schema: &DFSchema) -> bool {
    type_of(expr, schema) == Some(DataType::Date32)
}

/// An interval that does not consist of whole days. The engine would keep the date's type and drop the hours.
fn has_time_of_day(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.nanoseconds != 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => interval.milliseconds != 0,
        Expr::Literal(..) => false,
        Expr::Negative(inner) => has_time_of_day(inner),
        Expr::BinaryExpr(binary) => has_time_of_day(&binary.left) || has_time_of_day(&binary.right),
        Expr::Cast(cast) => matches!(
            cast.field.data_type(),
            DataType::Interval(IntervalUnit::MonthDayNano | IntervalUnit::DayTime) | DataType::Duration(_)
        ),
        _ => false,
    }
}
