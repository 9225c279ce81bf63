//! What is known of a table's rows: the sum of what is known of its segments'. It is kept up as segments come, and made anew when enough
//! have gone.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use imbl::ordmap::DiffItem;
use slipher_common::Result;
use slipher_common::SqlType;
use slipher_common::catalog::{Column, Table};
use slipher_common::histogram::ColumnHistogram;
use slipher_common::ids::ColumnId;
use slipher_common::manifest::{KnownColumn, ReadsDetails, Segment, SegmentDetails, Segments, TrailingBlanks};
use slipher_common::selectivity::TableStatistics;
use slipher_common::statistics::{DistinctSketch, decode_bound};
use slipher_meta::TableState;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Sketches cannot forget: when more than one row in so many is of a segment that has gone, they are made anew.
const STALE_ROWS_SHARE: u64 = 10;
/// Histograms are those of before while a table has grown by at most one row in so many.
const GROWN_ROWS_SHARE: u64 = 16;

/// What the segments of a table say of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    segments: Arc<Segments>,
    /// By the places of the columns in the table.
    bounds: Vec<Bounds>,
    distinct: Vec<Distinct>,
    /// Of the segments that there were when the table had [`Self::histogram_rows`].
    histograms: Vec<Arc<ColumnHistogram>>,
    histogram_rows: u64,
    /// Rows that the sketches counted and that have gone with their segments.
    stale_rows: u64,
}

/// The rows that segments have, as to one column.
#[derive(Clone, Debug, Default)]
struct Bounds {
    /// Segments that have the column.
    segments: usize,
    nulls: u64,
    min: Option<(ScalarValue, bool)>,
    max: Option<(ScalarValue, bool)>,
    /// Some segment does not know its own.
    missing: bool,
    /// Some string may end in a blank.
    blanks: bool,
}

/// The different values of one column.
#[derive(Clone, Debug, Default)]
struct Distinct {
    sketch: Option<DistinctSketch>,
    /// Some segment has none.
    missing: bool,
}

/// The columns of a table by their ids.
struct Places<'a> {
    table: &'a Table,
    places: HashMap<ColumnId, usize>,
}

impl<'a> Places<'a> {
    fn of(table: &'a Table) -> Self {
        Self { table, places: table.columns.iter().enumerate().map(|(place, column)| (column.id, place)).collect() }
    }

    /// The columns of a segment that the table still has, with their places and types.
    fn known<'s>(&self, segment: &'s Segment) -> impl Iterator<Item = (usize, SqlType, KnownColumn<'s>)> {
        let place = |known: KnownColumn<'s>| {
            let place = *self.places.get(&known.column)?;
            Some((place, self.table.columns.get(place)?.sql_type, known))
        };
        segment.columns.iter().filter_map(place)
    }
}

impl Summary {
    /// Of a table.
    pub(crate) fn of(table: &TableState, details: &Arc<dyn ReadsDetails>) -> Result<Self> {
        let (places, segments) = (Places::of(&table.table), &table.segments);
        let mut distinct = vec![Distinct::default(); table.table.columns.len()];
        segments.values().for_each(|segment| count_distinct(&mut distinct, &places, segment, &**details));
        Ok(Self {
            segments: Arc::clone(segments),
            bounds: all_bounds(&places, segments)?,
            distinct,
            histograms: histograms(table, details),
            histogram_rows: table.totals.all().rows,
            stale_rows: 0,
        })
    }

    /// The same of another version of the table, whose columns are the same; None where it must be made anew.
    pub(crate) fn advanced(&self, table: &TableState, details: &Arc<dyn ReadsDetails>) -> Result<Option<Self>> {
        let segments = &table.segments;
        let places = Places::of(&table.table);
        let (mut next, mut removed_rows) = (Self { segments: Arc::clone(segments), ..self.clone() }, 0);
        let mut added = Vec::new();
        for item in self.segments.diff(segments) {
            match item {
                DiffItem::Add(_, segment) => added.push(segment),
                DiffItem::Remove(_, segment) => removed_rows += segment.rows,
                // Rows of it were deleted, or it has moved.
                DiffItem::Update { .. } => {}
            }
        }
        next.stale_rows += removed_rows;
        let rows = table.totals.all().rows;
        if removed_rows > 0 || rows > next.histogram_rows + next.histogram_rows / GROWN_ROWS_SHARE {
            (next.histograms, next.histogram_rows) = (histograms(table, details), rows);
        }
        if next.stale_rows.saturating_mul(STALE_ROWS_SHARE) > rows {
            return Ok(None);
        }
        added.iter().for_each(|segment| count_distinct(&mut next.distinct, &places, segment, &**details));
        if removed_rows > 0 {
            // Bounds are exact: they do not outlive their segments.
            next.bounds = all_bounds(&places, segments)?;
        } else {
            added.iter().try_for_each(|segment| add_bounds(&mut next.bounds, &places, segment))?;
        }
        Ok(Some(next))
    }
}

