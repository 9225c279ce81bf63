//! The engine's errors, by their kinds.

use super::messages::{from_known_message, from_message};
use super::{Error, ErrorKind, did_you_mean};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// What the engine's error is to a client.
pub(super) fn from_engine(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_engine(inner),
        DataFusionError::Shared(inner) => from_engine(inner),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => from_engine(first),
            None => Error::internal("the engine reported an empty list of errors"),
        },
        DataFusionError::SchemaError(schema_error, _) => from_schema_error(schema_error),
        DataFusionError::ArrowError(arrow_error, _) => from_arrow(arrow_error),
        DataFusionError::SQL(parser_error, _) => Error::new(ErrorKind::Syntax, format!("syntax error: {parser_error}")),
        DataFusionError::NotImplemented(message) => from_known_message(message, &message.to_lowercase())
            .unwrap_or_else(|| Error::new(ErrorKind::NotSupported, message.clone())),
        DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
        DataFusionError::IoError(io_error) => Error::io("running the query", io_error),
        other => from_message(strip_prefix(&other.strip_backtrace())),
    }
}

/// What an error says when a hash join's memory is the one that is missing: another kind of join may do.
pub const JOIN_OUT_OF_MEMORY: &str = "out of memory: the smaller side of a join does not fit into the memory of the query";

/// Who holds memory that cannot be spilled, by the engine's names; what a client is told; and what may help.
const MEMORY_HOLDERS: &[(&str, &str, &str)] = &[
    ("HashJoinInput", JOIN_OUT_OF_MEMORY, "filter the joined tables more"),
    ("NestedLoopJoin", "out of memory: the inner side of a join without an equality does not fit", "join on an equality"),
    ("CrossJoin", "out of memory: the inner side of a cross join does not fit", "join on an equality"),
    (
        "AggregateStream",
        "out of memory: the values of an aggregate do not fit",
        "COUNT(DISTINCT x) counts the rows of SELECT DISTINCT x, which can be spilled",
    ),
    ("GroupedHash", "out of memory: groups, or distinct values of an aggregate, do not fit", "group by fewer columns"),
    ("Sorter", "out of memory: a sort does not fit", "sort fewer or narrower rows"),
    ("TopK", "out of memory: the rows of ORDER BY with LIMIT do not fit", "use a smaller LIMIT"),
    ("Window", "out of memory: the rows of a window do not fit", "partition the window by more"),
    ("Recursive", "out of memory: the rows of WITH RECURSIVE do not fit", "end the recursion earlier"),
];

/// 53200 in the user's terms.
pub(super) fn out_of_memory(message: &str) -> Error {
    let holds = |line: &&str| line.contains("can spill: false") && !line.contains("consumed 0.0 B");
    let largest = message.lines().find(holds).unwrap_or(message);
    let known = |text: &str| MEMORY_HOLDERS.iter().find(|(name, ..)| text.contains(name));
    let (text, hint) = match known(largest).or_else(|| known(message)) {
        Some((_, text, hint)) => ((*text).to_owned(), *hint),
        None => ("out of memory: the query needs more than it may have".to_owned(), "let the query touch fewer rows"),
    };
    Error::new(ErrorKind::OutOfMemory, text)
        .with_detail(message)
        .with_hint(format!("{hint}, or start the compute nodes with a larger --query-memory-mib"))
}

fn strip_prefix(message: &str) -> &str {
    let mut rest = message;
    let prefixes = [
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Arrow error: ",
        "Compute error: ",
        "Invalid argument error: ",
    ];
    // They wrap each other in any order.
    while let Some(inner) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = inner;
    }
    rest
}

fn from_schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let wanted = field.name();
            if let Some(table) = field.relation.as_ref().map(|relation| relation.table())
                && !valid_fields.iter().any(|column| column.relation.as_ref().is_some_and(|known| known.table() == table))
            {
                let known = valid_fields.iter().filter_map(|column| column.relation.as_ref()).map(|relation| relation.table());
                let message = format!("missing FROM-clause entry for table \"{table}\"");
                return Error::new(ErrorKind::UndefinedTable, message).with_hint(did_you_mean(table, known));
            }
            let names = valid_fields.iter().map(|column| column.name());
            Error::new(ErrorKind::UndefinedColumn, format!("column \"{wanted}\" does not exist"))
                .with_hint(did_you_mean(wanted, names))
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new(ErrorKind::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name()))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(ErrorKind::DuplicateColumn, format!("column name \"{name}\" stands more than once"))
        }
    }
}

fn from_arrow(error: &arrow::error::ArrowError) -> Error {
    use arrow::error::ArrowError::*;
    match error {
        DivideByZero => Error::new(ErrorKind::DivisionByZero, "division by zero"),
        ArithmeticOverflow(message) => Error::new(ErrorKind::NumericOutOfRange, format!("numeric value out of range: {message}")),
        CastError(message) => from_message(message),
        ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => from_engine(inner),
            None => from_message(&inner.to_string()),
        },
        other => from_message(strip_prefix(&other.to_string())),
    }
}
