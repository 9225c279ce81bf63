//! What the engine says in words only, as errors of ours.

use super::memory::out_of_memory;
use super::words::{in_sql, is_inward, sql_name};
use super::{Error, ErrorKind};

/// What the engine says, in part and in lower case; what a client is told (nothing: the same); and what may help.
const KNOWN_MESSAGES: &[(&str, ErrorKind, &str, &str)] = &[
    ("divide by zero", ErrorKind::DivisionByZero, "division by zero", ""),
    (
        "qualify clause requires window functions",
        ErrorKind::Windowing,
        "QUALIFY is for conditions on window functions",
        "filter rows with WHERE",
    ),
    ("percentile value must be between", ErrorKind::InvalidParameter, "a percentile must be between 0 and 1", ""),
    (
        "over and within group clause cannot be used together",
        ErrorKind::NotSupported,
        "this ordered-set aggregate is not supported over a window",
        "compute it in a grouped subquery and join with that",
    ),
    ("inconsistent data length across values list", ErrorKind::Syntax, "VALUES lists must all be the same length", ""),
    (
        "across values list at row",
        ErrorKind::DatatypeMismatch,
        "a column of VALUES has values of types that have no common one",
        "cast them to one type",
    ),
    (
        "dot access not supported",
        ErrorKind::UndefinedColumn,
        "a field is asked of a value that has none",
        "name a column, or a table and its column",
    ),
    (
        "unsupported binary operator",
        ErrorKind::NotSupported,
        "a subscript of this value is not supported",
        "ask for a part of a text with SUBSTRING or SPLIT_PART",
    ),
    (
        "cannot run range queries on datatype",
        ErrorKind::Windowing,
        "RANGE with an offset is for numbers, dates and timestamps in ORDER BY",
        "write ROWS",
    ),
    (
        "must be an integer, timestamp, date or null",
        ErrorKind::UndefinedFunction,
        "generate_series is for whole numbers, dates and timestamps",
        "",
    ),
    ("requires exactly one argument", ErrorKind::UndefinedFunction, "unnest takes one array", ""),
    ("can only be applied to array", ErrorKind::UndefinedFunction, "unnest is for arrays", ""),
    (
        "within group is only supported for",
        ErrorKind::WrongObjectType,
        "WITHIN GROUP is for ordered-set aggregates: LISTAGG, PERCENTILE_CONT, PERCENTILE_DISC",
        "write ORDER BY in the window, or leave it out",
    ),
    (
        "not yet implemented for grouping aggregate",
        ErrorKind::Grouping,
        "GROUPING is for queries with GROUP BY, and is no window function",
        "",
    ),
    ("percentile value for", ErrorKind::InvalidParameter, "a percentile must be a constant number between 0 and 1", ""),
    ("month value", ErrorKind::DatetimeOutOfRange, "date out of range", ""),
    ("day value", ErrorKind::DatetimeOutOfRange, "date out of range", ""),
    ("join condition should not be empty", ErrorKind::Syntax, "a join has no condition", "write ON or USING, or CROSS JOIN"),
    (
        "to common types in case when expression",
        ErrorKind::DatatypeMismatch,
        "CASE compares values of types that have no common one",
        "cast one side to the other's type",
    ),
    ("expected limit to be an integer or null", ErrorKind::DatatypeMismatch, "argument of LIMIT must be a whole number", ""),
    ("expected offset to be an integer or null", ErrorKind::DatatypeMismatch, "argument of OFFSET must be a whole number", ""),
    (
        "window function calls cannot be nested",
        ErrorKind::Windowing,
        "window function calls cannot be nested",
        "compute the inner one in a subquery",
    ),
    (
        "aggregate function calls cannot contain window function calls",
        ErrorKind::Grouping,
        "aggregate function calls cannot contain window function calls",
        "compute the window function in a subquery",
    ),
    (
        "to expected output field",
        ErrorKind::DatatypeMismatch,
        "a column of a recursive query has another type in its first part than overall",
        "cast the column to the same type in both parts",
    ),
    ("negative count not allowed", ErrorKind::InvalidParameter, "negative substring length not allowed", ""),
    ("invalid unicode scalar value", ErrorKind::ProgramLimit, "requested character is not valid for the encoding UTF8", ""),
    (
        "field position must not be zero",
        ErrorKind::InvalidParameter,
        "field position must not be zero",
        "fields are counted from 1",
    ),
    (
        "invalid window frame: start bound",
        ErrorKind::Windowing,
        "a window's frame cannot begin behind its end",
        "write the earlier bound first",
    ),
    ("invalid window frame", ErrorKind::Windowing, "a window's frame has bounds that are not possible", ""),
    ("limit must be >= 0", ErrorKind::InvalidParameter, "LIMIT must not be negative", ""),
    ("offset must be >=0", ErrorKind::InvalidParameter, "OFFSET must not be negative", ""),
    ("order by column out of bounds", ErrorKind::InvalidColumnReference, "a number in ORDER BY is not in the select list", ""),
    ("cannot find column with position", ErrorKind::InvalidColumnReference, "a number in GROUP BY is not in the select list", ""),
    (
        "aggregate functions are not allowed in the where clause",
        ErrorKind::Grouping,
        "aggregates are not allowed in WHERE",
        "filter groups with HAVING",
    ),
    (
        "distinct on expressions must match",
        ErrorKind::InvalidColumnReference,
        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        "",
    ),
    ("aggregate function calls cannot be nested", ErrorKind::Grouping, "aggregate function calls cannot be nested", ""),
    (
        "queries have different number of columns",
        ErrorKind::Syntax,
        "the queries of UNION, INTERSECT or EXCEPT must have the same number of columns",
        "",
    ),
    (
        "recursive term must have the same number of columns",
        ErrorKind::Syntax,
        "the two parts of a recursive query must have the same number of columns",
        "",
    ),
    (
        "names given as column alias",
        ErrorKind::InvalidColumnReference,
        "a list of column names has another number of names than its query has columns",
        "name each column once",
    ),
    (
        "does not support logical expression wildcard",
        ErrorKind::NotSupported,
        "a whole row as a value is not supported",
        "name its columns one by one",
    ),
    (
        "unsupported limit expression",
        ErrorKind::NotSupported,
        "LIMIT is for a number, or a parameter that has one",
        "write the number",
    ),
    (
        "unsupported offset expression",
        ErrorKind::NotSupported,
        "OFFSET is for a number, or a parameter that has one",
        "write the number",
    ),
    (
        "expected zero argument but received",
        ErrorKind::UndefinedFunction,
        "a function without arguments is called with some",
        "leave them out",
    ),
    (
        "cannot infer common string type",
        ErrorKind::DatatypeMismatch,
        "|| joins values of types that have no common one",
        "cast them to VARCHAR",
    ),
    ("too many columns! the subquery", ErrorKind::Syntax, "subquery must return only one column", ""),
    ("subquery should only return one column", ErrorKind::Syntax, "subquery must return only one column", ""),
    ("too large to store in a decimal", ErrorKind::NumericOutOfRange, "numeric field overflow", ""),
    ("too small to store in a decimal", ErrorKind::NumericOutOfRange, "numeric field overflow", ""),
    (
        "does not support logical expression windowfunction",
        ErrorKind::Windowing,
        "window functions are not allowed in this place",
        "compute it in a subquery, or filter with QUALIFY",
    ),
    (
        "unnest should be rewritten to logicalplan::unnest",
        ErrorKind::NotSupported,
        "a function that makes rows is not supported in this place",
        "call it in the select list or in FROM",
    ),
    (
        "filter clause can only be used with aggregate window functions",
        ErrorKind::NotSupported,
        "FILTER is for aggregate functions only",
        "leave FILTER out, or filter in a subquery that the window is computed over",
    ),
    (
        "join condition must be boolean",
        ErrorKind::DatatypeMismatch,
        "argument of ON must be type boolean",
        "compare it with a value",
    ),
    (
        "was not provided a value for execution",
        ErrorKind::UndefinedParameter,
        "a parameter has no value",
        "prepare the statement and bind it",
    ),
    (
        "does not support named arguments",
        ErrorKind::NotSupported,
        "named arguments are not supported",
        "write the arguments in their order",
    ),
    (
        "order by expressions",
        ErrorKind::InvalidColumnReference,
        "for SELECT DISTINCT, ORDER BY expressions must appear in the select list",
        "",
    ),
    (
        "find compatible types to compare",
        ErrorKind::DatatypeMismatch,
        "IN compares values of types that have no common one",
        "cast one side to the other's type",
    ),
    ("requires string, but received", ErrorKind::UndefinedFunction, "a function of strings is called with something else", ""),
    ("with no tables specified", ErrorKind::Syntax, "SELECT * with no tables specified is not valid", "name a table in FROM"),
    (
        "windows require unique expression names",
        ErrorKind::NotSupported,
        "window functions that differ in a cast only are not supported in one query",
        "compute one of them in a subquery",
    ),
    ("is out of range int", ErrorKind::NumericOutOfRange, "value out of range for a whole number", ""),
    (
        "to grouping function is not in grouping columns",
        ErrorKind::Grouping,
        "arguments to GROUPING must be grouping expressions of the same query",
        "",
    ),
    ("typed literal requires a string", ErrorKind::Syntax, "only a string may stand behind the name of a type", ""),
    ("arguments but received", ErrorKind::UndefinedFunction, "a function is called with too few or too many arguments", ""),
    ("expects numeric but received", ErrorKind::UndefinedFunction, "a function of numbers is called with something else", ""),
    (
        "tuple expressions not are supported",
        ErrorKind::NotSupported,
        "columns in parentheses in CUBE and ROLLUP are not supported",
        "write GROUPING SETS",
    ),
    ("non-boolean predicate", ErrorKind::DatatypeMismatch, "argument of WHERE must be type boolean", "compare it with a value"),
    (
        "does not support logical expression insubquery",
        ErrorKind::NotSupported,
        "IN with a subquery is not supported in this place",
        "use it in WHERE, or join with the subquery",
    ),
    (
        "does not support logical expression exists",
        ErrorKind::NotSupported,
        "EXISTS is not supported in this place",
        "use it in WHERE, or join with the subquery",
    ),
    (
        "does not support logical expression scalarsubquery",
        ErrorKind::NotSupported,
        "a scalar subquery is not supported in this place",
        "join with the subquery, or compute it in a WITH clause",
    ),
    (
        "correlated scalar subquery can only be used in",
        ErrorKind::NotSupported,
        "a correlated subquery is not supported in this place",
        "compute it in the select list and use its name",
    ),
    (
        "physical plan does not support logical expression outerreferencecolumn",
        ErrorKind::NotSupported,
        "a correlated subquery of this form is not supported",
        "join with the subquery, grouped by the column that it is correlated on",
    ),
];

