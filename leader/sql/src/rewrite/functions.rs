//! Functions by Redshift's names.

use super::PositionOf;
use super::build::{arguments_of, call, case, cast, nested, number, string};
use super::conditions;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, Interval, ObjectName, TimezoneInfo, UnaryOperator, Value, WindowType,
};
use slipher_common::aggregates::{PERCENTILE_DISC, percentile_letter};
use slipher_common::functions::{
    BITWISE_NOT, CONCAT, DATE_PART, DATE_TRUNC, DatePart, EXTRACT, EXTRACT_EPOCH, PARSE_INTERVAL, POWER, TEXT_OR_BYTES, TO_TEXT,
    TO_TIMETZ, TRUNC,
};
use slipher_common::list_agg::{LIST_AGG, SortLetter};
use slipher_common::{Error, ErrorKind, Result};

/// The function that says when the running statement began, as a timestamp without time zone.
pub const STATEMENT_TIME: &str = "slipher_statement_time";

/// Functions that only have another name in the engine.
const RENAMED: &[(&str, &str)] = &[
    ("len", "character_length"),
    ("textlen", "character_length"),
    ("nvl", "coalesce"),
    ("isnull", "coalesce"),
    ("replicate", "repeat"),
    ("sign", "signum"),
    ("ceiling", "ceil"),
    ("dlog1", "ln"),
    ("dlog10", "log10"),
    ("dexp", "exp"),
    ("any_value", "min"),
    ("pow", POWER),
    ("power", POWER),
    ("trunc", TRUNC),
    ("grouping_id", "grouping"),
];

/// Functions whose first argument is made text, whatever it is.
const TEXT_FIRST: &[&str] = &[
    "left",
    "right",
    "split_part",
    "upper",
    "lower",
    "lpad",
    "rpad",
    "ltrim",
    "rtrim",
    "btrim",
    "replace",
    "strpos",
    "md5",
    "regexp_replace",
    "regexp_count",
    "regexp_instr",
    "regexp_substr",
    "sha",
    "sha1",
    "func_sha1",
    "sha2",
    "crc32",
    "soundex",
    "quote_literal",
];

/// Those whose first argument may be bytes, too.
const TEXT_OR_BYTES_FIRST: &[&str] = &["substr", "substring", "len", "textlen", "length", "char_length", "character_length"];

/// Rewrites a call; leaves other expressions alone.
pub(super) fn rewrite(expression: &mut Expr, position_of: PositionOf<'_>) -> Result<()> {
    match expression {
        Expr::Function(function) => {
            if let Some(replacement) = rewrite_call(function, position_of)? {
                *expression = replacement;
            }
        }
        Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("sysdate") => {
            *expression = now();
        }
        // By name, like every other function: ours is not the one that the planner would take.
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            make_text(expr.as_mut(), TEXT_OR_BYTES);
            let mut arguments = vec![take(expr)];
            arguments.push(substring_from.take().map_or_else(|| number(1), |from| *from));
            arguments.extend(substring_for.take().map(|length| *length));
            *expression = call("substr", arguments);
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => {
            *expression = call(POWER, vec![take(left), take(right)]);
        }
        // By name, too.
        Expr::Position { expr, r#in } => *expression = call("strpos", vec![take(r#in), take(expr)]),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => conditions::mark_one(expr, "NOT"),
        Expr::UnaryOp { op, expr } => {
            let name = match op {
                UnaryOperator::BitwiseNot => BITWISE_NOT,
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                UnaryOperator::PGAbs => "abs",
                _ => return Ok(()),
            };
            let operand = std::mem::replace(expr.as_mut(), string(""));
            *expression = call(name, vec![operand]);
        }
        Expr::Extract { field, expr, .. } => *expression = extract(field, take(expr))?,
        Expr::Interval(interval) => *expression = interval_literal(interval)?,
        Expr::Collate { expr, collation } => {
            let name = collation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
            check_collation(name.as_deref().unwrap_or_default())?;
            *expression = take(expr);
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expression = call("timezone", vec![take(time_zone), take(timestamp)]);
        }
        _ => {}
    }
    Ok(())
}

/// Strings are compared by their bytes.
fn check_collation(name: &str) -> Result<()> {
    match name {
        "c" | "posix" | "default" | "case_sensitive" | "cs" => Ok(()),
        _ => Err(Error::not_supported(format_args!("collation \"{name}\""), "compare LOWER(a) with LOWER(b)")),
    }
}

fn take(expression: &mut Box<Expr>) -> Expr {
    std::mem::replace(expression.as_mut(), string(""))
}

/// EXTRACT(field FROM source); epochs have a type of their own.
fn extract(field: &DateTimeField, source: Expr) -> Result<Expr> {
    let word = field.to_string();
    let part = DatePart::parse(word.trim_matches(['"', '\'']))?;
    let function = if part == DatePart::Epoch { EXTRACT_EPOCH } else { EXTRACT };
    Ok(call(function, vec![string(part.name()), source]))
}

/// INTERVAL 'text' [field [TO field]]: a number in it without a unit is of the last field.
fn interval_literal(interval: &Interval) -> Result<Expr> {
    let text = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text.clone(),
            _ => return Err(not_a_literal()),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) if matches!(value.value, Value::Number(..)) => format!("-{value}"),
            _ => return Err(not_a_literal()),
        },
        _ => return Err(not_a_literal()),
    };
    let mut arguments = vec![string(&text)];
    if let Some(field) = interval.last_field.as_ref().or(interval.leading_field.as_ref()) {
        arguments.push(string(DatePart::parse(&field.to_string())?.name()));
    }
    Ok(call(PARSE_INTERVAL, arguments))
}

