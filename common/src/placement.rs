//! Placement: which node owns each slice, and how a node's slices become the lanes (partitions) of its task.

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{NodeId, SliceId};
use slipher_proto::meta as proto;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Fewest lanes of a task: one partition satisfies every distribution, so each task would answer alone.
pub const LANES_MIN: usize = 2;

/// Fewest tasks of a query: a boundary between one task and one task is left out by the engine, and the scan below it would then run
/// on the leader, which holds no data. A lone node therefore serves two tasks.
pub const TASKS_MIN: usize = 2;

/// Most slices of a cluster.
pub const SLICES_MAX: u32 = 4096;

/// Where one slice lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePlacement {
    /// Reads and writes go here.
    pub owner: NodeId,
    /// Nodes with a copy, without the owner.
    pub replicas: Vec<NodeId>,
    /// Grows with every change of owner; a receipt of an older epoch is refused.
    pub epoch: u64,
}

/// How much a node has to do for its size. Ordered by slices for each part of its share; who has no share has too many.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Slices that it owns.
    pub slices: usize,
    /// Parts of all slices that it should own, where others should own so many.
    pub share: usize,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.slices * other.share).cmp(&(other.slices * self.share))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Load {}

/// Slice → owner, replicas, epoch; indexed by slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// One entry per slice.
    pub slices: Vec<SlicePlacement>,
}

impl Placement {
    /// Deals `slice_count` slices in turn over `nodes`, to each by its share; each slice's replicas are the next nodes in turn.
    pub fn deal(slice_count: u32, nodes: &[(NodeId, usize)], replication_factor: usize) -> Self {
        let copies = replication_factor.clamp(1, nodes.len().max(1));
        let mut dealt = vec![0; nodes.len()];
        let mut slices = Vec::with_capacity(slice_count as usize);
        for _ in 0..slice_count {
            let load = |place: &usize| Load { slices: dealt[*place] + 1, share: nodes[*place].1 };
            let Some(first) = (0..nodes.len()).min_by_key(load) else { break };
            dealt[first] += 1;
            let node = |offset: usize| nodes[(first + offset) % nodes.len()].0;
            slices.push(SlicePlacement { owner: node(0), replicas: (1..copies).map(node).collect(), epoch: 1 });
        }
        Self { slices }
    }

    /// The same with more slices, a multiple: slice t lies where t modulo the number of before lies, as its rows do.
    pub fn split(&self, slice_count: usize) -> Self {
        match self.slices.is_empty() {
            true => self.clone(),
            false => Self { slices: self.slices.iter().cycle().take(slice_count).cloned().collect() },
        }
    }

    /// Whether all slices that are the same modulo `classes` lie on the same nodes, in the same epoch.
    pub fn keeps_classes(&self, classes: u32) -> bool {
        let classes = classes as usize;
        self.slices.len() <= classes || classes > 0 && self.slices[classes..] == self.slices[..self.slices.len() - classes]
    }

    /// The frozen form.
    pub fn to_proto(&self) -> Vec<proto::SlicePlacement> {
        self.slices
            .iter()
            .enumerate()
            .map(|(slice, placed)| proto::SlicePlacement {
                slice: slice as u32,
                owner: placed.owner.to_vec(),
                replicas: placed.replicas.iter().map(|node| node.to_vec()).collect(),
                epoch: placed.epoch,
            })
            .collect()
    }

