//! Compaction in the background: tables whose scans suffer from many tiny segments or many deleted rows are rewritten, one at a time.

use crate::engine::Shared;
use crate::load::{Choice, vacuum, wants_compaction};
use crate::meta::State;
use crate::transaction::{LockMode, Scope};
use slipher_common::catalog::ADMIN_USER;
use slipher_common::ids::{TableId, Version};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Compaction gives way so often in a row to open transaction blocks, which might lose their rows' segments to it.
const GIVE_WAY_MAX_COUNT: u32 = 12;
/// How often compaction looks whether somebody waits to LOCK its table.
const WANTED_LOOK_MS: u64 = 100;

/// Whether another try may come through.
fn passes(error: &Error) -> bool {
    use ErrorKind::{CannotConnectNow, DiskFull, Io, NodeUnavailable, SerializationFailure, UndefinedTable};
    matches!(error.kind, CannotConnectNow | DiskFull | Io | NodeUnavailable | SerializationFailure | UndefinedTable)
}

async fn wanted_by_others(shared: &Shared, table: TableId) {
    while !shared.locks.is_wanted(table) {
        tokio::time::sleep(Duration::from_millis(WANTED_LOOK_MS)).await;
    }
}

/// What earlier looks found.
#[derive(Debug, Default)]
struct Looks {
    /// The versions of tables that could not be compacted, where another try would not help.
    failed: BTreeMap<TableId, Version>,
}

impl Looks {
    fn forget_dropped(&mut self, state: &State) {
        self.failed.retain(|table, _| state.table_by_id(*table).is_some());
    }
}

/// Looks every `interval` until `shutdown`.
pub(crate) async fn compact_forever(shared: Arc<Shared>, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    let mut ticks = tokio::time::interval(interval);
    let mut gave_way = 0;
    let mut looks = Looks::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if shared.cluster.has_open_blocks() && gave_way < GIVE_WAY_MAX_COUNT {
            gave_way += 1;
            continue;
        }
        gave_way = 0;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = compact(&shared, &mut looks) => {}
        }
    }
}

async fn compact(shared: &Arc<Shared>, looks: &mut Looks) {
    let state = shared.cluster.meta().state();
    let scope = Scope {
        shared: Arc::clone(shared),
        search_path: Arc::default(),
        temp_schema: None,
        user: ADMIN_USER.to_owned(),
        process_id: 0,
        transaction: None,
        reads: None,
        locks: None,
        committing: Arc::default(),
        background: true,
    };
    looks.forget_dropped(&state);
    for table in state.tables().values() {
        let (id, changed) = (table.table.id, table.changed_version);
        if looks.failed.get(&id) == Some(&changed) || !wants_compaction(table) {
            continue;
        }
        // A block that locked a table must not lose against us.
        let owner = shared.locks.owner();
        if !owner.try_acquire(&[(id, LockMode::Shared)]) {
            continue;
        }
        let name = table.table.to_string();
        let work = vacuum(&scope, id, Choice::Background);
        let done = tokio::select! {
            done = work => done,
            // Whoever wants the table for himself does not wait for this.
            () = wanted_by_others(shared, id) => continue,
        };
        match done {
            Ok(Some(done)) => {
                let (before, after) = done.segments;
                tracing::info!(table = name, before, after, deleted_rows = done.deleted_rows, "compacted segments");
            }
            Ok(None) => {}
            // It was dropped, it lost against writers, or a node is away: there is another time.
            Err(error) => {
                tracing::debug!(table = name, %error, "compaction did not come through");
                if !passes(&error) {
                    looks.failed.insert(id, changed);
                }
            }
        }
    }
}
