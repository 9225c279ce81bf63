//! What is known of a table's rows: the sum of what is known of its segments'. It is kept up as segments come, and made anew when enough
//! have gone.

use crate::meta::TableState;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use imbl::ordmap::DiffItem;
use slipher_common::Result;
use slipher_common::SqlType;
use slipher_common::catalog::Table;
use slipher_common::histogram::ColumnHistogram;
use slipher_common::ids::ColumnId;
use slipher_common::manifest::{KnownColumn, ReadsDetails, Segment, SegmentDetails, Segments, TrailingBlanks};
use slipher_common::selectivity::TableStatistics;
use slipher_common::statistics::{DistinctSketch, decode_bound};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Sketches cannot forget: when more than one row in so many is of a segment that has gone, they are made anew.
const STALE_ROWS_SHARE: u64 = 10;

/// What the segments of a table say of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    segments: Arc<Segments>,
    /// By the places of the columns in the table.
    bounds: Vec<Bounds>,
    distinct: Vec<Distinct>,
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
    pub(crate) fn of(table: &TableState, details: &dyn ReadsDetails) -> Result<Self> {
        let (places, segments) = (Places::of(&table.table), &table.segments);
        let mut distinct = vec![Distinct::default(); table.table.columns.len()];
        segments.values().for_each(|segment| count_distinct(&mut distinct, &places, segment, details));
        Ok(Self { segments: Arc::clone(segments), bounds: all_bounds(&places, segments)?, distinct, stale_rows: 0 })
    }

    /// The same of another version of the table, whose columns are the same; None where it must be made anew.
    pub(crate) fn advanced(&self, table: &TableState, details: &dyn ReadsDetails) -> Result<Option<Self>> {
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
        if next.stale_rows.saturating_mul(STALE_ROWS_SHARE) > table.totals.all().rows {
            return Ok(None);
        }
        added.iter().for_each(|segment| count_distinct(&mut next.distinct, &places, segment, details));
        if removed_rows > 0 {
            // Bounds are exact: they do not outlive their segments.
            next.bounds = all_bounds(&places, segments)?;
        } else {
            added.iter().try_for_each(|segment| add_bounds(&mut next.bounds, &places, segment))?;
        }
        Ok(Some(next))
    }
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
    Ok(Summary::of(table, &**details)?.statistics(table, details))
}

impl Summary {
    /// What is known of the table: bounds are exact while no row is deleted.
    pub(crate) fn statistics(&self, table: &TableState, details: &Arc<dyn ReadsDetails>) -> TableStatistics {
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
        let histogram = |column: &slipher_common::catalog::Column| {
            let (segments, details) = (Arc::clone(&summary.segments), Arc::clone(details));
            Arc::new(ColumnHistogram::new(segments, details, column.id, column.sql_type))
        };
        TableStatistics { engine, histograms: table.columns.iter().map(histogram).collect(), tight }
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
