//! The one place where what went wrong becomes an SQLSTATE, a message, a detail, a hint and a position.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Result with Slipher's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Marks an [`Error`] that crossed a node boundary as text inside another error's message.
const WIRE_MARK: &str = "\u{1}slipher-error:";
const WIRE_END: char = '\u{2}';

/// What kind of thing went wrong; each kind is one SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// 0A000: the statement or option is not supported.
    NotSupported,
    /// 08P01: a client broke its protocol.
    ProtocolViolation,
    /// 22001: a string is longer than its column.
    StringTooLong,
    /// 22003: a number is outside its type's range.
    NumericOutOfRange,
    /// 22008: a date or time is outside its type's range.
    DatetimeOutOfRange,
    /// 22007: text is not a date or time.
    InvalidDatetime,
    /// 22012: division by zero.
    DivisionByZero,
    /// 22014: NTILE of no buckets.
    InvalidNtileArgument,
    /// 22016: NTH_VALUE of no row.
    InvalidNthValueArgument,
    /// 22P02: text is not a value of the wanted type.
    InvalidText,
    /// 22P04: a file of a load does not have the form it should have.
    BadFileFormat,
    /// 2201B: text is no regular expression.
    InvalidRegularExpression,
    /// 22021: bytes are not UTF-8.
    InvalidEncoding,
    /// 22023: a parameter has a value that is not allowed.
    InvalidParameter,
    /// 21000: a scalar subquery yielded more than one row.
    CardinalityViolation,
    /// 23502: NULL in a NOT NULL column.
    NotNullViolation,
    /// 25006: a change in a READ ONLY transaction.
    ReadOnlyTransaction,
    /// 25P01: only inside a transaction block.
    NoActiveTransaction,
    /// 42P03: a cursor of this name is open.
    DuplicateCursor,
    /// 55006: sessions use what is to go or to change.
    ObjectInUse,
    /// 42P04: a database of this name exists.
    DuplicateDatabase,
    /// 25001: not inside a transaction block.
    ActiveTransaction,
    /// 25P02: the transaction is aborted.
    FailedTransaction,
    /// 26000: no prepared statement of that name.
    InvalidStatementName,
    /// 28000: the role may not connect.
    InvalidAuthorization,
    /// 28P01: wrong password.
    InvalidPassword,
    /// 2BP01: other objects depend on this one.
    DependentObjects,
    /// 34000: no portal of that name.
    InvalidCursorName,
    /// 3D000: no such database.
    UndefinedDatabase,
    /// 3F000: no such schema.
    UndefinedSchema,
    /// 40001: lost against a concurrent transaction.
    SerializationFailure,
    /// 40003: whether a change was committed is not known.
    OutcomeUnknown,
    /// 42501: not allowed.
    InsufficientPrivilege,
    /// 42601: syntax.
    Syntax,
    /// 42602: a name is malformed.
    InvalidName,
    /// 42611: a column definition contradicts itself.
    InvalidColumnDefinition,
    /// 42701: a column name stands twice.
    DuplicateColumn,
    /// 42702: a column name fits more than one column.
    AmbiguousColumn,
    /// 42703: no such column.
    UndefinedColumn,
    /// 42704: no such object (type, role, setting).
    UndefinedObject,
    /// 42710: the object is there already.
    DuplicateObject,
    /// 42803: a column is neither grouped nor aggregated.
    Grouping,
    /// 42804: types do not fit.
    DatatypeMismatch,
    /// 42883: no such function.
    UndefinedFunction,
    /// 42P01: no such table.
    UndefinedTable,
    /// 42P02: no such parameter.
    UndefinedParameter,
    /// 42P06: the schema is there already.
    DuplicateSchema,
    /// 42P07: the table is there already.
    DuplicateTable,
    /// 42P10: a number in ORDER BY or GROUP BY is no column of the list.
    InvalidColumnReference,
    /// 42P09: the name of a table fits more than one.
    AmbiguousAlias,
    /// 42712: a name stands for two things at once.
    DuplicateAlias,
    /// 42P20: a window function where none may be.
    Windowing,
    /// 40P01: transactions wait for each other.
    DeadlockDetected,
    /// 42P16: a table definition contradicts itself.
    InvalidTableDefinition,
    /// 42P17: a definition refers to itself.
    InvalidObjectDefinition,
    /// 42809: a table where a view is meant, or the other way round.
    WrongObjectType,
    /// 42939: a name that the system keeps for itself.
    ReservedName,
    /// 53100: disk full.
    DiskFull,
    /// 53200: out of memory.
    OutOfMemory,
    /// 53300: too many connections.
    TooManyConnections,
    /// 54000: a limit of the program.
    ProgramLimit,
    /// 54001: a statement nests too deeply.
    TooComplex,
    /// 57014: cancelled.
    QueryCanceled,
    /// 57P01: the server stops.
    AdminShutdown,
    /// 57P03: not ready.
    CannotConnectNow,
    /// 57P05: a session did nothing for too long.
    IdleSessionTimeout,
    /// 25P03: a transaction did nothing for too long.
    IdleTransactionTimeout,
    /// 58030: reading or writing failed.
    Io,
    /// 58P01: a file is missing.
    UndefinedFile,
    /// F0000: a configuration is wrong.
    Config,
    /// XX000: a defect or an unexpected state.
    Internal,
    /// XX001: stored data is damaged.
    DataCorrupted,
    /// 58000: a node of the cluster does not answer.
    NodeUnavailable,
}

