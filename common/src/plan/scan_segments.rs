//! Which segments a scan reads, on the leader: all of a table or some, and who reads them.

use super::runtime::SegmentRef;
use crate::ids::{NodeId, SliceId};
use crate::manifest::Segment;
use crate::placement::Layout;
use crate::pruning::TableSegments;
use arrow::buffer::BooleanBuffer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The segments of one task, by lane.
pub type LaneSegments = Arc<Vec<Vec<SegmentRef>>>;

/// Segments of a table at one version, some of which a scan reads. Only those are listed for the tasks, and only when a task is made.
#[derive(Clone, Debug)]
pub struct ScanSegments {
    all: Arc<TableSegments>,
    layout: Arc<Layout>,
    /// Where nodes listen (`http://host:port`).
    addresses: Arc<BTreeMap<NodeId, String>>,
    /// None: all of them.
    kept: Option<BooleanBuffer>,
}

impl ScanSegments {
    /// All segments of a table, dealt to tasks and lanes as `layout` says.
    pub fn new(all: Arc<TableSegments>, layout: Arc<Layout>, addresses: Arc<BTreeMap<NodeId, String>>) -> Self {
        Self { all, layout, addresses, kept: None }
    }

    /// The table's segments.
    pub fn table(&self) -> &TableSegments {
        &self.all
    }

    /// Number of tasks that read.
    pub fn tasks(&self) -> usize {
        self.layout.tasks()
    }

    /// How many segments are read, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.all.all().len();
        (self.kept.as_ref().map_or(all, BooleanBuffer::count_set_bits), all)
    }

    /// Those of these that are in `some`.
    pub(super) fn only(self, some: &BooleanBuffer) -> Self {
        let kept = self.kept.as_ref().map_or_else(|| some.clone(), |kept| kept & some);
        Self { kept: Some(kept), ..self }
    }

    /// Those of these that may have rows of some slices.
    pub(super) fn of_slices(self, slices: &BTreeSet<u32>) -> Self {
        let all = self.all.all();
        let mut wanted = WantedSlices { slices, coarse: BTreeMap::new() };
        let some = BooleanBuffer::collect_bool(all.len(), |number| wanted.may_be_in(&all[number]));
        self.only(&some)
    }

    /// The segments that a task reads. A copy of an ALL table is read in lane 0 of every task.
    pub fn of_task(&self, task: usize) -> Vec<Vec<SegmentRef>> {
        let mut lanes = vec![Vec::new(); self.layout.lanes];
        let Some(node) = self.layout.nodes.get(task) else { return lanes };
        let mut copies = OtherCopies { node: *node, addresses: &self.addresses, known: BTreeMap::new() };
        let all = self.all.all();
        let mut read = |number: usize| {
            let segment = &all[number];
            let slot = match segment.slice {
                SliceId::ALL => Some((task, 0)),
                slice => self.layout.slots.get(slice.0 as usize).copied(),
            };
            if let Some((_, lane)) = slot.filter(|(reader, _)| *reader == task) {
                lanes[lane].push(segment_ref(segment, number, copies.of(&segment.nodes)));
            }
        };
        match &self.kept {
            Some(kept) => kept.set_indices().for_each(&mut read),
            None => (0..all.len()).for_each(&mut read),
        }
        lanes
    }
}

/// Slices of those that the cluster has, and which slices they are of fewer.
struct WantedSlices<'a> {
    slices: &'a BTreeSet<u32>,
    /// By the number of slices.
    coarse: BTreeMap<u32, BTreeSet<u32>>,
}

impl WantedSlices<'_> {
    /// A segment that was written under fewer slices has rows of several.
    fn may_be_in(&mut self, segment: &Segment) -> bool {
        let of = segment.slice_count;
        let modulo = || self.slices.iter().filter_map(|slice| slice.checked_rem(of)).collect();
        self.coarse.entry(of).or_insert_with(modulo).contains(&segment.slice.0)
    }
}

fn segment_ref(segment: &Segment, number: usize, other_copies: Arc<[String]>) -> SegmentRef {
    SegmentRef {
        id: segment.id,
        slice: segment.slice,
        rows: segment.rows,
        bytes: segment.bytes,
        checksum: segment.checksum,
        other_copies,
        delete_vector: segment.delete_vector.clone(),
        number: number as u32,
        part: None,
    }
}

/// Addresses of the other nodes that hold a file: one list for all files on the same nodes.
struct OtherCopies<'a> {
    node: NodeId,
    addresses: &'a BTreeMap<NodeId, String>,
    known: BTreeMap<&'a [NodeId], Arc<[String]>>,
}

impl<'a> OtherCopies<'a> {
    fn of(&mut self, nodes: &'a [NodeId]) -> Arc<[String]> {
        let (node, addresses) = (self.node, self.addresses);
        let list = || nodes.iter().filter(|other| **other != node).filter_map(|other| addresses.get(other).cloned()).collect();
        Arc::clone(self.known.entry(nodes).or_insert_with(list))
    }
}
