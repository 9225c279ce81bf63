//! Storage that looks after itself: tables whose scans suffer from many tiny segments, deleted rows or segments that overlap in the sort
//! key are rewritten in the background, and those that are coarse. Merging is urgent and short, the others are neither: each has a task of its own.

use super::choice::{Choice, wanted_segments};
use super::vacuum::{Tools, Vacuumed, vacuum_round};
use crate::cluster::WAIT_FOR_SHORT_MAX_SECONDS;
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::super_options::SuperOptions;
use crate::transaction::{Clock, LockMode, Scope, TableLocks};
use slipher_common::catalog::ADMIN_USER;
use slipher_common::ids::{DatabaseId, TableId, Version};
use slipher_common::manifest::Segments;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::TableState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// When no block was in the way for so long, waiting begins anew: a gap between two blocks is no end of it.
const BLOCKED_FORGOTTEN_SECONDS: u64 = 600;
/// Before another look at a table that open blocks are in the way of.
const BLOCKED_PAUSE_SECONDS: u64 = 2;
/// How often it looks whether somebody waits to LOCK its table.
const WANTED_LOOK_MS: u64 = 100;
/// A table that nobody has changed for so long is quiet: no more segments come that would be merged with those that are there.
const QUIET_SECONDS: u64 = 2;
/// Whoever loads a table in several steps is not disturbed before he has been done for so long.
const SETTLED_SECONDS: u64 = 10;
/// A table that is always changed is sorted all the same after so long.
const UNSETTLED_MAX_SECONDS: u64 = 300;
/// Before another try after a failure; twice as long after each.
const RETRY_MIN_SECONDS: u64 = 1;
const RETRY_MAX_SECONDS: u64 = 300;
/// So many rounds in a row that made nothing better are the last ones before somebody changes the table.
const FUTILE_ROUNDS_MAX_COUNT: u32 = 3;

/// Merges what is tiny and frees what was deleted, until `shutdown`. Looks every `interval`.
pub(crate) async fn compact_forever(tools: Tools, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    let mut upkeep = Upkeep::new(tools, to_compact);
    while goes_on(tokio::time::sleep(interval), &shutdown).await {
        // Each table in turn: a large one does not keep the others waiting.
        let work = async { while upkeep.look(usize::MAX).await > 0 {} };
        goes_on(work, &shutdown).await;
    }
    Ok(())
}

/// Brings rows into the order of the sort key, until `shutdown`. It rests as long as it works: at most half of what queries leave is taken.
pub(crate) async fn sort_forever(tools: Tools, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    let mut upkeep = Upkeep::new(tools, to_sort);
    let mut pause = interval;
    while goes_on(tokio::time::sleep(pause), &shutdown).await {
        let began = Instant::now();
        goes_on(upkeep.look(1), &shutdown).await;
        pause = interval.max(began.elapsed());
    }
    Ok(())
}

/// Splits segments that were written when the cluster had fewer slices, until `shutdown`. It rests as long as it works.
pub(crate) async fn split_forever(tools: Tools, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    let mut upkeep = Upkeep::new(tools, |_| Some(Choice::Splitting));
    let mut pause = interval;
    while goes_on(tokio::time::sleep(pause), &shutdown).await {
        let began = Instant::now();
        let mut done = 0;
        goes_on(async { done = upkeep.look(1).await }, &shutdown).await;
        pause = if done > 0 { began.elapsed() } else { interval };
    }
    Ok(())
}

fn to_compact(since: Since) -> Option<Choice> {
    Some(Choice::Compaction { quiet: since.changed >= seconds(QUIET_SECONDS) })
}

fn to_sort(since: Since) -> Option<Choice> {
    let is_time = since.changed >= seconds(SETTLED_SECONDS) || since.in_order >= seconds(UNSETTLED_MAX_SECONDS);
    is_time.then_some(Choice::Sorting)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Works; false when it was time to end.
async fn goes_on<T>(work: impl Future<Output = T>, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        _ = work => true,
    }
}

/// Whether another try may come through.
fn passes(error: &Error) -> bool {
    use ErrorKind::{CannotConnectNow, DiskFull, Io, NodeUnavailable, OutcomeUnknown, SerializationFailure, UndefinedTable};
    matches!(
        error.kind,
        CannotConnectNow | DiskFull | Io | NodeUnavailable | OutcomeUnknown | SerializationFailure | UndefinedTable
    )
}