fn not_a_literal() -> Error {
    Error::not_supported("INTERVAL of a computed value", "multiply: value * INTERVAL '1 day'")
}

/// When the transaction began, without a zone.
fn now() -> Expr {
    cast(call("now", Vec::new()), DataType::Timestamp(Some(6), TimezoneInfo::None))
}

fn rewrite_call(function: &mut Function, position_of: PositionOf<'_>) -> Result<Option<Expr>> {
    let [part] = function.name.0.as_slice() else { return Ok(None) };
    let Some(ident) = part.as_ident().filter(|ident| ident.quote_style.is_none()) else { return Ok(None) };
    let (name, position) = (ident.value.to_lowercase(), position_of(ident.span));
    check_count(&name, &function.args).map_err(|error| error.at(position))?;
    if matches!(name.as_str(), "listagg" | "string_agg") {
        return rewrite_listagg(function);
    }
    let Some(mut arguments) = plain_arguments(&function.args) else { return Ok(None) };
    if name == PERCENTILE_DISC {
        return percentile_disc(function, arguments).map(|()| None).map_err(|error| error.at(position));
    }
    if name == "percentile_cont" {
        if function.within_group.len() != 1 || arguments.len() != 1 {
            let error = Error::new(ErrorKind::UndefinedFunction, "percentile_cont takes a portion and one ORDER BY");
            return Err(error.with_hint("write PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY x)").at(position));
        }
        if first_or_last(function, &arguments) {
            return Ok(None);
        }
    }
    if name == "percentile_cont" && function.over.is_some() {
        percentile_over(function, arguments);
        return Ok(None);
    }
    if name == "ratio_to_report" {
        return ratio_to_report(function, arguments).map(Some).map_err(|error| error.at(position));
    }
    if function.over.is_none()
        && let Some(replacement) = replace(&name, &mut arguments, position, position_of)?
    {
        return Ok(Some(replacement));
    }
    if TEXT_FIRST.contains(&name.as_str())
        && let Some(first) = arguments.first_mut()
    {
        make_text(first, TO_TEXT);
        put_arguments(&mut function.args, arguments);
    } else if TEXT_OR_BYTES_FIRST.contains(&name.as_str())
        && let Some(first) = arguments.first_mut()
    {
        make_text(first, TEXT_OR_BYTES);
        put_arguments(&mut function.args, arguments);
    }
    if let Some((_, engine)) = RENAMED.iter().find(|(own, _)| *own == name) {
        function.name = ObjectName::from(vec![Ident { span: ident_span(function), ..Ident::new(*engine) }]);
    }
    Ok(None)
}

