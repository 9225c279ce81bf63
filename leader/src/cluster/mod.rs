//! Membership: compute nodes register, are watched, and get slices.

mod fencing;
mod liveness;
mod open_blocks;
mod pins;
mod readiness;
mod rebalance;
mod service;
mod slices;
mod sweep;
mod view;

pub(crate) use open_blocks::{OpenBlock, RunningInBlock, WAIT_FOR_SHORT_MAX_SECONDS};
pub(crate) use pins::Pin;
pub use service::LeaderService;
pub(crate) use view::ClusterView;

use crate::side_files::SideFiles;
use fencing::Leading;
use liveness::Liveness;
use open_blocks::OpenBlocks;
use parking_lot::RwLock;
use pins::Pins;
use readiness::Readiness;
use slipher_common::channels::{NodeChannel, NodeChannels};
use slipher_common::control::ControlChannels;
use slipher_common::ids::{NodeId, TransactionId};
use slipher_common::manifest::set_aside;
use slipher_common::placement::Placement;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Meta, State};
use slipher_proto::compute::compute_node_client::ComputeNodeClient;
use slipher_proto::compute::node_control_client::NodeControlClient;
use slipher_proto::compute::{CancelQueryRequest, NodeActivity, QueryProgressRequest, QueryProgressResponse};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use uuid::Uuid;

/// How long a node may take to note that a query is cancelled.
const CANCEL_TIMEOUT_MS: u64 = 1_000;
/// How long a node may take to say how far a query is.
const PROGRESS_TIMEOUT_MS: u64 = 1_000;

/// The cluster as the leader sees it.
#[derive(Debug)]
pub struct Cluster {
    meta: Meta,
    side_files: Arc<SideFiles>,
    channels: NodeChannels,
    /// Connections to them for pings and cancellations.
    control: ControlChannels,
    liveness: Liveness,
    leading: Leading,
    readiness: Readiness,
    /// A node of which nothing is heard for so long is dead.
    node_silence_max: Duration,
    /// Partitions that each node works on at a time, by what it said last.
    lanes: RwLock<BTreeMap<NodeId, usize>>,
    /// What each node said last.
    activities: RwLock<BTreeMap<NodeId, NodeActivity>>,
    /// What the clock of each node said when it answered last, in milliseconds since 1970.
    clocks_ms: RwLock<BTreeMap<NodeId, u64>>,
    /// Loads that run, and since when.
    running_loads: RwLock<BTreeMap<TransactionId, Instant>>,
    /// Sweeps of one node that failed.
    failed_sweeps: AtomicU64,
    pins: Pins,
    open_blocks: OpenBlocks,
    next_object_id: AtomicU64,
}

/// Keeps a load's unfinished files from being swept.
#[derive(Debug)]
pub struct RunningLoad {
    cluster: Arc<Cluster>,
    id: TransactionId,
}

impl RunningLoad {
    /// The load.
    pub fn id(&self) -> TransactionId {
        self.id
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.cluster.running_loads.write().remove(&self.id);
    }
}

impl Cluster {
    /// A cluster whose metadata is `meta`, with its side files. No node counts as alive until it answered. Pings are sent on the threads of
    /// `control`; a node of which nothing is heard for `node_silence_max` is dead.
    pub fn new(
        meta: Meta,
        side_files: Arc<SideFiles>,
        channels: NodeChannels,
        control: Handle,
        node_silence_max: Duration,
    ) -> Self {
        Self {
            leading: Leading::new(&meta),
            readiness: Readiness::default(),
            meta,
            side_files,
            channels,
            control: ControlChannels::new(control),
            liveness: Liveness::default(),
            node_silence_max,
            lanes: RwLock::default(),
            activities: RwLock::default(),
            clocks_ms: RwLock::default(),
            running_loads: RwLock::default(),
            failed_sweeps: AtomicU64::new(0),
            pins: Pins::default(),
            open_blocks: OpenBlocks::default(),
            next_object_id: AtomicU64::new(0),
        }
    }

