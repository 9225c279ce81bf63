//! Details of segments: sketches of distinct values and histograms. They are large and only make estimates better, so what is large of them
//! lies in files beside the metadata, each under the digest of its bytes, and a segment says which one has its own.

use super::{ColumnStatistics, Segment};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ColumnId, SegmentId, SideFileId};
use prost::Message as _;
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Details of a segment of at most so many bytes stay in its record.
const INLINE_MAX_BYTES: usize = 512;
/// A side file gets no more segments once it has so many bytes.
const SIDE_FILE_FULL_BYTES: usize = 4 << 20;

/// Where the details of a segment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Details {
    /// With it, encoded; nothing where none are kept.
    Here(Arc<[u8]>),
    /// In a side file.
    Aside(SideFileId),
}

/// The details of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentDetails {
    columns: Vec<ColumnDetails>,
}

/// The details of one column of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDetails {
    /// The column.
    pub column: ColumnId,
    /// The distinct sketch ([`crate::statistics::DistinctSketch`]), empty when not kept.
    pub distinct_sketch: Vec<u8>,
    /// Encoded inner bounds of an equi-depth histogram ([`crate::histogram`]), empty when not kept.
    pub histogram: Vec<u8>,
}

impl SegmentDetails {
    /// Of one column.
    pub fn of(&self, column: ColumnId) -> Option<&ColumnDetails> {
        self.columns.iter().find(|known| known.column == column)
    }

    /// Of all columns that have any.
    pub fn columns(&self) -> &[ColumnDetails] {
        &self.columns
    }

    fn from_proto(stored: proto::SegmentDetails) -> Self {
        let column = |known: proto::ColumnDetails| ColumnDetails {
            column: ColumnId(known.column_id),
            distinct_sketch: known.distinct_sketch,
            histogram: known.histogram,
        };
        Self { columns: stored.columns.into_iter().map(column).collect() }
    }
}

impl Details {
    /// Of what a node found.
    pub fn of(columns: &[ColumnStatistics]) -> Self {
        let details = columns.iter().map(|column| proto::ColumnDetails {
            column_id: column.column.0,
            distinct_sketch: column.distinct_sketch.clone(),
            histogram: column.histogram.clone(),
        });
        Self::here(details)
    }

    /// Where none are kept; takes no memory.
    pub(super) fn none() -> Self {
        Self::Here(Arc::default())
    }

    /// Of the frozen form: the name of a side file, or columns with their sketches and histograms.
    pub(super) fn of_stored<'a>(side_file: &[u8], columns: impl Iterator<Item = (ColumnId, &'a [u8], &'a [u8])>) -> Result<Self> {
        if !side_file.is_empty() {
            return SideFileId::from_bytes(side_file).map(Self::Aside);
        }
        Ok(Self::here(columns.map(|(column, distinct_sketch, histogram)| proto::ColumnDetails {
            column_id: column.0,
            distinct_sketch: distinct_sketch.to_vec(),
            histogram: histogram.to_vec(),
        })))
    }

    fn here(columns: impl Iterator<Item = proto::ColumnDetails>) -> Self {
        let kept = columns.filter(|column| !column.distinct_sketch.is_empty() || !column.histogram.is_empty());
        let details = proto::SegmentDetails { segment_id: Vec::new(), columns: kept.collect() };
        Self::Here(details.encode_to_vec().into())
    }

    /// What stands here; None of what lies in a side file.
    pub fn inline(&self) -> Option<SegmentDetails> {
        match self {
            Self::Here(encoded) => proto::SegmentDetails::decode(&**encoded).ok().map(SegmentDetails::from_proto),
            Self::Aside(_) => None,
        }
    }

    /// Puts what stands here into the frozen form.
    pub(super) fn write_to(&self, stored: &mut proto::Segment) {
        match self {
            Self::Aside(file) => stored.side_file = file.to_vec(),
            Self::Here(_) => {
                let details = self.inline().unwrap_or_default();
                for column in &mut stored.columns {
                    if let Some(details) = details.of(ColumnId(column.column_id)) {
                        column.distinct_sketch.clone_from(&details.distinct_sketch);
                        column.histogram.clone_from(&details.histogram);
                    }
                }
            }
        }
    }
}

/// Where the details of segments are read.
pub trait ReadsDetails: fmt::Debug + Send + Sync {
    /// None where they cannot be read: they are for estimates only.
    fn details(&self, segment: &Segment) -> Option<Arc<SegmentDetails>>;
}

/// Reads what stands in the records, and no side files.
#[derive(Debug)]
pub struct InlineDetails;

impl ReadsDetails for InlineDetails {
    fn details(&self, segment: &Segment) -> Option<Arc<SegmentDetails>> {
        segment.details.inline().map(Arc::new)
    }
}

/// The details of some segments.
#[derive(Debug)]
pub struct SideFile {
    segments: HashMap<SegmentId, Arc<SegmentDetails>>,
    bytes: usize,
}

impl SideFile {
    /// Reads a file, which must be the one that was asked for.
    pub fn decode(id: SideFileId, bytes: &[u8]) -> Result<Self> {
        let damaged = |fault: &dyn fmt::Display| Error::new(ErrorKind::DataCorrupted, format!("reading side file {id}: {fault}"));
        if SideFileId::of(bytes) != id {
            return Err(damaged(&"its bytes have another digest"));
        }
        let stored = proto::SideFile::decode(bytes).map_err(|error| damaged(&error))?;
        let segments = stored.segments.into_iter().map(|segment| {
            let id = SegmentId::from_bytes(&segment.segment_id)?;
            Ok((id, Arc::new(SegmentDetails::from_proto(segment))))
        });
        Ok(Self { segments: segments.collect::<Result<_>>()?, bytes: bytes.len() })
    }

