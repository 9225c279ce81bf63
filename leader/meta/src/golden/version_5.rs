//! With side files, and sketches of few values.

use super::*;
use slipher_common::ids::{ColumnId, SegmentId, SideFileId};
use slipher_common::manifest::{Details, Segment, SideFile};

fn side_file() -> proto::SideFile {
    let column =
        proto::ColumnDetails { column_id: 1, distinct_sketch: vec![0x41, 0x00, 0x83, 0x01], histogram: vec![0, 16, 0, 17, 0] };
    let empty = proto::ColumnDetails { column_id: 2, distinct_sketch: vec![0], histogram: Vec::new() };
    proto::SideFile { segments: vec![proto::SegmentDetails { segment_id: id(0x31), columns: vec![column, empty] }] }
}

fn segments() -> Vec<proto::Segment> {
    let mut aside = super::segment();
    aside.columns[0].distinct_sketch.clear();
    aside.side_file = SideFileId::of(&side_file().encode_to_vec()).to_vec();
    let mut inline = super::segment();
    inline.segment_id = id(0x33);
    inline.columns[0].distinct_sketch = vec![0x41, 0x00];
    vec![aside, inline]
}

fn record() -> proto::Record {
    let kind = Kind::ReplaceSegments(proto::ReplaceSegments { table_id: 100_001, add: segments(), ..Default::default() });
    proto::Record { operations: vec![proto::Operation { kind: Some(kind) }], ..super::record() }
}

fn state() -> proto::State {
    let mut state = super::state();
    state.tables[0].segments = segments();
    state
}

#[test]
fn a_record_is_read_and_written() {
    let released = golden("meta-record-v5.hex", &record().encode_to_vec());
    assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
    assert_eq!(record().encode_to_vec(), released);
}

#[test]
fn a_state_is_read_and_written() {
    let released = golden("meta-state-v5.hex", &state().encode_to_vec());
    assert_eq!(State::decode(&released).unwrap().to_proto().encode_to_vec(), released);
}

#[test]
fn a_side_file_is_read_and_written() {
    let released = golden("side-file-v1.hex", &side_file().encode_to_vec());
    assert_eq!(side_file().encode_to_vec(), released);
    let aside = Segment::from_proto(&segments()[0]).unwrap();
    let Details::Aside(file) = aside.details else { panic!("{:?}", aside.details) };
    let details = SideFile::decode(file, &released).unwrap().details(SegmentId::from_bytes(&id(0x31)).unwrap()).unwrap();
    let known = details.of(ColumnId(1)).map(|column| (column.distinct_sketch.len(), column.histogram.len()));
    assert_eq!((details.columns().len(), known), (2, Some((4, 5))));
}
