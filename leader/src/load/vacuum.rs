//! VACUUM: segments that are small, that lost rows, or that overlap in their sort key become new ones, without their deleted rows.
//!
//! It is an INSERT of the chosen segments' rows into their own table and the removal of the segments, in one record. Readers keep the
//! segments they began with. Rows that somebody deletes meanwhile make it lose, and it runs again.

use super::{LOAD_ATTEMPTS_MAX, check_rows, plan_sink, run_sink};
use crate::meta::TableState;
use crate::sql::VacuumKind;
use crate::transaction::Scope;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::catalog::Table;
use slipher_common::ids::{SegmentId, SliceId, TableId};
use slipher_common::manifest::Segment;
use slipher_common::statistics::decode_bound;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Segments of fewer rows are worth merging when somebody asks.
const SMALL_SEGMENT_ROWS: u64 = 1 << 20;
/// Segments of fewer rows are merged in the background, once there are so many in a slice.
const TINY_SEGMENT_ROWS: u64 = 64 << 10;
const TINY_SEGMENTS_MAX_COUNT: usize = 16;
/// A segment that has lost this share of its rows is written anew in the background.
const DELETED_MAX_PERCENT: u64 = 20;

/// A slice with more bytes than these in files may be cut into several segments, by its rows or by a node's memory: it is sorted before.
const UNSORTED_SLICE_MAX_BYTES: u64 = 40 << 20;

/// What a VACUUM of one table did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vacuumed {
    /// Segments that were replaced, and those that replaced them.
    pub(crate) segments: (usize, usize),
    /// Their bytes.
    pub(crate) bytes: (u64, u64),
    /// Deleted rows that are gone.
    pub(crate) deleted_rows: u64,
}

/// Which segments are chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// As VACUUM says; `sorted_percent`: a slice that is sorted to this share is left as it is.
    Asked {
        /// What to look at.
        kind: VacuumKind,
        /// See above.
        sorted_percent: u64,
    },
    /// What scans suffer from.
    Background,
}

/// Rewrites the chosen segments of a table; None when there is nothing to do. Each lane writes one slice at a time, and each round of
/// slices is a record of its own: what is on its way is bounded, and so is what a conflict costs.
pub(crate) async fn vacuum(scope: &Scope, table: TableId, choice: Choice) -> Result<Option<Vacuumed>> {
    let (mut done, mut total) = (BTreeSet::new(), None);
    loop {
        let round = replayed!(scope, vacuum_once(scope, table, choice, &done));
        let Some((slices, vacuumed)) = round? else { return Ok(total) };
        done.extend(slices);
        total = Some(total.unwrap_or_default() + vacuumed);
    }
}

impl std::ops::Add for Vacuumed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            segments: (self.segments.0 + other.segments.0, self.segments.1 + other.segments.1),
            bytes: (self.bytes.0 + other.bytes.0, self.bytes.1 + other.bytes.1),
            deleted_rows: self.deleted_rows + other.deleted_rows,
        }
    }
}

/// One round: of each lane the first slice that is not done and has something to do.
async fn vacuum_once(
    scope: &Scope,
    table: TableId,
    choice: Choice,
    done: &BTreeSet<SliceId>,
) -> Result<Option<(BTreeSet<SliceId>, Vacuumed)>> {
    let load = scope.start_load();
    let attempt = scope.shared.runner.attempt(scope, load.id(), false)?;
    let Some(current) = attempt.snapshot.state.table_by_id(table).map(Arc::clone) else {
        return Err(Error::new(ErrorKind::UndefinedTable, format!("table with id {table} was dropped")));
    };
    let chosen = choose(&current, choice)?;
    let chosen = current.segments.values().filter(|segment| chosen.contains(&segment.id) && !done.contains(&segment.slice));
    let layout = &attempt.snapshot.query.clone()?.layout;
    let mut round: BTreeMap<Option<(usize, usize)>, SliceId> = BTreeMap::new();
    for segment in chosen.clone() {
        round.entry(layout.slots.get(segment.slice.0 as usize).copied()).or_insert(segment.slice);
    }
    let slices: BTreeSet<SliceId> = round.into_values().collect();
    let in_round = chosen.filter(|segment| slices.contains(&segment.slice));
    let old: BTreeMap<SegmentId, Arc<Segment>> = in_round.map(|segment| (segment.id, Arc::clone(segment))).collect();
    if old.is_empty() {
        return Ok(None);
    }
    let part = TableState { segments: Arc::new(old.clone()), ..TableState::clone(&current) };
    let source = provider_as_source(Arc::new(attempt.snapshot.provider(&part)?));
    let source = LogicalPlanBuilder::scan(current.table.name.clone(), source, None)?.build()?;
    let mut target = attempt.snapshot.provider(&current)?;
    let bytes_of =
        |slice: &SliceId| -> u64 { old.values().filter(|segment| segment.slice == *slice).map(|segment| segment.bytes).sum() };
    // What fits into one segment is sorted there.
    if slices.iter().any(|slice| bytes_of(slice) > UNSORTED_SLICE_MAX_BYTES) {
        target = target.sorted();
    }
    let physical = plan_sink(&attempt, target, source).await?;
    let new = run_sink(&scope.shared, &attempt, physical).await?;
    check_rows("vacuuming", &current.table, old.values(), &new)?;
    let replace = proto::ReplaceSegments {
        table_id: table.0,
        add: new.iter().map(Segment::to_proto).collect(),
        remove: old.keys().map(|id| id.to_vec()).collect(),
        removed_deleted_rows: old.values().map(|segment| segment.deleted_rows()).collect(),
        defined_version: attempt.snapshot.state.committed_or_zero(current.defined_version),
    };
    scope.change(vec![Kind::ReplaceSegments(replace)], &attempt.snapshot.state, Some(load)).await?;
    let vacuumed = Vacuumed {
        segments: (old.len(), new.len()),
        bytes: (old.values().map(|segment| segment.bytes).sum(), new.iter().map(|segment| segment.bytes).sum()),
        deleted_rows: old.values().map(|segment| segment.deleted_rows()).sum(),
    };
    Ok(Some((slices, vacuumed)))
}