pub(super) fn from_known_message(message: &str, lower: &str) -> Option<Error> {
    if let Some(name) = lower.strip_prefix("with query name ").and_then(|rest| rest.strip_suffix(" specified more than once")) {
        return Some(Error::new(ErrorKind::DuplicateAlias, format!("WITH query name {name} specified more than once")));
    }
    if let Some(known) = from_cast_message(message).or_else(|| from_call_message(message)) {
        return Some(known);
    }
    let bare = without_quoted(lower);
    let (_, kind, text, hint) = KNOWN_MESSAGES.iter().find(|(part, ..)| bare.contains(part))?;
    Some(Error::new(*kind, *text).with_hint(*hint))
}

/// A message without what it quotes: names and values are the user's, and say nothing of what went wrong.
fn without_quoted(message: &str) -> String {
    let mut bare = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(['\'', '"', '`']) {
        let (before, quoted) = rest.split_at(at);
        bare.push_str(before);
        let mark = &quoted[..1];
        // An apostrophe stands behind a letter.
        let opens = !before.ends_with(char::is_alphanumeric);
        match quoted[1..].find(mark).filter(|_| opens) {
            Some(end) => rest = &quoted[end + 2..],
            None => {
                bare.push_str(mark);
                rest = &quoted[1..];
            }
        }
    }
    bare.push_str(rest);
    bare
}

