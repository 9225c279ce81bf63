//! Whether the cluster can answer: from when on every slice is on a node that lives. A leader that has just begun knows no such node yet;
//! what comes to it then waits a moment.

use super::Cluster;
use slipher_common::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::sync::watch;

/// How long a statement waits for the first compute nodes.
pub const FIRST_NODES_WAIT_MAX_SECONDS: u64 = 10;

/// Whether the cluster has been ready since this process began.
#[derive(Debug)]
pub(super) struct Readiness(watch::Sender<bool>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Cluster {
    /// Looks whether the cluster is ready now, after a node was heard or slices were dealt.
    pub(super) fn note_if_ready(&self) {
        if *self.readiness.0.borrow() {
            return;
        }
        let view = self.view(&self.meta.state());
        if view.layout(None).is_ok() {
            self.readiness.0.send_replace(true);
        }
    }

    /// Waits until the cluster has been ready once since this process began, at most [`FIRST_NODES_WAIT_MAX_SECONDS`]; whether it has.
    pub async fn is_ready_in_time(&self) -> bool {
        let mut ready = self.readiness.0.subscribe();
        let limit = Duration::from_secs(FIRST_NODES_WAIT_MAX_SECONDS);
        tokio::time::timeout(limit, ready.wait_for(|ready| *ready)).await.is_ok_and(|ready| ready.is_ok())
    }

    /// Does `work`; if it fails for want of nodes before the cluster was ready for the first time, waits for that and does it again.
    pub(crate) async fn with_first_nodes<T, W: Future<Output = Result<T>>>(&self, work: impl Fn() -> W) -> Result<T> {
        let was_ready = *self.readiness.0.borrow();
        let done = work().await;
        let lacks_nodes =
            |error: &Error| !was_ready && matches!(error.kind, ErrorKind::CannotConnectNow | ErrorKind::NodeUnavailable);
        match done {
            // Nothing can have been committed that needs a node.
            Err(error) if lacks_nodes(&error) => match self.is_ready_in_time().await {
                true => work().await,
                false => Err(error),
            },
            done => done,
        }
    }
}
