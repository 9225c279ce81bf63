//! The engine's errors, by their kinds.

use super::memory::out_of_memory;
use super::messages::{from_known_message, from_message};
use super::words::in_sql;
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
            .unwrap_or_else(|| Error::new(ErrorKind::NotSupported, in_sql(message))),
        DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
        DataFusionError::IoError(io_error) => Error::io("running the query", io_error),
        other => from_message(strip_prefix(&other.strip_backtrace())),
    }
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