/// COUNT takes one argument or `*`, no other function takes `*`. The engine would count rows in which all of several arguments are there.
fn check_count(name: &str, arguments: &FunctionArguments) -> Result<()> {
    let FunctionArguments::List(list) = arguments else { return Ok(()) };
    let stars = list.args.iter().filter(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard))).count();
    match (name, list.args.len()) {
        ("count", 1) => Ok(()),
        ("count", 0) => {
            Err(Error::new(ErrorKind::WrongObjectType, "count(*) must be used to call a parameterless aggregate function"))
        }
        ("count", _) => Err(Error::new(ErrorKind::UndefinedFunction, "function count with several arguments does not exist")
            .with_hint("count the rows of a subquery: SELECT COUNT(*) FROM (SELECT DISTINCT a, b FROM ...)")),
        _ if stars > 0 => Err(Error::new(ErrorKind::UndefinedFunction, format!("function {name}(*) does not exist"))
            .with_hint(format!("write {name}(a_column)"))),
        _ => Ok(()),
    }
}

fn ident_span(function: &Function) -> datafusion::sql::sqlparser::tokenizer::Span {
    let first = function.name.0.first().and_then(|part| part.as_ident());
    first.map_or_else(datafusion::sql::sqlparser::tokenizer::Span::empty, |ident| ident.span)
}

/// The arguments when every one is an expression without a name.
fn plain_arguments(arguments: &FunctionArguments) -> Option<Vec<Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
                _ => None,
            })
            .collect(),
    }
}

fn put_arguments(into: &mut FunctionArguments, arguments: Vec<Expr>) {
    match into {
        FunctionArguments::List(list) => {
            list.args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
        }
        other => *other = arguments_of(arguments),
    }
}

/// What stands in place of the whole call, if the call changes its shape.
fn replace(name: &str, arguments: &mut Vec<Expr>, position: usize, position_of: PositionOf<'_>) -> Result<Option<Expr>> {
    let count = arguments.len();
    let replacement = match (name, count) {
        // Of the statement, even within a block.
        ("getdate", 0) => call(DATE_TRUNC, vec![string("second"), call(STATEMENT_TIME, Vec::new())]),
        ("sysdate" | "localtimestamp", 0) => now(),
        ("localtime", 0) => cast(now(), DataType::Time(None, TimezoneInfo::None)),
        ("current_time", 0) => call(TO_TIMETZ, vec![call("now", Vec::new())]),
        ("dateadd" | "date_add", 3) => with_part("dateadd", arguments, position, position_of)?,
        ("datediff" | "date_diff", 3) => with_part("datediff", arguments, position, position_of)?,
        (DATE_PART | "datepart" | "pgdate_part", 2) => with_part(DATE_PART, arguments, position, position_of)?,
        (DATE_TRUNC, 2) => with_part(DATE_TRUNC, arguments, position, position_of)?,
        ("date_part_year", 1) => {
            arguments.insert(0, string("year"));
            call(EXTRACT, std::mem::take(arguments))
        }
        ("charindex", 2) => {
            arguments.swap(0, 1);
            call("strpos", std::mem::take(arguments))
        }
        // The engine's concat reads NULL as an empty string, and does not find a type for two of them with ||.
        ("concat", 2) => {
            arguments.iter_mut().for_each(|argument| make_text(argument, TO_TEXT));
            call(CONCAT, std::mem::take(arguments))
        }
        ("age", 1) => {
            arguments.insert(0, cast(now(), DataType::Date));
            call(name, std::mem::take(arguments))
        }
        ("row", 2..) => Expr::Tuple(std::mem::take(arguments)),
        ("collate", 2) => match (arguments.remove(0), arguments.first()) {
            (text, Some(Expr::Value(value))) => {
                check_collation(&value.to_string().trim_matches('\'').to_lowercase())?;
                text
            }
            _ => return Err(Error::new(ErrorKind::InvalidParameter, "collate: the collation must be a literal")),
        },
        ("mod", 2) => binary(arguments, BinaryOperator::Modulo),
        ("date", 1) => cast(std::mem::take(arguments).remove(0), DataType::Date),
        ("nvl2", 3) => {
            let mut rest = std::mem::take(arguments).into_iter();
            let (Some(tested), Some(present), Some(absent)) = (rest.next(), rest.next(), rest.next()) else { return Ok(None) };
            case(vec![(Expr::IsNotNull(Box::new(nested(tested))), present)], Some(absent))
        }
        ("decode", 3..) => decode(std::mem::take(arguments)),
        ("decode", _) => {
            return Err(Error::new(ErrorKind::UndefinedFunction, "decode takes a value, a search value and a result at least")
                .with_hint("write decode(a_value, search, result [, ...] [, default])")
                .at(position));
        }
        // A row for each element; the engine's function makes one array of them.
        ("generate_series", 2 | 3) => call("unnest", vec![call(name, std::mem::take(arguments))]),
        _ => return Ok(None),
    };
    Ok(Some(replacement))
}

