//! Scans that say which row of which segment each row is, for UPDATE and DELETE.

use super::{Predicates, Scanner, predicate};
use crate::store::FileStamp;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use slipher_common::plan::{LaneScan, ROW_ID_COLUMN, SegmentRef, row_id};
use slipher_common::{Error, Result};
use std::sync::Arc;

/// Whether a scan yields row ids: its schema has their column behind those of the table.
pub(super) fn are_wanted(lane: &LaneScan) -> bool {
    lane.schema.fields().last().is_some_and(|field| field.name() == ROW_ID_COLUMN)
}

/// What is done with each batch of one segment.
struct Numbering {
    segment: SegmentRef,
    /// Row number of the next batch's first row.
    next: u32,
    /// Over the columns that are read.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// For each output column the column that is read; None for the row id.
    output: Vec<Option<usize>>,
    schema: SchemaRef,
}

impl Scanner {
    /// Rows of one lane with their ids. Each segment is read whole and in stored order, so that rows can be counted; filters come after.
    pub(super) fn open_with_row_ids(
        &self,
        lane: LaneScan,
        stamps: Vec<FileStamp>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let id_column = lane.schema.fields().len() - 1;
        let columns = columns_to_read(&lane.projection, &lane.predicates, id_column);
        let predicate = match lane.predicates.is_empty() {
            true => None,
            false => Some(predicate::over_columns(conjunction(lane.predicates.clone()), &columns)?),
        };
        let output: Vec<Option<usize>> =
            lane.projection.iter().map(|index| columns.iter().position(|column| column == index)).collect();
        let schema = Arc::new(lane.schema.project(&lane.projection)?);
        let table_schema = Arc::new(Schema::new(lane.schema.fields()[..id_column].to_vec()));
        let scanner = self.clone();
        let output_schema = Arc::clone(&schema);
        let segments = lane.segments.clone().into_iter().zip(stamps);
        let rows = futures::stream::iter(segments).flat_map(move |(segment, stamp)| {
            let whole = LaneScan {
                schema: Arc::clone(&table_schema),
                projection: columns.clone(),
                predicates: Vec::new(),
                segments: vec![SegmentRef { delete_vector: None, ..segment.clone() }],
                limit: None,
                ..lane.clone()
            };
            // Rows of a part are numbered as in the file.
            let next = segment.part.as_ref().map_or(0, |part| part.start as u32);
            let numbering =
                Numbering { segment, next, predicate: predicate.clone(), output: output.clone(), schema: Arc::clone(&schema) };
            match scanner.open(&whole, &[stamp], Arc::clone(&context)) {
                Ok(batches) => numbered(batches, numbering, Arc::clone(&whole.schema), columns.clone()).boxed(),
                Err(error) => futures::stream::iter([Err(DataFusionError::from(error))]).boxed(),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(output_schema, rows)))
    }
}

/// The table's columns that the output or a filter needs.
fn columns_to_read(projection: &[usize], predicates: &Predicates, id_column: usize) -> Vec<usize> {
    let filtered = predicates.iter().flat_map(collect_columns).map(|column| column.index()).collect::<Vec<_>>();
    let mut columns: Vec<usize> = projection.iter().chain(&filtered).copied().filter(|index| *index != id_column).collect();
    columns.sort_unstable();
    columns.dedup();
    // A scan of no column at all would have no batches to count.
    if columns.is_empty() {
        columns.push(0);
    }
    columns
}

fn numbered(
    batches: SendableRecordBatchStream,
    numbering: Numbering,
    table_schema: SchemaRef,
    columns: Vec<usize>,
) -> impl futures::Stream<Item = EngineResult<RecordBatch>> {
    futures::stream::unfold((batches, numbering), move |(mut batches, mut numbering)| {
        let logical = table_schema.project(&columns);
        async move {
            let batch = batches.next().await?;
            let done = batch.and_then(|batch| {
                let logical = crate::segment::storage::with_types(&batch, &Arc::new(logical?))?;
                Ok(numbering.take(&logical)?)
            });
            Some((done, (batches, numbering)))
        }
    })
}

impl Numbering {
    fn take(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let first = self.next;
        let rows = u32::try_from(batch.num_rows()).ok().and_then(|rows| first.checked_add(rows));
        self.next = rows.ok_or_else(|| Error::internal(format!("segment {} has too many rows to number", self.segment.id)))?;
        let ids: ArrayRef =
            Arc::new(Int64Array::from_iter_values((first..self.next).map(|row| row_id(self.segment.number, row))));
        let columns = self.output.iter().map(|column| match column {
            Some(index) => Arc::clone(batch.column(*index)),
            None => Arc::clone(&ids),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let all = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options)?;
        match self.mask(batch, first)? {
            Some(mask) => Ok(filter_record_batch(&all, &mask)?),
            None => Ok(all),
        }
    }

    /// The rows that are there and pass the filters; None: all.
    fn mask(&self, batch: &RecordBatch, first: u32) -> Result<Option<BooleanArray>> {
        let passing = match &self.predicate {
            Some(predicate) => {
                let values = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
                let values = values.as_boolean();
                Some(if values.null_count() > 0 { prep_null_mask_filter(values) } else { values.clone() })
            }
            None => None,
        };
        let Some(deleted) = &self.segment.delete_vector else { return Ok(passing) };
        let there = BooleanArray::from_iter((first..self.next).map(|row| Some(!deleted.rows().contains(row))));
        Ok(Some(match passing {
            Some(passing) => and(&passing, &there)?,
            None => there,
        }))
    }
}
