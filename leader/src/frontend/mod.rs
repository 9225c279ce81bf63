//! What the endpoints see of a leader: an [`Engine`] that opens [`Session`]s, which run [`Statement`]s to an [`Outcome`].
//!
//! The endpoints (`wire`) know nothing else of it, and nothing of planning.

pub(crate) use slipher_sql::Deallocates;
pub use slipher_sql::Statement;

use crate::users::ScramVerifier;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use serde::Serialize;
use slipher_common::assign::Zone;
use slipher_common::catalog::Table;
use slipher_common::flight::DirectTicket;
use slipher_common::plan::ResultTarget;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The error of a session that somebody ended.
pub(crate) fn terminated() -> Error {
    Error::new(ErrorKind::AdminShutdown, "terminating connection due to administrator command")
}

/// What a statement yields.
pub enum Outcome {
    /// Rows, as they come. Dropping the stream cancels the query on every node.
    Rows {
        /// Their schema; `SqlType::of_field` tells each column's SQL type.
        schema: SchemaRef,
        /// The rows.
        stream: SendableRecordBatchStream,
        /// PostgreSQL command tag without the count: `SELECT`, `EXPLAIN`, `SHOW`, ...
        tag: &'static str,
    },
    /// No rows.
    Done {
        /// PostgreSQL command tag, complete: `CREATE TABLE`, `INSERT 0 5`, ...
        tag: String,
        /// Rows inserted, updated or deleted.
        rows: Option<u64>,
        /// Messages for the client beside the result (severity NOTICE or INFO).
        notices: Vec<String>,
    },
}

impl Outcome {
    /// No rows, and no number of them.
    pub(crate) fn done(tag: &str, notices: Vec<String>) -> Self {
        Self::Done { tag: tag.to_owned(), rows: None, notices }
    }

    /// Columns of text, which are there already.
    pub(crate) fn of_text(names: &[&str], columns: Vec<Vec<String>>, tag: &'static str) -> Self {
        let schema = text_schema(names);
        let arrays = columns.into_iter().map(|values| Arc::new(StringArray::from(values)) as ArrayRef).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(DataFusionError::from);
        let stream = futures::stream::iter(std::iter::once(batch));
        Self::Rows { schema: Arc::clone(&schema), stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)), tag }
    }
}

/// Columns of text that are never NULL.
pub(crate) fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect::<Vec<_>>()))
}

impl Outcome {
    /// Rows that are there already.
    pub(crate) fn of_batch(rows: RecordBatch, tag: &'static str) -> Self {
        let schema = rows.schema();
        let stream = futures::stream::iter(std::iter::once(Ok(rows)));
        Self::Rows { schema: Arc::clone(&schema), stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)), tag }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { schema, tag, .. } => {
                f.debug_struct("Rows").field("schema", schema).field("tag", tag).finish_non_exhaustive()
            }
            Self::Done { tag, rows, .. } => f.debug_struct("Done").field("tag", tag).field("rows", rows).finish_non_exhaustive(),
        }
    }
}

/// What is known of a statement before it runs.
#[derive(Clone, Debug)]
pub struct Description {
    /// Types of `$1`, `$2`, ...
    pub parameters: Vec<SqlType>,
    /// Schema of the rows; `None` for a statement that yields none.
    pub rows: Option<SchemaRef>,
}

impl Description {
    /// Of a statement without parameters.
    pub(crate) fn of_rows(rows: Option<SchemaRef>) -> Self {
        Self { parameters: Vec::new(), rows }
    }
}

/// A statement that was prepared under a name: with PREPARE, or by a client's protocol.
#[derive(Clone, Debug)]
pub struct PreparedStatement {
    /// The statement.
    pub statement: Statement,
    /// Types of parameters that were declared.
    pub declared: Vec<Option<SqlType>>,
    /// What it was found to be.
    pub description: Description,
}

/// A running query whose rows lie ready on the compute nodes.
pub struct DirectRun {
    /// Its tickets, each with the node where it is good.
    pub parts: Vec<(DirectTicket, ResultNode)>,
    /// Ends when everything was fetched. Dropping it ends the query on all nodes.
    pub progress: SendableRecordBatchStream,
}

/// A compute node that keeps rows for a client.
#[derive(Clone, Debug)]
pub struct ResultNode {
    /// Where clients fetch them (`grpc://host:port`, `grpc+tls://host:port`).
    pub flight: String,
    /// Where the leader fetches them for clients that cannot (`http://host:port`).
    pub internal: String,
}

impl fmt::Debug for DirectRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectRun").field("parts", &self.parts).finish_non_exhaustive()
    }
}

/// What kind of relation a [`TableListing`] is, in the words of JDBC's `TABLE_TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// A table of the user's.
    Table,
    /// A view of the user's.
    View,
    /// A table or view of the system.
    System,
}

impl TableKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Table, Self::View, Self::System];

    /// `TABLE`, `VIEW` or `SYSTEM TABLE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::System => "SYSTEM TABLE",
        }
    }
}

/// One table or view that a session sees.
#[derive(Clone, Debug)]
pub struct TableListing {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// Its columns, as `Table::arrow_schema` gives them.
    pub columns: SchemaRef,
    /// Its definition, for a table of the user's: the constraints are here.
    pub table: Option<Arc<Table>>,
}

