//! What the segments of a table add up to. Kept by `apply`, so that nobody walks through all of them to know it.

use imbl::OrdMap;
use slipher_common::ids::{ColumnId, NodeId, SliceId};
use slipher_common::manifest::Segment;
use std::collections::BTreeMap;

/// Some segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many there are.
    pub segments: u64,
    /// Their rows, deleted ones too.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows that are deleted.
    pub deleted_rows: u64,
}

impl Sums {
    fn of(segment: &Segment) -> Self {
        Self { segments: 1, rows: segment.rows, bytes: segment.bytes, deleted_rows: segment.deleted_rows() }
    }

    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.deleted_rows)
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            segments: self.segments.saturating_add(other.segments),
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            deleted_rows: self.deleted_rows.saturating_add(other.deleted_rows),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            segments: self.segments.saturating_sub(other.segments),
            rows: self.rows.saturating_sub(other.rows),
            bytes: self.bytes.saturating_sub(other.bytes),
            deleted_rows: self.deleted_rows.saturating_sub(other.deleted_rows),
        }
    }
}

/// A column in the segments that know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    segments: u64,
    nulls: u64,
}

/// Segments by the number of slices that the cluster had when they were written; without copies on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceCounts(OrdMap<u32, u64>);

impl SliceCounts {
    /// The fewest slices that a segment was written under.
    pub fn fewest(&self) -> Option<u32> {
        self.0.get_min().map(|(slice_count, _)| *slice_count)
    }

    /// Segments that were written under fewer slices than these.
    pub fn below(&self, slice_count: u32) -> u64 {
        self.0.range(..slice_count).map(|(_, segments)| *segments).sum()
    }

    /// Puts the segments of a table there, or of others, too.
    pub(super) fn add(&mut self, others: &Self) {
        others.0.iter().for_each(|(slice_count, segments)| self.put(*slice_count, *segments));
    }

    /// Takes them away.
    pub(super) fn remove(&mut self, others: &Self) {
        others.0.iter().for_each(|(slice_count, segments)| self.take(*slice_count, *segments));
    }

    fn put(&mut self, slice_count: u32, segments: u64) {
        let sum = self.0.entry(slice_count).or_default();
        *sum = sum.saturating_add(segments);
    }

    fn take(&mut self, slice_count: u32, segments: u64) {
        let left = self.0.get(&slice_count).copied().unwrap_or_default().saturating_sub(segments);
        match left {
            0 => drop(self.0.remove(&slice_count)),
            _ => drop(self.0.insert(slice_count, left)),
        }
    }
}

/// The totals of one table. Equal segments have equal totals, whatever was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    all: Sums,
    slices: OrdMap<SliceId, Sums>,
    copies: OrdMap<(SliceId, NodeId), Sums>,
    columns: OrdMap<ColumnId, Known>,
    slice_counts: SliceCounts,
}

impl Totals {
    /// Of some segments.
    pub fn of<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> Self {
        let mut totals = Self::default();
        totals.add_all(segments);
        totals
    }

    /// All segments.
    pub fn all(&self) -> Sums {
        self.all
    }

    /// Under how many slices they were written.
    pub fn slice_counts(&self) -> &SliceCounts {
        &self.slice_counts
    }

    /// Those of a slice, by its number: coarse ones, too, whatever they were written under.
    pub fn of_slice(&self, slice: SliceId) -> Sums {
        self.slices.get(&slice).copied().unwrap_or_default()
    }

    /// The slices that have any.
    pub fn slices(&self) -> impl Iterator<Item = (SliceId, Sums)> {
        self.slices.iter().map(|(slice, sums)| (*slice, *sums))
    }

    /// Those of a slice with a copy on a node.
    pub fn of_copies(&self, slice: SliceId, node: NodeId) -> Sums {
        self.copies.get(&(slice, node)).copied().unwrap_or_default()
    }

    /// Those with a copy on a node.
    pub fn on_node(&self, node: NodeId) -> Sums {
        self.slices.keys().map(|slice| self.of_copies(*slice, node)).fold(Sums::default(), Sums::plus)
    }

