//! Where the engine's expressions mean something else than Redshift's, before types are brought together.

mod casts;
mod coerced;
mod implicit;
mod intervals;
mod numbers;
mod strings;
mod supers;
mod temporal;
mod unions;
mod windows;

pub(crate) use coerced::CastsAreOurs;
pub(crate) use implicit::{all_compared, as_type, condition, marked_condition, texts, together};
pub(crate) use intervals::with_windows_by_length;
pub(crate) use numbers::typed_literal;
pub(crate) use temporal::planned_anew;
pub(crate) use unions::{cannot_be_matched, check_unions};

use crate::plan::super_options::SuperOptions;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};
use slipher_common::Error;
use slipher_common::aggregates::{self, sum_of_integers};
use slipher_common::functions::{self, CHECKED_NEGATE, PARSE_DECIMAL, TEXT_OR_BYTES, TO_TEXT, text_parser};
use slipher_common::numeric::computation;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Slipher's functions by name.
static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> =
    LazyLock::new(|| functions::all().into_iter().map(|function| (function.name().to_owned(), function)).collect());

/// Makes a session's expressions mean what Redshift's mean.
pub(crate) fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    for function in aggregates::all() {
        session.register_udaf(function)?;
    }
    session.register_expr_planner(Arc::new(supers::SuperPlanner))?;
    session.register_expr_planner(Arc::new(implicit::ImplicitCasts))?;
    session.register_expr_planner(Arc::new(numbers::ArithmeticPlanner))?;
    session.register_expr_planner(Arc::new(temporal::TemporalPlanner))?;
    session.register_function_rewrite(Arc::new(Semantics))
}

/// What names of types mean.
pub(crate) fn type_planner() -> Arc<dyn TypePlanner> {
    Arc::new(temporal::TypesOfNames)
}

#[derive(Debug)]
struct Semantics;

impl FunctionRewrite for Semantics {
    fn name(&self) -> &str {
        "redshift_semantics"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, config: &ConfigOptions) -> Result<Transformed<Expr>> {
        if let Some(plain) = text_or_bytes(&expr, schema)? {
            return Ok(Transformed::yes(plain));
        }
        let options = config.extensions.get::<SuperOptions>().cloned().unwrap_or_default();
        if let Some(rewritten) = with_supers(&expr, schema, &options)? {
            return Ok(Transformed::yes(rewritten));
        }
        match expr {
            Expr::BinaryExpr(binary) if is_comparison(binary.op) => temporal::compared(binary, schema),
            Expr::Between(between) => temporal::between(between, schema),
            Expr::InList(list) => temporal::in_list(list, schema),
            Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => strings::concat(binary, schema),
            Expr::BinaryExpr(binary) => numbers::arithmetic(binary, schema),
            Expr::Negative(inner) if numbers::is_number(&inner, schema) => call(CHECKED_NEGATE, vec![*inner]),
            Expr::Cast(cast) => casts::cast_as_loads_do(cast, schema),
            Expr::AggregateFunction(mut call) if numbers::is_sum_of_integers(&call.func, &call.params.args, schema) => {
                call.func = sum_of_integers();
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            Expr::WindowFunction(call) => windows::checked_window(call, schema),
            Expr::ScalarFunction(function) if matches!(function.name(), "ceil" | "floor") => {
                Ok(numbers::whole_number(function, schema))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// What may be bytes, as it is, and everything else as text.
fn text_or_bytes(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::ScalarFunction(function) = expr else { return Ok(None) };
    match function.args.as_slice() {
        [value] if function.name() == TEXT_OR_BYTES => match type_of(value, schema) {
            Some(DataType::Binary) => Ok(Some(value.clone())),
            _ => Ok(Some(call(TO_TEXT, vec![value.clone()])?.data)),
        },
        _ => Ok(None),
    }
}

/// What an expression with a SUPER operand means; None for all others.
fn with_supers(expr: &Expr, schema: &DFSchema, options: &SuperOptions) -> Result<Option<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) => supers::binary(binary, schema),
        Expr::Between(between) => supers::between(between, schema),
        Expr::InList(list) => supers::in_list(list, schema),
        Expr::Like(like) => Ok(supers::like(like, schema)?.map(Expr::Like)),
        Expr::SimilarTo(like) => Ok(supers::like(like, schema)?.map(Expr::SimilarTo)),
        Expr::Case(case) => Ok(supers::case(case, schema)?.map(Expr::Case)),
        Expr::Negative(inner) => supers::negated(inner, schema),
        Expr::Cast(cast) => supers::cast(&cast.expr, cast.field.data_type(), schema, options.strict_casts),
        Expr::TryCast(cast) => supers::cast(&cast.expr, cast.field.data_type(), schema, false),
        Expr::ScalarFunction(function) => supers::with_options(function, schema, options),
        _ => Ok(None),
    }
}

/// What reads text as a value of a type, in the way that loads read it.
struct Reader {
    function: &'static str,
    /// What the function gets besides the text: NULL of a type that has parameters.
    like: Option<Expr>,
}

impl Reader {
    fn read(self, text: Expr) -> Result<Transformed<Expr>> {
        call(self.function, std::iter::once(text).chain(self.like).collect())
    }
}

/// The reader of a type; `None` for types that are not read so.
fn reader_of(target: &DataType) -> Option<Reader> {
    match target {
        DataType::Decimal128(precision, scale) => {
            let like = Expr::Literal(ScalarValue::Decimal128(None, *precision, *scale), None);
            Some(Reader { function: PARSE_DECIMAL, like: Some(like) })
        }
        _ => text_parser(target).map(|function| Reader { function, like: None }),
    }
}

/// A call of one of Slipher's functions.
pub(crate) fn call(name: &str, arguments: Vec<Expr>) -> Result<Transformed<Expr>> {
    let function = FUNCTIONS.get(name).ok_or_else(|| Error::internal(format!("there is no function \"{name}\"")))?;
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))))
}

/// Whether an operator compares values.
pub(crate) fn is_comparison(op: Operator) -> bool {
    use Operator::*;
    match op {
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => true,
        Plus | Minus | Multiply | Divide | Modulo | And | Or | BitwiseAnd | BitwiseOr | BitwiseXor | BitwiseShiftRight
        | BitwiseShiftLeft | StringConcat | IntegerDivide => false,
        // Patterns see the whole value.
        RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch | LikeMatch | ILikeMatch | NotLikeMatch | NotILikeMatch => {
            false
        }
        // Of arrays and documents, which no column holds.
        AtArrow | ArrowAt | Arrow | LongArrow | HashArrow | HashLongArrow | AtAt | HashMinus | AtQuestion | Question
        | QuestionAnd | QuestionPipe | Colon => false,
    }
}

pub(crate) fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    // The engine would write out the name of every part of a chain, and ask for the type of each link anew.
    let mut links = Vec::new();
    let mut first = expr;
    while let Expr::ScalarFunction(call) = first
        && let [left, right] = call.args.as_slice()
        && let Some(operation) = functions::arithmetic_operation(call.name())
    {
        links.push((operation, right));
        first = left;
    }
    // An expression whose type is not known yet (a parameter) stays the engine's.
    let mut known = first.get_type(schema).ok()?;
    while let Some((operation, right)) = links.pop() {
        known = computation(operation, &known, &type_of(right, schema)?)?.result;
    }
    Some(known)
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
