//! SQL text to meaning: what a statement asks for, as plain data.
//!
//! [`parse::parse`] splits and parses, [`rewrite`] turns Redshift's spelling into what the engine's planner knows,
//! [`position`] points errors of the engine back into the text. Positions count characters from 1 within the
//! statement's own text; whoever answers a client adds the statement's offset.

mod alter_table;
mod chains;
mod change_rows;
mod comments;
mod copy;
mod copy_options;
mod copy_spec;
pub mod create_table;
mod databases;
mod dialect;
pub mod embedded;
pub mod fold;
mod insert;
mod lex;
pub mod literal_rows;
mod made;
mod merge;
pub mod names;
mod object_transform;
pub mod output;
pub mod parse;
pub mod position;
mod prepare;
pub mod rewrite;
mod schemas;
mod session_names;
mod settings;
mod show;
mod statement;
mod statements;
mod table_attributes;
mod transactions;
mod types;
mod unpivot;
mod users;
mod views;
mod with;

pub use alter_table::TableChange;
pub use change_rows::{Change, ChangeSpec, ROW_ID_SCHEMA, TARGET};
pub use comments::CommentOn;
pub use copy_spec::{CopyFormat, CopySpec};
pub use create_table::{CreateTableAsSpec, CreateTableSpec};
pub use insert::{InsertSource, InsertSpec, ValuesOf, values_query};
pub use made::parse_made;
pub use merge::{MergeInsert, MergeSpec};
pub use names::{Name, QualifiedName, SchemaName};
pub use prepare::{PrepareSpec, row_of_values};
pub use schemas::SchemaChange;
pub use session_names::session_function;
pub use show::ListedObjects;
pub use statement::{Deallocates, Statement};
pub use transactions::TransactionModes;
pub use unpivot::UNPIVOTED;
pub use views::CreateViewSpec;

use datafusion::sql::sqlparser::ast;
use slipher_common::Error;
use std::fmt;

/// How the names begin that the system gives to what it makes in queries; nobody else's begin so.
pub(crate) const OWN_NAMES_PREFIX: &str = "slipher$";

/// Value of the setting `standard_conforming_strings` that clients must be told: a backslash in a string literal is an
/// escape, as in Redshift. A client told `on` would send backslashes that lose their meaning.
pub const STANDARD_CONFORMING_STRINGS: &str = "off";

