//! Who answers: every node is pinged, and what it says decides whether queries are sent to it.

use super::Cluster;
use slipher_common::ids::NodeId;
use slipher_proto::compute::PingRequest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often each node is pinged.
const PING_INTERVAL_MS: u64 = 1_000;
/// How long a ping may take.
const PING_TIMEOUT_MS: u64 = 1_500;
/// So many missed pings in a row make a node dead.
const MISSED_PINGS_MAX: u32 = 2;

impl Cluster {
    /// Watches the nodes, and sweeps their files at `sweep_interval`, until `shutdown`. Files younger than that are left alone: the
    /// load that wrote them may be about to be proposed.
    pub async fn watch(self: Arc<Self>, sweep_interval: Duration, shutdown: CancellationToken) {
        let mut missed: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut ping = tokio::time::interval(Duration::from_millis(PING_INTERVAL_MS));
        let mut sweep = tokio::time::interval(sweep_interval);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ping.tick() => self.ping_all(&mut missed).await,
                _ = sweep.tick() => {
                    let removed = self.sweep(sweep_interval.as_millis() as u64).await;
                    if removed > 0 {
                        tracing::info!(files = removed, "swept files that no table needs");
                    }
                }
            }
        }
    }

    async fn ping_all(&self, missed: &mut BTreeMap<NodeId, u32>) {
        let state = self.meta.state();
        let cluster_id = state.cluster().map(|cluster| cluster.id.to_vec()).unwrap_or_default();
        let calls = state.nodes().iter().map(|(node, info)| {
            let request = PingRequest { cluster_id: cluster_id.clone() };
            async move { (*node, self.ping(*node, &info.address, request).await) }
        });
        for (node, answered) in futures::future::join_all(calls).await {
            let count = missed.entry(node).or_default();
            *count = if answered { 0 } else { count.saturating_add(1) };
            if answered {
                if self.alive.write().insert(node) {
                    tracing::info!(%node, "compute node answers");
                }
            } else if *count >= MISSED_PINGS_MAX && self.alive.write().remove(&node) {
                tracing::warn!(%node, missed_pings = *count, "compute node does not answer: its replicas serve its slices");
            }
        }
    }

    async fn ping(&self, node: NodeId, address: &str, request: PingRequest) -> bool {
        let Ok(mut client) = self.node_client(address) else {
            return false;
        };
        let mut call = tonic::Request::new(request);
        call.set_timeout(Duration::from_millis(PING_TIMEOUT_MS));
        match tokio::time::timeout(Duration::from_millis(PING_TIMEOUT_MS), client.ping(call)).await {
            // Another node may listen there by now.
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                if answer.node_id != node.to_vec() {
                    return false;
                }
                self.clocks_ms.write().insert(node, answer.now_ms);
                if let Some(activity) = answer.activity {
                    self.activities.write().insert(node, activity);
                }
                true
            }
            _ => false,
        }
    }

    /// Asks at once whether the nodes of a failed query answer, instead of waiting for missed pings.
    pub(crate) async fn recheck(&self) {
        let state = self.meta.state();
        let cluster_id = state.cluster().map(|cluster| cluster.id.to_vec()).unwrap_or_default();
        for (node, info) in state.nodes() {
            let request = PingRequest { cluster_id: cluster_id.clone() };
            if !self.ping(*node, &info.address, request).await {
                self.alive.write().remove(node);
            }
        }
    }
}
