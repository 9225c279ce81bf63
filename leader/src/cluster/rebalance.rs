//! Slices move one by one, while reads and writes go on: to nodes that have fewer, and to a second node where a copy is missing;
//! segments that were written while a node was away get their copy when it is back.
//!
//! A move copies the slice's segments first; then one record gives the slice to its new nodes. The record names the segments that were
//! copied: if a load added another one meanwhile, it does not apply and the move goes round again. A load that planned with the old
//! placement is refused by its receipts' epoch and runs again by itself. While segments are coarse, as the cluster has got more slices, only
//! missing copies are made.

use super::Cluster;
use futures::{StreamExt, TryStreamExt};
use slipher_common::channels::call_error;
use slipher_common::ids::{NodeId, SliceId};
use slipher_common::manifest::Segment;
use slipher_common::placement::{Load, Placement, SlicePlacement};
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::State;
use slipher_proto::compute::FetchSegmentRequest;
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often somebody looks whether a slice should move.
const REBALANCE_INTERVAL_MS: u64 = 2_000;
/// Segments that are copied at a time.
const COPIES_CONCURRENT_MAX: usize = 4;
/// How long one segment's copy may take.
const COPY_TIMEOUT_MS: u64 = 600_000;
/// Rounds of copying one slice while loads add to it; then it is another time's turn.
const ROUNDS_MAX: usize = 5;

/// A slice and the nodes it should be on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    slice: usize,
    owner: NodeId,
    replicas: Vec<NodeId>,
}

impl Move {
    /// Whether the slice is on these nodes, and only its segments have to come to them.
    fn stays(&self, placement: &Placement) -> bool {
        let placed = placement.slices.get(self.slice);
        placed.is_some_and(|placed| (placed.owner, &placed.replicas) == (self.owner, &self.replicas))
    }
}

impl Cluster {
    /// Moves slices until `shutdown`.
    pub async fn rebalance(self: Arc<Self>, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(Duration::from_millis(REBALANCE_INTERVAL_MS));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            loop {
                let moved = tokio::select! {
                    () = shutdown.cancelled() => return,
                    moved = self.move_one() => moved,
                };
                match moved {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(%error, "moving a slice failed; it will be tried again");
                        break;
                    }
                }
            }
        }
    }

    /// Moves one slice; false if none should.
    async fn move_one(&self) -> Result<bool> {
        let state = self.meta.state();
        let Ok(cluster) = state.require_cluster() else { return Ok(false) };
        let nodes: Vec<NodeId> = state.nodes().keys().copied().collect();
        // While a node is away its slices are served by replicas; moving them would pull the rest of the cluster along.
        if self.overtaken().is_some() || nodes.iter().any(|node| !self.is_alive(*node)) {
            return Ok(false);
        }
        self.outgrow_slices(&state, &nodes).await?;
        let state = self.meta.state();
        let next = next_move(state.placement(), &self.shares(nodes), cluster.replication_factor as usize);
        // A coarse segment has rows of slices that would part: they move when the last one is split.
        let next = next.filter(|_| state.coarse_segments() == 0).or_else(|| repair(&state));
        let Some(wanted) = next else { return Ok(false) };
        tracing::info!(slice = wanted.slice, owner = %wanted.owner, replicas = ?wanted.replicas, "moving a slice");
        for _ in 0..ROUNDS_MAX {
            let state = self.meta.state();
            if state.coarse_segments() > 0 && !wanted.stays(state.placement()) {
                return Ok(false);
            }
            let copied = self.copy(&state, &wanted).await?;
            let epoch = state.placement().slices.get(wanted.slice).map_or(0, |placed| placed.epoch) + 1;
            let operation = proto::MoveSlice {
                slice: wanted.slice as u32,
                owner: wanted.owner.to_vec(),
                replicas: wanted.replicas.iter().map(|node| node.to_vec()).collect(),
                epoch,
                copied_segment_ids: copied,
            };
            match self.propose(vec![Kind::MoveSlice(operation)]).await {
                Ok(()) => return Ok(true),
                Err(error) if error.kind == ErrorKind::SerializationFailure => continue,
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::SerializationFailure, format!("slice {} is loaded faster than it is copied", wanted.slice)))
    }

    /// Brings the slice's segments to all of its new nodes; answers their ids.
    async fn copy(&self, state: &State, wanted: &Move) -> Result<Vec<Vec<u8>>> {
        let slice = SliceId(wanted.slice as u32);
        let mut copied = BTreeSet::new();
        let mut calls = Vec::new();
        for table in state.tables().values().filter(|table| table.totals.of_slice(slice).segments > 0) {
            for segment in table.segments.values().filter(|segment| segment.slice == slice) {
                copied.insert(segment.id.to_vec());
                let missing = std::iter::once(&wanted.owner).chain(&wanted.replicas).filter(|node| !segment.nodes.contains(node));
                calls.extend(missing.map(|node| self.copy_segment(state, *node, segment, table.table.to_string())));
            }
        }
        futures::stream::iter(calls).buffer_unordered(COPIES_CONCURRENT_MAX).try_collect::<()>().await?;
        Ok(copied.into_iter().collect())
    }

    async fn copy_segment(&self, state: &State, node: NodeId, segment: &Segment, table_name: String) -> Result<()> {
        let address = |node: &NodeId| state.nodes().get(node).map(|info| info.address.clone());
        let doing = format!("copying segment {} of table \"{table_name}\" to compute node {node}", segment.id);
        let target = address(&node).ok_or_else(|| Error::internal(format!("{doing}: it has no address")))?;
        let mut call = tonic::Request::new(FetchSegmentRequest {
            table_id: segment.table.0,
            table_name,
            segment_id: segment.id.to_vec(),
            slice: segment.slice.0,
            rows: segment.rows,
            bytes: segment.bytes,
            checksum: segment.checksum,
            addresses: segment.nodes.iter().filter_map(address).collect(),
            fence: self.fence().map(|fence| fence.to_proto()),
        });
        call.set_timeout(Duration::from_millis(COPY_TIMEOUT_MS));
        self.node_client(&target)?.fetch_segment(call).await.map(|_| ()).map_err(|status| call_error(&doing, &status))
    }
}

