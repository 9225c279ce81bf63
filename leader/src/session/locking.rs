//! LOCK, and the locks of those who write.

use super::leader_session::{Block, LeaderSession};
use crate::catalog::on_path;
use crate::meta::Relation;
use crate::sql::{Parsed, QualifiedName};
use crate::transaction::{LockMode, LockOwner};
use slipher_common::catalog::Table;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Locks the tables that a statement writes to against LOCK: until the block ends, or the answer is dropped.
pub(super) async fn lock_targets(session: &LeaderSession, parsed: &Parsed) -> Result<Option<Arc<LockOwner>>> {
    let targets = parsed.targets();
    let names = targets.iter().map(|name| (name.schema.as_ref().map(|schema| schema.value.as_str()), name.name.value.as_str()));
    let adds_rows = matches!(parsed, Parsed::Insert(_) | Parsed::Copy(_) | Parsed::Merge(_));
    lock_named(session, names, adds_rows).await
}

/// The same for tables that are named otherwise.
pub(super) async fn lock_named<'a>(
    session: &LeaderSession,
    names: impl Iterator<Item = (Option<&'a str>, &'a str)>,
    adds_rows: bool,
) -> Result<Option<Arc<LockOwner>>> {
    // Whoever names what is not there hears of it when the statement runs.
    let tables: Vec<Arc<Table>> = names.filter_map(|(schema, name)| find(session, schema, name)).collect();
    if tables.is_empty() {
        return Ok(None);
    }
    let owner = block_owner(session).unwrap_or_else(|| Arc::new(session.shared.locks.owner()));
    let ids: Vec<TableId> = tables.iter().map(|table| table.id).collect();
    owner.acquire(&ids, LockMode::Shared).await?;
    // Rows that get numbers come one writer after the other: nobody's numbers are anybody else's.
    let numbered = tables.iter().filter(|table| adds_rows && table.columns.iter().any(|column| column.identity.is_some()));
    let numbered: Vec<TableId> = numbered.map(|table| numbers_of(table.id)).collect();
    if !numbered.is_empty() {
        owner.acquire(&numbered, LockMode::Exclusive).await?;
    }
    Ok(Some(owner))
}

/// What is locked for the IDENTITY columns of a table: no table has this id.
fn numbers_of(table: TableId) -> TableId {
    TableId(table.0 | 1 << 63)
}

/// LOCK: nobody else writes to the tables before the block ends.
pub(super) async fn lock(session: &LeaderSession, names: &[QualifiedName]) -> Result<()> {
    let Some(owner) = block_owner(session) else {
        return Err(Error::new(ErrorKind::NoActiveTransaction, "LOCK TABLE can only be used in transaction blocks")
            .with_hint("begin one with BEGIN"));
    };
    let mut tables = Vec::new();
    for name in names {
        let schema = name.schema.as_ref().map(|schema| schema.value.as_str());
        match find(session, schema, &name.name.value) {
            Some(table) => tables.push(table.id),
            None => {
                // The error that a query of it would answer.
                let attempt = super::commands::attempt(session, false)?;
                let found = attempt.snapshot.resolve(schema, &name.name.value).map_err(|error| error.at(name.name.position))?;
                tables.push(found.table.id);
            }
        }
    }
    owner.acquire(&tables, LockMode::Exclusive).await
}

fn block_owner(session: &LeaderSession) -> Option<Arc<LockOwner>> {
    match &*session.block.lock() {
        Block::Open { locks, .. } => Some(Arc::clone(locks)),
        Block::None | Block::Failed => None,
    }
}

/// The table of a name: in a block that has begun as the block sees it. One that has not begins after the wait, and sees what those
/// have committed that it waited for.
fn find(session: &LeaderSession, schema: Option<&str>, name: &str) -> Option<Arc<Table>> {
    let begun = match &*session.block.lock() {
        Block::Open { transaction, .. } => transaction.is_some(),
        Block::None | Block::Failed => false,
    };
    let state = if begun { session.scope().state() } else { session.shared.cluster.meta().state() };
    let search_path = session.settings.lock().search_path(&session.user);
    let found = match schema {
        Some(schema) => state.relation(schema, name),
        None => on_path(&state, Some(&session.temp_schema), &search_path, name),
    };
    match found {
        Some(Relation::Table(table)) => Some(Arc::clone(&table.table)),
        Some(Relation::View(_)) | None => None,
    }
}
