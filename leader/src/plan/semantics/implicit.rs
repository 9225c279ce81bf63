//! Redshift's implicit casts in expressions, from the one table of them ([`slipher_common::casts`]): values that are compared, stand in one
//! column, are conditions or texts. Text in quotes and parameters take the type of what they meet.

use super::numbers::literal;
use super::{call, is_comparison, is_text, reader_of, type_of};
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use slipher_common::assign::parse_scalar;
use slipher_common::casts::{self, Kind, Meeting, When, cast, type_name};
use slipher_common::functions::{CONCAT, TO_SUPER, TO_TEXT, TO_TIMETZ, WHOLE_DOUBLES_MAX, arithmetic_operation};
use slipher_common::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use slipher_common::{Error, ErrorKind, SqlType};
use std::sync::Arc;

/// Casts operands while the SQL planner builds its tree, where the engine would find no type for the operator.
#[derive(Debug)]
pub(super) struct ImplicitCasts;

impl ExprPlanner for ImplicitCasts {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as B;
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = (literal(left)?, literal(right)?);
        let computes = matches!(op, B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo);
        if computes && is_computed(&left) && !is_open(&right) {
            // A link of a chain: it is a number, and its type takes time to find out.
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let symbol = op.to_string();
        let [left, right] = match &op {
            B::Plus if both_text(&left, &right, schema) => {
                return Ok(PlannerResult::Planned(call(CONCAT, vec![left, right])?.data));
            }
            _ if computes && both_text(&left, &right, schema) => {
                return Err(no_operator(&symbol, &left, &right, schema).into());
            }
            _ if computes => computed([left, right], schema)?,
            B::BitwiseAnd | B::BitwiseOr | B::PGBitwiseXor | B::PGBitwiseShiftLeft | B::PGBitwiseShiftRight => {
                let [left, right] = computed([left, right], schema)?;
                if !is_bits(&left, schema) || !is_bits(&right, schema) {
                    return Err(no_operator(&symbol, &left, &right, schema).into());
                }
                [left, right]
            }
            B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq => compared([left, right], &symbol, schema)?,
            B::And | B::Or => [condition(left, &symbol, schema)?, condition(right, &symbol, schema)?],
            B::PGRegexMatch
            | B::PGRegexIMatch
            | B::PGRegexNotMatch
            | B::PGRegexNotIMatch
            | B::PGLikeMatch
            | B::PGILikeMatch
            | B::PGNotLikeMatch
            | B::PGNotILikeMatch => texts([left, right], &symbol, schema)?,
            _ => [left, right],
        };
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// Text in quotes, or a parameter of which nobody has said the type.
fn is_open(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => matches!(value, ScalarValue::Utf8(Some(_))),
        Expr::Placeholder(Placeholder { field, .. }) => field.is_none(),
        _ => false,
    }
}

/// Whether it has been planned as arithmetic of numbers.
fn is_computed(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if arithmetic_operation(call.name()).is_some())
}

/// Whether it is true or false by its form.
fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(both) => is_comparison(both.op) || matches!(both.op, Operator::And | Operator::Or),
        Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::InList(_)
        | Expr::Between(_)
        | Expr::Like(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_) => true,
        _ => false,
    }
}

/// Whether both are text.
fn both_text(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    let text = |expr: &Expr| type_of(expr, schema).is_some_and(|known| is_text(&known));
    text(left) && text(right)
}

/// Whether it is a whole number, or may be one.
fn is_bits(expr: &Expr, schema: &DFSchema) -> bool {
    type_of(expr, schema).and_then(|known| Kind::of_arrow(&known)).is_none_or(Kind::is_whole)
}

/// 42804: no operator is for values of these types.
fn no_operator(symbol: &str, left: &Expr, right: &Expr, schema: &DFSchema) -> Error {
    let name = |expr: &Expr| type_of(expr, schema).map_or_else(|| "unknown".to_owned(), |known| type_name(&known));
    no_operator_for(symbol, &name(left), &name(right))
}

fn no_operator_for(symbol: &str, left: &str, right: &str) -> Error {
    Error::new(ErrorKind::DatatypeMismatch, format!("operator does not exist: {left} {symbol} {right}"))
        .with_hint("cast one side to the other's type")
}

/// Whether both are numbers: those get one type when literals have theirs.
fn both_numbers(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    let number = |expr: &Expr| type_of(expr, schema).and_then(|known| Kind::of_arrow(&known)).is_some_and(Kind::is_number);
    number(left) && number(right)
}