/// The next slice to move, if any: to the node that owns the fewest for its share from the one that owns the most, or to one more node for a
/// copy. `nodes` with the parts that they should have.
fn next_move(placement: &Placement, nodes: &[(NodeId, usize)], replication_factor: usize) -> Option<Move> {
    let shares: BTreeMap<NodeId, usize> = nodes.iter().copied().collect();
    let copies_of =
        |placed: &SlicePlacement| std::iter::once(placed.owner).chain(placed.replicas.iter().copied()).collect::<Vec<_>>();
    let mut owned: BTreeMap<NodeId, usize> = shares.keys().map(|node| (*node, 0)).collect();
    let mut held = owned.clone();
    for placed in &placement.slices {
        *owned.entry(placed.owner).or_default() += 1;
        copies_of(placed).into_iter().for_each(|node| *held.entry(node).or_default() += 1);
    }
    let copies_wanted = replication_factor.clamp(1, nodes.len().max(1));
    // First what is missing, then what is uneven.
    let mut slices = placement.slices.iter().enumerate();
    if let Some((slice, placed)) = slices.find(|(_, placed)| placed.replicas.len() + 1 < copies_wanted) {
        let copies = copies_of(placed);
        let node = *shares.keys().filter(|node| !copies.contains(node)).min_by_key(|node| held.get(node))?;
        return Some(Move { slice, owner: placed.owner, replicas: copies[1..].iter().copied().chain([node]).collect() });
    }
    // Who is not among the nodes should have none.
    let load = |node: &NodeId, slices: usize| Load { slices, share: shares.get(node).copied().unwrap_or(0) };
    let (fewest, few) =
        owned.iter().filter(|(node, _)| shares.contains_key(node)).min_by_key(|(node, few)| load(node, **few + 1))?;
    let (most, many) = owned.iter().max_by_key(|(node, many)| load(node, **many))?;
    // Only if the other one has less then all the same.
    if load(fewest, few + 1) < load(most, *many) {
        let mut candidates = placement.slices.iter().enumerate().filter(|(_, placed)| placed.owner == *most);
        // A slice that the node has a copy of already moves for nothing.
        let first = candidates.clone().next();
        let (slice, placed) = candidates.find(|(_, placed)| placed.replicas.contains(fewest)).or(first)?;
        let mut rest: Vec<NodeId> = copies_of(placed).into_iter().filter(|node| node != fewest).collect();
        rest.sort_by_key(|node| held.get(node));
        rest.truncate(copies_wanted - 1);
        return Some(Move { slice, owner: *fewest, replicas: rest });
    }
    None
}

/// A slice that stays where it is but has a segment that is not on all of its nodes: one was away when the segment was written.
fn repair(state: &State) -> Option<Move> {
    for (totals, (slice, sums)) in state.tables().values().flat_map(|table| table.totals.slices().map(|of| (&table.totals, of))) {
        let (id, slice) = (slice, slice.0 as usize);
        let Some(placed) = state.placement().slices.get(slice) else { continue };
        let lacks_some = |node: &NodeId| totals.of_copies(id, *node).segments < sums.segments;
        if std::iter::once(&placed.owner).chain(&placed.replicas).any(lacks_some) {
            return Some(Move { slice, owner: placed.owner, replicas: placed.replicas.clone() });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn nodes(count: u128) -> Vec<(NodeId, usize)> {
        (1..=count).map(|number| (NodeId(Uuid::from_u128(number)), 2)).collect()
    }

    /// Moves until nothing is left to move.
    fn settled(mut placement: Placement, nodes: &[(NodeId, usize)], copies: usize) -> (Placement, usize) {
        let mut moves = 0;
        while let Some(next) = next_move(&placement, nodes, copies) {
            let placed = &mut placement.slices[next.slice];
            (placed.owner, placed.replicas) = (next.owner, next.replicas);
            moves += 1;
            assert!(moves < 1000, "it never settles");
        }
        (placement, moves)
    }

    #[test]
    fn a_new_node_gets_its_share_and_nothing_else_moves() {
        for copies in [1, 2] {
            let (placement, moves) = settled(Placement::deal(8, &nodes(3), copies), &nodes(4), copies);
            assert_eq!(moves, 2, "{placement:?}");
            for (node, _) in nodes(4) {
                assert_eq!(placement.slices.iter().filter(|placed| placed.owner == node).count(), 2, "{placement:?}");
            }
            assert!(
                placement
                    .slices
                    .iter()
                    .all(|placed| placed.replicas.len() + 1 == copies && !placed.replicas.contains(&placed.owner))
            );
        }
        assert_eq!(next_move(&Placement::deal(8, &nodes(4), 2), &nodes(4), 2), None);
    }

    #[test]
    fn a_second_node_gets_the_missing_copies() {
        let (placement, _) = settled(Placement::deal(4, &nodes(1), 2), &nodes(2), 2);
        assert!(placement.slices.iter().all(|placed| placed.replicas.len() == 1), "{placement:?}");
        assert_eq!(placement.slices.iter().filter(|placed| placed.owner == nodes(2)[1].0).count(), 2);
    }
}
