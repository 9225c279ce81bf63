//! Which segments VACUUM and the background write anew.

use datafusion::common::ScalarValue;
use slipher_common::Result;
use slipher_common::catalog::Table;
use slipher_common::ids::{SegmentId, SliceId};
use slipher_common::manifest::Segment;
use slipher_common::statistics::decode_bound;
use slipher_meta::TableState;
use slipher_sql::VacuumKind;
use std::collections::{BTreeMap, BTreeSet};

/// Segments of fewer rows are worth merging when somebody asks.
const SMALL_SEGMENT_ROWS: u64 = 1 << 20;
/// A node's memory may cut wide rows into segments of fewer than that, hardly of fewer than these: merging such would only make them again.
const CUT_SEGMENT_MIN_ROWS: u64 = 256 << 10;
/// Sizes (rows, bytes) below which compaction merges segments among themselves, so that a row is written anew at most so often before its
/// segment is large. Wide rows make large segments of few.
const TINY_SEGMENT_SIZES: [(u64, u64); 2] = [(4 << 10, 1 << 20), (64 << 10, 8 << 20)];
/// As many of one size in a slice are merged.
const TINY_SEGMENTS_MAX_COUNT: usize = 16;
/// As many are merged when nobody adds any more.
const TINY_SEGMENTS_QUIET_MAX_COUNT: usize = 4;
/// A segment that has lost this share of its rows is written anew in the background.
const DELETED_MAX_PERCENT: u64 = 20;
/// A slice with this share of its rows in order is sorted enough for the background, as it is for VACUUM.
const SORTED_MIN_PERCENT: u64 = 95;
/// The background sorts at most so many bytes of a slice at a time; what is larger waits for VACUUM.
const SORT_MAX_BYTES: u64 = 2 << 30;
/// Sorted runs that the background merges although it cannot merge all of the slice.
const PARTIAL_SORT_MIN_RUNS: usize = 4;

/// The background splits at most so many bytes of a slice at a time: whoever changes rows meanwhile makes it lose no more.
const SPLIT_MAX_BYTES: u64 = 1 << 30;

/// Segments of one slice that were written under the same number of slices: their rows can be written to segments of the same slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// Slices that there were.
    slice_count: u32,
    /// The slice of these.
    pub(super) slice: SliceId,
}

impl Group {
    /// The one of a segment.
    pub(super) fn of(segment: &Segment) -> Self {
        Self { slice_count: segment.slice_count, slice: segment.slice }
    }

    /// Whether its rows are of several of the slices that there are now. A copy on every node is of none.
    fn is_coarse(self, slice_count: u32) -> bool {
        self.slice != SliceId::ALL && self.slice_count < slice_count
    }
}

/// Which segments are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As VACUUM says; `sorted_percent`: a slice that is sorted to this share is left as it is.
    Asked {
        /// What to look at.
        kind: VacuumKind,
        /// See above.
        sorted_percent: u64,
    },
    /// Tiny segments, and those that lost many rows. `quiet`: nobody changes the table just now.
    Compaction {
        /// See above.
        quiet: bool,
    },
    /// Large segments that overlap in the sort key.
    Sorting,
    /// Coarse segments: they were written when the cluster had fewer slices.
    Splitting,
}

impl Choice {
    /// Who chooses so, for metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Asked { .. } => "vacuum",
            Self::Compaction { .. } => "compaction",
            Self::Sorting => "sorting",
            Self::Splitting => "splitting",
        }
    }
}

/// The chosen segments of a table, where the cluster has so many slices.
pub(super) fn choose(table: &TableState, slice_count: u32, choice: Choice) -> Result<BTreeSet<SegmentId>> {
    // The one question about each table that has a cheap answer.
    if choice == Choice::Splitting && table.totals.slice_counts().below(slice_count) == 0 {
        return Ok(BTreeSet::new());
    }
    let mut groups: BTreeMap<Group, Vec<&Segment>> = BTreeMap::new();
    for segment in table.segments.values() {
        groups.entry(Group::of(segment)).or_default().push(segment);
    }
    let mut chosen = BTreeSet::new();
    for (group, segments) in &groups {
        let of_slice = match (choice, group.is_coarse(slice_count)) {
            (Choice::Asked { kind: VacuumKind::DeleteOnly, .. }, _) => with_deleted_rows(segments),
            (Choice::Asked { .. }, true) => segments.iter().map(|segment| segment.id).collect(),
            (Choice::Splitting, true) => to_split(segments),
            // They are not written twice.
            (Choice::Compaction { .. } | Choice::Sorting, true) | (Choice::Splitting, false) => BTreeSet::new(),
            (Choice::Asked { sorted_percent, .. }, false) => asked(&table.table, segments, sorted_percent)?,
            (Choice::Compaction { quiet }, false) => tiny_and_worn(segments, quiet),
            (Choice::Sorting, false) => unsorted(&table.table, segments)?,
        };
        chosen.extend(of_slice);
    }
    Ok(chosen)
}