/// The operands of a comparison while the statement is read.
pub(super) fn compared([left, right]: [Expr; 2], symbol: &str, schema: &DFSchema) -> Result<[Expr; 2]> {
    if both_numbers(&left, &right, schema) {
        return Ok([left, right]);
    }
    match meet(vec![left, right], How::Compared, schema)? {
        Met::In(both) => both.try_into().map_err(|_| Error::internal("an operand was lost").into()),
        Met::Never(types) => {
            let name = |at: usize| types.get(at).map_or_else(|| "unknown".to_owned(), type_name);
            Err(no_operator_for(symbol, &name(0), &name(1)).into())
        }
    }
}

/// Values that are compared with each other.
pub(crate) fn all_compared(exprs: Vec<Expr>, what: &str, schema: &DFSchema) -> Result<Vec<Expr>> {
    match meet(exprs, How::Compared, schema)? {
        Met::In(exprs) => Ok(exprs),
        Met::Never(types) => match types.as_slice() {
            [one, other] if !what.starts_with(char::is_alphabetic) => {
                Err(no_operator_for(what, &type_name(one), &type_name(other)).into())
            }
            _ => Err(cannot_be_matched(what, &types).into()),
        },
    }
}

/// Values that stand in one column.
pub(crate) fn together(exprs: Vec<Expr>, what: &str, schema: &DFSchema) -> Result<Vec<Expr>> {
    match meet(exprs, How::Together, schema)? {
        Met::In(exprs) => Ok(exprs),
        Met::Never(types) => Err(cannot_be_matched(what, &types).into()),
    }
}

/// What values meet for.
#[derive(Clone, Copy)]
enum How {
    Compared,
    Together,
}

impl How {
    fn meet(self, one: &DataType, other: &DataType) -> Meeting {
        match self {
            Self::Compared => casts::compared(one, other),
            Self::Together => casts::together(one, other),
        }
    }
}

/// What comes of values that meet.
enum Met {
    /// They have one type.
    In(Vec<Expr>),
    /// The types of those that have one, in their order: two have nothing in common.
    Never(Vec<DataType>),
}

/// 42804, with the first two types that have nothing in common.
fn cannot_be_matched(what: &str, types: &[DataType]) -> Error {
    let pair = types.iter().enumerate().find_map(|(at, one)| {
        let other = types.iter().skip(at + 1).find(|other| casts::together(one, other) == Meeting::Never)?;
        Some((type_name(one), type_name(other)))
    });
    let message = match pair {
        Some((one, other)) => format!("{what} types {one} and {other} cannot be matched"),
        None => format!("{what} has values of types that have no common one"),
    };
    Error::new(ErrorKind::DatatypeMismatch, message).with_hint("cast one side to the other's type")
}

/// The values in the type that they have in common.
fn meet(mut exprs: Vec<Expr>, how: How, schema: &DFSchema) -> Result<Met> {
    let mut types: Vec<Option<DataType>> = exprs
        .iter()
        .map(|expr| if is_open(expr) { None } else { type_of(expr, schema).filter(|known| *known != DataType::Null) })
        .collect();
    // Beside a DECIMAL text in quotes has the digits that it has.
    if types.iter().flatten().any(|known| matches!(known, DataType::Decimal128(..)))
        && types.iter().flatten().all(|known| Kind::of_arrow(known).is_some_and(Kind::is_number))
    {
        for (expr, data_type) in exprs.iter_mut().zip(&mut types) {
            if let Some(value) = decimal_in(expr) {
                *data_type = Some(value.data_type());
                *expr = Expr::Literal(value, None);
            }
        }
    }
    let Some(first) = types.iter().flatten().next() else { return Ok(Met::In(exprs)) };
    let (mut all, mut differ) = (first.clone(), false);
    for other in types.iter().flatten().skip(1) {
        match how.meet(&all, other) {
            Meeting::In(met) => (all, differ) = (met, true),
            Meeting::AsTheyAre => {}
            Meeting::Never => return Ok(Met::Never(types.into_iter().flatten().collect())),
        }
    }
    // Only its field tells a time with a zone from one without.
    let zoned = matches!(all, DataType::Time64(_)) && exprs.iter().any(|expr| is_timetz(expr, schema));
    let typed = exprs.into_iter().zip(types).map(|(expr, own)| match own {
        None if zoned && is_open(&expr) => call(TO_TIMETZ, vec![expr]).data(),
        None if is_open(&expr) => match how {
            How::Together if is_text(&all) => as_type(expr, &DataType::Utf8, &all),
            _ => open_as(expr, &all),
        },
        Some(own) if differ => converted(expr, &own, &all),
        _ => Ok(expr),
    });
    typed.collect::<Result<Vec<_>>>().map(Met::In)
}

