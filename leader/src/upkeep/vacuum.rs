//! VACUUM: segments that are small, that lost rows, or that overlap in their sort key become new ones, without their deleted rows.
//!
//! It is an INSERT of the chosen segments' rows into their own table and the removal of the segments, in one record. Readers keep the
//! segments they began with. Rows that somebody deletes meanwhile make it lose, and it runs again.

use super::choice::{Choice, Group, choose, is_better};
use crate::load::{check_rows, plan_sink, replayed, run_sink};
use crate::run::Runner;
use crate::telemetry::Telemetry;
use crate::transaction::{Scope, TableLocks};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::ids::TableId;
use slipher_common::manifest::{Segment, Segments};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A slice with more bytes than these in files may be cut into several segments by a node's memory: it is sorted before.
const UNSORTED_SLICE_MAX_BYTES: u64 = 40 << 20;
/// So may one with more rows than these: they may be compressed well.
const UNSORTED_SLICE_MAX_ROWS: u64 = 1 << 20;

/// What segments are written anew with, whoever asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// Runs the plans.
    pub(crate) runner: Runner,
    /// Who writes to tables, and who waits to.
    pub(crate) locks: Arc<TableLocks>,
    /// Counts what was rewritten.
    pub(crate) telemetry: Arc<Telemetry>,
}

/// What a VACUUM of one table did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vacuumed {
    /// Segments that were replaced, and those that replaced them.
    pub(crate) segments: (usize, usize),
    /// Their bytes.
    pub(crate) bytes: (u64, u64),
    /// Deleted rows that are gone.
    pub(crate) deleted_rows: u64,
    /// It made something better, or will not be chosen again.
    pub(crate) is_better: bool,
}

/// Compaction waits so long with what it wrote for others, who would lose against it; it can do its work again.
const MERGED_GIVES_WAY_MAX_SECONDS: u64 = 1;
/// Sorting and splitting wait so long.
const SORTED_GIVES_WAY_MAX_SECONDS: u64 = 60;
/// How often it looks whether they are done.
const GIVE_WAY_LOOK_MS: u64 = 20;

/// Rewrites the chosen segments of a table; None when there is nothing to do. Each lane writes one slice at a time, and each round of
/// slices is a record of its own: what is on its way is bounded, and so is what a conflict costs.
pub(crate) async fn vacuum(tools: &Tools, scope: &Scope, table: TableId, choice: Choice) -> Result<Option<Vacuumed>> {
    let (mut done, mut total) = (BTreeSet::new(), None::<Vacuumed>);
    loop {
        let round = replayed!(scope, vacuum_once(tools, scope, table, choice, Duration::ZERO, &done));
        let Some((groups, vacuumed)) = round? else { return Ok(total) };
        done.extend(groups);
        total = Some(total.map_or(vacuumed, |total| total + vacuumed));
    }
}

impl std::ops::Add for Vacuumed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            segments: (self.segments.0 + other.segments.0, self.segments.1 + other.segments.1),
            bytes: (self.bytes.0 + other.bytes.0, self.bytes.1 + other.bytes.1),
            deleted_rows: self.deleted_rows + other.deleted_rows,
            is_better: self.is_better || other.is_better,
        }
    }
}

/// The same for one slice of each lane, and not again if it loses. None, too, when it gave way to others; `waited`: as it has for so long.
pub(crate) async fn vacuum_round(
    tools: &Tools,
    scope: &Scope,
    table: TableId,
    choice: Choice,
    waited: Duration,
) -> Result<Option<Vacuumed>> {
    Ok(vacuum_once(tools, scope, table, choice, waited, &BTreeSet::new()).await?.map(|(_, vacuumed)| vacuumed))
}

/// Waits for whoever might lose against what is committed next: blocks, which cannot run again, and, for what took long, all writers. False
/// when a block would lose still: this can be done again.
async fn give_way(tools: &Tools, scope: &Scope, table: TableId, choice: Choice, waited: Duration) -> bool {
    let seconds = match choice {
        Choice::Asked { .. } => return true,
        Choice::Compaction { .. } => MERGED_GIVES_WAY_MAX_SECONDS,
        Choice::Sorting | Choice::Splitting => SORTED_GIVES_WAY_MAX_SECONDS,
    };
    let blocks = || scope.cluster.has_blocks_in_the_way(table, waited);
    let writers = || choice == Choice::Sorting && tools.locks.has_several_writers(table);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while blocks() || writers() {
        if tokio::time::Instant::now() >= end {
            return !scope.cluster.has_blocks_changing(table, waited);
        }
        tokio::time::sleep(Duration::from_millis(GIVE_WAY_LOOK_MS)).await;
    }
    true
}