/// Of how many segments of a table the background would make others.
pub(crate) fn wanted_segments(table: &TableState, slice_count: u32, choice: Choice) -> Result<usize> {
    Ok(choose(table, slice_count, choice)?.len())
}

/// The first of them; one at least.
fn to_split(segments: &[&Segment]) -> BTreeSet<SegmentId> {
    let mut bytes = 0;
    let fits = |(place, segment): &(usize, &&Segment)| {
        bytes += segment.bytes;
        *place == 0 || bytes <= SPLIT_MAX_BYTES
    };
    segments.iter().enumerate().take_while(fits).map(|(_, segment)| segment.id).collect()
}

fn with_deleted_rows(segments: &[&Segment]) -> BTreeSet<SegmentId> {
    segments.iter().filter(|segment| segment.delete_vector.is_some()).map(|segment| segment.id).collect()
}

fn asked(table: &Table, segments: &[&Segment], sorted_percent: u64) -> Result<BTreeSet<SegmentId>> {
    let mut chosen = with_deleted_rows(segments);
    let small: Vec<_> = segments.iter().filter(|segment| segment.live_rows() < SMALL_SEGMENT_ROWS).collect();
    let rows: u64 = small.iter().map(|segment| segment.live_rows()).sum();
    let largest = segments.iter().map(|segment| segment.live_rows()).max().unwrap_or(0).max(CUT_SEGMENT_MIN_ROWS);
    if small.len() as u64 > rows.div_ceil(largest).max(1) {
        chosen.extend(small.iter().map(|segment| segment.id));
    }
    let overlapping = overlapping(&ranges(table, segments)?);
    let unsorted: u64 =
        segments.iter().filter(|segment| overlapping.contains(&segment.id)).map(|segment| segment.live_rows()).sum();
    if is_worth_sorting(unsorted, segments, sorted_percent) {
        chosen.extend(overlapping);
    }
    Ok(chosen)
}

fn is_worth_sorting(unsorted_rows: u64, segments: &[&Segment], sorted_percent: u64) -> bool {
    let rows: u64 = segments.iter().map(|segment| segment.live_rows()).sum();
    unsorted_rows * 100 > rows * (100 - sorted_percent.min(100))
}

fn is_worn(segment: &Segment) -> bool {
    segment.deleted_rows() > 0 && segment.deleted_rows() * 100 >= segment.rows * DELETED_MAX_PERCENT
}

fn is_below(segment: &Segment, (rows, bytes): (u64, u64)) -> bool {
    segment.live_rows() < rows && segment.bytes < bytes
}

fn tiny_and_worn(segments: &[&Segment], quiet: bool) -> BTreeSet<SegmentId> {
    let mut chosen: BTreeSet<SegmentId> = segments.iter().filter(|segment| is_worn(segment)).map(|segment| segment.id).collect();
    let mut smaller = 0;
    for size in TINY_SEGMENT_SIZES {
        let tiny: Vec<SegmentId> = segments.iter().filter(|segment| is_below(segment, size)).map(|segment| segment.id).collect();
        let is_many = tiny.len() - smaller >= TINY_SEGMENTS_MAX_COUNT || quiet && tiny.len() >= TINY_SEGMENTS_QUIET_MAX_COUNT;
        smaller = tiny.len();
        if is_many {
            chosen.extend(tiny);
        }
    }
    chosen
}

/// What a segment has of the first sort column: its smallest and its largest value.
struct Range<'a> {
    min: ScalarValue,
    max: ScalarValue,
    segment: &'a Segment,
}

