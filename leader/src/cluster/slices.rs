//! How many slices there are: enough for all lanes, where nobody said how many.

use super::Cluster;
use slipher_common::Result;
use slipher_common::ids::NodeId;
use slipher_meta::{ClusterInfo, State};
use slipher_proto::meta::{self as proto, operation::Kind};

/// Slices for each lane of the cluster: nodes that have two do about the same when one is away, or when lanes cannot be shared out evenly.
const SLICES_PER_LANE: usize = 2;
/// More slices than these are made only by who asks for them: each has files of its own.
const SLICES_BY_LANES_MAX: u32 = 256;

impl Cluster {
    /// How many slices `nodes` should have: as many as there are, unless their lanes have outgrown these in a cluster of which nobody said how
    /// many it has. One that an earlier release made keeps its number.
    pub(super) fn slices_wanted(&self, cluster: &ClusterInfo, nodes: &[NodeId]) -> u32 {
        let slice_count = cluster.slice_count;
        if !cluster.slices_by_lanes {
            return slice_count;
        }
        let lanes = self.lanes.read();
        wanted(slice_count, nodes.iter().filter_map(|node| lanes.get(node)).sum())
    }

    /// Makes more slices if the lanes of all nodes have outgrown those there are. What is stored is split in the background.
    pub(super) async fn outgrow_slices(&self, state: &State, nodes: &[NodeId]) -> Result<()> {
        let cluster = state.require_cluster()?;
        let (from, to) = (cluster.slice_count, self.slices_wanted(cluster, nodes));
        if to == from || state.placement().slices.is_empty() {
            return Ok(());
        }
        tracing::info!(from, to, "the lanes of the compute nodes have outgrown the slices");
        self.propose(vec![Kind::ChangeSliceCount(proto::ChangeSliceCount { from, to })]).await
    }
}

/// `slice_count`, doubled until all lanes have enough.
fn wanted(slice_count: u32, lanes: usize) -> u32 {
    let mut wanted = slice_count.max(1);
    while (wanted as usize) < lanes.saturating_mul(SLICES_PER_LANE) && wanted <= SLICES_BY_LANES_MAX / 2 {
        wanted *= 2;
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_lanes() {
        let of_eight = [0, 2, 4, 5, 16, 17, 100, 10_000].map(|lanes| wanted(8, lanes));
        assert_eq!(of_eight, [8, 8, 8, 16, 32, 64, 256, 256]);
        // A multiple of what there was, and never fewer.
        assert_eq!(
            [wanted(5, 16), wanted(5, 1_000), wanted(512, 4), wanted(512, 1_000), wanted(200, 1_000)],
            [40, 160, 512, 512, 200]
        );
    }
}
