//! What is known of the columns of a segment, in one piece of memory: a leader holds millions of segments.

use super::{ColumnStatistics, TrailingBlanks};
use crate::ids::ColumnId;
use prost::encoding::{decode_varint, encode_varint};
use slipher_proto::meta as proto;
use std::fmt;
use std::sync::Arc;

/// What every statement may ask of one column of a segment; the rest are its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownColumn<'a> {
    /// The column.
    pub column: ColumnId,
    /// Rows that are NULL.
    pub nulls: u64,
    /// Encoded lower bound (`statistics::decode_bound`), empty when unknown.
    pub min: &'a [u8],
    /// Encoded upper bound, empty when unknown.
    pub max: &'a [u8],
    /// Of strings.
    pub trailing_blanks: TrailingBlanks,
}

impl<'a> From<&'a ColumnStatistics> for KnownColumn<'a> {
    fn from(column: &'a ColumnStatistics) -> Self {
        let ColumnStatistics { column, nulls, min, max, trailing_blanks, .. } = column;
        Self { column: *column, nulls: *nulls, min, max, trailing_blanks: *trailing_blanks }
    }
}

impl<'a> KnownColumn<'a> {
    /// Of the frozen form.
    pub(super) fn of_proto(stored: &'a proto::ColumnStatistics) -> Self {
        Self {
            column: ColumnId(stored.column_id),
            nulls: stored.nulls,
            min: &stored.min,
            max: &stored.max,
            trailing_blanks: TrailingBlanks::from_proto(stored.trailing_blanks),
        }
    }

    /// The frozen form, without details.
    pub(super) fn to_proto(self) -> proto::ColumnStatistics {
        proto::ColumnStatistics {
            column_id: self.column.0,
            nulls: self.nulls,
            min: self.min.to_vec(),
            max: self.max.to_vec(),
            trailing_blanks: self.trailing_blanks.to_proto(),
            ..proto::ColumnStatistics::default()
        }
    }

    pub(super) fn pack(self, packed: &mut Vec<u8>) {
        pack_number(u64::from(self.column.0), packed);
        pack_number(self.nulls, packed);
        packed.push(self.trailing_blanks as u8);
        for bound in [self.min, self.max] {
            pack_number(bound.len() as u64, packed);
            packed.extend_from_slice(bound);
        }
    }

    /// What [`Self::pack`] wrote; None at the end.
    fn unpack(packed: &mut &'a [u8]) -> Option<Self> {
        let column = ColumnId(u32::try_from(decode_varint(packed).ok()?).ok()?);
        let nulls = decode_varint(packed).ok()?;
        let (blanks, rest) = packed.split_first()?;
        *packed = rest;
        let trailing_blanks = match *blanks {
            blanks if blanks == TrailingBlanks::None as u8 => TrailingBlanks::None,
            blanks if blanks == TrailingBlanks::Some as u8 => TrailingBlanks::Some,
            _ => TrailingBlanks::Unknown,
        };
        let mut bound = || {
            let length = usize::try_from(decode_varint(packed).ok()?).ok()?;
            let (bound, rest) = packed.split_at_checked(length)?;
            *packed = rest;
            Some(bound)
        };
        Some(Self { column, nulls, min: bound()?, max: bound()?, trailing_blanks })
    }
}

/// Most are small: these take no loop.
fn pack_number(number: u64, packed: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(small) if small < 0x80 => packed.push(small),
        _ => encode_varint(number, packed),
    }
}

/// All columns that a segment has, in the order in which they were written. A clone shares them.
#[derive(Clone, PartialEq, Eq)]
pub struct SegmentColumns(Arc<[u8]>);

impl SegmentColumns {
    /// Of some columns.
    pub fn new<'a>(columns: impl IntoIterator<Item = KnownColumn<'a>>) -> Self {
        let mut packed = Vec::new();
        columns.into_iter().for_each(|column| column.pack(&mut packed));
        Self(packed.into())
    }

    /// No columns; takes no memory.
    pub(super) fn none() -> Self {
        Self(Arc::default())
    }

    /// Of columns that were packed one behind the other.
    pub(super) fn of_packed(packed: &[u8]) -> Self {
        Self(packed.into())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = KnownColumn<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || KnownColumn::unpack(&mut rest))
    }

    /// One of them.
    pub fn find(&self, column: ColumnId) -> Option<KnownColumn<'_>> {
        self.iter().find(|known| known.column == column)
    }
}

impl fmt::Debug for SegmentColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_come_out_as_they_went_in(
            columns in proptest::collection::vec(
                (any::<u32>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200), any::<[u8; 8]>(), 0..3),
                0..20,
            ),
        ) {
            let known = columns.iter().map(|(column, nulls, min, max, blanks)| KnownColumn {
                column: ColumnId(*column),
                nulls: *nulls,
                min,
                max,
                trailing_blanks: [TrailingBlanks::Unknown, TrailingBlanks::None, TrailingBlanks::Some][*blanks as usize],
            });
            let known: Vec<_> = known.collect();
            let packed = SegmentColumns::new(known.iter().copied());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), known.clone());
            for one in &known {
                let first = known.iter().find(|other| other.column == one.column).copied();
                prop_assert_eq!(packed.find(one.column), first);
            }
        }
    }
}
