//! What is known of a table's rows: the sum of what is known of its segments'.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use slipher_common::SqlType;
use slipher_common::catalog::Table;
use slipher_common::histogram::ColumnHistogram;
use slipher_common::manifest::{Segments, TrailingBlanks};
use slipher_common::selectivity::TableStatistics;
use slipher_common::statistics::{DistinctSketch, decode_bound};
use std::sync::Arc;

/// Statistics of a table from those of its segments: bounds are exact while no row is deleted.
pub fn table_statistics(table: &Table, segments: &Arc<Segments>) -> slipher_common::Result<TableStatistics> {
    let mut rows = 0usize;
    let mut bytes = 0usize;
    let mut any_deleted = false;
    let mut columns: Vec<ColumnTotal> = table.columns.iter().map(|_| ColumnTotal::default()).collect();
    for segment in segments.values() {
        rows += segment.live_rows() as usize;
        bytes += segment.bytes as usize;
        any_deleted |= segment.delete_vector.is_some();
        for (column, total) in table.columns.iter().zip(&mut columns) {
            match segment.columns.iter().find(|known| known.column == column.id) {
                Some(known) => total.add(known, segment.rows, column.sql_type)?,
                None => {
                    total.unknown = true;
                    total.blanks |= column.missing_value.as_ref().is_some_and(|value| value.ends_with(' '));
                }
            }
        }
    }
    let tight =
        table.columns.iter().zip(&columns).map(|(column, total)| !column.sql_type.to_arrow().is_string() || !total.blanks);
    let tight = tight.collect();
    let columns = columns.into_iter().map(|total| total.finish(rows));
    // A deleted row may have been the one with the bound.
    let columns = columns.map(|column| if any_deleted { column.to_inexact() } else { column });
    let engine = Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Inexact(bytes),
        column_statistics: columns.collect(),
    };
    let histogram = |column: &slipher_common::catalog::Column| {
        Arc::new(ColumnHistogram::new(Arc::clone(segments), column.id, column.sql_type))
    };
    Ok(TableStatistics { engine, histograms: table.columns.iter().map(histogram).collect(), tight })
}

#[derive(Default)]
struct ColumnTotal {
    nulls: u64,
    min: Option<(ScalarValue, bool)>,
    max: Option<(ScalarValue, bool)>,
    bounds_missing: bool,
    sketch: Option<DistinctSketch>,
    unknown: bool,
    /// Some string may end in a blank.
    blanks: bool,
}

impl ColumnTotal {
    fn add(
        &mut self,
        known: &slipher_common::manifest::ColumnStatistics,
        rows: u64,
        sql_type: SqlType,
    ) -> slipher_common::Result<()> {
        self.nulls += known.nulls;
        // CHAR is stored without them.
        self.blanks |=
            !matches!(sql_type, SqlType::Char(_)) && known.nulls < rows && known.trailing_blanks != TrailingBlanks::None;
        if known.nulls < rows {
            match (decode_bound(&known.min, sql_type)?, decode_bound(&known.max, sql_type)?) {
                (Some(min), Some(max)) => {
                    self.min = Some(pick(self.min.take(), min, std::cmp::Ordering::Less));
                    self.max = Some(pick(self.max.take(), max, std::cmp::Ordering::Greater));
                }
                _ => self.bounds_missing = true,
            }
        }
        match DistinctSketch::from_bytes(&known.distinct_sketch) {
            Some(sketch) => self.sketch.get_or_insert_default().merge(&sketch),
            None => self.unknown = true,
        }
        Ok(())
    }

    fn finish(self, rows: usize) -> ColumnStatistics {
        let bound = |bound: Option<(ScalarValue, bool)>| match bound {
            Some((value, true)) if !self.bounds_missing && !self.unknown => Precision::Exact(value),
            Some((value, false)) if !self.bounds_missing && !self.unknown => Precision::Inexact(value),
            _ => Precision::Absent,
        };
        let mut statistics = ColumnStatistics::new_unknown();
        if !self.unknown {
            statistics.null_count = Precision::Exact(self.nulls as usize);
            if let Some(sketch) = &self.sketch {
                statistics.distinct_count = Precision::Inexact((sketch.estimate() as usize).min(rows));
            }
        }
        statistics.min_value = bound(self.min);
        statistics.max_value = bound(self.max);
        statistics
    }
}

fn pick(old: Option<(ScalarValue, bool)>, new: (ScalarValue, bool), wanted: std::cmp::Ordering) -> (ScalarValue, bool) {
    match old {
        Some(old) if new.0.partial_cmp(&old.0) != Some(wanted) => old,
        _ => new,
    }
}
