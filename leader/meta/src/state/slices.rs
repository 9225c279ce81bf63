//! Slices: where they lie, and how many there are.
//!
//! A segment knows under how many slices it was written. If there are more by now it is **coarse**: it has rows of all slices that are its
//! own modulo that number, a **class**. As long as there are coarse segments, the slices of a class lie on the same nodes, and a query reads
//! them in the same lane.

use super::apply::{Draft, conflict};
use super::{ClusterInfo, State, TableState};
use slipher_common::ids::{NodeId, SegmentId, SliceId};
use slipher_common::manifest::Segment;
use slipher_common::placement::{Placement, SLICES_MAX};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::collections::BTreeSet;
use std::sync::Arc;

impl State {
    /// Segments that were written under fewer slices than there are.
    pub fn coarse_segments(&self) -> u64 {
        self.cluster.map_or(0, |cluster| self.slice_counts.below(cluster.slice_count))
    }

    /// How many classes of slices have to stay together: as many as there are slices when no segment is coarse.
    pub fn slice_classes(&self) -> u32 {
        let slice_count = self.cluster.map_or(0, |cluster| cluster.slice_count);
        self.slice_counts.fewest().map_or(slice_count, |fewest| fewest.min(slice_count))
    }

    /// Puts a table under its id; answers what was there.
    pub(super) fn put_table(&mut self, table: TableState) -> Option<Arc<TableState>> {
        self.slice_counts.add(table.totals.slice_counts());
        let before = Arc::make_mut(&mut self.tables).insert(table.table.id, Arc::new(table));
        if let Some(before) = &before {
            self.slice_counts.remove(before.totals.slice_counts());
        }
        before
    }
}

/// A segment as a state has it: it says under how many slices it was written.
pub(super) fn with_slice_count(segment: Segment, first_slice_count: u32) -> Segment {
    match (segment.slice, segment.slice_count) {
        (SliceId::ALL, _) => Segment { slice_count: 0, ..segment },
        (_, 0) => Segment { slice_count: first_slice_count, ..segment },
        _ => segment,
    }
}

impl Draft {
    pub(super) fn set_placement(&mut self, operation: &proto::SetPlacement) -> Result<()> {
        let placement = Placement::from_proto(&operation.slices)?;
        let slice_count = self.state.require_cluster()?.slice_count as usize;
        if placement.slices.len() != slice_count {
            let message = format!("setting the placement: it has {} slices, the cluster {slice_count}", placement.slices.len());
            return Err(Error::internal(message));
        }
        for (slice, placed) in placement.slices.iter().enumerate() {
            let mut copies = BTreeSet::new();
            for node in std::iter::once(&placed.owner).chain(&placed.replicas) {
                if !self.state.nodes.contains_key(node) {
                    return Err(Error::internal(format!("setting the placement of slice {slice}: unknown node {node}")));
                }
                if !copies.insert(*node) {
                    return Err(Error::internal(format!("setting the placement of slice {slice}: node {node} stands twice")));
                }
            }
            let Some(current) = self.state.placement.slices.get(slice) else {
                continue;
            };
            // Without a newer epoch, receipts of the old owner would pass.
            let lowest = current.epoch + u64::from(current.owner != placed.owner);
            if placed.epoch < lowest {
                let what = format!("slice {slice} has placement epoch {}, the new placement {}", current.epoch, placed.epoch);
                return Err(conflict(what));
            }
        }
        let classes = self.state.slice_classes();
        if !placement.keeps_classes(classes) {
            let what = format_args!("{} segments have rows of several slices, which would part", self.state.coarse_segments());
            return Err(conflict(what));
        }
        self.state.placement = Arc::new(placement);
        Ok(())
    }

    /// Gives a slice to other nodes. While segments are coarse, this only says that its segments have come to all of the nodes that it has.
    pub(super) fn move_slice(&mut self, operation: &proto::MoveSlice) -> Result<()> {
        let slice = operation.slice as usize;
        let mut slices = self.state.placement.to_proto();
        let Some(current) = slices.get(slice) else {
            return Err(Error::internal(format!("moving slice {slice}: it has no placement")));
        };
        if operation.epoch != current.epoch + 1 {
            let what = format!("slice {slice} has placement epoch {}, its move {}", current.epoch, operation.epoch);
            return Err(conflict(what));
        }
        let coarse = self.state.coarse_segments();
        if coarse > 0 && (current.owner != operation.owner || current.replicas != operation.replicas) {
            let what = format!("slice {slice} cannot move while {coarse} segments have rows of several slices");
            return Err(conflict(what));
        }
        // Slices of a class have one epoch.
        let classes = self.state.slice_classes().max(1);
        for placed in slices.iter_mut().filter(|placed| placed.slice % classes == operation.slice % classes) {
            placed.owner.clone_from(&operation.owner);
            placed.replicas.clone_from(&operation.replicas);
            placed.epoch = operation.epoch;
        }
        self.set_placement(&proto::SetPlacement { slices })?;
        self.spread_segments(operation)
    }

    /// The slice's segments are on its new nodes, and count as being nowhere else.
    fn spread_segments(&mut self, operation: &proto::MoveSlice) -> Result<()> {
        let nodes = std::iter::once(&operation.owner).chain(&operation.replicas).map(|node| NodeId::from_bytes(node));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let copied = operation.copied_segment_ids.iter().map(|id| SegmentId::from_bytes(id)).collect::<Result<BTreeSet<_>>>()?;
        let slice = SliceId(operation.slice);
        let tables = Arc::clone(&self.state.tables);
        for table in tables.values().filter(|table| table.totals.of_slice(slice).segments > 0) {
            let mut spread = TableState::clone(table);
            for segment in table.segments.values().filter(|segment| segment.slice == slice) {
                if copied.contains(&segment.id) {
                    spread.put_segment(Segment { nodes: nodes.clone(), ..Segment::clone(segment) });
                } else if !nodes.first().is_some_and(|owner| segment.nodes.contains(owner)) {
                    return Err(conflict(format!("slice {slice} got segment {} while it was copied", segment.id)));
                }
            }
            self.state.put_table(spread);
        }
        Ok(())
    }

    /// More slices. Each new one lies where the one lies that its rows are in, with its epoch: what was written for that one, and is not
    /// committed yet, is as good as what is there.
    pub(super) fn change_slice_count(&mut self, operation: &proto::ChangeSliceCount) -> Result<()> {
        let cluster = *self.state.require_cluster()?;
        let (from, to) = (operation.from, operation.to);
        if from != cluster.slice_count {
            return Err(conflict(format!("the cluster has {} slices, and not {from} any more", cluster.slice_count)));
        }
        if to <= from || !to.is_multiple_of(from) || to > SLICES_MAX {
            let message =
                format!("changing the number of slices from {from} to {to}: it must be a multiple, at most {SLICES_MAX}");
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        }
        self.state.cluster = Some(ClusterInfo { slice_count: to, ..cluster });
        self.state.placement = Arc::new(self.state.placement.split(to as usize));
        Ok(())
    }
}