pub(super) fn is_timetz(expr: &Expr, schema: &DFSchema) -> bool {
    let field = expr.to_field(schema).map(|(_, field)| field);
    field.is_ok_and(|field| SqlType::of_field(&field) == Ok(SqlType::TimeTz))
}

/// The operands of an operator that computes: text in quotes beside a number is one.
fn computed([left, right]: [Expr; 2], schema: &DFSchema) -> Result<[Expr; 2]> {
    let number = |expr: &Expr| type_of(expr, schema).filter(|known| Kind::of_arrow(known).is_some_and(Kind::is_number));
    let as_other = |open: Expr, other: Option<DataType>| match (&open, other) {
        // A parameter has been given the number's type already.
        (Expr::Literal(ScalarValue::Utf8(Some(_)), _), Some(known)) => match (&known, decimal_in(&open)) {
            (DataType::Decimal128(..), Some(value)) => Ok(Expr::Literal(value, None)),
            _ => open_as(open, &known),
        },
        _ => Ok(open),
    };
    let (of_left, of_right) = (number(&left), number(&right));
    Ok([as_other(left, of_right)?, as_other(right, of_left)?])
}

/// What must be true or false: whole numbers are true unless they are zero.
pub(crate) fn condition(expr: Expr, what: &str, schema: &DFSchema) -> Result<Expr> {
    if is_condition(&expr) {
        return Ok(expr);
    }
    if is_open(&expr) {
        return open_as(expr, &DataType::Boolean);
    }
    let Some(own) = type_of(&expr, schema) else { return Ok(expr) };
    match Kind::of_arrow(&own) {
        None | Some(Kind::Boolean) => Ok(expr),
        // What it is worth is seen when it is there, as in a cast.
        Some(Kind::Super) => Ok(Expr::Cast(Cast::new(Box::new(expr), DataType::Boolean))),
        Some(kind) if cast(kind, Kind::Boolean) == Some(When::Implicit) => converted(expr, &own, &DataType::Boolean),
        Some(kind) => {
            let message = format!("argument of {what} must be type boolean, not type {}", kind.name());
            Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint("compare it with a value").into())
        }
    }
}

/// What a mark for conditions holds, as a condition.
pub(crate) fn marked_condition(marked: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let clause = match marked.args.get(1) {
        Some(Expr::Literal(ScalarValue::Utf8(Some(clause)), _)) => clause.clone(),
        _ => "WHERE".to_owned(),
    };
    match marked.args.into_iter().next() {
        Some(inner) => Ok(Transformed::yes(condition(inner, &clause, schema)?)),
        None => Err(Error::internal("a condition without anything").into()),
    }
}

/// Operands that are compared as text: of LIKE and of regular expressions.
pub(crate) fn texts([left, right]: [Expr; 2], symbol: &str, schema: &DFSchema) -> Result<[Expr; 2]> {
    let [left, right] = [left, right].map(text_parameter);
    let becomes = |expr: &Expr| match type_of(expr, schema) {
        Some(known) if is_text(&known) => Some(false),
        Some(known) => match Kind::of_arrow(&known) {
            // Their strings: the rules of SUPER see to it.
            Some(Kind::Super) => Some(false),
            Some(kind) => (cast(kind, Kind::Text) == Some(When::Implicit)).then_some(true),
            None => Some(false),
        },
        None => Some(false),
    };
    let (Some(cast_left), Some(cast_right)) = (becomes(&left), becomes(&right)) else {
        return Err(no_operator(symbol, &left, &right, schema).into());
    };
    let text = |expr: Expr, cast: bool| if cast { call(TO_TEXT, vec![expr]).data() } else { Ok(expr) };
    Ok([text(left, cast_left)?, text(right, cast_right)?])
}

