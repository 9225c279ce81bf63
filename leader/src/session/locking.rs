//! LOCK, and the locks of those who write.

use super::leader_session::{Block, LeaderSession};
use crate::catalog::{check_database, on_path, own_schema};
use crate::meta::{Relation, State};
use crate::sql::{Name, Parsed, QualifiedName};
use crate::transaction::{LockMode, LockOwner};
use slipher_common::catalog::Table;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// What a statement outside of a block holds until this is dropped; inside of one, its block does.
#[derive(Debug)]
pub(super) struct StatementLocks<'a>(&'a LeaderSession);

impl Drop for StatementLocks<'_> {
    fn drop(&mut self) {
        *self.0.statement_locks.lock() = None;
    }
}

/// Locks the tables that a statement writes to against LOCK.
pub(super) async fn lock_targets<'a>(session: &'a LeaderSession, parsed: &Parsed) -> Result<StatementLocks<'a>> {
    // Whoever names another database hears of it when the statement runs.
    let here = |database: &Option<Name>| database.as_ref().is_none_or(|name| name.value == session.database_name);
    if let Parsed::DropSchema { names, .. } = parsed {
        let inside = |state: &State| {
            let schemas =
                names.iter().filter(|name| here(&name.database)).filter_map(|name| state.schemas().get(&name.name.value));
            Ok(schemas.flat_map(|schema| schema.tables.values()).map(|table| (*table, LockMode::Shared)).collect())
        };
        return take(session, inside).await;
    }
    let targets = parsed.targets();
    if targets.is_empty() {
        return Ok(StatementLocks(session));
    }
    let targets = targets.iter().filter(|name| here(&name.database));
    let names = targets.map(|name| (name.schema_name(), name.name.value.as_str()));
    let adds_rows = matches!(parsed, Parsed::Insert(_) | Parsed::Copy(_) | Parsed::Merge(_));
    lock_named(session, &names.collect::<Vec<_>>(), adds_rows).await
}

/// The same for tables that are named otherwise.
pub(super) async fn lock_named<'a>(
    session: &'a LeaderSession,
    names: &[(Option<&str>, &str)],
    adds_rows: bool,
) -> Result<StatementLocks<'a>> {
    take(session, |state| {
        let mut wanted = Vec::new();
        // Whoever names what is not there hears of it when the statement runs.
        for table in names.iter().filter_map(|(schema, name)| find(session, state, *schema, name)) {
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
pub(super) async fn lock(session: &LeaderSession, names: &[QualifiedName]) -> Result<()> {
    if !session.is_in_block() {
        return Err(Error::new(ErrorKind::NoActiveTransaction, "LOCK TABLE can only be used in transaction blocks")
            .with_hint("begin one with BEGIN"));
    }
    names.iter().try_for_each(|name| check_database(name.database.as_ref(), &session.database_name))?;
    take(session, |state| {
        let mut wanted = Vec::new();
        for name in names {
            if let Some(table) = find(session, state, name.schema_name(), &name.name.value) {
                wanted.push((table.id, LockMode::Exclusive));
                continue;
            }
            // The error that a query of it would answer.
            let attempt = super::commands::look_ahead(session)?;
            attempt.snapshot.table(name)?;
        }
        Ok(wanted)
    })
    .await
    .map(drop)
}

/// Waits for locks; names may mean other tables after the wait, and then it waits for those.
async fn take<'a>(
    session: &'a LeaderSession,
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
fn state_of(session: &LeaderSession) -> Result<Arc<State>> {
    Ok(session.scope_without_begin()?.state())
}

fn find(session: &LeaderSession, state: &State, schema: Option<&str>, name: &str) -> Option<Arc<Table>> {
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