fn choose(table: &TableState, choice: Choice) -> Result<BTreeSet<SegmentId>> {
    let mut slices: BTreeMap<SliceId, Vec<&Segment>> = BTreeMap::new();
    for segment in table.segments.values() {
        slices.entry(segment.slice).or_default().push(segment);
    }
    let mut chosen = BTreeSet::new();
    for segments in slices.values() {
        let of_slice = match choice {
            Choice::Background => in_background(segments),
            Choice::Asked { kind: VacuumKind::DeleteOnly, .. } => with_deleted_rows(segments),
            Choice::Asked { sorted_percent, .. } => asked(&table.table, segments, sorted_percent)?,
        };
        chosen.extend(of_slice);
    }
    Ok(chosen)
}

fn with_deleted_rows(segments: &[&Segment]) -> BTreeSet<SegmentId> {
    segments.iter().filter(|segment| segment.delete_vector.is_some()).map(|segment| segment.id).collect()
}

fn asked(table: &Table, segments: &[&Segment], sorted_percent: u64) -> Result<BTreeSet<SegmentId>> {
    let mut chosen = with_deleted_rows(segments);
    let small: Vec<_> = segments.iter().filter(|segment| segment.live_rows() < SMALL_SEGMENT_ROWS).collect();
    if small.len() > 1 {
        chosen.extend(small.iter().map(|segment| segment.id));
    }
    let overlapping = overlapping(table, segments)?;
    let rows: u64 = segments.iter().map(|segment| segment.live_rows()).sum();
    let unsorted: u64 =
        segments.iter().filter(|segment| overlapping.contains(&segment.id)).map(|segment| segment.live_rows()).sum();
    if unsorted * 100 > rows * (100 - sorted_percent.min(100)) {
        chosen.extend(overlapping);
    }
    Ok(chosen)
}

/// Segments whose ranges of the first sort column overlap with another one's.
fn overlapping(table: &Table, segments: &[&Segment]) -> Result<BTreeSet<SegmentId>> {
    let Some(column) = table.sort_key.first().and_then(|id| table.columns.iter().find(|column| column.id == *id)) else {
        return Ok(BTreeSet::new());
    };
    let mut ranges: Vec<(ScalarValue, ScalarValue, SegmentId)> = Vec::new();
    for segment in segments {
        let Some(known) = segment.columns.iter().find(|known| known.column == column.id) else { continue };
        let (min, max) = (decode_bound(&known.min, column.sql_type)?, decode_bound(&known.max, column.sql_type)?);
        if let (Some((min, _)), Some((max, _))) = (min, max) {
            ranges.push((min, max, segment.id));
        }
    }
    ranges.sort_by(|one, other| one.0.partial_cmp(&other.0).unwrap_or(std::cmp::Ordering::Equal));
    let mut found = BTreeSet::new();
    let mut reaching: Option<(&ScalarValue, SegmentId)> = None;
    for (min, max, id) in &ranges {
        if let Some((until, other)) = reaching
            && min < until
        {
            found.extend([*id, other]);
        }
        if reaching.is_none_or(|(until, _)| until < max) {
            reaching = Some((max, *id));
        }
    }
    Ok(found)
}

fn in_background(segments: &[&Segment]) -> BTreeSet<SegmentId> {
    let is_worn = |segment: &&&Segment| segment.deleted_rows() * 100 >= segment.rows * DELETED_MAX_PERCENT;
    let worn = segments.iter().filter(is_worn).filter(|segment| segment.deleted_rows() > 0);
    let mut chosen: BTreeSet<SegmentId> = worn.map(|segment| segment.id).collect();
    let tiny: Vec<_> = segments.iter().filter(|segment| segment.live_rows() < TINY_SEGMENT_ROWS).collect();
    if tiny.len() >= TINY_SEGMENTS_MAX_COUNT {
        chosen.extend(tiny.iter().map(|segment| segment.id));
    }
    chosen
}

/// Whether the background has something to do for a table.
pub(crate) fn wants_compaction(table: &TableState) -> bool {
    choose(table, Choice::Background).is_ok_and(|chosen| !chosen.is_empty())
}