/// They are read when somebody asks.
fn histograms(table: &TableState, details: &Arc<dyn ReadsDetails>) -> Vec<Arc<ColumnHistogram>> {
    let of_column = |column: &Column| {
        let (segments, details) = (Arc::clone(&table.segments), Arc::clone(details));
        Arc::new(ColumnHistogram::new(segments, details, column.id, column.sql_type))
    };
    table.table.columns.iter().map(of_column).collect()
}

fn all_bounds(places: &Places<'_>, segments: &Segments) -> Result<Vec<Bounds>> {
    let mut bounds = vec![Bounds::default(); places.table.columns.len()];
    segments.values().try_for_each(|segment| add_bounds(&mut bounds, places, segment))?;
    Ok(bounds)
}

fn add_bounds(bounds: &mut [Bounds], places: &Places<'_>, segment: &Segment) -> Result<()> {
    places.known(segment).try_for_each(|(place, sql_type, known)| bounds[place].add(known, segment.rows, sql_type))
}

fn count_distinct(distinct: &mut [Distinct], places: &Places<'_>, segment: &Segment, details: &dyn ReadsDetails) {
    let details = details.details(segment);
    for (place, _, known) in places.known(segment) {
        distinct[place].add(known.column, details.as_deref());
    }
}

/// What is known of a table.
pub fn table_statistics(table: &TableState, details: &Arc<dyn ReadsDetails>) -> Result<TableStatistics> {
    Ok(Summary::of(table, details)?.statistics(table))
}

impl Summary {
    /// What is known of the table: bounds are exact while no row is deleted.
    pub(crate) fn statistics(&self, table: &TableState) -> TableStatistics {
        let (summary, all, table) = (self, table.totals.all(), &table.table);
        let rows = all.live_rows() as usize;
        let columns = table.columns.iter().zip(summary.bounds.iter().zip(&summary.distinct));
        let columns = columns.map(|(column, (bounds, distinct))| {
            let everywhere = bounds.segments == summary.segments.len();
            let missing_blanks = column.missing_value.as_ref().is_some_and(|value| value.ends_with(' '));
            let blanks = bounds.blanks || !everywhere && missing_blanks;
            let known = if everywhere { bounds.finish(distinct, rows) } else { ColumnStatistics::new_unknown() };
            // A deleted row may have been the one with the bound.
            let known = if all.deleted_rows > 0 { known.to_inexact() } else { known };
            (known, !column.sql_type.to_arrow().is_string() || !blanks)
        });
        let (column_statistics, tight) = columns.unzip();
        let engine = Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Inexact(all.bytes as usize),
            column_statistics,
        };
        TableStatistics { engine, histograms: self.histograms.clone(), tight }
    }
}

impl Bounds {
    fn add(&mut self, known: KnownColumn<'_>, rows: u64, sql_type: SqlType) -> Result<()> {
        self.segments += 1;
        self.nulls += known.nulls;
        // CHAR is stored without them.
        self.blanks |=
            !matches!(sql_type, SqlType::Char(_)) && known.nulls < rows && known.trailing_blanks != TrailingBlanks::None;
        if known.nulls < rows {
            match (decode_bound(known.min, sql_type)?, decode_bound(known.max, sql_type)?) {
                (Some(min), Some(max)) => {
                    self.min = Some(pick(self.min.take(), min, Ordering::Less));
                    self.max = Some(pick(self.max.take(), max, Ordering::Greater));
                }
                _ => self.missing = true,
            }
        }
        Ok(())
    }

    fn finish(&self, distinct: &Distinct, rows: usize) -> ColumnStatistics {
        let bound = |bound: &Option<(ScalarValue, bool)>| match bound {
            Some((value, true)) if !self.missing => Precision::Exact(value.clone()),
            Some((value, false)) if !self.missing => Precision::Inexact(value.clone()),
            _ => Precision::Absent,
        };
        let mut statistics = ColumnStatistics::new_unknown();
        statistics.null_count = Precision::Exact(self.nulls as usize);
        if let Some(sketch) = distinct.sketch.as_ref().filter(|_| !distinct.missing) {
            statistics.distinct_count = Precision::Inexact((sketch.estimate() as usize).min(rows));
        }
        statistics.min_value = bound(&self.min);
        statistics.max_value = bound(&self.max);
        statistics
    }
}

impl Distinct {
    fn add(&mut self, column: ColumnId, details: Option<&SegmentDetails>) {
        let details = details.and_then(|details| details.of(column));
        match details.and_then(|details| DistinctSketch::from_bytes(&details.distinct_sketch)) {
            Some(sketch) => self.sketch.get_or_insert_default().merge(&sketch),
            None => self.missing = true,
        }
    }
}

