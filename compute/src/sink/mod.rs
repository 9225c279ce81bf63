//! Writes the rows of one lane: routes them to slices, buffers and sorts them, writes segments, copies those to replicas, and
//! answers their receipts.

mod buffer;
mod route;
#[cfg(test)]
mod tests;

use crate::recent::{RECENT_SEGMENT_MAX_ROWS, RecentRows};
use crate::replicate::{Peers, SegmentFile};
use crate::segment::{OrderedRows, SEGMENT_ROWS_MAX, SegmentTarget, write_segment};
use crate::store::Store;
use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use buffer::SliceBuffer;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use futures::future::try_join_all;
use route::Router;
use slipher_common::fail_point;
use slipher_common::ids::SliceId;
use slipher_common::manifest::Segment;
use slipher_common::plan::LaneSink;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::task::JoinSet;
use vortex::session::VortexSession;

/// Most bytes of rows that a lane holds before it writes its fullest slice out. Writing needs about as much again for that slice,
/// and Vortex some megabytes per column.
const LANE_BUFFER_BYTES_MAX: usize = 160 << 20;
/// Most written segments of a lane that are being copied while the lane goes on.
const COPIES_PENDING_MAX: usize = 2;
/// What a buffered byte counts in the memory pool: sorting holds the rows twice.
const RESERVED_PER_BUFFERED_BYTE: usize = 2;

/// What a node keeps for its sinks.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) store: Arc<Store>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) session: VortexSession,
    /// Where rows of tiny segments stay in memory.
    pub(crate) recent: Arc<RecentRows>,
    /// Where round robin starts: small inserts would otherwise all land in a lane's first slice.
    pub(crate) first_slice: usize,
    /// Most buffered bytes.
    pub(crate) buffer_bytes_max: usize,
}

impl Sink {
    pub(crate) fn new(store: Arc<Store>, peers: Arc<Peers>, session: VortexSession, first_slice: usize) -> Self {
        Self { store, peers, session, recent: Arc::default(), first_slice, buffer_bytes_max: LANE_BUFFER_BYTES_MAX }
    }

    /// Writes all rows of `input`; the receipts are in slice order.
    pub(crate) async fn run(
        self,
        lane: LaneSink,
        mut input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> Result<Vec<Segment>> {
        let mut writer = LaneWriter::new(self, lane, &context)?;
        while let Some(batch) = input.next().await {
            writer.push(batch?).await?;
        }
        writer.finish().await
    }
}

struct LaneWriter {
    sink: Sink,
    lane: LaneSink,
    schema: SchemaRef,
    router: Router,
    slices: Vec<SliceBuffer>,
    reservation: MemoryReservation,
    copies: JoinSet<Result<Segment>>,
    receipts: Vec<Segment>,
}

impl LaneWriter {
    fn new(sink: Sink, lane: LaneSink, context: &TaskContext) -> Result<Self> {
        let schema = lane.table.arrow_schema();
        let router = Router::new(&lane, sink.first_slice)?;
        let slices = lane.slices.iter().map(|_| SliceBuffer::new(&schema)).collect();
        let name = format!("SliceSink[{}]", lane.table);
        let reservation = MemoryConsumer::new(name).with_can_spill(true).register(context.memory_pool());
        Ok(Self { sink, lane, schema, router, slices, reservation, copies: JoinSet::new(), receipts: Vec::new() })
    }

    async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.checked(batch)?;
        self.router.route(batch, &mut self.slices)?;
        for slice in 0..self.slices.len() {
            if self.slices[slice].rows() >= SEGMENT_ROWS_MAX {
                self.write(slice).await?;
            }
        }
        self.make_room().await
    }

    /// Writes the fullest slices out until the rest fits the lane's limit and the query's memory.
    async fn make_room(&mut self) -> Result<()> {
        loop {
            let bytes: usize = self.slices.iter().map(SliceBuffer::bytes).sum();
            let reserved = if bytes <= self.sink.buffer_bytes_max {
                self.reservation.try_resize(bytes.saturating_mul(RESERVED_PER_BUFFERED_BYTE))
            } else {
                Ok(())
            };
            if reserved.is_ok() && bytes <= self.sink.buffer_bytes_max {
                return Ok(());
            }
            let fullest = (0..self.slices.len()).filter(|i| self.slices[*i].rows() > 0).max_by_key(|i| self.slices[*i].bytes());
            match (fullest, reserved) {
                (Some(slice), _) => self.write(slice).await?,
                (None, Err(e)) => return Err(e.into()),
                (None, Ok(())) => return Ok(()),
            }
        }
    }