    /// NULLs of a column among all rows, deleted ones too; None where a segment does not say.
    pub fn nulls(&self, column: ColumnId) -> Option<u64> {
        let known = self.columns.get(&column).copied().unwrap_or_default();
        (known.segments == self.all.segments).then_some(known.nulls)
    }

    /// Many at once cost each little: they are added up first.
    pub(super) fn add_all<'a>(&mut self, segments: impl IntoIterator<Item = &'a Segment>) {
        let mut tally = Tally::default();
        segments.into_iter().for_each(|segment| tally.add(segment));
        for (slice, sums) in tally.slices {
            let slice = self.slices.entry(slice).or_default();
            *slice = slice.plus(sums);
            self.all = self.all.plus(sums);
        }
        for (place, sums) in tally.copies {
            let copy = self.copies.entry(place).or_default();
            *copy = copy.plus(sums);
        }
        for (column, added) in tally.columns {
            let known = self.columns.entry(column).or_default();
            known.segments = known.segments.saturating_add(added.segments);
            known.nulls = known.nulls.saturating_add(added.nulls);
        }
        tally.slice_counts.into_iter().for_each(|(slice_count, segments)| self.slice_counts.put(slice_count, segments));
    }

    pub(super) fn remove(&mut self, segment: &Segment) {
        let sums = Sums::of(segment);
        self.all = self.all.minus(sums);
        if segment.slice != SliceId::ALL {
            self.slice_counts.take(segment.slice_count, 1);
        }
        take(&mut self.slices, segment.slice, sums);
        for node in &segment.nodes {
            take(&mut self.copies, (segment.slice, *node), sums);
        }
        for column in segment.columns.iter() {
            let known = self.columns.entry(column.column).or_default();
            known.segments = known.segments.saturating_sub(1);
            known.nulls = known.nulls.saturating_sub(column.nulls);
            if known.segments == 0 {
                self.columns.remove(&column.column);
            }
        }
    }
}

/// What some segments add up to, in maps of which nobody has the former ones.
#[derive(Default)]
struct Tally {
    slices: BTreeMap<SliceId, Sums>,
    copies: BTreeMap<(SliceId, NodeId), Sums>,
    /// In the order in which segments have them, which is the same for most.
    columns: Vec<(ColumnId, Known)>,
    slice_counts: BTreeMap<u32, u64>,
}

impl Tally {
    fn add(&mut self, segment: &Segment) {
        let sums = Sums::of(segment);
        let slice = self.slices.entry(segment.slice).or_default();
        *slice = slice.plus(sums);
        for node in &segment.nodes {
            let copy = self.copies.entry((segment.slice, *node)).or_default();
            *copy = copy.plus(sums);
        }
        if segment.slice != SliceId::ALL {
            *self.slice_counts.entry(segment.slice_count).or_default() += 1;
        }
        for (place, column) in segment.columns.iter().enumerate() {
            let known = self.column(place, column.column);
            known.segments = known.segments.saturating_add(1);
            known.nulls = known.nulls.saturating_add(column.nulls);
        }
    }

    /// A column, which probably stands at this place.
    fn column(&mut self, place: usize, column: ColumnId) -> &mut Known {
        let stands = |(id, _): &(ColumnId, Known)| *id == column;
        let place = if self.columns.get(place).is_some_and(stands) { Some(place) } else { self.columns.iter().position(stands) };
        let place = place.unwrap_or_else(|| {
            self.columns.push((column, Known::default()));
            self.columns.len() - 1
        });
        &mut self.columns[place].1
    }
}

/// What is nothing any more is not there any more.
fn take<K: Ord + Copy>(sums_by: &mut OrdMap<K, Sums>, key: K, sums: Sums) {
    let left = sums_by.get(&key).copied().unwrap_or_default().minus(sums);
    if left.segments == 0 {
        sums_by.remove(&key);
    } else {
        sums_by.insert(key, left);
    }
}
