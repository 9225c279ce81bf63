//! Statistics of a segment's columns, gathered while its rows are in memory.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, sort, take_record_batch};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use slipher_common::catalog::{Column, Table};
use slipher_common::distribution::hash_columns;
use slipher_common::functions::ends_in_blank;
use slipher_common::histogram::encode_histogram;
use slipher_common::manifest::{ColumnStatistics, TrailingBlanks};
use slipher_common::statistics::{DistinctSketch, encode_bound};
use slipher_common::{Error, Result};

/// Of fewer rows no histogram is kept: reading them costs less than being wrong about them.
const HISTOGRAM_MIN_ROWS: u64 = 4096;
/// A histogram is made from at least as many rows, if there are so many, and from at most twice as many.
const SAMPLE_MIN_ROWS: usize = 2048;

/// What decides how a column is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ColumnShape {
    /// Values that are not NULL.
    pub(crate) values: u64,
    /// About how many different ones.
    pub(crate) distinct: u64,
    /// Bytes of its strings of more than 12 bytes.
    pub(crate) text_bytes: u64,
}

/// Gathers the statistics of every column of a table.
pub(crate) struct StatisticsCollector<'a> {
    columns: Vec<ColumnCollector<'a>>,
    sample: Sample,
}

/// Rows picked by the hash of their numbers: the same ones in every run, and without a rhythm that values could have, too.
struct Sample {
    /// A row is kept when these bits of its hash are 0.
    mask: u64,
    /// Rows that came by.
    seen: u64,
    /// The ones that were kept, with their hashes.
    kept: Vec<(RecordBatch, Vec<u64>)>,
    kept_rows: usize,
}

/// SplitMix64's finalizer (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn row_hash(row: u64) -> u64 {
    let mut hash = row.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Sample {
    fn new() -> Self {
        Self { mask: 0, seen: 0, kept: Vec::new(), kept_rows: 0 }
    }

    fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.seen..self.seen + batch.num_rows() as u64;
        self.seen = rows.end;
        self.keep(batch, rows.map(row_hash))?;
        while self.kept_rows > 2 * SAMPLE_MIN_ROWS {
            self.mask = self.mask << 1 | 1;
            self.kept_rows = 0;
            for (batch, hashes) in std::mem::take(&mut self.kept) {
                self.keep(&batch, hashes.into_iter())?;
            }
        }
        Ok(())
    }

    /// Keeps those rows of `batch` whose hashes say so.
    fn keep(&mut self, batch: &RecordBatch, hashes: impl Iterator<Item = u64>) -> Result<()> {
        let (places, hashes): (Vec<u32>, Vec<u64>) = (0..).zip(hashes).filter(|(_, hash)| hash & self.mask == 0).unzip();
        if !places.is_empty() {
            self.kept_rows += places.len();
            self.kept.push((take_record_batch(batch, &UInt32Array::from(places))?, hashes));
        }
        Ok(())
    }

    /// The kept values of a column in their order, without NULL.
    fn sorted(&self, column: usize) -> Result<Vec<ScalarValue>> {
        let parts: Vec<&dyn Array> = self.kept.iter().map(|(batch, _)| batch.column(column).as_ref()).collect();
        if parts.is_empty() || self.seen < HISTOGRAM_MIN_ROWS {
            return Ok(Vec::new());
        }
        // NULLs come first.
        let values = sort(&concat(&parts)?, None)?;
        (values.null_count()..values.len()).map(|row| Ok(ScalarValue::try_from_array(&values, row)?)).collect()
    }
}

struct ColumnCollector<'a> {
    column: &'a Column,
    nulls: u64,
    shape: ColumnShape,
    min: MinAccumulator,
    max: MaxAccumulator,
    distinct: DistinctSketch,
    trailing_blanks: TrailingBlanks,
}

impl<'a> StatisticsCollector<'a> {
    pub(crate) fn new(table: &'a Table) -> Result<Self> {
        let columns = table
            .columns
            .iter()
            .map(|column| {
                let data_type = column.sql_type.to_arrow();
                Ok(ColumnCollector {
                    column,
                    nulls: 0,
                    shape: ColumnShape::default(),
                    min: MinAccumulator::try_new(&data_type)?,
                    max: MaxAccumulator::try_new(&data_type)?,
                    distinct: DistinctSketch::default(),
                    trailing_blanks: if data_type.is_string() { TrailingBlanks::None } else { TrailingBlanks::Unknown },
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { columns, sample: Sample::new() })
    }

    /// Takes up the rows of `batch`, which has the table's columns.
    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal(format!("{} columns instead of {}", batch.num_columns(), self.columns.len())));
        }
        self.sample.update(batch)?;
        self.columns.iter_mut().zip(batch.columns()).try_for_each(|(collector, values)| collector.update(values))
    }

    /// The statistics and the shape of each column.
    pub(crate) fn finish(self) -> Result<(Vec<ColumnStatistics>, Vec<ColumnShape>)> {
        let columns = self.columns.into_iter().enumerate();
        let finished: Vec<_> = columns
            .map(|(index, column)| {
                let is_bare = !column.column.sql_type.has_bounds();
                column.finish(&if is_bare { Vec::new() } else { self.sample.sorted(index)? })
            })
            .collect::<Result<_>>()?;
        Ok(finished.into_iter().unzip())
    }
}

impl ColumnCollector<'_> {
    fn update(&mut self, values: &ArrayRef) -> Result<()> {
        self.nulls += values.null_count() as u64;
        if values.null_count() == values.len() {
            return Ok(());
        }
        self.shape.values += (values.len() - values.null_count()) as u64;
        if let Some(strings) = values.as_string_view_opt() {
            self.shape.text_bytes += strings.total_buffer_bytes_used() as u64;
            if self.trailing_blanks == TrailingBlanks::None && ends_in_blank(strings) {
                self.trailing_blanks = TrailingBlanks::Some;
            }
        }
        if let Some(bytes) = values.as_binary_opt::<i32>() {
            self.shape.text_bytes += bytes.value_data().len() as u64;
        }
        if let Some(documents) = values.as_binary_view_opt() {
            self.shape.text_bytes += documents.total_buffer_bytes_used() as u64;
        }
        if self.column.sql_type.has_bounds() {
            self.min.update_batch(std::slice::from_ref(values))?;
            self.max.update_batch(std::slice::from_ref(values))?;
        }
        let hashes = hash_columns(std::slice::from_ref(values), values.len())?;
        match values.nulls().filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => nulls.valid_indices().for_each(|row| self.distinct.insert(hashes[row])),
            None => hashes.into_iter().for_each(|hash| self.distinct.insert(hash)),
        }
        Ok(())
    }

    /// `sorted` is a sample of the values.
    fn finish(mut self, sorted: &[ScalarValue]) -> Result<(ColumnStatistics, ColumnShape)> {
        let sql_type = self.column.sql_type;
        let (smallest, largest) = (self.min.evaluate()?, self.max.evaluate()?);
        let min = encode_bound(&smallest, sql_type, false);
        let max = encode_bound(&largest, sql_type, true);
        let histogram = match min.is_some() && max.is_some() {
            true => encode_histogram(sorted, (&smallest, &largest), sql_type),
            false => Vec::new(),
        };
        let statistics = ColumnStatistics {
            column: self.column.id,
            nulls: self.nulls,
            min: min.unwrap_or_default(),
            max: max.unwrap_or_default(),
            distinct_sketch: self.distinct.to_bytes(),
            histogram,
            trailing_blanks: self.trailing_blanks,
        };
        Ok((statistics, ColumnShape { distinct: self.distinct.estimate(), ..self.shape }))
    }
}