    /// Metadata.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What is large of the segments that `operations` add goes into side files, durably, before anybody proposes them.
    pub(crate) async fn set_aside(&self, mut operations: Vec<Kind>) -> Result<Vec<Kind>> {
        let files = set_aside(&mut operations);
        if !files.is_empty() {
            let side_files = Arc::clone(&self.side_files);
            let written =
                tokio::task::spawn_blocking(move || files.iter().try_for_each(|(id, bytes)| side_files.keep(*id, bytes)));
            written.await.map_err(|error| Error::internal(format!("writing side files: {error}")))??;
        }
        Ok(operations)
    }

    /// An id that no object has or had: segments are written under a table's before the table is committed.
    pub(crate) fn allocate_object_id(&self) -> u64 {
        let known = self.meta.state().next_object_id();
        self.next_object_id.fetch_max(known, Ordering::SeqCst);
        self.next_object_id.fetch_add(1, Ordering::SeqCst)
    }

    /// Connections to compute nodes.
    pub fn channels(&self) -> &NodeChannels {
        &self.channels
    }

    /// Where everything is, by `state`.
    pub(crate) fn view(&self, state: &State) -> ClusterView {
        let addresses = state.nodes().iter().map(|(id, node)| (*id, node.address.clone())).collect();
        let alive: Vec<NodeId> = self.alive().into_iter().filter(|node| state.nodes().contains_key(node)).collect();
        let lanes = self.lanes.read();
        let lanes = alive.iter().filter_map(|node| lanes.get(node).map(|lanes| (*node, *lanes))).collect();
        let flight = state.nodes().iter().filter(|(_, node)| !node.flight_address.is_empty());
        let flight_addresses = flight.map(|(id, node)| (*id, node.flight_address.clone())).collect();
        ClusterView {
            placement: Arc::clone(state.placement()),
            classes: state.slice_classes(),
            addresses: Arc::new(addresses),
            flight_addresses: Arc::new(flight_addresses),
            alive: Arc::new(alive),
            lanes: Arc::new(lanes),
        }
    }

    /// What a node did and held when it answered last.
    pub fn activity(&self, node: NodeId) -> Option<NodeActivity> {
        self.activities.read().get(&node).copied()
    }

    /// How far a query is on all nodes together. Nodes that do not answer at once are left out.
    pub async fn query_progress(&self, query_id: &str) -> QueryProgressResponse {
        let state = self.meta.state();
        let calls = state.nodes().iter().filter(|(node, _)| self.is_alive(**node)).map(|(_, node)| async move {
            let mut call = tonic::Request::new(QueryProgressRequest { query_id: query_id.to_owned() });
            call.set_timeout(Duration::from_millis(PROGRESS_TIMEOUT_MS));
            self.node_client(&node.address).ok()?.query_progress(call).await.ok().map(tonic::Response::into_inner)
        });
        let mut sum = QueryProgressResponse::default();
        for part in futures::future::join_all(calls).await.into_iter().flatten() {
            sum.tasks_started += part.tasks_started;
            sum.tasks_ended += part.tasks_ended;
            sum.scanned_rows += part.scanned_rows;
            sum.scanned_bytes += part.scanned_bytes;
            sum.rejected_rows += part.rejected_rows;
            sum.rejections.extend(part.rejections);
        }
        sum
    }

    /// Starts a load: its files stay until the handle is dropped.
    pub fn start_load(self: &Arc<Self>) -> RunningLoad {
        let id = TransactionId(Uuid::new_v4());
        self.running_loads.write().insert(id, Instant::now());
        RunningLoad { cluster: Arc::clone(self), id }
    }

    fn node_client(&self, address: &str) -> Result<ComputeNodeClient<NodeChannel>> {
        Ok(ComputeNodeClient::new(self.channels.service(address)?))
    }

    /// Tells every node to end a query. Best effort: a node that does not answer ends it when its streams break.
    pub async fn cancel_query(&self, query_id: &str) {
        let state = self.meta.state();
        let calls = state.nodes().values().map(|node| async move {
            let mut call = tonic::Request::new(CancelQueryRequest { query_id: query_id.to_owned() });
            call.set_timeout(Duration::from_millis(CANCEL_TIMEOUT_MS));
            if let Ok(channel) = self.control.channel(&node.address) {
                // A node that is down has nothing to end.
                drop(NodeControlClient::new(channel).cancel_query(call).await);
            }
        });
        futures::future::join_all(calls).await;
    }

