//! Which slice a row goes to.

use super::buffer::SliceBuffer;
use arrow::array::{RecordBatch, UInt32Array};
use slipher_common::catalog::Distribution;
use slipher_common::distribution::slices_of;
use slipher_common::ids::SliceId;
use slipher_common::plan::LaneSink;
use slipher_common::{Error, Result};

/// Stands for a slice that is not in the lane.
const ELSEWHERE: u32 = u32::MAX;

/// Sends rows to the slice buffers of a lane.
pub(super) enum Router {
    /// By the hash of a column.
    Key { column: usize, slice_count: u32, table: String, place_of_slice: Vec<u32> },
    /// Whole batches in turn.
    Even { next: usize },
    /// All rows to the only slice.
    One,
}

impl Router {
    pub(super) fn new(lane: &LaneSink, first_slice: usize) -> Result<Self> {
        let table = &lane.table;
        match table.distribution {
            Distribution::Key(id) => {
                let column = table.index_of(id).ok_or_else(|| {
                    Error::internal(format!("writing to table \"{table}\": its DISTKEY is column {id}, which it does not have"))
                })?;
                let mut place_of_slice = vec![ELSEWHERE; lane.slice_count as usize];
                for (place, owned) in lane.slices.iter().enumerate() {
                    let entry = place_of_slice.get_mut(owned.slice.0 as usize).ok_or_else(|| {
                        let count = lane.slice_count;
                        Error::internal(format!("writing to table \"{table}\": slice {} of {count} does not exist", owned.slice))
                    })?;
                    *entry = place as u32;
                }
                Ok(Self::Key { column, slice_count: lane.slice_count, table: table.to_string(), place_of_slice })
            }
            Distribution::Even => Ok(Self::Even { next: first_slice }),
            Distribution::All => match lane.slices.as_slice() {
                [] => Ok(Self::Even { next: 0 }),
                [one] if one.slice == SliceId::ALL => Ok(Self::One),
                _ => {
                    Err(Error::internal(format!("writing to table \"{table}\" of DISTSTYLE ALL: the lane has slices of its own")))
                }
            },
        }
    }

    /// Puts the rows of `batch` (not empty) into the buffers.
    pub(super) fn route(&mut self, batch: RecordBatch, slices: &mut [SliceBuffer]) -> Result<()> {
        match self {
            Self::Key { column, slice_count, table, place_of_slice } => {
                let rows = rows_by_place(&batch, *column, *slice_count, place_of_slice, slices.len(), table)?;
                if let Some(place) = rows.iter().position(|rows| rows.len() == batch.num_rows()) {
                    return slices[place].push(&batch);
                }
                for (slice, rows) in slices.iter_mut().zip(rows).filter(|(_, rows)| !rows.is_empty()) {
                    slice.push_rows(&batch, &UInt32Array::from(rows))?;
                }
                Ok(())
            }
            Self::Even { next } => {
                let count = slices.len();
                let Some(slice) = slices.get_mut(*next % count.max(1)) else {
                    return Err(Error::internal("rows arrived at a lane without slices"));
                };
                *next = next.wrapping_add(1);
                slice.push(&batch)
            }
            Self::One => match slices {
                [slice] => slice.push(&batch),
                _ => Err(Error::internal("rows of a table of DISTSTYLE ALL arrived at a lane with slices of its own")),
            },
        }
    }
}

/// The row numbers for each slice of the lane.
fn rows_by_place(
    batch: &RecordBatch,
    column: usize,
    slice_count: u32,
    place_of_slice: &[u32],
    places: usize,
    table: &str,
) -> Result<Vec<Vec<u32>>> {
    if slice_count == 0 {
        return Err(Error::internal(format!("writing to table \"{table}\": the cluster has no slices")));
    }
    let of_row = slices_of(batch.column(column), slice_count)?;
    let expected = batch.num_rows() / places.max(1) + 1;
    let mut rows: Vec<Vec<u32>> = (0..places).map(|_| Vec::with_capacity(expected)).collect();
    for (row, slice) in of_row.into_iter().enumerate() {
        let place = place_of_slice[slice as usize];
        if place == ELSEWHERE {
            return Err(Error::internal(format!(
                "writing to table \"{table}\": a row of slice {slice} arrived at a lane that does not have that slice"
            )));
        }
        rows[place as usize].push(row as u32);
    }
    Ok(rows)
}