    /// Writes one slice's rows as a segment and starts its copies.
    async fn write(&mut self, slice: usize) -> Result<()> {
        let batches = self.slices[slice].take()?;
        if batches.is_empty() {
            return Ok(());
        }
        let placed = self.lane.slices[slice].clone();
        let target = SegmentTarget {
            table: Arc::clone(&self.lane.table),
            slice: placed.slice,
            slice_count: if placed.slice == SliceId::ALL { 0 } else { self.lane.slice_count },
            placement_epoch: placed.epoch,
            transaction: self.lane.transaction_id,
        };
        let few = match batches.iter().map(RecordBatch::num_rows).sum::<usize>() {
            rows if rows <= RECENT_SEGMENT_MAX_ROWS => Some(self.in_order(batches.clone())?),
            _ => None,
        };
        let segment = write_segment(&self.sink.session, &self.sink.store, &target, batches).await?;
        if let Some(rows) = few {
            self.sink.recent.keep(segment.id, rows);
        }
        let bytes: usize = self.slices.iter().map(SliceBuffer::bytes).sum();
        self.reservation.shrink(self.reservation.size().saturating_sub(bytes.saturating_mul(RESERVED_PER_BUFFERED_BYTE)));
        if placed.replica_addresses.is_empty() {
            self.receipts.push(segment);
            return Ok(());
        }
        while self.copies.len() >= COPIES_PENDING_MAX {
            self.collect_copy().await?;
        }
        let (sink, addresses, transaction) = (self.sink.clone(), placed.replica_addresses, self.lane.transaction_id);
        self.copies.spawn(async move { copy(&sink, segment, &addresses, transaction).await });
        Ok(())
    }

    /// All rows in the order of the sort key.
    fn in_order(&self, batches: Vec<RecordBatch>) -> Result<RecordBatch> {
        let rows = OrderedRows::new(&self.schema, batches, &self.lane.table.sort_key_indexes())?;
        Ok(concat_batches(&self.schema, &rows.collect::<Result<Vec<_>>>()?)?)
    }

    async fn collect_copy(&mut self) -> Result<()> {
        if let Some(copied) = self.copies.join_next().await {
            let copied =
                copied.map_err(|e| Error::internal(format!("copying a segment of table \"{}\": {e}", self.lane.table)))?;
            self.receipts.push(copied?);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<Segment>> {
        for slice in 0..self.slices.len() {
            self.write(slice).await?;
        }
        while !self.copies.is_empty() {
            self.collect_copy().await?;
        }
        fail_point::pass("receipt.send")?;
        self.receipts.sort_by_key(|segment| (segment.slice, segment.id));
        Ok(self.receipts)
    }

    /// The batch in the table's schema: types are compared, and NULLs in NOT NULL columns refused for the last time.
    fn checked(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let table = &self.lane.table;
        if batch.num_columns() != table.columns.len() {
            let message =
                format!("writing to table \"{table}\": {} columns instead of {}", batch.num_columns(), table.columns.len());
            return Err(Error::internal(message));
        }
        for ((column, field), values) in table.columns.iter().zip(self.schema.fields()).zip(batch.columns()) {
            if values.data_type() != field.data_type() {
                let (found, wanted) = (values.data_type(), field.data_type());
                return Err(Error::internal(format!(
                    "writing to table \"{table}\": column \"{}\" arrives as {found} instead of {wanted}",
                    column.name
                )));
            }
            if column.not_null && values.logical_null_count() > 0 {
                let message =
                    format!("null value in column \"{}\" of table \"{table}\" violates not-null constraint", column.name);
                return Err(Error::new(ErrorKind::NotNullViolation, message));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let (_, columns, _) = batch.into_parts();
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// Copies a segment to its replicas; the receipt then names them too.
async fn copy(
    sink: &Sink,
    mut segment: Segment,
    addresses: &[String],
    transaction: slipher_common::ids::TransactionId,
) -> Result<Segment> {
    let file = SegmentFile { table: segment.table, segment: segment.id, bytes: segment.bytes, checksum: segment.checksum };
    let puts = addresses.iter().map(|address| sink.peers.put_segment(address, &sink.store, file, transaction));
    segment.nodes.extend(try_join_all(puts).await?);
    fail_point::pass("segment.copied")?;
    Ok(segment)
}