/// How long ago something was.
#[derive(Clone, Copy, Debug)]
struct Since {
    /// Somebody else changed the table.
    changed: Duration,
    /// Nothing was to do for it, or it was seen first.
    in_order: Duration,
}

/// What is known of a table.
#[derive(Clone, Debug)]
struct Seen {
    version: Version,
    /// The segments that were looked at.
    segments: Arc<Segments>,
    /// Slices that the cluster had then.
    slice_count: u32,
    /// When it was seen first with these rows.
    changed: Instant,
    /// When there was nothing to do for it, or it was seen first.
    in_order: Instant,
    /// Rounds in a row that made nothing better.
    futile_rounds: u32,
    /// Since when blocks are given way to that might lose rows' segments to it, and when that was seen last.
    gives_way: Option<(Instant, Instant)>,
    /// After a failure: not before, and how long the pause was.
    retry: Option<(Instant, Duration)>,
    /// At this version there is nothing to do, or nothing that would succeed.
    is_settled: bool,
}

/// One kind of upkeep of all tables.
struct Upkeep {
    tools: Tools,
    scope: Scope,
    /// What to choose from a table.
    choice: fn(Since) -> Option<Choice>,
    seen: BTreeMap<TableId, Seen>,
    /// The table that had its turn last.
    last: TableId,
}

impl Upkeep {
    fn new(tools: Tools, choice: fn(Since) -> Option<Choice>) -> Self {
        let scope = Scope {
            cluster: Arc::clone(&tools.runner.cluster),
            // Tables of all databases: it knows them by their ids.
            database: DatabaseId::default(),
            search_path: Arc::default(),
            temp_schema: None,
            user: ADMIN_USER.to_owned(),
            process_id: 0,
            transaction: None,
            reads: None,
            locks: None,
            committing: Arc::default(),
            clock: Clock::start(None),
            merge_joins: Arc::default(),
            background: true,
            disabled_rules: DisabledRules::default(),
            settings: None,
            zone: None,
            super_options: SuperOptions::default(),
        };
        Self { tools, scope, choice, seen: BTreeMap::new(), last: TableId(0) }
    }

    /// Goes through all tables, from the one on whose turn it is, and rewrites one slice per lane of those that want it, of so many tables at
    /// most. Answers of how many it did.
    async fn look(&mut self, tables_max: usize) -> usize {
        let state = self.scope.cluster.meta().state();
        let slice_count = state.cluster().map_or(0, |cluster| cluster.slice_count);
        self.seen.retain(|table, _| state.table_by_id(*table).is_some());
        let mut tables: Vec<&Arc<TableState>> = state.tables().values().collect();
        tables.sort_by_key(|table| (table.table.id <= self.last, table.table.id));
        let mut done = 0;
        for table in tables {
            let Some(choice) = self.wanted(table, slice_count) else { continue };
            let Some(waited) = self.free(table.table.id) else { continue };
            self.last = table.table.id;
            done += usize::from(self.rewrite(table, choice, waited).await);
            if done >= tables_max {
                break;
            }
        }
        done
    }

    /// What there is to do for a table now.
    fn wanted(&mut self, table: &TableState, slice_count: u32) -> Option<Choice> {
        let now = Instant::now();
        let fresh = Seen {
            version: table.changed_version,
            segments: Arc::clone(&table.segments),
            slice_count,
            changed: now,
            in_order: now,
            futile_rounds: 0,
            gives_way: None,
            retry: None,
            is_settled: false,
        };
        let seen = self.seen.entry(table.table.id).or_insert_with(|| fresh.clone());
        if seen.version != table.changed_version || seen.slice_count != slice_count {
            *seen = Seen { in_order: seen.in_order, gives_way: seen.gives_way, retry: seen.retry, ..fresh };
        } else if !Arc::ptr_eq(&seen.segments, &table.segments) {
            // The same rows in other segments: ours, of which enough may be enough, or what the other kind of upkeep left for this one.
            seen.segments = Arc::clone(&table.segments);
            seen.is_settled = seen.futile_rounds >= FUTILE_ROUNDS_MAX_COUNT;
        }
        let rests = seen.retry.is_some_and(|(at, _)| now < at);
        if seen.is_settled || rests || seen.gives_way.is_some_and(|(_, last)| now < last + seconds(BLOCKED_PAUSE_SECONDS)) {
            return None;
        }
        let since = Since { changed: now - seen.changed, in_order: now - seen.in_order };
        let choice = (self.choice)(since)?;
        match wanted_segments(table, slice_count, choice) {
            Ok(0) => {}
            Ok(_) => return Some(choice),
            // It is looked at again when it has changed.
            Err(error) => tracing::error!(table = %table.table, %error, "the segments of a table cannot be compared"),
        }
        seen.in_order = now;
        seen.gives_way = None;
        // A table that is not quiet yet may want more when it is.
        seen.is_settled = since.changed >= seconds(QUIET_SECONDS);
        None
    }

