//! Where everything is.

use slipher_common::Result;
use slipher_common::ids::NodeId;
use slipher_common::placement::{LANES_MIN, Layout, Placement};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a query knows of where things are.
#[derive(Clone, Debug)]
pub(crate) struct ClusterView {
    /// The placement.
    pub(crate) placement: Arc<Placement>,
    /// Slices that are the same modulo this have to stay together: some segments have rows of all of them.
    pub(crate) classes: u32,
    /// Internal addresses of all registered nodes (`http://host:port`).
    pub(crate) addresses: Arc<BTreeMap<NodeId, String>>,
    /// Where clients fetch results (`grpc://host:port`), for the nodes that say.
    pub(crate) flight_addresses: Arc<BTreeMap<NodeId, String>>,
    /// The nodes that answer.
    pub(crate) alive: Arc<Vec<NodeId>>,
    /// Partitions that each of these works on at a time.
    pub(crate) lanes: Arc<BTreeMap<NodeId, usize>>,
}

impl ClusterView {
    /// Tasks and lanes of a query now; `lanes` of every task where the leader was told so.
    pub(crate) fn layout(&self, lanes: Option<usize>) -> Result<Layout> {
        let lanes_of = |node: &NodeId| lanes.or_else(|| self.lanes.get(node).copied()).unwrap_or(LANES_MIN);
        Layout::new(&self.placement, self.classes, &self.alive, lanes_of)
    }
}
