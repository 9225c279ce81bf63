//! Dates, times and intervals: what their operators mean, and the types of their names.
//!
//! Operators are planned while the SQL planner builds its tree, so that all that stands above them has the right type to begin with.

use super::intervals::{both_by_value, by_value};
use super::{call, is_text, reader_of, type_of};
use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, InList};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Between, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, TimezoneInfo};
use slipher_common::SqlType;
use slipher_common::functions::{
    INTERVAL_BETWEEN, INTERVAL_OVER, INTERVAL_TIMES, TIME_MINUS, TIME_PLUS, TO_TEXT, TO_TIMETZ, text_parser,
};
use std::sync::Arc;

/// Plans `+ - * /` where a date, a time or an interval takes part.
#[derive(Debug)]
pub(super) struct TemporalPlanner;

/// Kinds of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Date,
    Timestamp,
    Time,
    Interval,
    Number,
    /// Text that is written out: it is read as what it meets.
    Literal,
    Other,
}

fn kind_of(expr: &Expr, schema: &DFSchema) -> Kind {
    match type_of(expr, schema) {
        Some(DataType::Date32 | DataType::Date64) => Kind::Date,
        Some(DataType::Timestamp(..)) => Kind::Timestamp,
        Some(DataType::Time32(_) | DataType::Time64(_)) => Kind::Time,
        Some(DataType::Interval(_) | DataType::Duration(_)) => Kind::Interval,
        Some(number) if number.is_numeric() => Kind::Number,
        Some(text) if is_text(&text) && matches!(expr, Expr::Literal(..)) => Kind::Literal,
        _ => Kind::Other,
    }
}

impl ExprPlanner for TemporalPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (left, right) = (kind_of(&expr.left, schema), kind_of(&expr.right, schema));
        let planned = match expr.op {
            BinaryOperator::Plus => plus((&expr.left, left), (&expr.right, right))?,
            BinaryOperator::Minus => minus((&expr.left, left), (&expr.right, right))?,
            BinaryOperator::Multiply => match (left, right) {
                (Kind::Interval, Kind::Number) => Some(both(INTERVAL_TIMES, &expr.left, &expr.right)?),
                (Kind::Number, Kind::Interval) => Some(both(INTERVAL_TIMES, &expr.right, &expr.left)?),
                _ => None,
            },
            // The engine knows no type that an interval and text have in common.
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => beside_interval(&expr, left, right)?,
            BinaryOperator::StringConcat => concatenated(&expr, schema)?,
            BinaryOperator::Divide if (left, right) == (Kind::Interval, Kind::Number) => {
                Some(both(INTERVAL_OVER, &expr.left, &expr.right)?)
            }
            _ => None,
        };
        Ok(planned.map_or(PlannerResult::Original(expr), PlannerResult::Planned))
    }
}

/// `+` and `-` planned anew, where what they compute with has got another type since: it was a date, and is a timestamp.
pub(crate) fn planned_anew(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let combine = match binary.op {
        Operator::Plus => plus,
        Operator::Minus => minus,
        _ => return Ok(Transformed::no(Expr::BinaryExpr(binary))),
    };
    let side = |side| (side, kind_of(side, schema));
    let planned = combine(side(&binary.left), side(&binary.right))?;
    Ok(planned.map_or_else(|| Transformed::no(Expr::BinaryExpr(binary)), Transformed::yes))
}

fn beside_interval(expr: &RawBinaryExpr, left: Kind, right: Kind) -> Result<Option<Expr>> {
    let op = match expr.op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        _ => Operator::GtEq,
    };
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    Ok(match (left, right) {
        (Kind::Interval, Kind::Literal) => Some(binary(expr.left.clone(), op, &parsed(expr.right.clone(), &interval)?)),
        (Kind::Literal, Kind::Interval) => Some(binary(parsed(expr.left.clone(), &interval)?, op, &expr.right)),
        _ => None,
    })
}

/// `||` of values that are no text joins their texts.
fn concatenated(expr: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    let has_text = |expr: &Expr| {
        let known = type_of(expr, schema);
        known.is_some_and(|known| {
            known.is_temporal() || known.is_numeric() || matches!(known, DataType::Boolean | DataType::Interval(_))
        })
    };
    if !has_text(&expr.left) && !has_text(&expr.right) {
        let is_open = |expr: &Expr| type_of(expr, schema).is_none_or(|known| known == DataType::Null);
        // Nothing says that parameters or NULL are text, and what stands above would have no type.
        let read = |expr: &Expr| Expr::Cast(Cast::new(Box::new(expr.clone()), DataType::Utf8));
        let open = is_open(&expr.left) && is_open(&expr.right);
        return Ok(open.then(|| binary(read(&expr.left), Operator::StringConcat, &read(&expr.right))));
    }
    let text = |expr: &Expr| match has_text(expr) {
        true => call(TO_TEXT, vec![expr.clone()]).data(),
        false => Ok(expr.clone()),
    };
    Ok(Some(binary(text(&expr.left)?, Operator::StringConcat, &text(&expr.right)?)))
}

