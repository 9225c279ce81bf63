//! Who lives. Every node is pinged, over connections and on threads that do nothing else. A node is dead when nobody listens at its
//! address, and when nothing has been heard of it for a time, on no path: no ping answered, no row received, no registration. A node that
//! is merely busy answers its pings.

use super::Cluster;
use parking_lot::RwLock;
use slipher_common::control::nobody_listens;
use slipher_common::ids::NodeId;
use slipher_common::{Error, Result};
use slipher_proto::compute::PingRequest;
use slipher_proto::compute::node_control_client::NodeControlClient;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// How often each node is pinged.
const PING_INTERVAL_MS: u64 = 1_000;
/// How long a ping may take; then another one is sent.
const PING_TIMEOUT_MS: u64 = 3_000;
/// How long a leader that starts waits for its nodes to say whom they obey.
const MEETING_MAX_MS: u64 = 2_000;
/// How long a leader that ends waits until its nodes have heard up to which version it led.
const FAREWELL_MAX_MS: u64 = 500;
/// A tick that comes so late means that this process was stopped.
const LATE_TICK_MS: u64 = 1_000;
/// Pause between two pings of somebody who waits for an answer.
const ASK_PAUSE_MS: u64 = 100;

/// What is known of who lives.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    alive: RwLock<BTreeSet<NodeId>>,
    /// When each node answered a ping or registered last.
    heard: RwLock<BTreeMap<NodeId, Instant>>,
    /// When this process went on after it had been stopped itself: what it did not hear before is no silence of others.
    went_on: RwLock<Option<Instant>>,
}

/// What came of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pong {
    /// The node answered.
    Answered,
    /// The node is not there: nobody listens, or somebody else.
    Gone,
    /// Nothing came back in time. That says nothing yet.
    Silence,
}