fn binary(arguments: &mut Vec<Expr>, op: BinaryOperator) -> Expr {
    let right = nested(arguments.remove(1));
    let left = nested(arguments.remove(0));
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

/// DECODE(x, search, result, ..., default): NULL equals NULL here.
fn decode(arguments: Vec<Expr>) -> Expr {
    let mut rest = arguments.into_iter();
    let tested = rest.next().map(nested);
    let mut conditions = Vec::new();
    let mut otherwise = None;
    while let Some(search) = rest.next() {
        match (rest.next(), &tested) {
            (Some(result), Some(tested)) => {
                conditions.push((same(tested.clone(), nested(search)), result));
            }
            _ => otherwise = Some(search),
        }
    }
    case(conditions, otherwise)
}

fn same(left: Expr, right: Expr) -> Expr {
    let is_null = |expression: &Expr| matches!(expression, Expr::Value(value) if value.value == Value::Null);
    match &right {
        null if is_null(null) => Expr::IsNull(Box::new(left)),
        Expr::Value(_) => Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) },
        _ => Expr::IsNotDistinctFrom(Box::new(left), Box::new(right)),
    }
}

/// A call whose first argument is a date part, in quotes or not.
fn with_part(name: &str, arguments: &mut Vec<Expr>, position: usize, position_of: PositionOf<'_>) -> Result<Expr> {
    let (word, at) = match arguments.first() {
        Some(Expr::Identifier(ident)) => (ident.value.clone(), position_of(ident.span)),
        Some(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(word) => (word.clone(), position_of(value.span)),
            _ => return Err(not_a_part(name, position)),
        },
        _ => return Err(not_a_part(name, position)),
    };
    let part = DatePart::parse(&word).map_err(|error| error.at(at))?;
    if let Some(first) = arguments.first_mut() {
        *first = string(part.name());
    }
    Ok(call(name, std::mem::take(arguments)))
}

fn not_a_part(name: &str, position: usize) -> Error {
    Error::not_supported(format_args!("a computed date part in {name}"), "write it as a word: year, month, day, hour, ...")
        .at(position)
}

/// The expression as text, unless it is a string already.
fn make_text(expression: &mut Expr, with: &'static str) {
    let wrap: fn(Expr, &str) -> Expr = match expression {
        Expr::Value(value) => match value.value {
            Value::SingleQuotedString(_) | Value::Null => return,
            // A parameter has no type but that of its cast.
            Value::Placeholder(_) => |inner, _| cast(inner, DataType::Varchar(None)),
            _ => |inner, with| call(with, vec![inner]),
        },
        Expr::Function(function) if [TO_TEXT, TEXT_OR_BYTES].contains(&function.name.to_string().as_str()) => return,
        _ => |inner, with| call(with, vec![inner]),
    };
    *expression = wrap(std::mem::replace(expression, string("")), with);
}

/// PERCENTILE_CONT(p) WITHIN GROUP (ORDER BY x) OVER (...) is percentile_cont(x, p) OVER (...): over a window the engine takes it so only.
fn percentile_over(function: &mut Function, mut arguments: Vec<Expr>) {
    let [key] = function.within_group.as_slice() else { return };
    let descending = key.options.asc == Some(false);
    arguments.insert(0, key.expr.clone());
    if let (true, Some(Expr::Value(part))) = (descending, arguments.get_mut(1))
        && let Value::Number(text, _) = &mut part.value
        && let Ok(portion) = text.parse::<f64>()
    {
        *text = (1.0 - portion).to_string();
    }
    function.within_group.clear();
    put_arguments(&mut function.args, arguments);
}

