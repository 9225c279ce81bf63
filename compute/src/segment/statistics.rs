//! Statistics of a segment's columns, gathered while its rows are in memory.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, sort, take_record_batch};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use slipher_common::catalog::{Column, Table};
use slipher_common::distribution::hash_columns;
use slipher_common::histogram::encode_histogram;
use slipher_common::manifest::ColumnStatistics;
use slipher_common::statistics::{DistinctSketch, encode_bound};
use slipher_common::{Error, Result};

/// Of fewer rows no histogram is kept: reading them costs less than being wrong about them.
const HISTOGRAM_MIN_ROWS: usize = 1024;
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

/// Every `stride`-th row.
struct Sample {
    stride: usize,
    /// Rows that came by.
    seen: usize,
    /// The ones that were kept.
    kept: Vec<RecordBatch>,
    kept_rows: usize,
}

impl Sample {
    fn new() -> Self {
        Self { stride: 1, seen: 0, kept: Vec::new(), kept_rows: 0 }
    }

    fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let first = self.seen.next_multiple_of(self.stride) - self.seen;
        self.seen += batch.num_rows();
        self.keep(batch, first)?;
        while self.kept_rows > 2 * SAMPLE_MIN_ROWS {
            self.thin()?;
        }
        Ok(())
    }

    /// Keeps every `stride`-th row of `batch` from `first` on.
    fn keep(&mut self, batch: &RecordBatch, first: usize) -> Result<()> {
        if first < batch.num_rows() {
            let rows: UInt32Array = (first as u32..batch.num_rows() as u32).step_by(self.stride).collect::<Vec<_>>().into();
            self.kept_rows += rows.len();
            self.kept.push(take_record_batch(batch, &rows)?);
        }
        Ok(())
    }

    /// Lets every other row go.
    fn thin(&mut self) -> Result<()> {
        let kept = std::mem::take(&mut self.kept);
        let mut first = 0;
        self.kept_rows = 0;
        let stride = std::mem::replace(&mut self.stride, 2);
        for batch in &kept {
            self.keep(batch, first)?;
            first = (first + batch.num_rows()) % 2;
        }
        self.stride = stride * 2;
        Ok(())
    }

    /// The kept values of a column in their order, without NULL.
    fn sorted(&self, column: usize) -> Result<Vec<ScalarValue>> {
        let parts: Vec<&dyn Array> = self.kept.iter().map(|batch| batch.column(column).as_ref()).collect();
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
        let finished: Vec<_> =
            columns.map(|(index, column)| column.finish(&self.sample.sorted(index)?)).collect::<Result<_>>()?;
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
        }
        self.min.update_batch(std::slice::from_ref(values))?;
        self.max.update_batch(std::slice::from_ref(values))?;
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
        };
        Ok((statistics, ColumnShape { distinct: self.distinct.estimate(), ..self.shape }))
    }
}