impl Cluster {
    /// Pings the nodes until `shutdown`. Each for itself, so that none waits for another one's silence. Ends with an error when a node has
    /// obeyed a newer leader.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) -> Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(PING_INTERVAL_MS));
        let mut pings: JoinSet<NodeId> = JoinSet::new();
        let mut pinged: BTreeSet<NodeId> = BTreeSet::new();
        let mut last_tick = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.until_overtaken() => break,
                _ = tick.tick() => {
                    if last_tick.elapsed() >= Duration::from_millis(PING_INTERVAL_MS + LATE_TICK_MS) {
                        *self.liveness.went_on.write() = Some(Instant::now());
                    }
                    last_tick = Instant::now();
                    let state = self.meta.state();
                    for (node, info) in state.nodes() {
                        self.bury_if_silent(*node, &info.address);
                        if pinged.insert(*node) {
                            let (cluster, node, address) = (Arc::clone(&self), *node, info.address.clone());
                            pings.spawn(async move {
                                cluster.ping(node, &address).await;
                                node
                            });
                        }
                    }
                }
                Some(ended) = pings.join_next() => match ended {
                    Ok(node) => drop(pinged.remove(&node)),
                    Err(error) => {
                        tracing::error!(%error, "a ping ended unexpectedly");
                        (pings, pinged) = Default::default();
                    }
                },
            }
        }
        drop(pings);
        match self.overtaken() {
            Some(error) => Err(error),
            None => {
                self.say_farewell().await;
                Ok(())
            }
        }
    }

    /// Calls all nodes once, and waits for their answers, but not for long.
    async fn call_all<'a, F: Future<Output = Pong>>(
        &'a self,
        nodes: &'a [(NodeId, String)],
        call: impl Fn(NodeId, &'a str) -> F,
        max_ms: u64,
    ) {
        let calls = nodes.iter().map(|(node, address)| call(*node, address));
        drop(tokio::time::timeout(Duration::from_millis(max_ms), futures::future::join_all(calls)).await);
    }

    fn addresses(&self) -> Vec<(NodeId, String)> {
        self.meta.state().nodes().iter().map(|(node, info)| (*node, info.address.clone())).collect()
    }

    /// The last word: whoever leads next must know what this one knew. A node that ends at the same time, as in `slipher local`, is no news.
    async fn say_farewell(&self) {
        self.call_all(&self.addresses(), |node, address| self.try_ping(node, address), FAREWELL_MAX_MS).await;
    }

    /// Asks the nodes, before anything else is done, whether they have obeyed a newer leader; an error if one has.
    pub async fn meet_nodes(self: &Arc<Self>) -> Result<()> {
        let cluster = Arc::clone(self);
        // Who does not answer now is asked when it comes.
        let meeting = self.control.runtime().spawn(async move {
            cluster.call_all(&cluster.addresses(), |node, address| cluster.ping(node, address), MEETING_MAX_MS).await;
        });
        meeting.await.map_err(|error| Error::internal(format!("asking the compute nodes whom they obey: {error}")))?;
        self.overtaken().map_or(Ok(()), Err)
    }

    async fn ping(&self, node: NodeId, address: &str) -> Pong {
        let pong = self.try_ping(node, address).await;
        match pong {
            Pong::Answered => self.note_heard(node),
            Pong::Gone => self.bury(node, "nobody listens at its address"),
            Pong::Silence => {}
        }
        pong
    }

    async fn try_ping(&self, node: NodeId, address: &str) -> Pong {
        let Ok(channel) = self.control.channel(address) else { return Pong::Gone };
        let fence = self.fence().map(|fence| fence.to_proto());
        let cluster_id = fence.as_ref().map(|fence| fence.cluster_id.clone()).unwrap_or_default();
        let mut call = tonic::Request::new(PingRequest { cluster_id, fence });
        call.set_timeout(Duration::from_millis(PING_TIMEOUT_MS));
        let mut client = NodeControlClient::new(channel);
        let answer = client.ping(call);
        match tokio::time::timeout(Duration::from_millis(PING_TIMEOUT_MS), answer).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                // Another node may listen there by now.
                if answer.node_id != node.to_vec() {
                    return Pong::Gone;
                }
                self.judge_by(node, answer.fence.as_ref());
                self.note_lanes(node, answer.lanes);
                self.clocks_ms.write().insert(node, answer.now_ms);
                if let Some(activity) = answer.activity {
                    self.activities.write().insert(node, activity);
                }
                Pong::Answered
            }
            // It belongs to another cluster.
            Ok(Err(status)) if status.code() == Code::FailedPrecondition || nobody_listens(&status) => Pong::Gone,
            Ok(Err(_)) | Err(_) => Pong::Silence,
        }
    }

    /// Something was heard of a node.
    pub(super) fn note_heard(&self, node: NodeId) {
        self.liveness.heard.write().insert(node, Instant::now());
        if self.liveness.alive.write().insert(node) {
            tracing::info!(%node, "compute node answers");
            self.note_if_ready();
        }
    }

    fn bury(&self, node: NodeId, why: &str) {
        if self.liveness.alive.write().remove(&node) {
            tracing::warn!(%node, why, "compute node does not answer: its replicas serve its slices");
        }
    }

    /// Takes a node for dead that has been silent for too long. True if it is dead.
    fn bury_if_silent(&self, node: NodeId, address: &str) -> bool {
        if !self.is_alive(node) {
            return true;
        }
        let pinged = self.liveness.heard.read().get(&node).copied();
        let heard = pinged.max(self.channels.last_heard(address)).max(*self.liveness.went_on.read());
        let silent = heard.is_none_or(|heard| heard.elapsed() >= self.node_silence_max);
        if silent {
            self.bury(node, &format!("nothing was heard of it for {} s", self.node_silence_max.as_secs_f64()));
        }
        silent
    }

    /// Whether `node` lives.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.liveness.alive.read().contains(&node)
    }

    /// The nodes that live.
    pub fn alive(&self) -> Vec<NodeId> {
        self.liveness.alive.read().iter().copied().collect()
    }

    /// After a query broke off: asks the nodes that live whether they do. Answers when each has answered, or is known to be dead, which
    /// is at the latest when it has been silent for as long as a node may be.
    pub(crate) async fn recheck(self: &Arc<Self>) {
        let state = self.meta.state();
        let asked = state.nodes().iter().filter(|(node, _)| self.is_alive(**node)).map(|(node, info)| {
            let (cluster, node, address) = (Arc::clone(self), *node, info.address.clone());
            // On the threads of control: the statement's own may be busy.
            self.control.runtime().spawn(async move { cluster.ask(node, &address).await })
        });
        for asking in asked.collect::<Vec<_>>() {
            if let Err(error) = asking.await {
                tracing::error!(%error, "asking a compute node ended unexpectedly");
            }
        }
    }

    async fn ask(&self, node: NodeId, address: &str) {
        while self.ping(node, address).await == Pong::Silence && !self.bury_if_silent(node, address) {
            tokio::time::sleep(Duration::from_millis(ASK_PAUSE_MS)).await;
        }
    }
}
