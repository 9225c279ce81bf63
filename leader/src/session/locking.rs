//! LOCK, and the locks of those who write.

use super::leader_session::{Block, LeaderSession};
use crate::catalog::on_path;
use crate::meta::Relation;
use crate::sql::{Parsed, QualifiedName};
use crate::transaction::{LockMode, LockOwner};
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Locks the tables that a statement writes to against LOCK: until the block ends, or the answer is dropped.
pub(super) async fn lock_targets(session: &LeaderSession, parsed: &Parsed) -> Result<Option<Arc<LockOwner>>> {
    let targets = parsed.targets();
    let names = targets.iter().map(|name| (name.schema.as_ref().map(|schema| schema.value.as_str()), name.name.value.as_str()));
    lock_named(session, names).await
}

/// The same for tables that are named otherwise.
pub(super) async fn lock_named<'a>(
    session: &LeaderSession,
    names: impl Iterator<Item = (Option<&'a str>, &'a str)>,
) -> Result<Option<Arc<LockOwner>>> {
    // Whoever names what is not there hears of it when the statement runs.
    let tables: Vec<TableId> = names.filter_map(|(schema, name)| find(session, schema, name)).collect();
    if tables.is_empty() {
        return Ok(None);
    }
    let owner = block_owner(session).unwrap_or_else(|| Arc::new(session.shared.locks.owner()));
    owner.acquire(&tables, LockMode::Shared).await?;
    Ok(Some(owner))
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
            Some(table) => tables.push(table),
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
fn find(session: &LeaderSession, schema: Option<&str>, name: &str) -> Option<TableId> {
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
        Some(Relation::Table(table)) => Some(table.table.id),
        Some(Relation::View(_)) | None => None,
    }
}