/// A parameter of which nobody has said the type, as text: the planner gives it the type of what stands on the other side of LIKE.
fn text_parameter(expr: Expr) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, .. }) => {
            let field = Some(Arc::new(Field::new(id.clone(), DataType::Utf8View, true)));
            Expr::Placeholder(Placeholder { id, field })
        }
        other => other,
    }
}

/// Text in quotes or a parameter as a value of the type that it meets.
fn open_as(expr: Expr, wanted: &DataType) -> Result<Expr> {
    if is_text(wanted) {
        return Ok(expr);
    }
    if Kind::of_arrow(wanted) == Some(Kind::Super) {
        return call(TO_SUPER, vec![expr]).data();
    }
    if let Expr::Placeholder(Placeholder { id, .. }) = &expr {
        // Values of decimals have digits of their own.
        if matches!(wanted, DataType::Decimal128(..)) {
            let field = Some(Arc::new(Field::new(id.clone(), wanted.clone(), true)));
            return Ok(Expr::Placeholder(Placeholder { id: id.clone(), field }));
        }
        return Ok(Expr::Cast(Cast::new(Box::new(expr), wanted.clone())));
    }
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &expr else { return Ok(expr) };
    let known = Kind::of_arrow(wanted).filter(|kind| kind.is_number() || *kind == Kind::Boolean);
    match (known, SqlType::from_arrow(wanted)) {
        (Some(_), Ok(sql_type)) => Ok(Expr::Literal(parse_scalar(text, sql_type, None)?, None)),
        // Whatever depends on the session is read later.
        _ => match reader_of(wanted) {
            Some(_) => Ok(Expr::Cast(Cast::new(Box::new(expr), wanted.clone()))),
            None => Ok(expr),
        },
    }
}

/// The number in text in quotes, with its own digits.
fn decimal_in(expr: &Expr) -> Option<ScalarValue> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = expr else { return None };
    let digits = text.trim().trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (precision, scale) = (u8::try_from(whole.len() + fraction.len()).ok()?, u8::try_from(fraction.len()).ok()?);
    if !plain(whole) || !plain(fraction) || !(1..=DECIMAL_PRECISION_MAX_DIGITS).contains(&precision) {
        return None;
    }
    parse_scalar(text, SqlType::Decimal { precision, scale }, None).ok()
}

/// A value of a known type as one of another.
fn converted(expr: Expr, own: &DataType, wanted: &DataType) -> Result<Expr> {
    if own == wanted || is_text(own) && is_text(wanted) && !matches!(expr, Expr::Literal(..)) && *own == DataType::Utf8View {
        return Ok(expr);
    }
    match (Kind::of_arrow(own), Kind::of_arrow(wanted)) {
        (Some(_), Some(Kind::Super)) => call(TO_SUPER, vec![expr]).data(),
        (Some(from), Some(Kind::Text)) if from != Kind::Text => call(TO_TEXT, vec![expr]).data(),
        (Some(from), Some(Kind::Boolean)) if from.is_whole() => Ok(match expr {
            Expr::Literal(value, metadata) => {
                let zero = ScalarValue::new_zero(own)?;
                let truth = if value.is_null() { None } else { Some(value != zero) };
                Expr::Literal(ScalarValue::Boolean(truth), metadata)
            }
            expr => {
                let zero = Expr::Literal(ScalarValue::new_zero(own)?, None);
                Expr::BinaryExpr(BinaryExpr::new(Box::new(expr), Operator::NotEq, Box::new(zero)))
            }
        }),
        _ => as_type(expr, own, wanted),
    }
}

/// A cast that changes no meaning.
pub(crate) fn as_type(expr: Expr, own: &DataType, wanted: &DataType) -> Result<Expr> {
    Ok(match expr {
        expr if own == wanted => expr,
        // Literals stay literals: filters on them prune. But long ones want a better cast than the engine's.
        Expr::Literal(ScalarValue::Decimal128(Some(digits), ..), _)
            if wanted.is_floating() && digits.unsigned_abs() > WHOLE_DOUBLES_MAX =>
        {
            Expr::Cast(Cast::new(Box::new(expr), wanted.clone()))
        }
        Expr::Literal(value, metadata) => match value.cast_to(wanted) {
            Ok(value) => Expr::Literal(value, metadata),
            Err(_) => Expr::Cast(Cast::new(Box::new(Expr::Literal(value, metadata)), wanted.clone())),
        },
        expr => Expr::Cast(Cast::new(Box::new(expr), wanted.clone())),
    })
}