/// What a session sees of the catalog, for metadata calls.
#[derive(Clone, Debug, Default)]
pub struct CatalogListing {
    /// The database it is connected to.
    pub database: String,
    /// Names of all databases.
    pub databases: Vec<String>,
    /// Names of the schemas, empty ones too.
    pub schemas: Vec<String>,
    /// Tables and views of those schemas.
    pub tables: Vec<TableListing>,
}

/// How far a statement is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Time since it began, in milliseconds.
    pub elapsed_ms: u64,
    /// Tasks that began on compute nodes.
    pub tasks_started: u64,
    /// Tasks that ended.
    pub tasks_ended: u64,
    /// Rows that scans of tables yielded.
    pub scanned_rows: u64,
    /// Bytes that they read from segment files.
    pub scanned_bytes: u64,
}

tokio::task_local! {
    /// The client's call that a task works for, where a call can go away before its answer is there: the statements that it begins end
    /// with it. Nobody has to look for the session's statement then, which may be another one by that time.
    pub(crate) static CALL: CancellationToken;
}

/// One client's session. All methods may be called from any task; statements of one session run one at a time.
#[async_trait]
pub trait Session: Send + Sync + fmt::Debug {
    /// Splits `sql` at semicolons and parses each statement; an empty string gives no statement.
    fn parse(&self, sql: &str) -> Result<Vec<Statement>>;
    /// Parameter types and row schema. `declared` are types the client gave for parameters (`None`: infer).
    async fn describe(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description>;
    /// Runs a statement with parameter values.
    async fn execute(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome>;
    /// Starts a query whose rows the client fetches from the compute nodes. None where they come through the leader: then nothing
    /// has run.
    async fn execute_direct(
        &self,
        _statement: &Statement,
        _parameters: Vec<ScalarValue>,
        _target: ResultTarget,
    ) -> Result<Option<DirectRun>> {
        Ok(None)
    }
    /// What the client asked for has failed outside of [`Self::execute`]: its block has, too.
    fn fail(&self) {}
    /// A statement of several that a client sent as one text comes next: outside of a block they are one transaction.
    fn begin_implicit(&self, _next: &Statement) {}
    /// The last of them has ended: what they did is committed, unless one of them failed.
    async fn end_implicit(&self) -> Result<()> {
        Ok(())
    }
    /// Appends rows to a table (Flight SQL ingest); answers how many.
    async fn ingest(&self, schema: Option<&str>, table: &str, rows: SendableRecordBatchStream) -> Result<u64>;
    /// The schemas, tables and views that this session sees, in its transaction.
    async fn catalog(&self) -> Result<CatalogListing>;
    /// Ends the statement that runs now, if one does, with 57014.
    fn cancel(&self);
    /// The number by which others know the session, positive.
    fn process_id(&self) -> i32;
    /// What to cancel when somebody ends the session (`pg_terminate_backend`).
    fn end_with(&self, _connection: CancellationToken) {}
    /// How far the statement that runs now is; None when none runs, or it has no part on compute nodes.
    async fn progress(&self) -> Option<Progress> {
        None
    }
    /// The zone in which moments are shown as text, and read from it where it names none; None: UTC.
    fn zone(&self) -> Option<Arc<Zone>> {
        None
    }
    /// What was prepared under a name, by whatever way.
    fn prepared(&self, _name: &str) -> Option<Arc<PreparedStatement>> {
        None
    }
    /// Tells the session of a statement that its client's protocol prepared, so that EXECUTE and DEALLOCATE know it; 42P05 for a name that
    /// is taken.
    fn keep_prepared(&self, _name: &str, _prepared: PreparedStatement) -> Result<()> {
        Ok(())
    }
    /// The protocol closes it; a name that is not there is no error.
    fn forget_prepared(&self, _name: &str) {}
    /// The value of a setting (`search_path`, `timezone`, ...).
    fn setting(&self, name: &str) -> Option<String>;
    /// Changes a setting as `SET name TO value` does.
    fn set_setting(&self, name: &str, value: &str) -> Result<()>;
    /// How long the session waits for its client now, and the error that then ends it; None: for ever.
    fn idle_limit(&self) -> Option<(Duration, Error)> {
        None
    }
    /// Who is connected.
    fn user(&self) -> &str;
    /// To which database.
    fn database(&self) -> &str;
    /// `b'I'` idle, `b'T'` in a transaction, `b'E'` in a failed one.
    fn transaction_status(&self) -> u8;
}

/// A leader as the wire endpoints see it.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    /// The verifier of a user, `None` when there is no such user (endpoints then go through the motions and fail with 28P01).
    fn scram_verifier(&self, user: &str) -> Option<ScramVerifier>;
    /// Checks a password; 28P01 when it is wrong.
    fn check_password(&self, user: &str, password: &str) -> Result<()>;
    /// Whether queries can be answered now; an error that says what is missing.
    fn check_ready(&self) -> Result<()> {
        Ok(())
    }
    /// What is counted, in Prometheus' text format.
    fn metrics(&self) -> Result<String> {
        Ok(String::new())
    }
    /// Opens a session after authentication; 3D000 for an unknown database, 53300 when there are too many.
    fn open_session(&self, user: &str, database: &str, application_name: &str) -> Result<Arc<dyn Session>>;
}