impl ErrorKind {
    /// The five-character SQLSTATE.
    pub fn sqlstate(self) -> &'static str {
        use ErrorKind::*;
        match self {
            NotSupported => "0A000",
            ProtocolViolation => "08P01",
            StringTooLong => "22001",
            NumericOutOfRange => "22003",
            DatetimeOutOfRange => "22008",
            InvalidDatetime => "22007",
            DivisionByZero => "22012",
            InvalidNtileArgument => "22014",
            InvalidNthValueArgument => "22016",
            InvalidText => "22P02",
            BadFileFormat => "22P04",
            InvalidRegularExpression => "2201B",
            InvalidEncoding => "22021",
            InvalidParameter => "22023",
            CardinalityViolation => "21000",
            NotNullViolation => "23502",
            ReadOnlyTransaction => "25006",
            ActiveTransaction => "25001",
            NoActiveTransaction => "25P01",
            DuplicateCursor => "42P03",
            DuplicateDatabase => "42P04",
            ObjectInUse => "55006",
            FailedTransaction => "25P02",
            InvalidStatementName => "26000",
            InvalidAuthorization => "28000",
            InvalidPassword => "28P01",
            DependentObjects => "2BP01",
            InvalidCursorName => "34000",
            UndefinedDatabase => "3D000",
            UndefinedSchema => "3F000",
            SerializationFailure => "40001",
            OutcomeUnknown => "40003",
            InsufficientPrivilege => "42501",
            Syntax => "42601",
            InvalidName => "42602",
            InvalidColumnDefinition => "42611",
            DuplicateColumn => "42701",
            AmbiguousColumn => "42702",
            UndefinedColumn => "42703",
            UndefinedObject => "42704",
            DuplicateObject => "42710",
            Grouping => "42803",
            DatatypeMismatch => "42804",
            UndefinedFunction => "42883",
            UndefinedTable => "42P01",
            UndefinedParameter => "42P02",
            DuplicateSchema => "42P06",
            DuplicateTable => "42P07",
            InvalidColumnReference => "42P10",
            AmbiguousAlias => "42P09",
            DuplicateAlias => "42712",
            Windowing => "42P20",
            DeadlockDetected => "40P01",
            InvalidTableDefinition => "42P16",
            InvalidObjectDefinition => "42P17",
            WrongObjectType => "42809",
            ReservedName => "42939",
            DiskFull => "53100",
            OutOfMemory => "53200",
            TooManyConnections => "53300",
            ProgramLimit => "54000",
            TooComplex => "54001",
            QueryCanceled => "57014",
            AdminShutdown => "57P01",
            CannotConnectNow => "57P03",
            IdleSessionTimeout => "57P05",
            IdleTransactionTimeout => "25P03",
            Io => "58030",
            UndefinedFile => "58P01",
            Config => "F0000",
            Internal => "XX000",
            DataCorrupted => "XX001",
            NodeUnavailable => "58000",
        }
    }
}

