//! Statements: a file for each kind, which says what it does, what it requires, what is known of it before it runs, and how it runs.
//!
//! [`of`] is the one place that knows all kinds.

mod alter_table;
mod analyze;
mod change;
mod comment;
mod copy;
mod create_table_as;
mod cursor;
mod database;
mod deallocate;
mod direct;
mod discard;
mod explain;
mod insert;
mod lock;
mod merge;
mod names;
mod parameters;
mod prepare;
mod query;
mod refused;
mod schema;
mod setting;
mod show;
mod signal;
mod slices;
mod table;
mod transaction;
mod truncate;
mod user;
mod vacuum;
mod view;

pub(crate) use direct::start as start_direct;
pub(crate) use prepare::values_of as values_of_execute;
pub(crate) use view::columns as columns_of_view;

use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::run::{Attempt, until_memory_is_free};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use slipher_common::{Error, Result, SqlType};
use slipher_sql::Parsed;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a statement does: by it, it is counted, and refused where it may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It reads.
    Read,
    /// It reads, and does what another statement does: EXPLAIN ANALYZE.
    ReadAnd(&'static str),
    /// It changes rows; in the words of errors.
    Load(&'static str),
    /// It changes definitions, or empties tables.
    Define(&'static str),
    /// It begins a block.
    Begin,
    /// It ends the block, also one that has failed.
    End,
    /// It is about the session, or changes how things are stored.
    Session,
}

impl Effect {
    /// As what it is counted.
    pub(crate) fn counted_as(self) -> &'static str {
        match self {
            Self::Read | Self::ReadAnd(_) => "query",
            Self::Load(_) => "load",
            Self::Define(_) => "definition",
            Self::Begin | Self::End | Self::Session => "session",
        }
    }

    /// What it changes data or definitions with; None for one that only reads or is about the session.
    pub(crate) fn changes(self) -> Option<&'static str> {
        match self {
            Self::ReadAnd(what) | Self::Load(what) | Self::Define(what) => Some(what),
            Self::Read | Self::Begin | Self::End | Self::Session => None,
        }
    }
}

/// What a statement does in its time. The futures are boxed here, by functions that say nothing about lifetimes but one: of those that
/// `async_trait` writes, the compiler proves for each anew that all of a statement's text and plan may go to another thread (minutes).
pub(crate) type Running<'a, T> = BoxFuture<'a, Result<T>>;

/// A statement of some kind.
pub(crate) trait Executes: Send + Sync {
    /// What it does.
    fn effect(&self) -> Effect;

    /// What must be so before it runs.
    fn requires(&self) -> Requires<'_> {
        Requires::Nothing
    }

    /// What is known before it runs. `declared` are the types that the client gave for parameters.
    fn describe<'a>(&'a self, _context: &'a Context, _declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description::of_rows(None)) })
    }

    /// Its plans, for EXPLAIN.
    fn plans<'a>(&'a self, _attempt: &'a Attempt, _parameters: Option<ParamValues>) -> Running<'a, Vec<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move {
            Err(Error::not_supported("EXPLAIN of this statement", "explain a query, INSERT, UPDATE, DELETE or MERGE"))
        })
    }

    /// Runs it.
    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        token: &'a CancellationToken,
    ) -> Running<'a, Outcome>;
}

/// What a statement is that may run again.
pub(crate) fn of_kept(parsed: &Arc<Parsed>) -> Box<dyn Executes + '_> {
    match &**parsed {
        Parsed::Query(query) => Box::new(query::Query { query, parsed: Some(parsed) }),
        other => of(other),
    }
}

