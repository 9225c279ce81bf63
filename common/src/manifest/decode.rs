//! Segments read from their frozen form. A leader that starts reads a million of them, most of which are bounds of columns: these go from the
//! encoded message into the one piece of memory that keeps them, without a message with its own memory for each bound in between.

use super::{Details, KnownColumn, Segment, SegmentColumns, TrailingBlanks};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::ColumnId;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use slipher_proto::meta as proto;

/// The field of a [`proto::Segment`] that has its columns.
const SEGMENT_COLUMNS: u32 = 8;

/// A [`proto::ColumnStatistics`], where it lies.
#[derive(Clone, Copy, Debug)]
struct StoredColumn<'a> {
    known: KnownColumn<'a>,
    distinct_sketch: &'a [u8],
    histogram: &'a [u8],
}

impl Segment {
    /// Reads the frozen form, encoded.
    pub fn decode(encoded: &[u8]) -> Result<Self> {
        let (rest, columns) = take_apart(encoded, SEGMENT_COLUMNS)?;
        let columns = columns.into_iter().map(StoredColumn::decode).collect::<Result<Vec<_>>>()?;
        let stored = proto::Segment::decode(&rest[..]).map_err(unreadable)?;
        let details = columns.iter().map(|column| (column.known.column, column.distinct_sketch, column.histogram));
        let details = Details::of_stored(&stored.side_file, details)?;
        Self::of_stored(&stored, SegmentColumns::new(columns.iter().map(|column| column.known)), details)
    }
}

impl<'a> StoredColumn<'a> {
    fn decode(encoded: &'a [u8]) -> Result<Self> {
        let blanks = TrailingBlanks::Unknown;
        let known = KnownColumn { column: ColumnId(0), nulls: 0, min: &[], max: &[], trailing_blanks: blanks };
        let mut column = Self { known, distinct_sketch: &[], histogram: &[] };
        let mut left = encoded;
        while !left.is_empty() {
            let before = left;
            let (field, bytes) = next_field(&mut left)?;
            match (field, bytes) {
                (1 | 2 | 7, None) => column.take_number(field, before)?,
                (3, Some(bytes)) => column.known.min = bytes,
                (4, Some(bytes)) => column.known.max = bytes,
                (5, Some(bytes)) => column.distinct_sketch = bytes,
                (6, Some(bytes)) => column.histogram = bytes,
                _ => {}
            }
        }
        Ok(column)
    }

    /// Takes the number that `encoded` begins with: a key and a varint.
    fn take_number(&mut self, field: u32, encoded: &[u8]) -> Result<()> {
        let mut left = encoded;
        let (_, wire_type) = decode_key(&mut left).map_err(unreadable)?;
        if wire_type != WireType::Varint {
            return Err(damaged(format!("field {field} of a column is no number")));
        }
        let number = decode_varint(&mut left).map_err(unreadable)?;
        match field {
            // As narrow numbers are read.
            1 => self.known.column = ColumnId(number as u32),
            2 => self.known.nulls = number,
            _ => self.known.trailing_blanks = TrailingBlanks::from_proto(number as i32),
        }
        Ok(())
    }
}

/// An encoded message without the messages in one of its fields, and those.
pub fn take_apart(encoded: &[u8], field: u32) -> Result<(Vec<u8>, Vec<&[u8]>)> {
    let (mut rest, mut taken) = (Vec::new(), Vec::new());
    let mut left = encoded;
    while !left.is_empty() {
        let before = left;
        match next_field(&mut left)? {
            (found, Some(message)) if found == field => taken.push(message),
            _ => rest.extend_from_slice(&before[..before.len() - left.len()]),
        }
    }
    Ok((rest, taken))
}

/// The number of the field that `left` begins with, and its bytes if it has some; `left` is what follows.
fn next_field<'a>(left: &mut &'a [u8]) -> Result<(u32, Option<&'a [u8]>)> {
    let (field, wire_type) = decode_key(left).map_err(unreadable)?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, field, left, DecodeContext::default()).map_err(unreadable)?;
        return Ok((field, None));
    }
    let length = usize::try_from(decode_varint(left).map_err(unreadable)?).unwrap_or(usize::MAX);
    let (bytes, behind) = left.split_at_checked(length).ok_or_else(|| damaged("it ends too early".to_owned()))?;
    *left = behind;
    Ok((field, Some(bytes)))
}

fn unreadable(error: prost::DecodeError) -> Error {
    damaged(error.to_string())
}

fn damaged(why: String) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("reading a message of the metadata: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn column() -> impl Strategy<Value = proto::ColumnStatistics> {
        let bytes = || vec(any::<u8>(), 0..40);
        (any::<u32>(), any::<u64>(), bytes(), bytes(), bytes(), bytes(), 0..4).prop_map(
            |(column_id, nulls, min, max, distinct_sketch, histogram, trailing_blanks)| proto::ColumnStatistics {
                column_id,
                nulls,
                min,
                max,
                distinct_sketch,
                histogram,
                trailing_blanks,
            },
        )
    }

    proptest! {
        #[test]
        fn a_segment_is_read_as_its_message_is(
            columns in vec(column(), 0..6), id in any::<[u8; 16]>(), side_file in any::<bool>(), cut in any::<u16>(), numbers in any::<[u64; 4]>(),
        ) {
            let stored = proto::Segment {
                segment_id: id.to_vec(),
                table_id: numbers[0],
                rows: numbers[1],
                checksum: numbers[2],
                placement_epoch: numbers[3],
                nodes: vec![id.to_vec()],
                columns,
                side_file: if side_file { id.to_vec() } else { Vec::new() },
                sorted_by: vec![1, 2],
                ..proto::Segment::default()
            };
            let encoded = stored.encode_to_vec();
            prop_assert_eq!(Segment::decode(&encoded).unwrap(), Segment::from_proto(&stored).unwrap());
            // What is cut off is refused, or is another message.
            let cut = &encoded[..usize::from(cut) % encoded.len()];
            let as_message = proto::Segment::decode(cut).ok().and_then(|stored| Segment::from_proto(&stored).ok());
            prop_assert_eq!(Segment::decode(cut).ok(), as_message);
        }
    }
}
