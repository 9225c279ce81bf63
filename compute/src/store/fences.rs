//! Who commanded this node last, and up to which version: kept on disk, so that a leader that is behind finds no node that has forgotten.

use super::{Store, other_cluster, write_text};
use parking_lot::Mutex;
use slipher_common::fence::{Fence, Judgement};
use slipher_common::{Error, ErrorKind, Result};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// The file in the data directory: what [`Fence`] prints, then the XXH3-64 of that.
const FILE: &str = "fence";
/// A version that rises is written so often; who leads, at once.
const WRITE_INTERVAL_MS: u64 = 1_000;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Fences {
    seen: Mutex<Option<Fence>>,
    /// Held by whoever writes the file, so only by threads that may wait for the disk.
    writing: Mutex<()>,
    /// When it was written last, or could not be.
    tried: Mutex<Option<Instant>>,
    /// What is in the file.
    durable: Mutex<Option<Fence>>,
    /// Somebody writes a version, or is about to.
    is_writing: AtomicBool,
}

impl Fences {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(format!("reading \"{}\"", path.display()), &error)),
        };
        let damaged = || {
            Error::new(ErrorKind::DataCorrupted, format!("reading \"{}\": it is damaged", path.display()))
                .with_hint("start the leader that is the newest, remove the file, and start the node again")
        };
        let (fence, checksum) = text.trim_end().rsplit_once(' ').ok_or_else(damaged)?;
        if checksum != checksum_of(fence) {
            return Err(damaged());
        }
        let fence = fence.parse::<Fence>().map_err(|_| damaged())?;
        Ok(Self {
            seen: Mutex::new(Some(fence)),
            writing: Mutex::default(),
            tried: Mutex::default(),
            durable: Mutex::new(Some(fence)),
            is_writing: AtomicBool::new(false),
        })
    }

    /// What is remembered, for people.
    pub(super) fn describe(&self) -> String {
        match *self.seen.lock() {
            Some(fence) => format!("obeyed a leader of term {}, up to version {}", fence.term, fence.version),
            None => "obeyed nobody yet".to_owned(),
        }
    }
}

fn checksum_of(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

impl Store {
    /// The highest that commanded this node.
    pub fn fence(&self) -> Option<Fence> {
        *self.fences.seen.lock()
    }

    /// Lets a leader have a query run here, or refuses it because it is behind.
    pub(crate) fn heed(&self, fence: Fence) -> Result<()> {
        if let Some(own) = self.cluster_id().filter(|own| *own != fence.cluster) {
            return Err(other_cluster(Path::new("of this node"), own, fence.cluster));
        }
        let mut seen = self.fences.seen.lock();
        let before = *seen;
        if let Some(before) = before
            && fence.judge(&before) == Judgement::IsBehind
        {
            return Err(fence.behind(self.node_id(), &before));
        }
        *seen = Some(before.map_or(fence, |before| fence.after(before)));
        Ok(())
    }

    /// Lets a leader command this node, or refuses it because it is behind. Who leads is durable before the answer.
    pub async fn obey(self: &Arc<Self>, fence: Fence) -> Result<()> {
        self.heed(fence)?;
        let (seen, durable) = (self.fence(), *self.fences.durable.lock());
        let who = |fence: Option<Fence>| fence.map(|fence| (fence.leader, fence.term));
        let store = Arc::clone(self);
        if who(seen) != who(durable) {
            return store.remember().await;
        }
        if seen != durable && !self.fences.is_writing.swap(true, Ordering::SeqCst) {
            // Nobody waits for it: an answer to a ping must not wait for the disk.
            tokio::spawn(store.write_version());
        }
        Ok(())
    }

    /// Writes the version when it is time, and again until there is no newer one.
    async fn write_version(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.rest_before_write()).await;
            if let Err(error) = self.remember().await {
                tracing::warn!(%error, "the version of the leader is not remembered; it will be tried again");
            }
            self.fences.is_writing.store(false, Ordering::SeqCst);
            // Who came with a newer one meanwhile has left it to this task.
            if self.fence() == *self.fences.durable.lock() || self.fences.is_writing.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    fn rest_before_write(&self) -> Duration {
        let interval = Duration::from_millis(WRITE_INTERVAL_MS);
        let last = *self.fences.tried.lock();
        last.map_or(Duration::ZERO, |last| interval.saturating_sub(last.elapsed()))
    }

    /// Makes what is remembered durable now.
    pub(crate) async fn remember(self: &Arc<Self>) -> Result<()> {
        let store = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || store.write_fence()).await;
        written.map_err(|error| Error::internal(format!("remembering the leader: {error}")))?
    }

    fn write_fence(&self) -> Result<()> {
        let _writing = self.fences.writing.lock();
        let (seen, durable) = (self.fence(), *self.fences.durable.lock());
        if let Some(fence) = seen.filter(|_| seen != durable) {
            *self.fences.tried.lock() = Some(Instant::now());
            let text = fence.to_string();
            write_text(&self.root, FILE, &format!("{text} {}", checksum_of(&text)))?;
            *self.fences.durable.lock() = seen;
        }
        Ok(())
    }
}