/// What the parser made of one statement.
#[derive(Debug)]
pub enum Parsed {
    /// A query, rewritten for the engine's planner; always `ast::Statement::Query`.
    Query(Box<ast::Statement>),
    /// EXPLAIN.
    Explain {
        /// Runs the statement and shows what happened.
        analyze: bool,
        /// Shows more.
        verbose: bool,
        /// The statement.
        inner: Box<Parsed>,
    },
    /// CREATE SCHEMA.
    CreateSchema {
        /// Its name.
        name: SchemaName,
        /// No error when it is there.
        if_not_exists: bool,
        /// AUTHORIZATION.
        owner: Option<Name>,
    },
    /// DROP SCHEMA.
    DropSchema {
        /// Their names.
        names: Vec<SchemaName>,
        /// No error when one is missing.
        if_exists: bool,
        /// With everything inside.
        cascade: bool,
    },
    /// ALTER SCHEMA.
    AlterSchema {
        /// The schema.
        name: SchemaName,
        /// What becomes of it.
        change: SchemaChange,
    },
    /// COMMENT ON.
    Comment {
        /// What it is about.
        on: CommentOn,
        /// What is said; None: nothing any more.
        text: Option<String>,
    },
    /// CREATE TABLE with columns.
    CreateTable(Box<CreateTableSpec>),
    /// CREATE TABLE AS, or SELECT INTO.
    CreateTableAs {
        /// The table.
        spec: Box<CreateTableAsSpec>,
        /// Where its rows come from, rewritten; always `ast::Statement::Query`.
        query: Box<ast::Statement>,
    },
    /// DROP TABLE.
    DropTable {
        /// Their names.
        tables: Vec<QualifiedName>,
        /// No error when one is missing.
        if_exists: bool,
        /// With the views that read them.
        cascade: bool,
    },
    /// CREATE VIEW.
    CreateView(Box<CreateViewSpec>),
    /// DROP VIEW.
    DropView {
        /// Their names.
        views: Vec<QualifiedName>,
        /// No error when one is missing.
        if_exists: bool,
        /// With the views that read them.
        cascade: bool,
    },
    /// ALTER TABLE, ALTER VIEW.
    AlterTable {
        /// The table or view.
        table: QualifiedName,
        /// What becomes of it.
        change: TableChange,
    },
    /// INSERT.
    Insert(Box<InsertSpec>),
    /// UPDATE, DELETE.
    Change(Box<ChangeSpec>),
    /// MERGE.
    Merge(Box<MergeSpec>),
    /// COPY.
    Copy(Box<CopySpec>),
    /// TRUNCATE.
    Truncate {
        /// The table.
        table: QualifiedName,
    },
    /// SET.
    Set {
        /// The setting, lower case.
        name: String,
        /// Its value without quotes.
        value: String,
        /// SET LOCAL: until the transaction ends.
        local: bool,
    },
    /// RESET name, SET name TO DEFAULT; without a name RESET ALL.
    Reset {
        /// The setting, lower case.
        name: Option<String>,
    },
    /// SHOW setting; `all` shows every one.
    Show {
        /// The setting, lower case.
        name: String,
    },
    /// SHOW TABLE: the statement that makes it.
    ShowTable {
        /// The table.
        name: QualifiedName,
    },
    /// SHOW DATABASES, SCHEMAS, TABLES, COLUMNS.
    ShowObjects {
        /// Which ones.
        objects: ListedObjects,
        /// Those whose names are like this.
        like: Option<String>,
        /// So many rows at most.
        limit: Option<usize>,
    },
    /// SHOW VIEW.
    ShowView {
        /// The view.
        name: QualifiedName,
    },
    /// USE, RESET USE.
    Use {
        /// The database whose names are read; None: the session's own again.
        name: Option<Name>,
    },
    /// CREATE DATABASE.
    CreateDatabase {
        /// Its name.
        name: Name,
        /// Its owner; None: who makes it.
        owner: Option<Name>,
        /// ISOLATION LEVEL SERIALIZABLE.
        serializable: bool,
    },
    /// ALTER DATABASE.
    AlterDatabase {
        /// The database.
        name: Name,
        /// What becomes of it.
        change: DatabaseChange,
    },
    /// ALTER SYSTEM SET slices: how many the cluster has.
    ChangeSlices {
        /// As many.
        slices: u32,
        /// Where the number stands, in characters from 1.
        position: usize,
    },
    /// DROP DATABASE.
    DropDatabase {
        /// The database.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// LOCK.
    Lock {
        /// The tables.
        tables: Vec<QualifiedName>,
    },
    /// CANCEL: of another session's statement.
    Cancel {
        /// The session.
        process_id: i32,
    },
    /// BEGIN, START TRANSACTION.
    Begin {
        /// What it says of the block; where it says nothing, the session's settings count.
        modes: TransactionModes,
    },
    /// SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        /// For blocks to come, and not for the one that is open.
        session: bool,
        /// What it says.
        modes: TransactionModes,
    },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// DECLARE CURSOR.
    Declare {
        /// The cursor.
        name: Name,
        /// Its query, rewritten.
        query: Box<ast::Statement>,
    },
    /// FETCH.
    Fetch {
        /// The cursor.
        name: Name,
        /// How many rows; None: all that are left.
        count: Option<u64>,
    },
    /// CLOSE of one cursor, or of all.
    Close {
        /// The cursor.
        name: Option<Name>,
    },
    /// ANALYZE.
    Analyze {
        /// One table, or all.
        table: Option<QualifiedName>,
    },
    /// VACUUM.
    Vacuum {
        /// One table, or all.
        table: Option<QualifiedName>,
        /// What to look at.
        kind: VacuumKind,
        /// Slices that are sorted to this share need no sorting.
        sorted_percent: u64,
        /// BOOST: it takes what it can get, whatever that does to queries.
        boost: bool,
    },
    /// CREATE USER.
    CreateUser(UserSpec),
    /// ALTER USER.
    AlterUser(UserSpec),
    /// DROP USER.
    DropUser {
        /// Their names.
        names: Vec<Name>,
        /// No error when one is missing.
        if_exists: bool,
    },
    /// PREPARE.
    Prepare(Box<PrepareSpec>),
    /// EXECUTE.
    Execute {
        /// The prepared statement.
        name: Name,
        /// Values of its parameters.
        values: Vec<ast::Expr>,
    },
    /// DEALLOCATE of one prepared statement, or of all.
    Deallocate {
        /// Its name.
        name: Option<Name>,
    },
    /// DISCARD ALL and its kinds.
    Discard {
        /// Everything that the session set, prepared or made.
        all: bool,
        /// Temporary tables.
        temporary: bool,
    },
    /// The syntax is right, but executing it answers this error (mostly 0A000: what is not supported and what to use).
    /// A position in it counts within the statement's text.
    Refused(Box<Error>),
}

/// What ALTER DATABASE changes.
#[derive(Debug, PartialEq, Eq)]
pub enum DatabaseChange {
    /// RENAME TO.
    Rename(Name),
    /// OWNER TO.
    Owner(Name),
    /// ISOLATION LEVEL.
    Isolation {
        /// SERIALIZABLE, or SNAPSHOT.
        serializable: bool,
    },
    /// It is as it should be.
    None,
}

/// What VACUUM looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VacuumKind {
    /// FULL, SORT ONLY, REINDEX, RECLUSTER: every rewritten segment is sorted and free of deleted rows.
    Full,
    /// DELETE ONLY: segments with deleted rows.
    DeleteOnly,
}

/// What CREATE USER and ALTER USER say.
#[derive(Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// The user.
    pub name: Name,
    /// PASSWORD, when there was one.
    pub password: Option<Password>,
    /// CREATEUSER or NOCREATEUSER: a superuser or not.
    pub superuser: Option<bool>,
    /// CREATEDB or NOCREATEDB.
    pub can_create_database: Option<bool>,
}

/// What stood after PASSWORD.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// A password. `Debug` does not show it.
    Plain(String),
    /// DISABLE: nobody can log in with a password.
    Disabled,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Disabled => "Disabled",
        })
    }
}
