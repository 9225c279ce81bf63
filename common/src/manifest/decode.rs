//! Segments read from their frozen form. A leader that starts reads a million of them, most of which are bounds of columns: these go from the
//! encoded message into the one piece of memory that keeps them, without a message with its own memory for each bound in between.

use super::{Details, KnownColumn, Segment, SegmentColumns, TrailingBlanks};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ColumnId, NodeId, SegmentId, SideFileId, SliceId, TableId};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The field of a `proto::Segment` that has its columns.
const SEGMENT_COLUMNS: u32 = 8;
/// Bytes in which a key and a number, or a length, stand at the most.
const FIELD_HEAD_MAX_BYTES: usize = 20;

/// A `proto::ColumnStatistics`, where it lies.
#[derive(Clone, Copy, Debug)]
struct StoredColumn<'a> {
    known: KnownColumn<'a>,
    distinct_sketch: &'a [u8],
    histogram: &'a [u8],
}

/// Reads segments, one after the other, with memory of its own that is used again.
#[derive(Debug, Default)]
pub struct SegmentReader {
    columns: Vec<u8>,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Held<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    /// Groups and floats, which no message of ours has.
    Other,
}

impl Segment {
    /// Reads the frozen form, encoded.
    pub fn decode(encoded: &[u8]) -> Result<Self> {
        SegmentReader::default().read(encoded)
    }
}

impl SegmentReader {
    /// Reads the frozen form, encoded.
    pub fn read(&mut self, encoded: &[u8]) -> Result<Segment> {
        self.columns.clear();
        let mut segment = Segment {
            id: SegmentId(uuid::Uuid::nil()),
            table: TableId(0),
            slice: SliceId(0),
            slice_count: 0,
            rows: 0,
            bytes: 0,
            checksum: 0,
            nodes: Vec::new(),
            columns: SegmentColumns::none(),
            details: Details::none(),
            placement_epoch: 0,
            sorted_by: Vec::new(),
            delete_vector: None,
        };
        let (mut id, mut side_file, mut delete_vector, mut has_details): (&[u8], &[u8], &[u8], bool) = (&[], &[], &[], false);
        let mut left = encoded;
        while !left.is_empty() {
            let (field, held) = next_field(&mut left)?;
            match field {
                1 => id = held.bytes(field)?,
                // As narrow numbers are read.
                2 => segment.table = TableId(held.number(field)?),
                3 => segment.slice = SliceId(held.number(field)? as u32),
                4 => segment.rows = held.number(field)?,
                5 => segment.bytes = held.number(field)?,
                6 => segment.checksum = held.fixed(field)?,
                7 => segment.nodes.push(NodeId::from_bytes(held.bytes(field)?)?),
                SEGMENT_COLUMNS => has_details |= self.take_column(held.bytes(field)?)?,
                9 => segment.placement_epoch = held.number(field)?,
                10 => held.take_numbers(field, &mut segment.sorted_by)?,
                11 => delete_vector = held.bytes(field)?,
                12 => side_file = held.bytes(field)?,
                13 => segment.slice_count = held.number(field)? as u32,
                _ => {}
            }
        }
        segment.id = SegmentId::from_bytes(id)?;
        segment.columns = SegmentColumns::of_packed(&self.columns);
        segment.delete_vector = super::DeleteVector::from_bytes(delete_vector)?;
        if !side_file.is_empty() {
            segment.details = Details::Aside(SideFileId::from_bytes(side_file)?);
        } else if has_details {
            let (_, columns) = take_apart(encoded, SEGMENT_COLUMNS)?;
            let columns = columns.into_iter().map(StoredColumn::decode).collect::<Result<Vec<_>>>()?;
            let details = columns.iter().map(|column| (column.known.column, column.distinct_sketch, column.histogram));
            segment.details = Details::of_stored(side_file, details)?;
        }
        Ok(segment)
    }

    /// Keeps what is known of a column. Whether there are details of it.
    fn take_column(&mut self, encoded: &[u8]) -> Result<bool> {
        let column = StoredColumn::decode(encoded)?;
        column.known.pack(&mut self.columns);
        Ok(!column.distinct_sketch.is_empty() || !column.histogram.is_empty())
    }
}

impl<'a> Held<'a> {
    fn number(self, field: u32) -> Result<u64> {
        let Self::Number(number) = self else { return Err(damaged(format!("field {field} is no number"))) };
        Ok(number)
    }

    fn fixed(self, field: u32) -> Result<u64> {
        let Self::Fixed(number) = self else { return Err(damaged(format!("field {field} is no number of 8 bytes"))) };
        Ok(number)
    }

    fn bytes(self, field: u32) -> Result<&'a [u8]> {
        let Self::Bytes(bytes) = self else { return Err(damaged(format!("field {field} is not bytes"))) };
        Ok(bytes)
    }

    /// Takes a field of several numbers, which stand in one piece or each for itself.
    fn take_numbers(self, field: u32, ids: &mut Vec<ColumnId>) -> Result<()> {
        let Self::Bytes(mut packed) = self else {
            ids.push(ColumnId(self.number(field)? as u32));
            return Ok(());
        };
        while !packed.is_empty() {
            ids.push(ColumnId(decode_varint(&mut packed).map_err(unreadable)? as u32));
        }
        Ok(())
    }
}