/// In the order of their smallest values; without segments whose bounds nobody knows.
fn ranges<'a>(table: &Table, segments: &[&'a Segment]) -> Result<Vec<Range<'a>>> {
    let Some(column) = table.sort_key.first().and_then(|id| table.columns.iter().find(|column| column.id == *id)) else {
        return Ok(Vec::new());
    };
    let mut ranges = Vec::new();
    for segment in segments {
        let Some(known) = segment.columns.find(column.id) else { continue };
        let (min, max) = (decode_bound(known.min, column.sql_type)?, decode_bound(known.max, column.sql_type)?);
        if let (Some((min, _)), Some((max, _))) = (min, max) {
            ranges.push(Range { min, max, segment });
        }
    }
    ranges.sort_by(|one, other| one.min.partial_cmp(&other.min).unwrap_or(std::cmp::Ordering::Equal));
    Ok(ranges)
}

/// Segments whose ranges overlap with another one's.
fn overlapping(ranges: &[Range<'_>]) -> BTreeSet<SegmentId> {
    let mut found = BTreeSet::new();
    let mut reaching: Option<&Range<'_>> = None;
    for range in ranges {
        if let Some(other) = reaching
            && range.min < other.max
        {
            found.extend([range.segment.id, other.segment.id]);
        }
        if reaching.is_none_or(|other| other.max < range.max) {
            reaching = Some(range);
        }
    }
    found
}

/// Segments one after the other in the order of the sort key, none of which overlap.
#[derive(Default)]
struct Run<'a> {
    max: Option<ScalarValue>,
    segments: Vec<&'a Segment>,
}

impl Run<'_> {
    fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.live_rows()).sum()
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// The fewest runs that these segments make.
fn runs<'a>(ranges: Vec<Range<'a>>) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for range in ranges {
        let ends_before = |run: &&mut Run<'_>| run.max.as_ref().is_some_and(|max| *max <= range.min);
        let nearest =
            |one: &&mut Run<'_>, other: &&mut Run<'_>| one.max.partial_cmp(&other.max).unwrap_or(std::cmp::Ordering::Equal);
        match runs.iter_mut().filter(ends_before).max_by(nearest) {
            Some(run) => {
                run.max = Some(range.max);
                run.segments.push(range.segment);
            }
            None => runs.push(Run { max: Some(range.max), segments: vec![range.segment] }),
        }
    }
    runs
}

/// Large segments that overlap, unless they are few. A slice that is too large to be sorted at once gets fewer runs.
fn unsorted(table: &Table, segments: &[&Segment]) -> Result<BTreeSet<SegmentId>> {
    // The others are compaction's.
    let is_large = |segment: &&&Segment| !is_below(segment, TINY_SEGMENT_SIZES[1]) && !is_worn(segment);
    let large: Vec<&Segment> = segments.iter().filter(is_large).copied().collect();
    let overlapping = overlapping(&ranges(table, &large)?);
    let large: Vec<&Segment> = large.into_iter().filter(|segment| overlapping.contains(&segment.id)).collect();
    let mut runs = runs(ranges(table, &large)?);
    runs.sort_by_key(Run::bytes);
    let out_of_order: u64 = runs.iter().rev().skip(1).map(Run::rows).sum();
    if !is_worth_sorting(out_of_order, segments, SORTED_MIN_PERCENT) {
        return Ok(BTreeSet::new());
    }
    let mut bytes = 0;
    let fits = |run: &&Run<'_>| {
        bytes += run.bytes();
        bytes <= SORT_MAX_BYTES
    };
    let merged: Vec<&Run<'_>> = runs.iter().take_while(fits).collect();
    if merged.len() < runs.len() && merged.len() < PARTIAL_SORT_MIN_RUNS {
        return Ok(BTreeSet::new());
    }
    Ok(merged.into_iter().flat_map(|run| &run.segments).map(|segment| segment.id).collect())
}