/// What a statement is. A new kind has its line here, or nothing compiles.
pub(crate) fn of(parsed: &Parsed) -> Box<dyn Executes + '_> {
    match parsed {
        Parsed::Query(query) => Box::new(query::Query { query, parsed: None }),
        Parsed::Explain { analyze, verbose, inner } => {
            Box::new(explain::Explain { analyze: *analyze, verbose: *verbose, inner: of(inner) })
        }
        Parsed::CreateSchema { name, if_not_exists, owner } => {
            Box::new(schema::CreateSchema { name, if_not_exists: *if_not_exists, owner: owner.as_ref() })
        }
        Parsed::DropSchema { names, if_exists, cascade } => {
            Box::new(schema::DropSchema { names, if_exists: *if_exists, cascade: *cascade })
        }
        Parsed::AlterSchema { name, change } => Box::new(schema::AlterSchema { name, change }),
        Parsed::Comment { on, text } => Box::new(comment::Comment { on, text: text.as_deref() }),
        Parsed::CreateTable(spec) => Box::new(table::CreateTable(spec)),
        Parsed::CreateTableAs { spec, query } => Box::new(create_table_as::CreateTableAs { spec, query }),
        Parsed::DropTable { tables, if_exists, cascade } => {
            Box::new(table::DropTable { tables, if_exists: *if_exists, cascade: *cascade })
        }
        Parsed::CreateView(spec) => Box::new(view::CreateView(spec)),
        Parsed::DropView { views, if_exists, cascade } => {
            Box::new(view::DropView { views, if_exists: *if_exists, cascade: *cascade })
        }
        Parsed::AlterTable { table, change } => Box::new(alter_table::AlterTable { table, change }),
        Parsed::Insert(spec) => Box::new(insert::Insert(spec)),
        Parsed::Change(spec) => Box::new(change::Change(spec)),
        Parsed::Merge(spec) => Box::new(merge::Merge(spec)),
        Parsed::Copy(spec) => Box::new(copy::Copy(spec)),
        Parsed::Truncate { table } => Box::new(truncate::Truncate(table)),
        Parsed::Set { name, value, local } => Box::new(setting::Set { name, value, local: *local }),
        Parsed::Reset { name } => Box::new(setting::Reset(name.as_deref())),
        Parsed::Show { name } => Box::new(setting::Show(name)),
        Parsed::ShowTable { name } => Box::new(show::ShowTable(name)),
        Parsed::ShowObjects { objects, like, limit } => {
            Box::new(show::ShowObjects { objects, like: like.as_deref(), limit: *limit })
        }
        Parsed::ShowView { name } => Box::new(view::ShowView(name)),
        Parsed::Use { name } => Box::new(database::Use(name.as_ref())),
        Parsed::CreateDatabase { name, owner, serializable } => {
            Box::new(database::CreateDatabase { name, owner: owner.as_ref(), serializable: *serializable })
        }
        Parsed::AlterDatabase { name, change } => Box::new(database::AlterDatabase { name, change }),
        Parsed::DropDatabase { name, if_exists } => Box::new(database::DropDatabase { name, if_exists: *if_exists }),
        Parsed::ChangeSlices { slices, position } => Box::new(slices::ChangeSlices { slices: *slices, position: *position }),
        Parsed::Lock { tables } => Box::new(lock::Lock(tables)),
        Parsed::Cancel { process_id } => Box::new(signal::Cancel(*process_id)),
        Parsed::Begin { modes } => Box::new(transaction::Begin(*modes)),
        Parsed::SetTransaction { session, modes } => Box::new(transaction::SetTransaction { session: *session, modes: *modes }),
        Parsed::Commit => Box::new(transaction::Commit),
        Parsed::Rollback => Box::new(transaction::Rollback),
        Parsed::Declare { name, query } => Box::new(cursor::Declare { name, query }),
        Parsed::Fetch { name, count } => Box::new(cursor::Fetch { name, count: *count }),
        Parsed::Close { name } => Box::new(cursor::Close(name.as_ref())),
        Parsed::Analyze { table } => Box::new(analyze::Analyze(table.as_ref())),
        Parsed::Vacuum { table, kind, sorted_percent, boost } => {
            Box::new(vacuum::Vacuum { table: table.as_ref(), kind: *kind, sorted_percent: *sorted_percent, boost: *boost })
        }
        Parsed::CreateUser(spec) => Box::new(user::CreateUser(spec)),
        Parsed::AlterUser(spec) => Box::new(user::AlterUser(spec)),
        Parsed::DropUser { names, if_exists } => Box::new(user::DropUser { names, if_exists: *if_exists }),
        Parsed::Prepare(spec) => Box::new(prepare::Prepare(spec)),
        Parsed::Execute { name, values } => Box::new(prepare::Execute { name, values }),
        Parsed::Deallocate { name } => Box::new(deallocate::Deallocate(name.as_ref())),
        Parsed::Discard { all, temporary } => Box::new(discard::Discard { all: *all, temporary: *temporary }),
        Parsed::Refused(error) => Box::new(refused::Refused(error)),
    }
}

/// Runs a statement when what it requires is so; while no compute node has joined yet, it waits for the first ones where it needs them.
pub(crate) async fn run(
    context: &Context,
    statement: &dyn Executes,
    parameters: Vec<ScalarValue>,
    token: &CancellationToken,
) -> Result<Outcome> {
    let start = || async {
        let _locked = context.fulfil(statement.requires()).await?;
        statement.run(context, parameters::bound(parameters.clone()), token).await
    };
    until_memory_is_free(|| context.shared.cluster.with_first_nodes(start)).await
}