fn both(name: &str, one: &Expr, other: &Expr) -> Result<Expr> {
    call(name, vec![one.clone(), other.clone()]).data()
}

fn binary(left: Expr, op: Operator, right: &Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right.clone())))
}

/// A day is its midnight.
fn moment(expr: &Expr, kind: Kind) -> Expr {
    match kind {
        Kind::Date => Expr::Cast(Cast::new(Box::new(expr.clone()), SqlType::Timestamp.to_arrow())),
        _ => expr.clone(),
    }
}

/// A date and an interval are a timestamp; time of day goes round at midnight.
fn plus((a, left): (&Expr, Kind), (b, right): (&Expr, Kind)) -> Result<Option<Expr>> {
    Ok(match (left, right) {
        (Kind::Date | Kind::Timestamp, Kind::Interval) => Some(binary(moment(a, left), Operator::Plus, b)),
        (Kind::Interval, Kind::Date | Kind::Timestamp) => Some(binary(moment(b, right), Operator::Plus, a)),
        (Kind::Time, Kind::Interval) => Some(both(TIME_PLUS, a, b)?),
        (Kind::Interval, Kind::Time) => Some(both(TIME_PLUS, b, a)?),
        (Kind::Date, Kind::Time) => Some(binary(moment(a, left), Operator::Plus, &since_midnight(b)?)),
        (Kind::Time, Kind::Date) => Some(binary(moment(b, right), Operator::Plus, &since_midnight(a)?)),
        (Kind::Date | Kind::Timestamp | Kind::Time | Kind::Interval, Kind::Literal) => {
            let (b, right) = amount(b, left)?;
            plus((a, left), (&b, right))?.or_else(|| Some(binary(a.clone(), Operator::Plus, &b)))
        }
        (Kind::Literal, Kind::Date | Kind::Timestamp | Kind::Time | Kind::Interval) => {
            let (a, left) = amount(a, right)?;
            plus((b, right), (&a, left))?.or_else(|| Some(binary(b.clone(), Operator::Plus, &a)))
        }
        _ => None,
    })
}

/// Text in quotes that is added to something: days where that is a date and the text a whole number, otherwise an interval.
fn amount(text: &Expr, beside: Kind) -> Result<(Expr, Kind)> {
    match text {
        Expr::Literal(ScalarValue::Utf8(Some(days)), _) if beside == Kind::Date && days.trim().parse::<i32>().is_ok() => {
            let days = days.trim().parse().ok();
            Ok((Expr::Literal(ScalarValue::Int32(days), None), Kind::Number))
        }
        _ => Ok((parsed(text.clone(), &DataType::Interval(IntervalUnit::MonthDayNano))?, Kind::Interval)),
    }
}

fn since_midnight(time: &Expr) -> Result<Expr> {
    both(INTERVAL_BETWEEN, time, &Expr::Literal(ScalarValue::Time64Microsecond(Some(0)), None))
}

/// Moments differ by days and time of day.
fn minus((a, left): (&Expr, Kind), (b, right): (&Expr, Kind)) -> Result<Option<Expr>> {
    let read = |text: &Expr, sql_type: SqlType| parsed(text.clone(), &sql_type.to_arrow());
    Ok(match (left, right) {
        (Kind::Date | Kind::Timestamp, Kind::Interval) => Some(binary(moment(a, left), Operator::Minus, b)),
        (Kind::Timestamp, Kind::Timestamp | Kind::Date) | (Kind::Date, Kind::Timestamp) | (Kind::Time, Kind::Time) => {
            Some(both(INTERVAL_BETWEEN, a, b)?)
        }
        (Kind::Date | Kind::Timestamp, Kind::Time) => Some(binary(moment(a, left), Operator::Minus, &since_midnight(b)?)),
        (Kind::Time, Kind::Interval) => Some(both(TIME_MINUS, a, b)?),
        (Kind::Timestamp, Kind::Literal) => Some(both(INTERVAL_BETWEEN, a, &read(b, SqlType::Timestamp)?)?),
        (Kind::Literal, Kind::Timestamp) => Some(both(INTERVAL_BETWEEN, &read(a, SqlType::Timestamp)?, b)?),
        (Kind::Date, Kind::Literal) => Some(binary(a.clone(), Operator::Minus, &read(b, SqlType::Date)?)),
        (Kind::Literal, Kind::Date) => Some(binary(read(a, SqlType::Date)?, Operator::Minus, b)),
        (Kind::Time, Kind::Literal) => Some(both(INTERVAL_BETWEEN, a, &read(b, SqlType::Time)?)?),
        (Kind::Interval, Kind::Literal) => Some(binary(a.clone(), Operator::Minus, &amount(b, left)?.0)),
        _ => None,
    })
}