fn pick(old: Option<(ScalarValue, bool)>, new: (ScalarValue, bool), wanted: Ordering) -> (ScalarValue, bool) {
    match old {
        Some(old) if new.0.partial_cmp(&old.0) != Some(wanted) => old,
        _ => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use slipher_common::ids::{SegmentId, SliceId, TableId, Version};
    use slipher_common::manifest::{DeleteVector, Details, InlineDetails, SegmentColumns};
    use slipher_common::statistics::encode_bound;
    use slipher_proto::meta as proto;

    fn table() -> TableState {
        let column = |column_id: u32| proto::Column {
            column_id,
            name: format!("c{column_id}"),
            r#type: Some(SqlType::BigInt.to_proto()),
            ..proto::Column::default()
        };
        let dist_style = proto::DistStyle::Even.into();
        let columns = (1..=3).map(column).collect();
        let stored = proto::Table { table_id: 1, columns, dist_style, ..proto::Table::default() };
        let first = Version(1);
        TableState {
            table: Arc::new(Table::from_proto(&stored).unwrap()),
            created_version: first,
            changed_version: first,
            defined_version: first,
            layout_version: first,
            segments: Arc::default(),
            totals: Arc::default(),
        }
    }

    /// A segment with two or three of the columns, and NULLs.
    fn segment(number: u128, random: &mut StdRng) -> Segment {
        let rows = random.random_range(1..50);
        let columns = (1..=random.random_range(2..=3)).map(|column| {
            let values: Vec<i64> = (0..random.random_range(0..=rows)).map(|_| random.random_range(-100..100)).collect();
            let mut sketch = DistinctSketch::default();
            values.iter().for_each(|value| sketch.insert((*value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let bound = |value: Option<&i64>| {
                value
                    .and_then(|value| encode_bound(&ScalarValue::Int64(Some(*value)), SqlType::BigInt, false))
                    .unwrap_or_default()
            };
            slipher_common::manifest::ColumnStatistics {
                column: ColumnId(column),
                nulls: rows - values.len() as u64,
                min: bound(values.iter().min()),
                max: bound(values.iter().max()),
                distinct_sketch: sketch.to_bytes(),
                histogram: Vec::new(),
                trailing_blanks: TrailingBlanks::Unknown,
            }
        });
        let columns: Vec<_> = columns.collect();
        Segment {
            id: SegmentId(uuid::Uuid::from_u128(number)),
            table: TableId(1),
            slice: SliceId(0),
            slice_count: 8,
            rows,
            bytes: 100,
            checksum: 0,
            nodes: Vec::new(),
            columns: SegmentColumns::new(columns.iter().map(KnownColumn::from)),
            details: Details::of(&columns),
            placement_epoch: 0,
            sorted_by: Vec::new(),
            delete_vector: None,
        }
    }

    /// What is kept up is what would be found anew, but for different values that have gone.
    #[test]
    fn what_is_known_follows_the_segments() {
        let details: Arc<dyn ReadsDetails> = Arc::new(InlineDetails);
        let (mut kept_up, mut forgotten) = (0, 0);
        for seed in 0..40 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut table = table();
            let mut known = Summary::of(&table, &details).unwrap();
            for step in 0..60u128 {
                let mut segments = Segments::clone(&table.segments);
                for part in 0..random.random_range(0..3) {
                    let added = segment(step * 10 + part, &mut random);
                    segments.insert(added.id, Arc::new(added));
                }
                let some = segments.keys().nth(random.random_range(0..=segments.len())).copied();
                match (some, random.random_range(0..8)) {
                    (Some(id), 0) => drop(segments.remove(&id)),
                    (Some(id), 1) => {
                        let worn = Segment {
                            delete_vector: DeleteVector::new([0].into_iter().collect()),
                            ..Segment::clone(&segments[&id])
                        };
                        segments.insert(id, Arc::new(worn));
                    }
                    _ => {}
                }
                table = table.with_segments(segments);
                let anew = Summary::of(&table, &details).unwrap();
                let advanced = known.advanced(&table, &details).unwrap();
                kept_up += usize::from(advanced.is_some());
                forgotten += usize::from(advanced.is_none());
                known = advanced.unwrap_or_else(|| anew.clone());
                let (mut is, should) = (known.statistics(&table), anew.statistics(&table));
                assert_eq!((is.engine.num_rows, &is.tight), (should.engine.num_rows, &should.tight));
                for (is, should) in is.engine.column_statistics.iter_mut().zip(&should.engine.column_statistics) {
                    let (more, fewer) = (is.distinct_count.get_value(), should.distinct_count.get_value());
                    assert!(more >= fewer, "{more:?} values, {fewer:?} are there");
                    assert!(known.stale_rows > 0 || more == fewer, "{more:?} values, {fewer:?} are there");
                    is.distinct_count = should.distinct_count;
                    assert_eq!(is, should, "seed {seed}, step {step}");
                }
            }
        }
        assert!(kept_up > 1_000 && forgotten > 20, "{kept_up} times kept up, {forgotten} times made anew");
    }
}
