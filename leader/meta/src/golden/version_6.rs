//! With more slices than there were first.

use super::*;

fn segments() -> Vec<proto::Segment> {
    // One from before, one that was written under more slices than there were first, one on every node.
    let coarse = super::segment();
    let fine = proto::Segment { segment_id: id(0x33), slice: 5, slice_count: 8, ..super::segment() };
    let copy = proto::Segment { segment_id: id(0x34), slice: u32::MAX, placement_epoch: 0, ..super::segment() };
    vec![coarse, fine, copy]
}

fn record() -> proto::Record {
    let kinds = [
        Kind::ChangeSliceCount(proto::ChangeSliceCount { from: 2, to: 8 }),
        Kind::ReplaceSegments(proto::ReplaceSegments { table_id: 100_001, add: segments(), ..Default::default() }),
    ];
    let operations = kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect();
    proto::Record { operations, ..super::record() }
}

fn state() -> proto::State {
    let mut state = super::state();
    state.cluster = Some(proto::InitCluster { slice_count: 8, ..cluster() });
    state.first_slice_count = 2;
    let twice = (0..8).map(|slice| proto::SlicePlacement { slice, ..placement()[slice as usize % 2].clone() });
    state.placement = twice.collect();
    state.tables[0].segments = segments();
    state
}

#[test]
fn a_record_is_read_and_written() {
    let released = golden("meta-record-v6.hex", &record().encode_to_vec());
    assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
    assert_eq!(record().encode_to_vec(), released);
}

#[test]
fn a_state_is_read_and_written() {
    let released = golden("meta-state-v6.hex", &state().encode_to_vec());
    let read = State::decode(&released).unwrap();
    assert_eq!(read.to_proto().encode_to_vec(), released);
    assert_eq!((read.coarse_segments(), read.slice_classes()), (1, 2));
    assert_eq!(read.cluster().map(|cluster| (cluster.first_slice_count, cluster.slice_count)), Some((2, 8)));
}