fn parsed(text: Expr, target: &DataType) -> Result<Expr> {
    match reader_of(target) {
        Some(reader) => reader.read(text).data(),
        None => Ok(text),
    }
}

/// Times have microseconds, whatever the engine would give them.
#[derive(Debug)]
pub(super) struct TypesOfNames;

impl TypePlanner for TypesOfNames {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let zoned = |zone: &TimezoneInfo| matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
        let known = match sql_type {
            ast::DataType::Time(_, zone) if !zoned(zone) => DataType::Time64(TimeUnit::Microsecond),
            ast::DataType::Timestamp(_, zone) if zoned(zone) => SqlType::TimestampTz.to_arrow(),
            ast::DataType::Timestamp(..) | ast::DataType::Datetime(_) => SqlType::Timestamp.to_arrow(),
            ast::DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("super") => SqlType::Super.to_arrow(),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(arrow::datatypes::Field::new("", known, true))))
    }
}

/// The function that reads text which meets an expression, if that is a date, a time, an interval or a truth value.
fn reader_for(expr: &Expr, schema: &DFSchema) -> Option<&'static str> {
    let (_, field) = expr.to_field(schema).ok()?;
    match SqlType::of_field(&field) {
        Ok(SqlType::TimeTz) => Some(TO_TIMETZ),
        Ok(known @ (SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Boolean)) => {
            text_parser(&known.to_arrow())
        }
        _ if matches!(field.data_type(), DataType::Interval(_)) => text_parser(field.data_type()),
        _ => None,
    }
}

fn read_text(expr: Expr, reader: Option<&str>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match (reader, type_of(&expr, schema)) {
        (Some(name), Some(text)) if is_text(&text) => call(name, vec![expr]),
        _ => Ok(Transformed::no(expr)),
    }
}

/// Text that is compared with a date, a time, an interval or a truth value is read as casts read it.
pub(super) fn compared(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    let (for_left, for_right) = (reader_for(&right, schema), reader_for(&left, schema));
    let (left, right) = (read_text(*left, for_left, schema)?, read_text(*right, for_right, schema)?);
    let changed = left.transformed || right.transformed;
    let (left, right, intervals) = both_by_value(left.data, right.data, schema)?;
    let binary = BinaryExpr::new(Box::new(left), op, Box::new(right));
    Ok(Transformed::new_transformed(Expr::BinaryExpr(binary), changed || intervals))
}

/// The same of BETWEEN; text between dates is a date.
pub(super) fn between(between: Between, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Between { expr, negated, low, high } = between;
    let reader = reader_for(&expr, schema).or_else(|| reader_for(&low, schema)).or_else(|| reader_for(&high, schema));
    let (expr, low, high) =
        (read_text(*expr, reader, schema)?, read_text(*low, reader, schema)?, read_text(*high, reader, schema)?);
    let changed = expr.transformed || low.transformed || high.transformed;
    let (expr, low, high) = (expr.data, low.data, high.data);
    let (expr, low, high) = (by_value(expr, schema)?, by_value(low, schema)?, by_value(high, schema)?);
    let changed = changed || expr.transformed || low.transformed || high.transformed;
    let between = Between { expr: Box::new(expr.data), negated, low: Box::new(low.data), high: Box::new(high.data) };
    Ok(Transformed::new_transformed(Expr::Between(between), changed))
}

/// The same of IN.
pub(super) fn in_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InList { expr, list, negated } = list;
    let reader = reader_for(&expr, schema).or_else(|| list.iter().find_map(|item| reader_for(item, schema)));
    let expr = read_text(*expr, reader, schema)?.transform_data(|expr| by_value(expr, schema))?;
    let mut changed = expr.transformed;
    let mut items = Vec::with_capacity(list.len());
    for item in list {
        let item = read_text(item, reader, schema)?.transform_data(|item| by_value(item, schema))?;
        changed |= item.transformed;
        items.push(item.data);
    }
    Ok(Transformed::new_transformed(Expr::InList(InList::new(Box::new(expr.data), items, negated)), changed))
}
