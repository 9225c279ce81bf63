//! Where everything is.

use slipher_common::ids::NodeId;
use slipher_common::placement::Placement;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a query knows of where things are.
#[derive(Clone, Debug)]
pub(crate) struct ClusterView {
    /// The placement.
    pub(crate) placement: Arc<Placement>,
    /// Internal addresses of all registered nodes (`http://host:port`).
    pub(crate) addresses: Arc<BTreeMap<NodeId, String>>,
    /// Where clients fetch results (`grpc://host:port`), for the nodes that say.
    pub(crate) flight_addresses: Arc<BTreeMap<NodeId, String>>,
    /// The nodes that answer.
    pub(crate) alive: Arc<Vec<NodeId>>,
}
