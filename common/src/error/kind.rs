//! The kinds of errors and their SQLSTATEs.

use serde::{Deserialize, Serialize};

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
    /// 2201E: a number has no logarithm.
    InvalidLogarithmArgument,
    /// 2201F: a number has no such root.
    InvalidPowerArgument,
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
    /// 42846: there is no cast between two types.
    CannotCoerce,
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
            InvalidLogarithmArgument => "2201E",
            InvalidPowerArgument => "2201F",
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
            CannotCoerce => "42846",
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
