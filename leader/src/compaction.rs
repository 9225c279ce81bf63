//! Compaction in the background: tables whose scans suffer from many tiny segments or many deleted rows are rewritten, one at a time.

use crate::engine::Shared;
use crate::load::{Choice, vacuum, wants_compaction};
use crate::transaction::Scope;
use slipher_common::Result;
use slipher_common::catalog::ADMIN_USER;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Compaction gives way so often in a row to open transaction blocks, which might lose their rows' segments to it.
const GIVE_WAY_MAX_COUNT: u32 = 12;

/// Looks every `interval` until `shutdown`.
pub(crate) async fn compact_forever(shared: Arc<Shared>, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    let mut ticks = tokio::time::interval(interval);
    let mut gave_way = 0;
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
            () = compact(&shared) => {}
        }
    }
}

async fn compact(shared: &Arc<Shared>) {
    let state = shared.cluster.meta().state();
    let scope = Scope {
        shared: Arc::clone(shared),
        search_path: Arc::default(),
        temp_schema: None,
        user: ADMIN_USER.to_owned(),
        process_id: 0,
        transaction: None,
        reads: None,
        background: true,
    };
    let wanted = state.tables().values().filter(|table| wants_compaction(table));
    // A block that locked a table must not lose against us.
    for table in wanted.filter(|table| !shared.locks.is_locked(table.table.id)) {
        let name = table.table.to_string();
        match vacuum(&scope, table.table.id, Choice::Background).await {
            Ok(Some(done)) => {
                let (before, after) = done.segments;
                tracing::info!(table = name, before, after, deleted_rows = done.deleted_rows, "compacted segments");
            }
            Ok(None) => {}
            // It was dropped, it lost against writers, or a node is away: there is another time.
            Err(error) => tracing::debug!(table = name, %error, "compaction did not come through"),
        }
    }
}