    /// How long was waited for open blocks, of which none is in the way any more; None when one is.
    fn free(&mut self, table: TableId) -> Option<Duration> {
        let seen = self.seen.get_mut(&table)?;
        seen.gives_way = seen.gives_way.filter(|(_, last)| last.elapsed() < seconds(BLOCKED_FORGOTTEN_SECONDS));
        let waited = seen.gives_way.map_or(Duration::ZERO, |(since, _)| since.elapsed());
        if self.scope.cluster.has_blocks_in_the_way(table, waited) {
            seen.give_way();
            return None;
        }
        Some(waited)
    }

    /// One round for one table; whether it did something.
    async fn rewrite(&mut self, table: &TableState, choice: Choice, waited: Duration) -> bool {
        let (id, name) = (table.table.id, table.table.to_string());
        // A block that locked a table must not lose against us.
        let owner = Arc::new(self.tools.locks.owner());
        if !owner.try_acquire(&[(id, LockMode::Shared)]) {
            return false;
        }
        let scope = Scope { locks: Some(owner), ..self.scope.clone() };
        let outcome = tokio::select! {
            outcome = vacuum_round(&self.tools, &scope, id, choice, waited) => outcome,
            // Whoever wants the table for himself does not wait for this.
            () = wanted_by_others(&self.tools.locks, id) => return false,
        };
        let Some(seen) = self.seen.get_mut(&id) else { return false };
        match outcome {
            Ok(Some(done)) => {
                let Vacuumed { segments: (before, after), deleted_rows, .. } = done;
                tracing::info!(table = name, ?choice, before, after, deleted_rows, "rewrote segments");
                seen.note(&done);
                true
            }
            // There was nothing to do any more, or a block would have lost.
            Ok(None) => {
                seen.give_way();
                false
            }
            // It was dropped, it lost against writers, or a node is away: there is another time.
            Err(error) => {
                tracing::debug!(table = name, ?choice, %error, "the background did not rewrite a table");
                seen.is_settled = !passes(&error);
                seen.wait_longer();
                false
            }
        }
    }
}

impl Seen {
    fn note(&mut self, done: &Vacuumed) {
        self.retry = None;
        // For the next round short blocks are not waited for again, but long ones are.
        let long_ago = Instant::now().checked_sub(seconds(WAIT_FOR_SHORT_MAX_SECONDS));
        self.gives_way = self.gives_way.map(|(since, last)| (long_ago.map_or(since, |long_ago| since.max(long_ago)), last));
        self.futile_rounds = if done.is_better { 0 } else { self.futile_rounds + 1 };
        self.is_settled = self.futile_rounds >= FUTILE_ROUNDS_MAX_COUNT;
    }

    /// A block is in the way.
    fn give_way(&mut self) {
        let now = Instant::now();
        self.gives_way = Some((self.gives_way.map_or(now, |(since, _)| since), now));
    }

    fn wait_longer(&mut self) {
        let pause = self.retry.map_or(seconds(RETRY_MIN_SECONDS), |(_, pause)| (pause * 2).min(seconds(RETRY_MAX_SECONDS)));
        self.retry = Some((Instant::now() + pause, pause));
    }
}

async fn wanted_by_others(locks: &TableLocks, table: TableId) {
    while !locks.is_wanted(table) {
        tokio::time::sleep(Duration::from_millis(WANTED_LOOK_MS)).await;
    }
}
