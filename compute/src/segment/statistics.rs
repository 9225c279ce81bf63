//! Statistics of a segment's columns, gathered while its rows are in memory.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use slipher_common::catalog::{Column, Table};
use slipher_common::distribution::hash_columns;
use slipher_common::manifest::ColumnStatistics;
use slipher_common::statistics::{DistinctSketch, encode_bound};
use slipher_common::{Error, Result};

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
        Ok(Self { columns })
    }

    /// Takes up the rows of `batch`, which has the table's columns.
    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal(format!("{} columns instead of {}", batch.num_columns(), self.columns.len())));
        }
        self.columns.iter_mut().zip(batch.columns()).try_for_each(|(collector, values)| collector.update(values))
    }

    /// The statistics and the shape of each column.
    pub(crate) fn finish(self) -> Result<(Vec<ColumnStatistics>, Vec<ColumnShape>)> {
        let finished: Vec<_> = self.columns.into_iter().map(ColumnCollector::finish).collect::<Result<_>>()?;
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

    fn finish(mut self) -> Result<(ColumnStatistics, ColumnShape)> {
        let sql_type = self.column.sql_type;
        let min = encode_bound(&self.min.evaluate()?, sql_type, false);
        let max = encode_bound(&self.max.evaluate()?, sql_type, true);
        let statistics = ColumnStatistics {
            column: self.column.id,
            nulls: self.nulls,
            min: min.unwrap_or_default(),
            max: max.unwrap_or_default(),
            distinct_sketch: self.distinct.to_bytes(),
        };
        Ok((statistics, ColumnShape { distinct: self.distinct.estimate(), ..self.shape }))
    }
}