    /// Reads the frozen form; slices must be complete and in order.
    pub fn from_proto(stored: &[proto::SlicePlacement]) -> Result<Self> {
        let slices = stored
            .iter()
            .enumerate()
            .map(|(index, placed)| {
                if placed.slice as usize != index {
                    return Err(Error::new(
                        ErrorKind::DataCorrupted,
                        format!("reading the placement: slice {} at {index}", placed.slice),
                    ));
                }
                Ok(SlicePlacement {
                    owner: NodeId::from_bytes(&placed.owner)?,
                    replicas: placed.replicas.iter().map(|node| NodeId::from_bytes(node)).collect::<Result<_>>()?,
                    epoch: placed.epoch,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { slices })
    }
}

/// The layout of one query: tasks, their nodes, and the lane of every slice. The same for all tables of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Node of each task, by task index; a lone node stands twice, and a large one may stand several times.
    pub nodes: Vec<NodeId>,
    /// Lanes (partitions) of every task: the same number everywhere, at least [`LANES_MIN`].
    pub lanes: usize,
    /// (task, lane) of each slice, by slice.
    pub slots: Vec<(usize, usize)>,
}

impl Layout {
    /// Groups the slices by serving node: a slice is served by its owner where `alive`, else by its first replica that is.
    /// Every live node takes part, so that a copy of an ALL table can be read on it. Tasks have as many lanes as the smallest of these nodes
    /// works on at a time (`lanes_of`); a node that works on several times as many serves several tasks.
    ///
    /// Slices that are the same modulo `classes` are in one lane: there are segments with rows of all of them, which meet those of each.
    pub fn new(placement: &Placement, classes: u32, alive: &[NodeId], lanes_of: impl Fn(&NodeId) -> usize) -> Result<Self> {
        let classes = placement.slices.len().min(classes as usize);
        let of_node = slices_of_nodes(&placement.slices[..classes], alive)?;
        let lanes = of_node.keys().map(&lanes_of).min().unwrap_or(LANES_MIN).max(LANES_MIN);
        let tasks_min = if of_node.len() == 1 { TASKS_MIN } else { 1 };
        let mut slots = vec![(0, 0); classes];
        let mut nodes = Vec::with_capacity(of_node.len());
        for (node, slices) in of_node {
            let (first, tasks) = (nodes.len(), (lanes_of(&node) / lanes).max(tasks_min));
            nodes.resize(first + tasks, node);
            for (rank, slice) in slices.into_iter().enumerate() {
                slots[slice] = (first + rank % tasks, rank / tasks % lanes);
            }
        }
        if nodes.is_empty() {
            return Err(Error::new(ErrorKind::CannotConnectNow, "the cluster has no compute node yet")
                .with_hint("start one with `slipher compute --leader HOST:5441`"));
        }
        let slots = slots.iter().cycle().take(placement.slices.len()).copied().collect();
        Ok(Self { nodes, lanes, slots })
    }

    /// Number of tasks, T.
    pub fn tasks(&self) -> usize {
        self.nodes.len()
    }

    /// Slot of each slice: task · P + lane.
    pub fn slot_of_slices(&self) -> Vec<usize> {
        self.slots.iter().map(|(task, lane)| task * self.lanes + lane).collect()
    }

    /// The slices of one lane of one task.
    pub fn slices_of(&self, task: usize, lane: usize) -> impl Iterator<Item = SliceId> + '_ {
        self.slots.iter().enumerate().filter(move |(_, slot)| **slot == (task, lane)).map(|(slice, _)| SliceId(slice as u32))
    }
}

/// Which of these slices each node serves.
fn slices_of_nodes(slices: &[SlicePlacement], alive: &[NodeId]) -> Result<BTreeMap<NodeId, Vec<usize>>> {
    let mut of_node: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (slice, placed) in slices.iter().enumerate() {
        let serving = std::iter::once(&placed.owner).chain(&placed.replicas).find(|node| alive.contains(node));
        let Some(node) = serving else {
            return Err(Error::new(ErrorKind::NodeUnavailable, format!("no compute node that holds slice {slice} answers"))
                .with_detail(format!("owner {}, replicas {:?}", placed.owner, placed.replicas))
                .with_hint("start the compute nodes that hold it; queries on other data go on"));
        };
        of_node.entry(*node).or_default().push(slice);
    }
    Ok(of_node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn nodes(count: u128) -> Vec<NodeId> {
        (1..=count).map(|n| NodeId(Uuid::from_u128(n))).collect()
    }

    fn alike(nodes: &[NodeId]) -> Vec<(NodeId, usize)> {
        nodes.iter().map(|node| (*node, 1)).collect()
    }

    fn two(_: &NodeId) -> usize {
        2
    }

    #[test]
    fn every_slice_has_one_slot_and_a_dead_node_is_replaced_by_its_replica() {
        let nodes = nodes(3);
        let placement = Placement::deal(8, &alike(&nodes), 2);
        let layout = Layout::new(&placement, 8, &nodes, two).unwrap();
        assert_eq!(layout.tasks(), 3);
        let all: usize =
            (0..3).flat_map(|task| (0..2).map(move |lane| (task, lane))).map(|(t, l)| layout.slices_of(t, l).count()).sum();
        assert_eq!(all, 8);
        let without_first = Layout::new(&placement, 8, &nodes[1..], two).unwrap();
        assert_eq!(without_first.tasks(), 2);
        assert!(Layout::new(&placement, 8, &nodes[..1], two).is_err());
        let alone = Layout::new(&Placement::deal(8, &alike(&nodes[..1]), 1), 8, &nodes[..1], two).unwrap();
        assert_eq!(alone.nodes, vec![nodes[0], nodes[0]]);
    }

    #[test]
    fn a_larger_node_has_more_slices_and_tasks() {
        let nodes = nodes(3);
        let lanes_of = |node: &NodeId| if *node == nodes[1] { 8 } else { 2 };
        let shares: Vec<(NodeId, usize)> = nodes.iter().map(|node| (*node, lanes_of(node))).collect();
        let placement = Placement::deal(24, &shares, 1);
        let owned = |node: &NodeId| placement.slices.iter().filter(|placed| placed.owner == *node).count();
        assert_eq!(nodes.iter().map(owned).collect::<Vec<_>>(), [4, 16, 4]);
        let layout = Layout::new(&placement, 24, &nodes, lanes_of).unwrap();
        assert_eq!((layout.tasks(), layout.lanes), (6, 2));
        // Each lane of the cluster has the same number of slices.
        let mut slices = vec![0; layout.tasks() * layout.lanes];
        layout.slot_of_slices().into_iter().for_each(|slot| slices[slot] += 1);
        assert_eq!(slices, vec![2; 12]);
    }

    #[test]
    fn more_slices_lie_where_their_rows_are() {
        let nodes = nodes(3);
        let before = Placement::deal(8, &alike(&nodes), 2);
        let after = before.split(32);
        assert_eq!(after.slices.len(), 32);
        assert!((0..32).all(|slice| after.slices[slice] == before.slices[slice % 8]));
        assert!(after.keeps_classes(8) && after.keeps_classes(16) && after.keeps_classes(32) && !after.keeps_classes(4));
        let mut moved = after.clone();
        moved.slices[31].epoch += 1;
        assert!(!moved.keeps_classes(8) && !moved.keeps_classes(16) && moved.keeps_classes(32));
        assert_eq!(Placement::default().split(32), Placement::default());
    }

    #[test]
    fn slices_of_a_class_are_in_one_lane_whoever_lives() {
        let nodes = nodes(3);
        let lanes_of = |node: &NodeId| if *node == nodes[2] { 6 } else { 3 };
        let placement = Placement::deal(8, &alike(&nodes), 2).split(64);
        for alive in [&nodes[..], &nodes[1..], &nodes[..2]] {
            let coarse = Layout::new(&placement, 8, alive, lanes_of).unwrap();
            assert!((0..64).all(|slice| coarse.slots[slice] == coarse.slots[slice % 8]));
            // As many lanes as before have something to do, and the nodes do the same.
            let before = Layout::new(&Placement::deal(8, &alike(&nodes), 2), 8, alive, lanes_of).unwrap();
            assert_eq!((&coarse.slots[..8], &coarse.nodes), (&before.slots[..], &before.nodes));
            let middle = Layout::new(&placement, 16, alive, lanes_of).unwrap();
            assert!((0..64).all(|slice| middle.slots[slice] == middle.slots[slice % 16]));
            // In the end all of them have.
            let fine = Layout::new(&placement, 64, alive, lanes_of).unwrap();
            let used: std::collections::BTreeSet<_> = fine.slots.iter().collect();
            assert_eq!(used.len(), fine.tasks() * fine.lanes);
        }
    }
}
