//! Segments and manifests: which files hold a table at one version, and what is known of them.

mod columns;
mod decode;
mod details;

pub use columns::{KnownColumn, SegmentColumns};
pub use decode::{FirstField, SegmentReader, first_field, take_apart};
pub use details::{ColumnDetails, Details, InlineDetails, ReadsDetails, SegmentDetails, SideFile, set_aside};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ColumnId, NodeId, SegmentId, SliceId, TableId};
use roaring::RoaringBitmap;
use slipher_proto::meta as proto;
use std::ops::Range;
use std::sync::Arc;

/// The segments of a table. A clone shares all of them, and a change copies a few places.
pub type Segments = imbl::OrdMap<SegmentId, Arc<Segment>>;

/// Most rows of a segment; a sink then starts the next one.
pub const SEGMENT_ROWS_MAX: usize = 4 << 20;

/// Whether values of a column end in a blank. Comparisons of a column where none does need not look for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrailingBlanks {
    /// Nobody looked: the segment was written by an older release.
    #[default]
    Unknown,
    /// None does.
    None,
    /// At least one does.
    Some,
}

impl TrailingBlanks {
    fn to_proto(self) -> i32 {
        let stored = match self {
            Self::Unknown => proto::TrailingBlanks::Unknown,
            Self::None => proto::TrailingBlanks::None,
            Self::Some => proto::TrailingBlanks::Some,
        };
        stored.into()
    }

    /// What a later release may add means nothing here: unknown.
    fn from_proto(stored: i32) -> Self {
        match proto::TrailingBlanks::try_from(stored) {
            Ok(proto::TrailingBlanks::None) => Self::None,
            Ok(proto::TrailingBlanks::Some) => Self::Some,
            Ok(proto::TrailingBlanks::Unknown) | Err(_) => Self::Unknown,
        }
    }
}

/// What a node finds out about one column of a segment that it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnStatistics {
    /// The column.
    pub column: ColumnId,
    /// Rows that are NULL.
    pub nulls: u64,
    /// Encoded lower bound (`statistics::decode_bound`), empty when unknown.
    pub min: Vec<u8>,
    /// Encoded upper bound, empty when unknown.
    pub max: Vec<u8>,
    /// Registers of the distinct sketch, empty when not kept.
    pub distinct_sketch: Vec<u8>,
    /// Encoded inner bounds of an equi-depth histogram ([`crate::histogram`]), empty when not kept.
    pub histogram: Vec<u8>,
    /// Of strings.
    pub trailing_blanks: TrailingBlanks,
}

/// One immutable file of one table and one slice; also the receipt that it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id and file name.
    pub id: SegmentId,
    /// Its table.
    pub table: TableId,
    /// Its slice, or [`SliceId::ALL`].
    pub slice: SliceId,
    /// Slices that the cluster had for whoever wrote it: it has rows of all slices that are `slice` modulo this. 0 of [`SliceId::ALL`], and
    /// in what an earlier release wrote, until a state has read it.
    pub slice_count: u32,
    /// Rows.
    pub rows: u64,
    /// File size in bytes.
    pub bytes: u64,
    /// XXH3-64 of the file.
    pub checksum: u64,
    /// Where it was durable when the receipt was given.
    pub nodes: Vec<NodeId>,
    /// What is known of its columns.
    pub columns: SegmentColumns,
    /// What estimates know besides.
    pub details: Details,
    /// Epoch of the slice's placement when it was written.
    pub placement_epoch: u64,
    /// Columns the rows are sorted by.
    pub sorted_by: Vec<ColumnId>,
    /// Rows that are deleted.
    pub delete_vector: Option<DeleteVector>,
}

/// The numbers, from 0 in stored order, of a segment's rows that are deleted. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteVector(Arc<RoaringBitmap>);

impl Eq for DeleteVector {}

impl DeleteVector {
    /// Of these rows; None of none.
    pub fn new(rows: RoaringBitmap) -> Option<Self> {
        (!rows.is_empty()).then(|| Self(Arc::new(rows)))
    }

    /// The rows.
    pub fn rows(&self) -> &RoaringBitmap {
        &self.0
    }

    /// Those between two rows, without the second; None where there are none.
    pub fn within(&self, rows: &Range<u64>) -> Option<Self> {
        let bound = |row: u64| u32::try_from(row).unwrap_or(u32::MAX);
        let mut within = RoaringBitmap::new();
        within.insert_range(bound(rows.start)..bound(rows.end));
        within &= &*self.0;
        Self::new(within)
    }

    /// The portable form.
    pub fn to_bytes(&self) -> Vec<u8> {
        bitmap_to_bytes(&self.0)
    }

    /// Reads the portable form; nothing means none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.is_empty() { Ok(None) } else { Ok(Self::new(bitmap_from_bytes(bytes)?)) }
    }
}

/// The portable form of row numbers.
pub fn bitmap_to_bytes(rows: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    // Writing into memory does not fail.
    let _ = rows.serialize_into(&mut bytes);
    bytes
}

/// Reads the portable form of row numbers.
pub fn bitmap_from_bytes(bytes: &[u8]) -> Result<RoaringBitmap> {
    RoaringBitmap::deserialize_from(bytes)
        .map_err(|error| Error::new(ErrorKind::DataCorrupted, format!("reading a delete vector: {error}")))
}

impl Segment {
    /// Rows that are deleted.
    pub fn deleted_rows(&self) -> u64 {
        self.delete_vector.as_ref().map_or(0, |deleted| deleted.rows().len())
    }

    /// Rows that are not.
    pub fn live_rows(&self) -> u64 {
        self.rows - self.deleted_rows()
    }

    /// The frozen form.
    pub fn to_proto(&self) -> proto::Segment {
        let mut stored = proto::Segment {
            segment_id: self.id.to_vec(),
            table_id: self.table.0,
            slice: self.slice.0,
            slice_count: self.slice_count,
            rows: self.rows,
            bytes: self.bytes,
            checksum: self.checksum,
            nodes: self.nodes.iter().map(|node| node.to_vec()).collect(),
            columns: self.columns.iter().map(KnownColumn::to_proto).collect(),
            placement_epoch: self.placement_epoch,
            sorted_by: self.sorted_by.iter().map(|id| id.0).collect(),
            delete_vector: self.delete_vector.as_ref().map(DeleteVector::to_bytes).unwrap_or_default(),
            side_file: Vec::new(),
        };
        self.details.write_to(&mut stored);
        stored
    }

    /// Reads the frozen form.
    pub fn from_proto(stored: &proto::Segment) -> Result<Self> {
        Ok(Self {
            id: SegmentId::from_bytes(&stored.segment_id)?,
            table: TableId(stored.table_id),
            slice: SliceId(stored.slice),
            slice_count: stored.slice_count,
            rows: stored.rows,
            bytes: stored.bytes,
            checksum: stored.checksum,
            nodes: stored.nodes.iter().map(|node| NodeId::from_bytes(node)).collect::<Result<_>>()?,
            columns: SegmentColumns::new(stored.columns.iter().map(KnownColumn::of_proto)),
            details: Details::of_stored(&stored.side_file, stored.columns.iter().map(details_of))?,
            placement_epoch: stored.placement_epoch,
            sorted_by: stored.sorted_by.iter().map(|id| ColumnId(*id)).collect(),
            delete_vector: DeleteVector::from_bytes(&stored.delete_vector)?,
        })
    }
}

/// The sketch and the histogram of a column.
fn details_of(column: &proto::ColumnStatistics) -> (ColumnId, &[u8], &[u8]) {
    (ColumnId(column.column_id), &column.distinct_sketch, &column.histogram)
}
