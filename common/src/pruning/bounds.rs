//! The segments of a table, and the bounds of their columns side by side.

use super::range::{Range, joined};
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

/// Bounds that lie in so many pieces are read anew.
const PIECES_MAX: usize = 64;

/// The live segments of a table at one version, by their numbers. Bounds of a column are read when a condition first asks for them.
#[derive(Debug)]
pub struct TableSegments {
    segments: Vec<Arc<Segment>>,
    columns: Vec<(ColumnId, SqlType)>,
    bounds: Vec<OnceLock<Option<Range>>>,
    live: OnceLock<BooleanBuffer>,
    /// How often bounds were put behind others: they lie in so many pieces.
    pieces: usize,
}

impl TableSegments {
    /// The segments of `table`, in the order of the manifest.
    pub fn new<'a>(table: &Table, segments: impl IntoIterator<Item = &'a Arc<Segment>>) -> Self {
        Self {
            segments: segments.into_iter().map(Arc::clone).collect(),
            columns: table.columns.iter().map(|column| (column.id, column.sql_type)).collect(),
            bounds: table.columns.iter().map(|_| OnceLock::new()).collect(),
            live: OnceLock::new(),
            pieces: 1,
        }
    }

    /// The same of another version of the table, with the same columns: what is known of these segments is known there, too. None where others
    /// come before or between them.
    pub fn advanced<'a>(&self, segments: impl IntoIterator<Item = &'a Arc<Segment>>) -> Option<Self> {
        let segments: Vec<Arc<Segment>> = segments.into_iter().map(Arc::clone).collect();
        let (first, further) = segments.split_at_checked(self.segments.len())?;
        let mut untouched = true;
        let stays = |(before, after): (&Arc<Segment>, &Arc<Segment>)| {
            let same = Arc::ptr_eq(before, after);
            untouched &= same;
            // Rows may have been deleted, or it has moved.
            same || before.id == after.id && before.rows == after.rows && before.columns == after.columns
        };
        if self.pieces >= PIECES_MAX || !self.segments.iter().zip(first).all(stays) {
            return None;
        }
        let bounds = self.bounds.iter().zip(&self.columns).map(|(known, (id, sql_type))| {
            let Some(Some(known)) = known.get() else { return OnceLock::new() };
            let joined = read(further, *id, *sql_type).and_then(|further| known.followed_by(&further));
            joined.map_or_else(|_| OnceLock::new(), |joined| OnceLock::from(Some(joined)))
        });
        let live = self.live.get().filter(|_| untouched).map(|live| joined(live, &live_of(further)));
        Some(Self {
            columns: self.columns.clone(),
            bounds: bounds.collect(),
            live: live.map_or_else(OnceLock::new, OnceLock::from),
            pieces: self.pieces + usize::from(!further.is_empty()),
            segments,
        })
    }

    /// The segments; a segment's number is its place.
    pub fn all(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// Those of which some row is not deleted.
    pub(super) fn live(&self) -> &BooleanBuffer {
        self.live.get_or_init(|| live_of(&self.segments))
    }

    /// Between what the values of a column lie; `None` for what is no column of the table, like the row id.
    pub(super) fn column(&self, index: usize) -> Option<&Range> {
        let (id, sql_type) = *self.columns.get(index)?;
        let read = || {
            let bounds = read(&self.segments, id, sql_type);
            bounds.inspect_err(|error| tracing::error!(column = %id, %error, "the bounds of a column cannot be read")).ok()
        };
        self.bounds.get(index)?.get_or_init(read).as_ref()
    }
}

fn live_of(segments: &[Arc<Segment>]) -> BooleanBuffer {
    BooleanBuffer::collect_bool(segments.len(), |place| segments[place].live_rows() > 0)
}

fn read(segments: &[Arc<Segment>], id: ColumnId, sql_type: SqlType) -> Result<Range> {
    let known: Vec<Option<KnownColumn<'_>>> = segments.iter().map(|segment| segment.columns.find(id)).collect();
    // Where the segment does not have the column, its rows have some value, or NULL.
    let rows = segments.iter().zip(&known);
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
