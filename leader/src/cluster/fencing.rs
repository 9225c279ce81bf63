//! Who commands: what this leader says of itself with each order, and what it learns from nodes that have obeyed a newer one.

use super::Cluster;
use slipher_common::fence::{Fence, Judgement};
use slipher_common::ids::NodeId;
use slipher_common::{Error, Result};
use slipher_meta::Meta;
use slipher_proto::compute as proto;
use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What is known of who leads.
#[derive(Debug)]
pub(super) struct Leading {
    /// This process.
    leader: Uuid,
    /// The version that its directory had when it began.
    since_version: u64,
    /// Why it may not lead any more.
    overtaken: OnceLock<Error>,
    stop: CancellationToken,
}

impl Leading {
    pub(super) fn new(meta: &Meta) -> Self {
        let since_version = meta.state().version().0;
        Self { leader: Uuid::new_v4(), since_version, overtaken: OnceLock::new(), stop: CancellationToken::new() }
    }
}

impl Cluster {
    /// What this leader says of itself; None before there is a cluster.
    pub(crate) fn fence(&self) -> Option<Fence> {
        let state = self.meta.state();
        Some(Fence {
            cluster: state.cluster()?.id,
            term: self.meta.term(),
            version: state.version().0,
            leader: self.leading.leader,
            since_version: self.leading.since_version,
            boot: self.meta.boot(),
        })
    }

    /// Why this leader may not lead any more, if so.
    pub(crate) fn overtaken(&self) -> Option<Error> {
        self.leading.overtaken.get().cloned()
    }

    pub(super) async fn until_overtaken(&self) {
        self.leading.stop.cancelled().await;
    }

    /// Looks whom a node obeys. If that is a newer leader, this one ends.
    pub(super) fn judge_by(&self, node: NodeId, seen: Option<&proto::Fence>) {
        if let Err(error) = self.check_fence(node, seen) {
            tracing::error!(%error, sqlstate = error.sqlstate(), "this leader stops");
            // The first reason is told.
            let _ = self.leading.overtaken.set(error);
            self.leading.stop.cancel();
        }
    }

    fn check_fence(&self, node: NodeId, seen: Option<&proto::Fence>) -> Result<()> {
        let (Some(own), Some(seen)) = (self.fence(), seen) else { return Ok(()) };
        let seen = Fence::from_proto(seen)?;
        match own.judge(&seen) {
            Judgement::Follows => Ok(()),
            Judgement::IsBehind => Err(own.behind(node, &seen)),
        }
    }
}