/// Whether `new` is better than `old`, from which it was made: otherwise it would be chosen again and again.
pub(super) fn is_better<'a>(
    table: &Table,
    choice: Choice,
    old: impl Iterator<Item = &'a Segment>,
    new: &[Segment],
) -> Result<bool> {
    let old: Vec<&Segment> = old.collect();
    let slices = |segment: &&Segment| segment.slice_count;
    if old.iter().map(slices).min() < new.iter().map(|segment| segment.slice_count).min() {
        return Ok(true);
    }
    if choice != Choice::Sorting {
        return Ok(new.len() < old.len() || old.iter().any(|segment| segment.delete_vector.is_some()));
    }
    let mut slices: BTreeMap<SliceId, Vec<&Segment>> = BTreeMap::new();
    for segment in new {
        slices.entry(segment.slice).or_default().push(segment);
    }
    for segments in slices.values() {
        if !overlapping(&ranges(table, segments)?).is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipher_common::SqlType;
    use slipher_common::ids::{ColumnId, TableId, Version};
    use slipher_common::manifest::{DeleteVector, Details, KnownColumn, SegmentColumns};
    use slipher_common::statistics::encode_bound;
    use slipher_proto::meta as proto;
    use std::sync::Arc;
    use uuid::Uuid;

    const KEY: ColumnId = ColumnId(1);
    const ROWS: u64 = 1 << 20;

    fn table() -> Table {
        let sql_type = Some(SqlType::BigInt.to_proto());
        let column = proto::Column { column_id: KEY.0, name: "k".to_owned(), r#type: sql_type, ..Default::default() };
        let dist_style = proto::DistStyle::Even.into();
        let sort_style = proto::SortStyle::Compound.into();
        let stored = proto::Table { columns: vec![column], sort_key: vec![KEY.0], dist_style, sort_style, ..Default::default() };
        Table::from_proto(&stored).unwrap()
    }

    fn segment(id: u128, rows: u64, megabytes: u64, (min, max): (i64, i64)) -> Segment {
        let bound = |value: i64| encode_bound(&ScalarValue::Int64(Some(value)), SqlType::BigInt, false).unwrap();
        let (min, max) = (bound(min), bound(max));
        let known = KnownColumn { column: KEY, nulls: 0, min: &min, max: &max, trailing_blanks: Default::default() };
        Segment {
            id: SegmentId(Uuid::from_u128(id)),
            table: TableId(1),
            slice: SliceId(0),
            slice_count: 8,
            rows,
            bytes: megabytes << 20,
            checksum: 0,
            nodes: Vec::new(),
            columns: SegmentColumns::new([known]),
            details: Details::of(&[]),
            placement_epoch: 0,
            sorted_by: vec![KEY],
            delete_vector: None,
        }
    }

    fn numbers(chosen: BTreeSet<SegmentId>) -> Vec<u128> {
        chosen.into_iter().map(|id| id.0.as_u128()).collect()
    }

    fn sorted(segments: &[Segment]) -> Vec<u128> {
        numbers(unsorted(&table(), &segments.iter().collect::<Vec<_>>()).unwrap())
    }

    fn compacted(segments: &[Segment], quiet: bool) -> Vec<u128> {
        numbers(tiny_and_worn(&segments.iter().collect::<Vec<_>>(), quiet))
    }

    #[test]
    fn what_overlaps_is_sorted_and_nothing_else() {
        let in_order = [segment(1, ROWS, 9, (0, 10)), segment(2, ROWS, 9, (10, 20)), segment(3, ROWS, 9, (25, 30))];
        assert_eq!(sorted(&in_order), []);
        let mut overlapping = in_order.to_vec();
        overlapping.push(segment(4, ROWS, 9, (26, 40)));
        assert_eq!(sorted(&overlapping), [3, 4]);
        // One that is in the way of all.
        overlapping.push(segment(5, ROWS, 9, (-5, 50)));
        assert_eq!(sorted(&overlapping), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_little_disorder_is_left_alone() {
        let large = 100 * TINY_SEGMENT_SIZES[1].0;
        let little = TINY_SEGMENT_SIZES[1].0;
        let disorder = |count: u128| -> Vec<Segment> {
            let more = (2..2 + count).map(|id| segment(id, little, 1, (0, 100)));
            std::iter::once(segment(1, large, 900, (0, 100))).chain(more).collect()
        };
        assert_eq!(sorted(&disorder(5)), []);
        assert_eq!(sorted(&disorder(6)).len(), 7);
        // Compaction's own.
        assert_eq!(sorted(&[segment(1, ROWS, 9, (0, 9)), segment(2, little - 1, 1, (0, 9))]), []);
        // A few wide rows are a large segment.
        assert_eq!(sorted(&[segment(1, 900, 9, (0, 9)), segment(2, 900, 9, (0, 9))]), [1, 2]);
    }

    #[test]
    fn what_is_too_large_gets_fewer_runs() {
        let huge = segment(1, 4 * ROWS, SORT_MAX_BYTES >> 20, (0, 100));
        let runs = |count: u128| -> Vec<Segment> {
            let more = (2..2 + count).map(|id| segment(id, ROWS, 9, (0, 100)));
            std::iter::once(huge.clone()).chain(more).collect()
        };
        assert_eq!(sorted(&runs(3)), []);
        assert_eq!(sorted(&runs(4)), [2, 3, 4, 5]);
        // What that made is one run: nothing is left to do.
        assert_eq!(sorted(&[huge.clone(), segment(6, 2 * ROWS, 18, (0, 50)), segment(7, 2 * ROWS, 18, (50, 100))]), []);
    }

    #[test]
    fn tiny_segments_are_merged_with_their_like() {
        let of_rows = |first: u128, count: u128, rows: u64| (first..first + count).map(move |id| segment(id, rows, 0, (0, 1)));
        let few: Vec<Segment> = of_rows(1, 15, 1).chain(of_rows(101, 15, 10_000)).chain(of_rows(201, 30, ROWS)).collect();
        assert_eq!(compacted(&few, false), []);
        assert_eq!(compacted(&few, true), (1..16).chain(101..116).collect::<Vec<u128>>());
        let many: Vec<Segment> = few.iter().cloned().chain(of_rows(50, 1, 1)).collect();
        assert_eq!(compacted(&many, false), (1..16).chain([50]).collect::<Vec<u128>>());
        let many: Vec<Segment> = few.iter().cloned().chain(of_rows(150, 1, 10_000)).collect();
        assert_eq!(compacted(&many, false), (1..16).chain(101..116).chain([150]).collect::<Vec<u128>>());
        assert_eq!(compacted(&few[..3], true), []);
        let wide: Vec<Segment> = (1..100).map(|id| segment(id, 1000, 100, (0, 1))).collect();
        assert_eq!(compacted(&wide, true), []);
    }

    #[test]
    fn vacuum_merges_what_becomes_fewer() {
        let merged = |rows: &[u64]| {
            let segments: Vec<Segment> =
                (1..).zip(rows).map(|(id, rows)| segment(id, *rows, 1, (id as i64, id as i64))).collect();
            numbers(asked(&table(), &segments.iter().collect::<Vec<_>>(), 95).unwrap()).len()
        };
        assert_eq!((merged(&[1, 1]), merged(&[1]), merged(&[ROWS, 1])), (2, 0, 0));
        assert_eq!(merged(&[100_000, 100_000, 4 * ROWS]), 2);
        // As a sink with little memory has cut them.
        assert_eq!(merged(&[700_000, 700_000, 700_000, 20_000]), 0);
        assert_eq!(merged(&[700_000, 700_000, 700_000, 20_000, 20_000]), 5);
    }

    #[test]
    fn coarse_segments_are_split_and_nothing_else() {
        let of = |id: u128, megabytes: u64, (slice, slice_count): (u32, u32)| {
            Arc::new(Segment { slice: SliceId(slice), slice_count, ..segment(id, ROWS, megabytes, (0, 9)) })
        };
        let every_node = Segment { slice: SliceId::ALL, slice_count: 0, ..segment(7, 9, 1, (0, 9)) };
        let all = [of(1, 900, (3, 8)), of(2, 100, (3, 8)), of(3, 100, (3, 8)), of(4, 1, (3, 16)), of(5, 1, (3, 32))];
        let all = all.into_iter().chain([of(6, 2000, (4, 8)), Arc::new(every_node)]).map(|segment| (segment.id, segment));
        let table = TableState {
            table: Arc::new(table()),
            created_version: Version(1),
            changed_version: Version(1),
            defined_version: Version(1),
            layout_version: Version(1),
            segments: Arc::default(),
            totals: Arc::default(),
        };
        let table = table.with_segments(all.collect());
        let chosen = |slice_count, choice| numbers(choose(&table, slice_count, choice).unwrap());
        assert_eq!(chosen(32, Choice::Splitting), [1, 2, 4, 6]);
        assert_eq!(chosen(32, Choice::Compaction { quiet: true }), []);
        assert_eq!(chosen(32, Choice::Sorting), []);
        let kind = VacuumKind::Full;
        assert_eq!(chosen(32, Choice::Asked { kind, sorted_percent: 95 }), [1, 2, 3, 4, 6]);
        assert_eq!(chosen(8, Choice::Splitting), []);
    }

    #[test]
    fn worn_segments_are_written_anew() {
        let deleted = |rows: u32| DeleteVector::new((0..rows).collect());
        let mut worn = segment(1, 1_000_000, 9, (0, 1));
        worn.delete_vector = deleted(199_999);
        assert_eq!(compacted(&[worn.clone()], true), []);
        worn.delete_vector = deleted(200_000);
        assert_eq!(compacted(&[worn], false), [1]);
    }
}
