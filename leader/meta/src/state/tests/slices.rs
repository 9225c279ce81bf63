//! More slices.

use super::*;
use slipher_common::placement::SLICES_MAX;

fn change(from: u32, to: u32) -> Kind {
    Kind::ChangeSliceCount(proto::ChangeSliceCount { from, to })
}

/// A receipt of somebody who knows of so many slices.
fn of(slice_count: u32, segment: u128, table: u64, slice: u32) -> proto::Segment {
    let nodes = vec![id(if slice.is_multiple_of(2) { 101 } else { 102 })];
    proto::Segment { slice_count, nodes, ..receipt(segment, table, slice, 1) }
}

fn moving(slice: u32, owner: u128, epoch: u64, copied: &[u128]) -> Kind {
    let copied_segment_ids = copied.iter().map(|segment| id(*segment)).collect();
    Kind::MoveSlice(proto::MoveSlice { slice, owner: id(owner), replicas: Vec::new(), epoch, copied_segment_ids })
}

/// Coarse segments, and classes of slices.
fn coarse(machine: &Machine) -> (u64, u32) {
    (machine.state.coarse_segments(), machine.state.slice_classes())
}

#[test]
fn new_slices_lie_where_their_rows_are() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    // An earlier release does not say how many there were.
    machine.run([replace(table, vec![receipt(1, table, 0, 1), of(2, 2, table, 1)], &[])]).unwrap();
    assert_eq!(coarse(&machine), (0, 2));
    let before = Arc::clone(machine.state.placement());
    machine.run([change(2, 8)]).unwrap();
    assert_eq!(coarse(&machine), (2, 2));
    let slices = &machine.state.placement().slices;
    assert!(slices.len() == 8 && slices.iter().enumerate().all(|(slice, placed)| *placed == before.slices[slice % 2]));

    // Whoever wrote before is as good as what is there; whoever knows is better.
    machine.run([replace(table, vec![receipt(3, table, 1, 1), of(2, 4, table, 0), of(8, 5, table, 7)], &[])]).unwrap();
    assert_eq!(coarse(&machine), (4, 2));
    for (slice_count, slice) in [(2, 2), (8, 8), (3, 1), (16, 0)] {
        machine.fails(ErrorKind::Internal, "adding segment", [replace(table, vec![of(slice_count, 9, table, slice)], &[])]);
    }
    let read = State::from_proto(&machine.state.to_proto()).unwrap();
    assert_eq!(read, machine.state);
    assert_eq!((read.coarse_segments(), read.slice_classes()), (4, 2));

    // More again, while some are coarser than others.
    machine.run([change(8, 16)]).unwrap();
    assert_eq!(coarse(&machine), (5, 2));
    machine.run([replace(table, vec![of(16, 6, table, 3)], &[1, 2, 3, 4])]).unwrap();
    assert_eq!(coarse(&machine), (1, 8));
    machine.run([replace(table, Vec::new(), &[5])]).unwrap();
    assert_eq!(coarse(&machine), (0, 16));
    // What goes with its table is not counted any more.
    machine.run([replace(table, vec![of(2, 7, table, 0)], &[])]).unwrap();
    assert_eq!(coarse(&machine), (1, 2));
    machine.run([Kind::DropTable(proto::DropTable { table_id: table, cascade: false })]).unwrap();
    assert_eq!(coarse(&machine), (0, 16));
}

#[test]
fn only_multiples_of_what_there_is_are_taken() {
    let mut machine = Machine::new();
    machine.fails(ErrorKind::SerializationFailure, "has 2 slices, and not 4", [change(4, 8)]);
    for to in [0, 1, 2, 3, SLICES_MAX * 2] {
        machine.fails(ErrorKind::InvalidParameter, "must be a multiple", [change(2, to)]);
    }
    machine.run([change(2, SLICES_MAX)]).unwrap();
}

#[test]
fn slices_of_a_class_part_when_no_segment_is_coarse() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    machine.run([replace(table, vec![of(2, 1, table, 0), of(2, 2, table, 1)], &[])]).unwrap();
    machine.run([change(2, 4)]).unwrap();
    machine.run([replace(table, vec![of(4, 3, table, 2)], &[])]).unwrap();
    machine.fails(ErrorKind::SerializationFailure, "slice 2 cannot move while 2 segments", [moving(2, 102, 2, &[3])]);
    let mut slices = machine.state.placement().to_proto();
    (slices[2].owner, slices[2].epoch) = (id(102), 2);
    let parted = Kind::SetPlacement(proto::SetPlacement { slices });
    machine.fails(ErrorKind::SerializationFailure, "2 segments have rows of several slices", [parted]);

    // A copy that is missing comes: that changes the epoch of all of them.
    machine.run([moving(2, 101, 2, &[3])]).unwrap();
    let epochs = |machine: &Machine| machine.state.placement().slices.iter().map(|placed| placed.epoch).collect::<Vec<_>>();
    assert_eq!(epochs(&machine), [2, 1, 2, 1]);
    let late = replace(table, vec![of(2, 4, table, 0)], &[]);
    machine.fails(ErrorKind::SerializationFailure, "slice 0 moved", [late]);

    let fine = |segment, slice, epoch| proto::Segment { placement_epoch: epoch, ..of(4, segment, table, slice) };
    machine.run([replace(table, vec![fine(5, 0, 2), fine(6, 2, 2), fine(7, 3, 1)], &[1, 2])]).unwrap();
    assert_eq!(coarse(&machine), (0, 4));
    machine.run([moving(3, 101, 2, &[7])]).unwrap();
    assert_eq!(epochs(&machine), [2, 1, 2, 2]);
    // Who has written for the class of two slices that have parted by now comes too late.
    for (slice, epoch, text) in [(0, 2, "slices of the cluster were split and moved"), (1, 1, "were split and moved")] {
        let late = proto::Segment { placement_epoch: epoch, ..of(2, 8, table, slice) };
        machine.fails(ErrorKind::SerializationFailure, text, [replace(table, vec![late], &[])]);
    }
    machine.run([replace(table, vec![fine(9, 1, 1)], &[])]).unwrap();
}

#[test]
fn a_block_that_began_before_commits_what_it_wrote() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    machine.run([replace(table, vec![of(2, 1, table, 0)], &[])]).unwrap();
    let wrote = replace(table, vec![of(2, 2, table, 1)], &[1]);
    let block = machine.state.speculate(record(9, [wrote.clone()])).unwrap().0;
    machine.run([change(2, 4)]).unwrap();
    assert_eq!((block.coarse_segments(), block.slice_classes(), block.placement().slices.len()), (0, 2, 2));
    machine.run([wrote]).unwrap();
    assert_eq!(coarse(&machine), (1, 2));
}