    /// Registers a node or its new address; an empty cluster deals its slices anew over all nodes, as many as their lanes want.
    pub async fn register(&self, node: NodeId, address: &str, flight_address: &str, name: &str) -> Result<()> {
        let state = self.meta.state();
        let known =
            state.nodes().get(&node).is_some_and(|known| known.address == address && known.flight_address == flight_address);
        if !known {
            let operation = proto::RegisterNode {
                node_id: node.to_vec(),
                address: address.to_owned(),
                name: name.to_owned(),
                flight_address: flight_address.to_owned(),
            };
            self.propose(vec![Kind::RegisterNode(operation)]).await?;
        }
        self.note_heard(node);
        self.deal_if_empty().await?;
        self.note_if_ready();
        Ok(())
    }

    /// While no table has a row, every change of membership deals the slices anew; later that is a resize's work.
    async fn deal_if_empty(&self) -> Result<()> {
        let state = self.meta.state();
        let cluster = state.require_cluster()?;
        let has_rows = state.tables().values().any(|table| !table.segments.is_empty());
        let nodes: Vec<NodeId> = state.nodes().keys().copied().collect();
        let old = state.placement();
        let placed: BTreeSet<NodeId> = old.slices.iter().map(|slice| slice.owner).collect();
        if has_rows || (nodes.iter().all(|node| placed.contains(node)) && !old.slices.is_empty()) {
            return Ok(());
        }
        let (from, to) = (cluster.slice_count, self.slices_wanted(cluster, &nodes));
        let mut placement = Placement::deal(to, &self.shares(nodes), cluster.replication_factor as usize);
        let epoch = old.slices.iter().map(|slice| slice.epoch).max().unwrap_or(0) + 1;
        placement.slices.iter_mut().for_each(|slice| slice.epoch = epoch);
        let more = (from != to).then_some(Kind::ChangeSliceCount(proto::ChangeSliceCount { from, to }));
        let deal = Kind::SetPlacement(proto::SetPlacement { slices: placement.to_proto() });
        self.propose(more.into_iter().chain([deal]).collect()).await
    }

    /// Which share of the slices each of `nodes` should have: as many parts as it has lanes, or one as long as it has not said that.
    fn shares(&self, nodes: Vec<NodeId>) -> Vec<(NodeId, usize)> {
        let lanes = self.lanes.read();
        nodes.into_iter().map(|node| (node, lanes.get(&node).copied().unwrap_or(1).max(1))).collect()
    }

    /// A node said how many partitions it works on at a time; 0 says nothing.
    fn note_lanes(&self, node: NodeId, lanes: u32) {
        if lanes > 0 {
            self.lanes.write().insert(node, lanes as usize);
        }
    }

    async fn propose(&self, operations: Vec<Kind>) -> Result<()> {
        self.meta.propose(record(operations, &self.meta.state())).await.map(|_| ())
    }
}

/// A record of `operations` that read `state`.
pub(crate) fn record(operations: Vec<Kind>, state: &State) -> proto::Record {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    proto::Record {
        transaction_id: Uuid::new_v4().as_bytes().to_vec(),
        base_version: state.version().0,
        proposed_at_us: since_epoch.as_micros() as i64,
        operations: operations.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect(),
        read_table_ids: Vec::new(),
    }
}

/// The addresses of a layout's tasks.
pub(crate) fn task_addresses(nodes: &[NodeId], addresses: &BTreeMap<NodeId, String>) -> Result<Vec<url::Url>> {
    nodes
        .iter()
        .map(|node| {
            let address = addresses.get(node).ok_or_else(|| Error::internal(format!("compute node {node} has no address")))?;
            url::Url::parse(address)
                .map_err(|error| Error::new(ErrorKind::Config, format!("address \"{address}\" of compute node {node}: {error}")))
        })
        .collect()
}