    /// The details of a segment.
    pub fn details(&self, segment: SegmentId) -> Option<Arc<SegmentDetails>> {
        self.segments.get(&segment).map(Arc::clone)
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Takes large details out of the segments that operations add. Answers the side files that they belong into, under the ids that stand in
/// the segments now.
pub fn set_aside(operations: &mut [Kind]) -> Vec<(SideFileId, Vec<u8>)> {
    let added = operations.iter_mut().filter_map(|kind| match kind {
        Kind::ReplaceSegments(replace) => Some(&mut replace.add),
        _ => None,
    });
    let length = |segment: &proto::Segment| -> usize {
        segment.columns.iter().map(|column| column.distinct_sketch.len() + column.histogram.len()).sum()
    };
    let mut large = added.flatten().filter(|segment| length(segment) > INLINE_MAX_BYTES).peekable();
    let mut files = Vec::new();
    while large.peek().is_some() {
        let (mut file, mut bytes, mut taken) = (proto::SideFile::default(), 0, Vec::new());
        while bytes < SIDE_FILE_FULL_BYTES
            && let Some(segment) = large.next()
        {
            bytes += length(segment);
            file.segments.push(take_details(segment));
            taken.push(segment);
        }
        let encoded = file.encode_to_vec();
        let id = SideFileId::of(&encoded);
        taken.into_iter().for_each(|segment| segment.side_file = id.to_vec());
        files.push((id, encoded));
    }
    files
}

fn take_details(segment: &mut proto::Segment) -> proto::SegmentDetails {
    let columns = segment.columns.iter_mut().map(|column| proto::ColumnDetails {
        column_id: column.column_id,
        distinct_sketch: std::mem::take(&mut column.distinct_sketch),
        histogram: std::mem::take(&mut column.histogram),
    });
    proto::SegmentDetails { segment_id: segment.segment_id.clone(), columns: columns.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u8, sketch_bytes: usize) -> proto::Segment {
        let column = |column_id: u32| proto::ColumnStatistics {
            column_id,
            min: vec![1],
            max: vec![2],
            distinct_sketch: vec![number; sketch_bytes],
            histogram: vec![column_id as u8; sketch_bytes / 2],
            ..proto::ColumnStatistics::default()
        };
        proto::Segment {
            segment_id: vec![number; 16],
            rows: 10,
            columns: vec![column(1), column(2)],
            ..proto::Segment::default()
        }
    }

    fn replace(add: Vec<proto::Segment>) -> Kind {
        Kind::ReplaceSegments(proto::ReplaceSegments { add, ..proto::ReplaceSegments::default() })
    }

    fn added(operations: &[Kind]) -> Vec<Segment> {
        let segments = operations.iter().filter_map(|kind| match kind {
            Kind::ReplaceSegments(replace) => Some(&replace.add),
            _ => None,
        });
        segments.flatten().map(|segment| Segment::from_proto(segment).unwrap()).collect()
    }

    /// What is small stays; what is large is found again in its file; all else of the record is as it was.
    #[test]
    fn large_details_go_aside_and_are_found_again() {
        let all = vec![segment(1, 0), segment(2, 40), segment(3, 400), segment(4, 2 << 20), segment(5, 1 << 20), segment(6, 300)];
        let mut operations = [replace(all[..2].to_vec()), replace(all[2..].to_vec())];
        let files = set_aside(&mut operations);
        assert_eq!(files.len(), 2, "one is full with the fourth");
        for (after, before) in added(&operations).iter().zip(&all) {
            let before = Segment::from_proto(before).unwrap();
            let expected = before.details.inline().unwrap();
            assert_eq!((&after.columns, after.rows), (&before.columns, before.rows));
            let found = match &after.details {
                Details::Here(_) => after.details.inline().unwrap(),
                Details::Aside(id) => {
                    let (_, bytes) = files.iter().find(|(file, _)| file == id).unwrap();
                    let file = SideFile::decode(*id, bytes).unwrap();
                    assert_eq!(file.details(SegmentId::from_bytes(&[99; 16]).unwrap()), None);
                    SegmentDetails::clone(&file.details(after.id).unwrap())
                }
            };
            assert_eq!(found, expected);
            assert_eq!(Segment::from_proto(&after.to_proto()).unwrap(), *after);
        }
        let aside: Vec<bool> = added(&operations).iter().map(|segment| matches!(segment.details, Details::Aside(_))).collect();
        assert_eq!(aside, [false, false, true, true, true, true]);
        // What was set aside once is not taken again, and what is not there is no file.
        assert!(set_aside(&mut operations).is_empty());
    }

    #[test]
    fn a_changed_file_is_refused() {
        let mut operations = [replace(vec![segment(3, 600)])];
        let (id, mut bytes) = set_aside(&mut operations).remove(0);
        bytes[20] ^= 1;
        let error = SideFile::decode(id, &bytes).unwrap_err();
        assert_eq!((error.kind, error.message.contains("another digest")), (ErrorKind::DataCorrupted, true));
    }
}