/// What the engine says of casts: `Can't cast value 7 to type Int16`, `Cannot cast string 'x' to value of Int32 type`.
fn from_cast_message(message: &str) -> Option<Error> {
    if let Some((value, engine_type)) = message.strip_prefix("Can't cast value ").and_then(|rest| rest.split_once(" to type ")) {
        let error = Error::new(ErrorKind::NumericOutOfRange, format!("value out of range for {}", sql_name(engine_type)));
        return Some(error.with_detail(format!("value \"{value}\"")));
    }
    let (value, rest) = message.strip_prefix("Cannot cast string '")?.rsplit_once("' to value of ")?;
    let name = sql_name(rest.strip_suffix(" type")?);
    let kind = match name.as_str() {
        "date" | "time" | "timestamp" => ErrorKind::InvalidDatetime,
        _ => ErrorKind::InvalidText,
    };
    Some(Error::new(kind, format!("invalid input syntax for type {name}: \"{value}\"")))
}

/// What the engine says of calls and operators that no types fit.
fn from_call_message(message: &str) -> Option<Error> {
    if let Some(operation) =
        message.strip_prefix("Cannot coerce arithmetic expression ").and_then(|rest| rest.strip_suffix(" to valid types"))
    {
        return Some(no_operator(operation));
    }
    if let Some(operation) = message.strip_prefix("Cannot get result type for temporal operation ")
        && let Some((operation, _)) = operation.split_once(": ")
    {
        return Some(no_operator(operation));
    }
    if let Some(unary) = message.strip_prefix("Unary operator '").and_then(|rest| rest.split_once("' ")) {
        return Some(match unary {
            ("NOT", rest) => {
                let found = rest.rsplit_once("got ").map_or_else(|| "another one".to_owned(), |(_, found)| sql_name(found));
                Error::new(ErrorKind::DatatypeMismatch, format!("argument of NOT must be type boolean, not type {found}"))
            }
            (sign, _) => {
                Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {sign} of a value of this type"))
                    .with_hint("it is for numbers and intervals")
            }
        });
    }
    if let Some(types) = message.split_once("Failed to coerce types ").map(|(_, rest)| rest)
        && let Some((types, _)) = types.split_once(" in BETWEEN")
    {
        let error = Error::new(ErrorKind::DatatypeMismatch, format!("BETWEEN has no common type for {}", in_sql(types)));
        return Some(error.with_hint("cast the bounds to the value's type"));
    }
    if let Some(types) = message.strip_prefix("Unsupported CAST from ").or_else(|| message.strip_prefix("Casting from "))
        && let Some((from, to)) = types.trim_end_matches(" not supported").split_once(" to ")
    {
        return Some(Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {} to {}", sql_name(from), sql_name(to))));
    }
    if let Some(node) = message.strip_prefix("Unsupported ast node in sqltorel: ") {
        let name = node.split([' ', '(', '{']).next().unwrap_or_default().to_uppercase();
        return Some(Error::new(ErrorKind::NotSupported, format!("this form of {name} is not supported")));
    }
    if let Some((name, errors)) =
        message.split_once("Function '").and_then(|(_, rest)| rest.split_once("' failed to match any signature"))
    {
        let forms: Vec<&str> = errors
            .lines()
            .next()
            .unwrap_or_default()
            .split("Error during planning: ")
            .skip(1)
            .map(|form| form.trim_end_matches([',', '.', ' ']))
            .collect();
        let error = Error::new(ErrorKind::UndefinedFunction, format!("function \"{name}\" does not exist with these arguments"));
        return Some(error.with_detail(in_sql(&forms.join("; "))));
    }
    let Some((_, rest)) = message.split_once("No function matches the given name and argument types '") else {
        return from_operand_message(message);
    };
    let (call, forms) = rest.split_once("'. ")?;
    let forms = forms.lines().map(str::trim).filter(|form| !form.is_empty() && !is_inward(form)).map(in_sql);
    let forms = forms.collect::<Vec<_>>().join(", ");
    let hint = if forms.is_empty() { String::new() } else { format!("its forms are: {forms}") };
    Some(Error::new(ErrorKind::UndefinedFunction, format!("function {} does not exist", in_sql(call))).with_hint(hint))
}

/// What the engine says of operands that have no type in common, and of calls without arguments.
fn from_operand_message(message: &str) -> Option<Error> {
    let after = |mark: &str| message.split_once(mark).map(|(_, rest)| rest);
    if let Some(rest) = after("Cannot infer common argument type for ") {
        return rest.split_once("operation ").map(|(_, operation)| no_operator(operation));
    }
    let operations = [
        "Invalid arithmetic operation: ",
        "Cannot infer common type for bitwise operation ",
        "Invalid string/binary operation: ",
    ];
    if let Some(operation) = operations.into_iter().find_map(after) {
        return Some(no_operator(operation));
    }
    if let Some(rest) = after("There isn't a common type to coerce ")
        && let Some((types, rest)) = rest.split_once(" in ")
        && let Some((left, right)) = types.split_once(" and ")
    {
        return Some(no_operator(&format!("{left} {} {right}", rest.trim_end_matches(" expression"))));
    }
    if let Some(types) = after("Cannot automatically convert ")
        && let Some((from, to)) = types.split_once(" to ")
    {
        let text = format!("cannot convert type {} to {}", sql_name(from), sql_name(to));
        return Some(Error::new(ErrorKind::DatatypeMismatch, text).with_hint("write a cast"));
    }
    if let Some((name, _)) = message.split_once(" does not support zero arguments") {
        let name = name.rsplit_once("unction ").map_or(name, |(_, name)| name).split(" has signature").next().unwrap_or(name);
        return Some(Error::new(ErrorKind::UndefinedFunction, format!("function {}() does not exist", name.trim_matches('\''))));
    }
    let types = after("Incompatible inputs for Union: Previous inputs were of type ")?;
    let (first, rest) = types.split_once(", but got incompatible type ")?;
    let (other, _) = rest.split_once(" on column ")?;
    let text = format!("UNION types {} and {} cannot be matched", sql_name(first), sql_name(other));
    Some(Error::new(ErrorKind::DatatypeMismatch, text).with_hint("cast the columns to one type"))
}

/// 42804: no operator fits types, as the engine prints both.
fn no_operator(operation: &str) -> Error {
    Error::new(ErrorKind::DatatypeMismatch, format!("operator does not exist: {}", in_sql(operation)))
        .with_hint("cast one side to the other's type")
}

/// `column "t.a" must appear in the GROUP BY clause`, as the engine says it in more words.
fn from_grouping_message(message: &str) -> Option<Error> {
    let name = message.split_once("column \"")?.1.split_once('"')?.0;
    let text = format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
    Some(Error::new(ErrorKind::Grouping, text))
}

/// What the transport says when a node died, or is back already.
const BROKEN_CONNECTION: [&str; 7] = [
    "operation was canceled",
    "h2 protocol error",
    "broken pipe",
    "connection reset",
    "connection refused",
    "error reading a body from connection",
    "transport error",
];

/// For errors that the engine gives as text only.
pub(super) fn from_message(message: &str) -> Error {
    // Libraries add the places in their code.
    let message = message.split("\nBacktrace:").next().unwrap_or_default();
    let message = message.split("\nThis issue was likely caused by").next().unwrap_or_default();
    let message = message.strip_prefix("Internal error: ").unwrap_or(message);
    let lower = message.to_lowercase();
    if let Some(known) = from_known_message(message, &lower) {
        return known;
    }
    if lower.contains("stream for partition") && lower.contains("already consumed") {
        // The engine's nested-loop join ran out of memory and would read its build side again, which came over the network.
        return Error::new(ErrorKind::OutOfMemory, "out of memory: the inner side of a nested-loop join does not fit")
            .with_hint("join on an equality, let the query touch fewer rows, or raise --query-memory-mib");
    }
    if lower.contains("resources exhausted") || lower.contains("failed to allocate additional") {
        return out_of_memory(message);
    }
    if lower.contains("recursion limit reached") || message.contains("Error decoding expr as protobuf") {
        return Error::new(ErrorKind::TooComplex, "statement too complex")
            .with_detail("its plan nests too deeply for a message to the compute nodes")
            .with_hint("compute parts of it in steps: keep their rows in a temporary table");
    }
    if lower.contains("regular expression did not compile") {
        let error = Error::new(ErrorKind::InvalidRegularExpression, "a pattern is no regular expression, or too large");
        return error.with_detail(message);
    }
    let kind = if lower.contains("interval(monthdaynano). overflowing") || lower.contains("timestamp out of range") {
        return Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range");
    } else if lower.contains("overflow") {
        ErrorKind::NumericOutOfRange
    } else if lower.contains("invalid function")
        || lower.contains("failed to coerce arguments")
        || lower.contains("no function matches")
    {
        ErrorKind::UndefinedFunction
    } else if lower.contains("scalar subquery") && lower.contains("more than one") {
        ErrorKind::CardinalityViolation
    } else if lower.contains("must be in the group by") || lower.contains("must appear in the group by") {
        ErrorKind::Grouping
    } else if lower.contains("cannot cast") || lower.contains("parse") && lower.contains("error") {
        ErrorKind::InvalidText
    } else if lower.contains("cannot coerce") || lower.contains("type mismatch") || lower.contains("cannot infer common") {
        ErrorKind::DatatypeMismatch
    } else if lower.contains("not supported") || lower.contains("unsupported") || lower.contains("not implemented") {
        ErrorKind::NotSupported
    } else if BROKEN_CONNECTION.iter().any(|words| lower.contains(words)) {
        return Error::new(ErrorKind::NodeUnavailable, "a connection between nodes broke")
            .with_detail(message)
            .with_hint("run the statement again");
    } else {
        ErrorKind::Internal
    };
    if kind == ErrorKind::Grouping
        && let Some(known) = from_grouping_message(message)
    {
        return known;
    }
    Error::new(kind, in_sql(message))
}
