//! What a compute node does for Slipher's plan nodes. The nodes are defined here, in `common`, so that the leader can plan them;
//! what they do to files is behind [`ComputeRuntime`], which each compute node puts into its sessions.

use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::flight::{DirectTicket, Output};
use crate::ids::{SegmentId, SliceId, TableId, TransactionId};
use crate::manifest::{DeleteVector, Segment};
use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::future::BoxFuture;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One segment to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// The segment.
    pub id: SegmentId,
    /// Its slice.
    pub slice: SliceId,
    /// Rows.
    pub rows: u64,
    /// File size in bytes.
    pub bytes: u64,
    /// XXH3-64 of the file.
    pub checksum: u64,
    /// Other nodes that hold the file (`http://host:port`), for when the own copy is missing or damaged.
    pub other_copies: Arc<[String]>,
    /// Rows that are deleted.
    pub delete_vector: Option<DeleteVector>,
    /// Its number in the table, for row ids.
    pub number: u32,
    /// Which of its rows are read, from 0 in stored order; None: all of them.
    pub part: Option<Range<u64>>,
}

impl SegmentRef {
    /// How many rows are read, with those that are deleted.
    pub fn rows_read(&self) -> u64 {
        self.part.as_ref().map_or(self.rows, |part| part.end.saturating_sub(part.start))
    }

    /// The first `rows` of the rows that are read, and the others.
    pub(super) fn cut(self, rows: u64) -> (Self, Self) {
        let all = self.part.clone().unwrap_or(0..self.rows);
        let middle = all.start + rows;
        let others = self.clone().only(middle..all.end);
        (self.only(all.start..middle), others)
    }

    /// A delete vector travels with each part.
    fn only(self, part: Range<u64>) -> Self {
        Self { delete_vector: self.delete_vector.and_then(|deleted| deleted.within(&part)), part: Some(part), ..self }
    }

    /// Bytes of the file for the rows that are read.
    pub fn bytes_read(&self) -> u64 {
        let share = u128::from(self.bytes) * u128::from(self.rows_read()) / u128::from(self.rows.max(1));
        share as u64
    }
}

/// Name of the column that a scan for UPDATE and DELETE has behind those of the table: which row of which segment a row is.
pub const ROW_ID_COLUMN: &str = "slipher$row_id";

/// The row id of row `row` (from 0, in stored order) of segment number `segment`.
pub fn row_id(segment: u32, row: u32) -> i64 {
    (i64::from(segment) << 32) | i64::from(row)
}

/// Segment number and row number of a row id.
pub fn row_of_id(id: i64) -> (u32, u32) {
    ((id >> 32) as u32, id as u32)
}

/// What one partition of a slice scan reads.
#[derive(Clone, Debug)]
pub struct LaneScan {
    /// The table.
    pub table_id: TableId,
    /// Its name, for errors.
    pub table_name: String,
    /// Every column of the table.
    pub schema: SchemaRef,
    /// Columns to yield, in order, as indexes into `schema`.
    pub projection: Vec<usize>,
    /// Filters over `schema`, ANDed; exactly the rows that pass are yielded.
    pub predicates: Vec<Arc<dyn PhysicalExpr>>,
    /// The segments, in order.
    pub segments: Vec<SegmentRef>,
    /// At most so many rows are wanted from this lane.
    pub limit: Option<usize>,
}

/// One slice that a sink lane writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSlice {
    /// The slice, or [`SliceId::ALL`].
    pub slice: SliceId,
    /// Epoch of its placement; goes into the receipt.
    pub epoch: u64,
    /// Internal addresses (`http://host:port`) of the nodes that get a copy before the receipt is given.
    pub replica_addresses: Vec<String>,
}

/// What one partition of a sink writes.
#[derive(Clone, Debug)]
pub struct LaneSink {
    /// The table; rows arrive in `table.arrow_schema()`.
    pub table: Arc<Table>,
    /// Slices of the whole cluster: rows of a KEY table belong to slice `H(key) mod slice_count`.
    pub slice_count: u32,
    /// The slices of this lane. KEY: every row belongs to one of them (a row that does not is an error, never dropped).
    /// EVEN: rows are dealt round robin over them in whole batches. ALL: exactly one, [`SliceId::ALL`].
    pub slices: Vec<SinkSlice>,
    /// The load; its unfinished files are swept after it ended.
    pub transaction_id: TransactionId,
}

/// A file, or a range of one, of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Absolute path.
    pub path: String,
    /// Size of the whole file in bytes.
    pub bytes: u64,
    /// Byte range: a Parquet row group belongs to the range that holds its middle. `None`: all.
    pub range: Option<(u64, u64)>,
}

/// What one partition of a file scan reads.
#[derive(Clone, Debug)]
pub struct LaneFiles {
    /// Schema of the rows to yield. CSV: the target table's columns in load order, values converted while reading.
    /// Parquet: the file's own schema.
    pub schema: SchemaRef,
    /// Columns to yield, as indexes into `schema`.
    pub projection: Vec<usize>,
    /// `parquet` or `csv`.
    pub format: FileFormat,
    /// The files, in order.
    pub files: Vec<FileRef>,
}

/// How a load's files are written.
#[expect(clippy::large_enum_variant, reason = "a plan has one or two of them")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Text with delimiters, with COPY's options.
    Csv(slipher_proto::plan::CsvOptions),
}

/// One lane of a result that a client fetches from this node.
#[derive(Clone, Debug)]
pub struct LaneResult {
    /// Its ticket.
    pub ticket: DirectTicket,
    /// Digest of the credentials that the caller must show.
    pub owner: Vec<u8>,
    /// The rows as they were announced.
    pub output: Output,
}

/// What a compute node does for plan nodes.
pub trait ComputeRuntime: Send + Sync + fmt::Debug {
    /// Rows of one lane.
    fn scan(&self, lane: LaneScan, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream>;

    /// Writes all rows of `input` to segments (sorted, checksummed, fsynced, copied to replicas) and answers their receipts.
    fn sink(
        &self,
        lane: LaneSink,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> BoxFuture<'static, Result<Vec<Segment>>>;

    /// Keeps rows ready for the client that has the ticket; ends when it has fetched them all, with their number.
    fn offer(
        &self,
        lane: LaneResult,
        rows: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> BoxFuture<'static, Result<u64>>;

    /// Rows of files.
    fn read_files(&self, lane: LaneFiles, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream>;
}

/// The session extension that carries a node's runtime.
#[derive(Clone, Debug)]
pub struct RuntimeHandle(pub Arc<dyn ComputeRuntime>);

impl RuntimeHandle {
    /// The runtime of the node that executes `context`'s task; an error on a leader, which holds no data.
    pub fn of(context: &TaskContext) -> Result<Arc<dyn ComputeRuntime>> {
        context
            .session_config()
            .get_extension::<RuntimeHandle>()
            .map(|handle| Arc::clone(&handle.0))
            .ok_or_else(|| Error::internal("a fragment that needs slices was started outside a compute node"))
    }
}
