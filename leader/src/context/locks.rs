//! LOCK, and the locks of those who write.

use super::{Block, Context};
use crate::catalog::{check_database, on_path, own_schema};
use crate::transaction::{LockMode, LockOwner};
use slipher_common::catalog::Table;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Relation, State};
use slipher_sql::{Name, QualifiedName, SchemaName};
use std::sync::Arc;

/// What a statement outside of a block holds until this is dropped; inside of one, its block does.
#[derive(Debug)]
pub(crate) struct StatementLocks<'a>(&'a Context);

impl Drop for StatementLocks<'_> {
    fn drop(&mut self) {
        *self.0.statement_locks.lock() = None;
    }
}

/// What a statement requires before it runs: whom it keeps out of what it changes.
#[derive(Debug)]
pub(crate) enum Requires<'a> {
    /// Nothing.
    Nothing,
    /// The tables that it writes to are not locked by anybody else's LOCK.
    Tables {
        /// As they are named.
        names: Vec<&'a QualifiedName>,
        /// It adds rows, which may get numbers.
        adds_rows: bool,
    },
    /// The same for all tables in these schemas.
    Schemas(&'a [SchemaName]),
}

impl Context {
    /// Waits for what a statement requires.
    pub(crate) async fn fulfil(&self, requires: Requires<'_>) -> Result<StatementLocks<'_>> {
        // Whoever names another database hears of it when the statement runs.
        let here = |database: &Option<Name>| database.as_ref().is_none_or(|name| name.value == self.database_name);
        match requires {
            Requires::Nothing => Ok(StatementLocks(self)),
            Requires::Schemas(names) => {
                let inside = |state: &State| {
                    let schemas =
                        names.iter().filter(|name| here(&name.database)).filter_map(|name| state.schemas().get(&name.name.value));
                    Ok(schemas.flat_map(|schema| schema.tables.values()).map(|table| (*table, LockMode::Shared)).collect())
                };
                take(self, inside).await
            }
            Requires::Tables { names, adds_rows } => {
                let targets = names.iter().filter(|name| here(&name.database));
                let names = targets.map(|name| (name.schema_name(), name.name.value.as_str()));
                self.lock_named(&names.collect::<Vec<_>>(), adds_rows).await
            }
        }
    }

    /// Locks the tables that somebody writes to against LOCK.
    pub(crate) async fn lock_named(&self, names: &[(Option<&str>, &str)], adds_rows: bool) -> Result<StatementLocks<'_>> {
        take(self, |state| {
            let mut wanted = Vec::new();
            // Whoever names what is not there hears of it when the statement runs.
            for table in names.iter().filter_map(|(schema, name)| find(self, state, *schema, name)) {
                wanted.push((table.id, LockMode::Shared));
                // Rows that get numbers come one writer after the other: nobody's numbers are anybody else's.
                if adds_rows && table.columns.iter().any(|column| column.identity.is_some()) {
                    wanted.push((numbers_of(table.id), LockMode::Exclusive));
                }
            }
            Ok(wanted)
        })
        .await
    }

    /// LOCK: nobody else writes to the tables before the block ends.
    pub(crate) async fn lock(&self, names: &[QualifiedName]) -> Result<()> {
        if !self.is_in_block() {
            return Err(Error::new(ErrorKind::NoActiveTransaction, "LOCK TABLE can only be used in transaction blocks")
                .with_hint("begin one with BEGIN"));
        }
        names.iter().try_for_each(|name| check_database(name.database.as_ref(), &self.database_name))?;
        take(self, |state| {
            let mut wanted = Vec::new();
            for name in names {
                if let Some(table) = find(self, state, name.schema_name(), &name.name.value) {
                    wanted.push((table.id, LockMode::Exclusive));
                    continue;
                }
                // The error that a query of it would answer.
                let attempt = self.look_ahead()?;
                attempt.snapshot.table(name)?;
            }
            Ok(wanted)
        })
        .await
        .map(drop)
    }
}

/// Waits for locks; names may mean other tables after the wait, and then it waits for those.
async fn take<'a>(
    session: &'a Context,
    wanted: impl Fn(&State) -> Result<Vec<(TableId, LockMode)>>,
) -> Result<StatementLocks<'a>> {
    let held = StatementLocks(session);
    let state = state_of(session)?;
    let mut wants = wanted(&state)?;
    if wants.is_empty() {
        return Ok(held);
    }
    let owner = match &*session.block.lock() {
        Block::Open { locks, .. } => Arc::clone(locks),
        Block::None | Block::Failed => Arc::new(session.shared.locks.owner()),
    };
    if !session.is_in_block() {
        *session.statement_locks.lock() = Some(Arc::<LockOwner>::clone(&owner));
    }
    loop {
        owner.acquire(&wants).await?;
        let state = state_of(session)?;
        let now = wanted(&state)?;
        if now == wants {
            return Ok(held);
        }
        wants = now;
    }
}

/// What is locked for the IDENTITY columns of a table: no table has this id.
fn numbers_of(table: TableId) -> TableId {
    TableId(table.0 | 1 << 63)
}

/// What names mean: in a block that has begun, what the block sees. One that has not begins after the wait, and sees what those have
/// committed that it waited for.
fn state_of(session: &Context) -> Result<Arc<State>> {
    Ok(session.scope_without_begin()?.state())
}

fn find(session: &Context, state: &State, schema: Option<&str>, name: &str) -> Option<Arc<Table>> {
    let own = session.temp_schema.as_ref();
    let found = match schema {
        Some(schema) => state.relation(own_schema(Some(own), schema)?, name),
        None => on_path(state, Some(own), &session.settings.lock().search_path(&session.user), name),
    };
    match found {
        Some(Relation::Table(table)) => Some(Arc::clone(&table.table)),
        Some(Relation::View(_)) | None => None,
    }
}