impl<'a> StoredColumn<'a> {
    fn decode(encoded: &'a [u8]) -> Result<Self> {
        let blanks = TrailingBlanks::Unknown;
        let known = KnownColumn { column: ColumnId(0), nulls: 0, min: &[], max: &[], trailing_blanks: blanks };
        let mut column = Self { known, distinct_sketch: &[], histogram: &[] };
        let mut left = encoded;
        while !left.is_empty() {
            let (field, held) = next_field(&mut left)?;
            match field {
                // As narrow numbers are read.
                1 => column.known.column = ColumnId(held.number(field)? as u32),
                2 => column.known.nulls = held.number(field)?,
                3 => column.known.min = held.bytes(field)?,
                4 => column.known.max = held.bytes(field)?,
                5 => column.distinct_sketch = held.bytes(field)?,
                6 => column.histogram = held.bytes(field)?,
                7 => column.known.trailing_blanks = TrailingBlanks::from_proto(held.number(field)? as i32),
                _ => {}
            }
        }
        Ok(column)
    }
}

/// An encoded message without the messages in one of its fields, and those.
pub fn take_apart(encoded: &[u8], field: u32) -> Result<(Vec<u8>, Vec<&[u8]>)> {
    let (mut rest, mut taken) = (Vec::new(), Vec::new());
    let mut left = encoded;
    while !left.is_empty() {
        let before = left;
        match next_field(&mut left)? {
            (found, Held::Bytes(message)) if found == field => taken.push(message),
            _ => rest.extend_from_slice(&before[..before.len() - left.len()]),
        }
    }
    Ok((rest, taken))
}

/// The field that some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstField {
    /// Its number.
    pub number: u32,
    /// Bytes of all of it, which may be more than there are.
    pub length: usize,
    /// Where its bytes begin, if it has some.
    pub bytes_at: Option<usize>,
}

/// The field that `begun` begins with, of which more may come; None as long as that cannot be told.
pub fn first_field(begun: &[u8]) -> Result<Option<FirstField>> {
    let whole = |field: Result<FirstField>| match field {
        Err(_) if begun.len() < FIELD_HEAD_MAX_BYTES => Ok(None),
        field => field.map(Some),
    };
    let mut left = begun;
    let length_of = |left: &[u8]| begun.len() - left.len();
    let (number, wire_type) = match decode_key(&mut left).map_err(unreadable) {
        Ok(key) => key,
        Err(error) => return whole(Err(error)),
    };
    if wire_type == WireType::LengthDelimited {
        return whole(decode_varint(&mut left).map_err(unreadable).and_then(|bytes| {
            let at = length_of(left);
            let length = usize::try_from(bytes).ok().and_then(|bytes| at.checked_add(bytes)).ok_or_else(too_short)?;
            Ok(FirstField { number, length, bytes_at: Some(at) })
        }));
    }
    let mut left = begun;
    whole(next_field(&mut left).map(|(number, _)| FirstField { number, length: length_of(left), bytes_at: None }))
}

/// The number of the field that `left` begins with, and what it holds; `left` is what follows.
fn next_field<'a>(left: &mut &'a [u8]) -> Result<(u32, Held<'a>)> {
    let (field, wire_type) = decode_key(left).map_err(unreadable)?;
    let held = match wire_type {
        WireType::Varint => Held::Number(decode_varint(left).map_err(unreadable)?),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(left).map_err(unreadable)?).unwrap_or(usize::MAX);
            Held::Bytes(split_off(left, length)?)
        }
        WireType::SixtyFourBit => {
            let number = <[u8; 8]>::try_from(split_off(left, 8)?).map_err(|_| too_short())?;
            Held::Fixed(u64::from_le_bytes(number))
        }
        WireType::StartGroup | WireType::EndGroup | WireType::ThirtyTwoBit => {
            skip_field(wire_type, field, left, DecodeContext::default()).map_err(unreadable)?;
            Held::Other
        }
    };
    Ok((field, held))
}

fn split_off<'a>(left: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (bytes, behind) = left.split_at_checked(length).ok_or_else(too_short)?;
    *left = behind;
    Ok(bytes)
}

fn too_short() -> Error {
    damaged("it ends too early".to_owned())
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
    use prost::Message as _;
    use slipher_proto::meta as proto;

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
            narrow in any::<[u32; 2]>(),
        ) {
            let stored = proto::Segment {
                segment_id: id.to_vec(),
                table_id: numbers[0],
                rows: numbers[1],
                checksum: numbers[2],
                placement_epoch: numbers[3],
                nodes: vec![id.to_vec()],
                slice: narrow[0],
                slice_count: narrow[1],
                bytes: numbers[0].rotate_left(7),
                columns,
                side_file: if side_file { id.to_vec() } else { Vec::new() },
                sorted_by: vec![1, 2],
                ..proto::Segment::default()
            };
            let encoded = stored.encode_to_vec();
            let expected = Segment::from_proto(&stored).unwrap();
            let mut reader = SegmentReader::default();
            prop_assert_eq!(&reader.read(&encoded).unwrap(), &expected);
            // The next one has nothing of the one before.
            prop_assert_eq!(&reader.read(&encoded).unwrap(), &expected);
            // What is cut off is refused, or is another message.
            let cut = &encoded[..usize::from(cut) % encoded.len()];
            let as_message = proto::Segment::decode(cut).ok().and_then(|stored| Segment::from_proto(&stored).ok());
            prop_assert_eq!(Segment::decode(cut).ok(), as_message);
        }
    }
}
