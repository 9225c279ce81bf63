//! The segments of a table, and the bounds of their columns side by side.

use super::range::Range;
use crate::SqlType;
use crate::catalog::Table;
use crate::ids::ColumnId;
use crate::manifest::{KnownColumn, Segment};
use crate::statistics::decode_bound;
use arrow::array::{ArrayRef, new_null_array};
use arrow::buffer::BooleanBuffer;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use std::sync::{Arc, OnceLock};

/// The live segments of a table at one version, by their numbers. Bounds of a column are read when a condition first asks for them.
#[derive(Debug)]
pub struct TableSegments {
    segments: Vec<Arc<Segment>>,
    columns: Vec<(ColumnId, SqlType)>,
    bounds: Vec<OnceLock<Option<Range>>>,
    live: OnceLock<BooleanBuffer>,
}

impl TableSegments {
    /// The segments of `table`, in the order of the manifest.
    pub fn new<'a>(table: &Table, segments: impl IntoIterator<Item = &'a Arc<Segment>>) -> Self {
        Self {
            segments: segments.into_iter().map(Arc::clone).collect(),
            columns: table.columns.iter().map(|column| (column.id, column.sql_type)).collect(),
            bounds: table.columns.iter().map(|_| OnceLock::new()).collect(),
            live: OnceLock::new(),
        }
    }

    /// The segments; a segment's number is its place.
    pub fn all(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// Those of which some row is not deleted.
    pub(super) fn live(&self) -> &BooleanBuffer {
        let is_live = |place: usize| self.segments[place].live_rows() > 0;
        self.live.get_or_init(|| BooleanBuffer::collect_bool(self.segments.len(), is_live))
    }

    /// Between what the values of a column lie; `None` for what is no column of the table, like the row id.
    pub(super) fn column(&self, index: usize) -> Option<&Range> {
        let (id, sql_type) = *self.columns.get(index)?;
        let read = || {
            let bounds = self.read(id, sql_type);
            bounds.inspect_err(|error| tracing::error!(column = %id, %error, "the bounds of a column cannot be read")).ok()
        };
        self.bounds.get(index)?.get_or_init(read).as_ref()
    }

    fn read(&self, id: ColumnId, sql_type: SqlType) -> Result<Range> {
        let known: Vec<Option<KnownColumn<'_>>> = self.segments.iter().map(|segment| segment.columns.find(id)).collect();
        // Where the segment does not have the column, its rows have some value, or NULL.
        let rows = self.segments.iter().zip(&known);
        let values = rows.map(|(segment, known)| known.is_none_or(|known| known.nulls < segment.rows)).collect();
        let nulls = known.iter().map(|known| known.is_none_or(|known| known.nulls > 0)).collect();
        let bound = |stored: for<'a> fn(&KnownColumn<'a>) -> &'a [u8]| -> Result<ArrayRef> {
            let data_type = sql_type.to_arrow();
            let missing = ScalarValue::try_from(&data_type)?;
            if known.is_empty() {
                return Ok(new_null_array(&data_type, 0));
            }
            let decoded = known.iter().map(|known| match known.as_ref().filter(|known| !stored(known).is_empty()) {
                Some(known) => Ok(decode_bound(stored(known), sql_type)?.map_or_else(|| missing.clone(), |(value, _)| value)),
                None => Ok(missing.clone()),
            });
            let decoded = decoded.collect::<Result<Vec<ScalarValue>>>()?;
            ScalarValue::iter_to_array(decoded)
        };
        Range::new(bound(|known| known.min)?, bound(|known| known.max)?, values, nulls)
    }
}
