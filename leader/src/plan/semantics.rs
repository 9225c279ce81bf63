//! Where the engine's expressions mean something else than Redshift's, before types are brought together.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, InList, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, WindowFunctionDefinition};
use slipher_common::checked_sum::checked_sum_udaf;
use slipher_common::functions::{
    self, CHECKED_ADD, CHECKED_DIVIDE, CHECKED_MODULO, CHECKED_MULTIPLY, CHECKED_NEGATE, CHECKED_SUBTRACT,
};
use slipher_common::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use slipher_common::{Error, ErrorKind, SqlType};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Slipher's functions by name.
static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> =
    LazyLock::new(|| functions::all().into_iter().map(|function| (function.name().to_owned(), function)).collect());

/// Makes a session's expressions mean what Redshift's mean.
pub(crate) fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    session.register_function_rewrite(Arc::new(Semantics))
}

/// 42804 where UNION would read numbers as dates or the other way round, as the engine does.
pub(crate) fn check_unions(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Union(union) = node else { return Ok(TreeNodeRecursion::Continue) };
        let inputs = union.inputs.iter().map(|input| input.schema().fields());
        for (first, second) in inputs.clone().zip(inputs.skip(1)) {
            for (one, other) in first.iter().zip(second) {
                let (one, other) = (one.data_type(), other.data_type());
                let numbers = |a: &DataType, b: &DataType| (a.is_numeric() || *a == DataType::Boolean) && b.is_temporal();
                if numbers(one, other) || numbers(other, one) {
                    let name = |known| SqlType::from_arrow(known).map_or_else(|_| known.to_string(), |known| known.to_string());
                    let message = format!("UNION types {} and {} cannot be matched", name(one), name(other));
                    return Err(Error::new(ErrorKind::DatatypeMismatch, message).into());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

#[derive(Debug)]
struct Semantics;

impl FunctionRewrite for Semantics {
    fn name(&self) -> &str {
        "redshift_semantics"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::BinaryExpr(binary) if is_comparison(binary.op) => Ok(without_blanks(binary, schema)),
            Expr::BinaryExpr(binary) => arithmetic(binary, schema),
            Expr::Negative(inner) if whole(&inner, schema) => call(CHECKED_NEGATE, vec![*inner]),
            Expr::InList(list) => Ok(list_without_blanks(list, schema)),
            Expr::Cast(cast) => cast_as_loads_do(cast, schema),
            Expr::AggregateFunction(mut call) if is_sum(&call.func, call.params.distinct, &call.params.args, schema) => {
                call.func = checked_sum_udaf();
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            Expr::WindowFunction(call) => Ok(checked_window(call, schema)),
            Expr::ScalarFunction(function) if matches!(function.name(), "ceil" | "floor") => Ok(whole_number(function, schema)),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Result<Transformed<Expr>> {
    let function = FUNCTIONS.get(name).ok_or_else(|| Error::internal(format!("there is no function \"{name}\"")))?;
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))))
}

/// Overflow and division by zero are errors; a day and a time of day make a moment.
fn arithmetic(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
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

/// Text is read as loads read it; times have microseconds.
fn cast_as_loads_do(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let target = match cast.field.data_type() {
        DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz.to_arrow(),
        DataType::Timestamp(_, None) => SqlType::Timestamp.to_arrow(),
        other => other.clone(),
    };
    if type_of(&cast.expr, schema).is_some_and(|source| is_text(&source))
        && let Some(name) = functions::text_parser(&target)
    {
        return call(name, vec![*cast.expr]);
    }
    if target == *cast.field.data_type() {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    Ok(Transformed::yes(Expr::Cast(Cast::new(cast.expr, target))))
}

/// SUM of BIGINT.
fn is_sum(function: &AggregateUDF, distinct: bool, arguments: &[Expr], schema: &DFSchema) -> bool {
    let one = arguments.first().filter(|_| arguments.len() == 1);
    function.name() == "sum" && !distinct && one.and_then(|argument| type_of(argument, schema)) == Some(DataType::Int64)
}

fn checked_window(mut call: Box<WindowFunction>, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => is_sum(function, call.params.distinct, &call.params.args, schema),
        WindowFunctionDefinition::WindowUDF(_) => false,
    };
    if changed {
        call.fun = WindowFunctionDefinition::AggregateUDF(checked_sum_udaf());
    }
    Transformed::new_transformed(Expr::WindowFunction(call), changed)
}

/// CEIL and FLOOR of a decimal have no digits behind the point.
fn whole_number(function: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    match function.args.first().and_then(|argument| type_of(argument, schema)) {
        Some(DataType::Decimal128(precision, scale)) if scale > 0 => {
            let digits = precision.saturating_sub(scale as u8).saturating_add(1).min(DECIMAL_PRECISION_MAX_DIGITS);
            let rounded = Box::new(Expr::ScalarFunction(function));
            Transformed::yes(Expr::Cast(Cast::new(rounded, DataType::Decimal128(digits, 0))))
        }
        _ => Transformed::no(Expr::ScalarFunction(function)),
    }
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    // An expression whose type is not known yet (a parameter) stays the engine's.
    expr.get_type(schema).ok()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn whole(expr: &Expr, schema: &DFSchema) -> bool {
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

fn is_comparison(op: Operator) -> bool {
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
fn without_blanks(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
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

fn list_without_blanks(list: InList, schema: &DFSchema) -> Transformed<Expr> {
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