/// PERCENTILE_CONT of 0 and 1 is the least and the greatest value; the engine would take functions of its own for that.
fn first_or_last(function: &mut Function, arguments: &[Expr]) -> bool {
    let portion = match arguments {
        [Expr::Value(value)] => match &value.value {
            Value::Number(digits, _) => digits.parse::<f64>().ok(),
            _ => None,
        },
        _ => None,
    };
    let [key] = function.within_group.as_slice() else { return false };
    let descending = key.options.asc == Some(false);
    let name = match portion {
        Some(0.0) if !descending => "min",
        Some(1.0) if descending => "min",
        Some(0.0 | 1.0) => "max",
        _ => return false,
    };
    let value = cast(key.expr.clone(), DataType::DoublePrecision);
    put_arguments(&mut function.args, vec![value]);
    function.name = ObjectName::from(vec![Ident { span: ident_span(function), ..Ident::new(name) }]);
    function.within_group.clear();
    true
}

/// PERCENTILE_DISC(p) WITHIN GROUP (ORDER BY x DESC) is percentile_disc(x, p, 'd'), over a window or not.
fn percentile_disc(function: &mut Function, mut arguments: Vec<Expr>) -> Result<()> {
    let usage = "write PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY x)";
    let ([key], [_]) = (function.within_group.as_slice(), arguments.as_slice()) else {
        return Err(Error::new(ErrorKind::UndefinedFunction, "percentile_disc takes a portion and one ORDER BY").with_hint(usage));
    };
    let letter = percentile_letter(key.options.asc == Some(false));
    arguments.insert(0, key.expr.clone());
    arguments.push(string(&letter));
    function.within_group.clear();
    put_arguments(&mut function.args, arguments);
    Ok(())
}

/// RATIO_TO_REPORT(x) OVER (...) is x / SUM(x) OVER (...), both in double precision.
fn ratio_to_report(function: &Function, mut arguments: Vec<Expr>) -> Result<Expr> {
    let usage = "write RATIO_TO_REPORT(x) OVER (PARTITION BY y)";
    let refused = |message: &str| Error::new(ErrorKind::Windowing, message).with_hint(usage);
    let (Some(value), true) = (arguments.pop(), arguments.is_empty()) else {
        return Err(Error::new(ErrorKind::UndefinedFunction, "function \"ratio_to_report\" takes one argument").with_hint(usage));
    };
    match &function.over {
        None => return Err(refused("window function \"ratio_to_report\" requires an OVER clause")),
        Some(WindowType::WindowSpec(spec)) if !spec.order_by.is_empty() || spec.window_frame.is_some() => {
            return Err(refused("the window of \"ratio_to_report\" has neither an order nor a frame"));
        }
        Some(_) => {}
    }
    let value = cast(value, DataType::DoublePrecision);
    let mut sum = function.clone();
    sum.name = ObjectName::from(vec![Ident { span: ident_span(function), ..Ident::new("sum") }]);
    sum.args = arguments_of(vec![value.clone()]);
    let (left, right) = (Box::new(value), Box::new(Expr::Function(sum)));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Divide, right })))
}

/// LISTAGG(x [, delimiter]) WITHIN GROUP (ORDER BY y DESC) is listagg(x, delimiter, 'd', y); string_agg(x, delimiter ORDER BY y DESC), too.
fn rewrite_listagg(function: &mut Function) -> Result<Option<Expr>> {
    let Some(mut arguments) = plain_arguments(&function.args) else { return Ok(None) };
    if arguments.len() == 1 {
        arguments.push(string(""));
    }
    if let Some(first) = arguments.first_mut() {
        make_text(first, TO_TEXT);
    }
    let mut order = std::mem::take(&mut function.within_group);
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.retain(|clause| match clause {
            FunctionArgumentClause::OrderBy(inside) => {
                order.extend(inside.iter().cloned());
                false
            }
            _ => true,
        });
    }
    if !order.is_empty() && arguments.len() == 2 {
        let letters = order.iter().map(|key| {
            let descending = key.options.asc == Some(false);
            // As in every ORDER BY, NULL is larger than all others.
            SortLetter { descending, nulls_first: key.options.nulls_first.unwrap_or(descending) }.letter()
        });
        arguments.push(string(&letters.collect::<String>()));
        arguments.extend(order.into_iter().map(|key| key.expr));
    }
    put_arguments(&mut function.args, arguments);
    function.name = ObjectName::from(vec![Ident { span: ident_span(function), ..Ident::new(LIST_AGG) }]);
    Ok(None)
}