/// One round: of each lane the first slice that is not done and has something to do. What is written is of the slices that there are now.
async fn vacuum_once(
    tools: &Tools,
    scope: &Scope,
    table: TableId,
    choice: Choice,
    waited: Duration,
    done: &BTreeSet<Group>,
) -> Result<Option<(BTreeSet<Group>, Vacuumed)>> {
    let load = scope.start_load();
    let attempt = tools.runner.attempt(scope, load.id(), false)?;
    let Some(current) = attempt.snapshot.state.table_by_id(table).map(Arc::clone) else {
        return Err(Error::new(ErrorKind::UndefinedTable, format!("table with id {table} was dropped")));
    };
    let slice_count = attempt.snapshot.state.require_cluster()?.slice_count;
    let chosen = choose(&current, slice_count, choice)?;
    let is_chosen = |segment: &&Arc<Segment>| chosen.contains(&segment.id) && !done.contains(&Group::of(segment));
    let chosen: Vec<&Arc<Segment>> = current.segments.values().filter(is_chosen).collect();
    let layout = &attempt.snapshot.query.clone()?.layout;
    let mut round: BTreeMap<Option<(usize, usize)>, Group> = BTreeMap::new();
    for segment in &chosen {
        round.entry(layout.slots.get(segment.slice.0 as usize).copied()).or_insert(Group::of(segment));
    }
    let groups: BTreeSet<Group> = round.into_values().collect();
    let in_round = chosen.into_iter().filter(|segment| groups.contains(&Group::of(segment)));
    let old: Segments = in_round.map(|segment| (segment.id, Arc::clone(segment))).collect();
    if old.is_empty() {
        return Ok(None);
    }
    let part = current.with_segments(old.clone());
    let source = provider_as_source(Arc::new(attempt.snapshot.provider(&part)?));
    let source = LogicalPlanBuilder::scan(current.table.name.clone(), source, None)?.build()?;
    let mut target = attempt.snapshot.provider(&current)?;
    let is_large = |group: &Group| {
        let of_slice = || old.values().filter(|segment| Group::of(segment) == *group);
        of_slice().map(|segment| segment.bytes).sum::<u64>() > UNSORTED_SLICE_MAX_BYTES
            || of_slice().map(|segment| segment.rows).sum::<u64>() > UNSORTED_SLICE_MAX_ROWS
    };
    // What fits into one segment is sorted there.
    if choice == Choice::Sorting || groups.iter().any(is_large) {
        target = target.sorted();
    }
    let physical = plan_sink(&attempt, target, source).await?;
    let new = run_sink(&attempt, physical).await?;
    check_rows("vacuuming", &current.table, old.values(), &new)?;
    if !give_way(tools, scope, table, choice, waited).await {
        return Ok(None);
    }
    let replace = proto::ReplaceSegments {
        table_id: table.0,
        add: new.iter().map(Segment::to_proto).collect(),
        remove: old.keys().map(|id| id.to_vec()).collect(),
        removed_deleted_rows: old.values().map(|segment| segment.deleted_rows()).collect(),
        defined_version: current.defined_version.0,
        keeps_rows: true,
    };
    let kinds = vec![Kind::ReplaceSegments(replace)];
    scope.change(kinds, &attempt.snapshot.state, Some(load)).await?;
    tools.telemetry.rewrote(choice.name(), old.len());
    let vacuumed = Vacuumed {
        segments: (old.len(), new.len()),
        bytes: (old.values().map(|segment| segment.bytes).sum(), new.iter().map(|segment| segment.bytes).sum()),
        deleted_rows: old.values().map(|segment| segment.deleted_rows()).sum(),
        is_better: is_better(&current.table, choice, old.values().map(Arc::as_ref), &new)?,
    };
    Ok(Some((groups, vacuumed)))
}
