//! Membership: compute nodes register, are watched, and get slices.

mod liveness;
mod open_blocks;
mod pins;
mod rebalance;
mod service;

pub(crate) use open_blocks::{OpenBlock, RunningInBlock, WAIT_FOR_SHORT_MAX_SECONDS};
pub(crate) use pins::Pin;
pub use service::LeaderService;

use crate::meta::{Meta, State};
use crate::plan::table::ClusterView;
use open_blocks::OpenBlocks;
use parking_lot::RwLock;
use pins::Pins;
use slipher_common::channels::NodeChannels;
use slipher_common::ids::{NodeId, TransactionId};
use slipher_common::placement::Placement;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::compute::compute_node_client::ComputeNodeClient;
use slipher_proto::compute::{CancelQueryRequest, NodeActivity, QueryProgressRequest, QueryProgressResponse, SweepRequest};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use uuid::Uuid;

/// How long a node may take to note that a query is cancelled.
const CANCEL_TIMEOUT_MS: u64 = 1_000;
/// How long a node may take to say how far a query is.
const PROGRESS_TIMEOUT_MS: u64 = 1_000;
/// How long a node may take to remove files nobody needs.
const SWEEP_TIMEOUT_MS: u64 = 30_000;

/// The cluster as the leader sees it.
#[derive(Debug)]
pub struct Cluster {
    meta: Meta,
    channels: NodeChannels,
    alive: RwLock<BTreeSet<NodeId>>,
    /// What each node said last.
    activities: RwLock<BTreeMap<NodeId, NodeActivity>>,
    /// What the clock of each node said when it answered last, in milliseconds since 1970.
    clocks_ms: RwLock<BTreeMap<NodeId, u64>>,
    /// Loads that run, and since when.
    running_loads: RwLock<BTreeMap<TransactionId, Instant>>,
    pins: Pins,
    open_blocks: OpenBlocks,
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
    /// A cluster whose metadata is `meta`; no node counts as alive until it answered.
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            channels: NodeChannels::default(),
            alive: RwLock::default(),
            activities: RwLock::default(),
            clocks_ms: RwLock::default(),
            running_loads: RwLock::default(),
            pins: Pins::default(),
            open_blocks: OpenBlocks::default(),
        }
    }

    /// Metadata.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Connections to compute nodes.
    pub fn channels(&self) -> &NodeChannels {
        &self.channels
    }

    /// Where everything is, by `state`.
    pub(crate) fn view(&self, state: &State) -> ClusterView {
        let addresses = state.nodes().iter().map(|(id, node)| (*id, node.address.clone())).collect();
        let alive = self.alive.read().iter().copied().filter(|node| state.nodes().contains_key(node)).collect();
        let flight = state.nodes().iter().filter(|(_, node)| !node.flight_address.is_empty());
        let flight_addresses = flight.map(|(id, node)| (*id, node.flight_address.clone())).collect();
        ClusterView {
            placement: Arc::clone(state.placement()),
            addresses: Arc::new(addresses),
            flight_addresses: Arc::new(flight_addresses),
            alive: Arc::new(alive),
        }
    }

    /// Whether `node` answered lately.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.alive.read().contains(&node)
    }

    /// The nodes that answered lately.
    pub fn alive(&self) -> Vec<NodeId> {
        self.alive.read().iter().copied().collect()
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

    fn node_client(&self, address: &str) -> Result<ComputeNodeClient<Channel>> {
        Ok(ComputeNodeClient::new(self.channels.channel(address)?))
    }

    /// Tells every node to end a query. Best effort: a node that does not answer ends it when its streams break.
    pub async fn cancel_query(&self, query_id: &str) {
        let state = self.meta.state();
        let calls = state.nodes().values().map(|node| async move {
            let mut call = tonic::Request::new(CancelQueryRequest { query_id: query_id.to_owned() });
            call.set_timeout(Duration::from_millis(CANCEL_TIMEOUT_MS));
            if let Ok(mut client) = self.node_client(&node.address) {
                // A node that is down has nothing to end.
                drop(client.cancel_query(call).await);
            }
        });
        futures::future::join_all(calls).await;
    }

    /// Removes files on all live nodes that no manifest names and no running load wrote.
    pub async fn sweep(&self, minimum_age_ms: u64) -> u64 {
        // Clocks before all: however late a node gets the lists, files that are younger than they are not meant.
        let clocks_ms = self.clocks_ms.read().clone();
        // Loads before state: a load that commits in between is in the state, one that starts in between is too young.
        let (running, oldest): (Vec<Vec<u8>>, Option<Instant>) = {
            let loads = self.running_loads.read();
            (loads.keys().map(|id| id.to_vec()).collect(), loads.values().min().copied())
        };
        // A node that was started again does not remember whose files it has: those of a load that runs still are younger than the load.
        let running_ms = oldest.map_or(0, |oldest| u64::try_from(oldest.elapsed().as_millis()).unwrap_or(u64::MAX));
        let minimum_age_ms = minimum_age_ms.saturating_add(running_ms);
        // Files of a load that has ended may belong to a record that is durable and not applied yet.
        if self.meta.is_stopped() {
            return 0;
        }
        let (state, live) = self.live_segments();
        let alive = state.nodes().iter().filter(|(node, _)| self.is_alive(**node));
        let calls = alive.filter_map(|(id, node)| Some((node, *clocks_ms.get(id)?))).map(|(node, clock_ms)| {
            let request = SweepRequest {
                live_segment_ids: live.clone(),
                running_transaction_ids: running.clone(),
                minimum_age_ms,
                written_before_ms: clock_ms.saturating_sub(minimum_age_ms),
            };
            async move {
                let mut call = tonic::Request::new(request);
                call.set_timeout(Duration::from_millis(SWEEP_TIMEOUT_MS));
                match self.node_client(&node.address) {
                    Ok(mut client) => client.sweep(call).await.map_or(0, |swept| swept.into_inner().files_removed),
                    Err(_) => 0,
                }
            }
        });
        futures::future::join_all(calls).await.into_iter().sum()
    }

    /// Registers a node or its new address; an empty cluster deals its slices anew over all nodes.
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
        self.alive.write().insert(node);
        self.deal_if_empty().await
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
        let mut placement = Placement::deal(cluster.slice_count, &nodes, cluster.replication_factor as usize);
        let epoch = old.slices.iter().map(|slice| slice.epoch).max().unwrap_or(0) + 1;
        placement.slices.iter_mut().for_each(|slice| slice.epoch = epoch);
        self.propose(vec![Kind::SetPlacement(proto::SetPlacement { slices: placement.to_proto() })]).await
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