/// An error as a client sees it. `Display` is the message alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What was being done and what stood in the way: lower case, no final stop, identifiers quoted.
    pub message: String,
    /// More about this one case.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error of `kind` with `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None, hint: None, position: None }
    }

    /// An unexpected state: a defect of Slipher's.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A statement, clause or option that Slipher does not have; `instead` says what to use.
    pub fn not_supported(what: impl fmt::Display, instead: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotSupported, format!("{what} is not supported")).with_hint(instead)
    }

    /// Reading or writing failed while `doing`.
    pub fn io(doing: impl fmt::Display, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            std::io::ErrorKind::NotFound => ErrorKind::UndefinedFile,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("{doing}: {source}"))
    }

    /// The same error with a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same error with a hint; an empty one is none.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|hint: &String| !hint.is_empty());
        self
    }

    /// The same error at a position (characters from 1).
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// The five-character SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        self.kind.sqlstate()
    }

    /// This error as text that survives any number of wrappers; [`Error::from_wire_text`] finds it again.
    pub fn to_wire_text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(json) => format!("{WIRE_MARK}{json}{WIRE_END}"),
            Err(_) => self.message.clone(),
        }
    }

    /// The error that `text` carries inside, if any.
    pub fn from_wire_text(text: &str) -> Option<Self> {
        let start = text.find(WIRE_MARK)? + WIRE_MARK.len();
        let end = text[start..].find(WIRE_END)? + start;
        let json = &text[start..end];
        // A wrapper may have printed the text with Debug, which escapes it.
        serde_json::from_str(json).or_else(|_| serde_json::from_str(&json.replace("\\\"", "\""))).ok()
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        // As text: that is what survives the way from a compute node to the leader.
        DataFusionError::Execution(error.to_wire_text())
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let text = error.to_string();
        if let Some(own) = Error::from_wire_text(&text) {
            return own;
        }
        from_engine(&error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

fn from_engine(error: &DataFusionError) -> Error {
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
fn out_of_memory(message: &str) -> Error {
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

/// What the engine says, in part and in lower case; what a client is told (nothing: the same); and what may help.
const KNOWN_MESSAGES: &[(&str, ErrorKind, &str, &str)] = &[
    ("divide by zero", ErrorKind::DivisionByZero, "division by zero", ""),
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
    ("aggregate function calls cannot be nested", ErrorKind::Grouping, "aggregate function calls cannot be nested", ""),
    (
        "queries have different number of columns",
        ErrorKind::Syntax,
        "the queries of UNION, INTERSECT or EXCEPT must have the same number of columns",
        "",
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
    ("square root of a negative number", ErrorKind::InvalidParameter, "cannot take square root of a negative number", ""),
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

fn from_known_message(message: &str, lower: &str) -> Option<Error> {
    if let Some(name) = lower.strip_prefix("with query name ").and_then(|rest| rest.strip_suffix(" specified more than once")) {
        return Some(Error::new(ErrorKind::DuplicateAlias, format!("WITH query name {name} specified more than once")));
    }
    if let Some(known) = from_cast_message(message).or_else(|| from_call_message(message)) {
        return Some(known);
    }
    let (_, kind, text, hint) = KNOWN_MESSAGES.iter().find(|(part, ..)| lower.contains(part))?;
    Some(Error::new(*kind, *text).with_hint(*hint))
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
        let words: Vec<String> = operation.split(' ').map(sql_name).collect();
        let error = Error::new(ErrorKind::DatatypeMismatch, format!("operator does not exist: {}", words.join(" ")));
        return Some(error.with_hint("cast one side to the other's type"));
    }
    let rest = message.split_once("No function matches the given name and argument types '")?.1;
    let (call, forms) = rest.split_once("'. ")?;
    let forms: Vec<&str> = forms.lines().skip(1).map(str::trim).filter(|form| !form.is_empty()).collect();
    let hint = if forms.is_empty() { String::new() } else { format!("its forms are: {}", forms.join(", ")) };
    Some(Error::new(ErrorKind::UndefinedFunction, format!("function {call} does not exist")).with_hint(hint))
}

/// The SQL name of a type as the engine prints it; other words as they are.
fn sql_name(engine_type: &str) -> String {
    let name = match engine_type.split_once('(').map_or(engine_type, |(base, _)| base) {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Decimal128" | "Decimal256" => "numeric",
        "Boolean" => "boolean",
        "Utf8" | "LargeUtf8" | "Utf8View" => "character varying",
        "Date32" => "date",
        "Time64" => "time",
        "Timestamp" => "timestamp",
        "Interval" => "interval",
        _ => engine_type,
    };
    name.to_owned()
}

/// `column "t.a" must appear in the GROUP BY clause`, as the engine says it in more words.
fn from_grouping_message(message: &str) -> Option<Error> {
    let name = message.split_once("column \"")?.1.split_once('"')?.0;
    let text = format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
    Some(Error::new(ErrorKind::Grouping, text))
}

/// What the transport says when a node died, or is back already.
const BROKEN_CONNECTION: [&str; 6] = [
    "h2 protocol error",
    "broken pipe",
    "connection reset",
    "connection refused",
    "error reading a body from connection",
    "transport error",
];

/// For errors that the engine gives as text only.
fn from_message(message: &str) -> Error {
    // Libraries add the places in their code.
    let message = message.split("\nBacktrace:").next().unwrap_or_default();
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
    let kind = if lower.contains("overflow") {
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
    Error::new(kind, message.to_owned())
}

/// `did you mean "x"?` for the candidate nearest to `wanted`, or an empty string when none is near.
pub fn did_you_mean<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let wanted = wanted.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_text_survives_wrapping() {
        let error = Error::new(ErrorKind::StringTooLong, "value too long for \"name\"").with_detail("row 3").at(7);
        let wrapped = DataFusionError::Execution(error.to_wire_text()).context("task 3");
        let text = format!("status: {wrapped}, more");
        assert_eq!(Error::from_wire_text(&text), Some(error.clone()));
        assert_eq!(Error::from(wrapped), error);
    }

    #[test]
    fn the_engines_words_become_those_of_sql() {
        let of = |text: &str| from_message(text);
        let error = of("Can't cast value 40000 to type Int16");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("22003", "value out of range for smallint"));
        let error = of("Cannot cast string 'it's' to value of Decimal128(38, 10) type");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("22P02", "invalid input syntax for type numeric: \"it's\""));
        let error = of("Cannot coerce arithmetic expression Date32 + Utf8View to valid types");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("42804", "operator does not exist: date + character varying"));
        let error =
            of("'substr' does not support zero arguments. No function matches the given name and argument types 'substr()'. \
             You might need to add explicit type casts.\n\tCandidate functions:\n\tsubstr(str: String, start_pos: Int64)");
        assert_eq!((error.sqlstate(), error.message.as_str()), ("42883", "function substr() does not exist"));
        let error =
            of("Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"t.a\" must \
                        appear in the GROUP BY clause or must be part of an aggregate function");
        assert_eq!(error.sqlstate(), "42803");
        assert!(error.message.starts_with("column \"t.a\" must appear"), "{error}");
        let error = of("code: 'Unknown error', message: \"h2 protocol error: error reading a body from connection\"");
        assert_eq!((error.kind, error.sqlstate()), (ErrorKind::NodeUnavailable, "58000"));
    }

    #[test]
    fn near_names_are_proposed() {
        assert_eq!(did_you_mean("acount_length", ["account_length", "state"]), "did you mean \"account_length\"?");
        assert_eq!(did_you_mean("zzz", ["account_length"]), "");
    }
}
