//! Files that nobody needs: every node is told which segments are live, and removes the others.

use super::Cluster;
use crate::side_files::needed_by;
use slipher_common::channels::call_error;
use slipher_common::sweep::Needed;
use slipher_common::{Error, Result};
use slipher_proto::compute::SweepRequest;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a node may take to remove files nobody needs: it looks at all it has.
const SWEEP_TIMEOUT_MS: u64 = 300_000;
/// How often side files are looked at.
const SIDE_FILES_SWEEP_SECONDS: u64 = 3_600;
/// Younger ones are left alone.
const SIDE_FILES_AGE_MIN_SECONDS: u64 = 86_400;

impl Cluster {
    /// Sweeps the nodes' files at `interval` until `shutdown`. Files younger than that are left alone: the load that wrote them may be
    /// about to be proposed.
    pub async fn sweep_forever(self: Arc<Self>, interval: Duration, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(interval);
        let mut side_files_swept = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            if side_files_swept.elapsed() >= Duration::from_secs(SIDE_FILES_SWEEP_SECONDS) {
                side_files_swept = Instant::now();
                self.sweep_side_files().await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                removed = self.sweep(interval.as_millis() as u64) => if removed > 0 {
                    tracing::info!(files = removed, "swept files that no table needs");
                }
            }
        }
    }

    /// Removes files on all live nodes that no manifest names and no running load wrote; answers how many. A node where that failed is
    /// logged and counted, and is swept the next time.
    pub async fn sweep(self: &Arc<Self>, minimum_age_ms: u64) -> u64 {
        // Clocks before all: however late a node gets the lists, files that are younger than they are not meant.
        let clocks_ms = self.clocks_ms.read().clone();
        // Loads before state: a load that commits in between is in the state, one that starts in between is too young.
        let (running, oldest): (_, Option<Instant>) = {
            let loads = self.running_loads.read();
            (loads.keys().copied().collect(), loads.values().min().copied())
        };
        // A node that was started again does not remember whose files it has: those of a load that runs still are younger than the load.
        let running_ms = oldest.map_or(0, |oldest| u64::try_from(oldest.elapsed().as_millis()).unwrap_or(u64::MAX));
        let minimum_age_ms = minimum_age_ms.saturating_add(running_ms);
        // Files of a load that has ended may belong to a record that is durable and not applied yet.
        if self.meta.is_stopped() || self.overtaken().is_some() {
            return 0;
        }
        let cluster = Arc::clone(self);
        // Millions of ids take a while: not on a thread that serves statements.
        let (state, live) = match tokio::task::spawn_blocking(move || cluster.live_segments()).await {
            Ok(live) => live,
            Err(error) => {
                self.note_failed_sweep(&Error::internal(format!("listing the live segments: {error}")));
                return 0;
            }
        };
        let needed = Needed { live, running };
        let fence = self.fence().map(|fence| fence.to_proto());
        let alive = state.nodes().iter().filter(|(node, _)| self.is_alive(**node));
        let calls = alive.filter_map(|(id, node)| Some((node, *clocks_ms.get(id)?))).map(|(node, clock_ms)| {
            let written_before_ms = clock_ms.saturating_sub(minimum_age_ms);
            let first = SweepRequest { minimum_age_ms, written_before_ms, fence: fence.clone(), ..SweepRequest::default() };
            let messages = futures::stream::iter(needed.messages(first));
            async move {
                self.sweep_node(&node.address, messages).await.unwrap_or_else(|error| {
                    self.note_failed_sweep(&error);
                    0
                })
            }
        });
        futures::future::join_all(calls).await.into_iter().sum()
    }

    /// Removes side files that no segment names any more. Those of loads and blocks that run are young; what a block would lose that is open
    /// for longer are estimates.
    async fn sweep_side_files(self: &Arc<Self>) {
        if self.meta.is_stopped() || self.overtaken().is_some() {
            return;
        }
        let cluster = Arc::clone(self);
        let swept = tokio::task::spawn_blocking(move || {
            let needed = needed_by(&cluster.meta.state());
            cluster.side_files.sweep(&needed, Duration::from_secs(SIDE_FILES_AGE_MIN_SECONDS))
        });
        let swept = swept.await.unwrap_or_else(|error| Err(Error::internal(format!("sweeping side files: {error}"))));
        match swept {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "swept side files that no segment names"),
            Err(error) => self.note_failed_sweep(&error),
        }
    }

    async fn sweep_node(
        &self,
        address: &str,
        messages: impl futures::Stream<Item = SweepRequest> + Send + 'static,
    ) -> Result<u64> {
        let mut call = tonic::Request::new(messages);
        call.set_timeout(Duration::from_millis(SWEEP_TIMEOUT_MS));
        let swept = self.node_client(address)?.sweep(call).await;
        let swept = swept.map_err(|status| call_error(&format!("sweeping the files of compute node \"{address}\""), &status))?;
        Ok(swept.into_inner().files_removed)
    }

    fn note_failed_sweep(&self, error: &Error) {
        self.failed_sweeps.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "files that no table needs were not swept; it will be tried again");
    }

    /// How many sweeps of a node failed since this process began.
    pub(crate) fn failed_sweeps(&self) -> u64 {
        self.failed_sweeps.load(Ordering::Relaxed)
    }
}
