//! Rows of tiny segments that this node wrote lately, in memory beside their files: thousands of INSERTs of single rows make thousands of
//! files until they are merged, and opening a file costs more than such rows are worth.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parking_lot::Mutex;
use slipher_common::ids::SegmentId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Segments with more rows are read from their files: those of a few hundred are what merging single rows makes first.
pub(crate) const RECENT_SEGMENT_MAX_ROWS: usize = 1024;
/// So are those with more bytes.
const RECENT_SEGMENT_MAX_BYTES: usize = 256 << 10;
/// Most bytes of rows that a node keeps; the oldest go first.
const RECENT_MAX_BYTES: usize = 32 << 20;

/// Of an entry beside its rows.
const ENTRY_BYTES: usize = 256;

/// The kept rows by segment.
#[derive(Debug, Default)]
pub(crate) struct RecentRows(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    rows: HashMap<SegmentId, RecordBatch>,
    /// The segments, oldest first.
    order: VecDeque<SegmentId>,
    /// Of the rows that were kept last: those of one table share it.
    schema: Option<SchemaRef>,
    bytes: usize,
}

impl RecentRows {
    /// Keeps the rows of a segment, if they are few. They have their own memory, the table's schema, and the order of the sort key.
    pub(crate) fn keep(&self, segment: SegmentId, rows: RecordBatch) {
        if rows.num_rows() > RECENT_SEGMENT_MAX_ROWS || rows.get_array_memory_size() > RECENT_SEGMENT_MAX_BYTES {
            return;
        }
        let mut kept = self.0.lock();
        let rows = match &kept.schema {
            Some(schema) if *schema == *rows.schema_ref() => rows.with_schema(Arc::clone(schema)),
            _ => {
                kept.schema = Some(rows.schema());
                Ok(rows)
            }
        };
        // It is the same schema: that does not fail.
        let Ok(rows) = rows else { return };
        kept.bytes += size_of_kept(&rows);
        kept.order.push_back(segment);
        kept.rows.insert(segment, rows);
        while kept.bytes > RECENT_MAX_BYTES {
            let Some(oldest) = kept.order.pop_front() else { return };
            let freed = kept.rows.remove(&oldest).map_or(0, |rows| size_of_kept(&rows));
            kept.bytes = kept.bytes.saturating_sub(freed);
        }
    }

    /// The rows of a segment, if they are kept and were written with this schema.
    pub(crate) fn get(&self, segment: SegmentId, schema: &Schema) -> Option<RecordBatch> {
        let kept = self.0.lock();
        kept.rows.get(&segment).filter(|rows| rows.schema_ref().as_ref() == schema).cloned()
    }
}

/// Bytes of the rows, and about those of what keeps them.
fn size_of_kept(rows: &RecordBatch) -> usize {
    rows.get_array_memory_size() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringViewArray};
    use uuid::Uuid;

    fn rows(count: usize, bytes_each: usize) -> RecordBatch {
        let text = "x".repeat(bytes_each);
        let values: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..count).map(|_| text.as_str())));
        RecordBatch::try_from_iter([("t", values)]).unwrap()
    }

    #[test]
    fn the_oldest_rows_go_first() {
        let recent = RecentRows::default();
        let id = |number: u128| SegmentId(Uuid::from_u128(number));
        let schema = rows(1, 1).schema();
        for number in 0..400 {
            recent.keep(id(number), rows(1, 100 << 10));
        }
        assert!(recent.get(id(0), &schema).is_none() && recent.get(id(399), &schema).is_some());
        let (bytes, order, kept) = {
            let kept = recent.0.lock();
            (kept.bytes, kept.order.len(), kept.rows.len())
        };
        assert!(bytes <= RECENT_MAX_BYTES && order == kept, "{bytes} bytes, {order} and {kept} segments");
        assert!(recent.get(id(399), &Schema::empty()).is_none(), "written with another schema");
        recent.keep(id(1000), rows(RECENT_SEGMENT_MAX_ROWS + 1, 1));
        recent.keep(id(1001), rows(1, RECENT_SEGMENT_MAX_BYTES + 1));
        assert!(recent.get(id(1000), &schema).is_none() && recent.get(id(1001), &schema).is_none());
    }
}
