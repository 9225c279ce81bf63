//! Transaction blocks that are open: what the background rewrites of their tables would make them lose, and they cannot run again.

use super::Cluster;
use parking_lot::Mutex;
use slipher_common::ids::TableId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The background waits so long for every block, whatever it does.
const WAIT_FOR_ALL_MAX_SECONDS: u64 = 120;
/// So long for one whose statement runs.
const WAIT_FOR_RUNNING_MAX_SECONDS: u64 = 30 * 60;
/// So long for one that has changed rows of the table.
const WAIT_FOR_CHANGED_MAX_SECONDS: u64 = 2 * 60 * 60;
/// After the first of these times, a block that began more recently is not waited for: there may always be such ones, and they lose little.
const SHORT_BLOCK_MAX_SECONDS: u64 = 10;

/// The open blocks by number.
#[derive(Debug, Default)]
pub(super) struct OpenBlocks(Mutex<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    blocks: BTreeMap<u64, Arc<Block>>,
}

#[derive(Debug)]
struct Block {
    began: Instant,
    /// Its statements that run.
    running: AtomicUsize,
    /// Tables whose rows it has changed.
    changed: Mutex<BTreeSet<TableId>>,
}

impl Block {
    /// Whether it is to be waited for by somebody who has waited for so long and would rewrite `table`.
    fn is_in_the_way(&self, table: TableId, waited: Duration) -> bool {
        let within = |seconds: u64| waited < Duration::from_secs(seconds);
        if within(WAIT_FOR_ALL_MAX_SECONDS) {
            return true;
        }
        let is_short = self.began.elapsed() < Duration::from_secs(SHORT_BLOCK_MAX_SECONDS);
        let is_running = || self.running.load(Ordering::SeqCst) > 0;
        !is_short
            && (within(WAIT_FOR_RUNNING_MAX_SECONDS) && is_running()
                || within(WAIT_FOR_CHANGED_MAX_SECONDS) && self.changed.lock().contains(&table))
    }
}

/// A block that is open, or a statement that runs again because it lost, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenBlock {
    cluster: Arc<Cluster>,
    number: u64,
    block: Arc<Block>,
}

impl OpenBlock {
    /// It has changed rows of a table.
    pub(crate) fn note_changed(&self, table: TableId) {
        self.block.changed.lock().insert(table);
    }

    /// One of its statements runs until the answer is dropped.
    pub(crate) fn run(&self) -> RunningInBlock {
        self.block.running.fetch_add(1, Ordering::SeqCst);
        RunningInBlock(Arc::clone(&self.block))
    }
}

impl Drop for OpenBlock {
    fn drop(&mut self) {
        self.cluster.open_blocks.0.lock().blocks.remove(&self.number);
    }
}

/// A statement of a block.
#[derive(Debug)]
pub(crate) struct RunningInBlock(Arc<Block>);

impl Drop for RunningInBlock {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cluster {
    /// Counts a block as open until the answer is dropped.
    pub(crate) fn open_block(self: &Arc<Self>) -> OpenBlock {
        let block = Arc::new(Block { began: Instant::now(), running: AtomicUsize::new(0), changed: Mutex::default() });
        let mut known = self.open_blocks.0.lock();
        known.last += 1;
        let number = known.last;
        known.blocks.insert(number, Arc::clone(&block));
        OpenBlock { cluster: Arc::clone(self), number, block }
    }

    /// Whether there is a block that the background waits for before it rewrites a table, when it has waited for so long.
    pub(crate) fn has_blocks_in_the_way(&self, table: TableId, waited: Duration) -> bool {
        self.open_blocks.0.lock().blocks.values().any(|block| block.is_in_the_way(table, waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(age_seconds: u64, running: usize, changed: &[u64]) -> Block {
        let began = Instant::now().checked_sub(Duration::from_secs(age_seconds)).unwrap();
        let changed = Mutex::new(changed.iter().copied().map(TableId).collect());
        Block { began, running: AtomicUsize::new(running), changed }
    }

    #[test]
    fn the_longer_somebody_waits_the_fewer_are_in_the_way() {
        let in_the_way =
            |block: &Block| [10, 500, 3000, 10_000].map(|waited| block.is_in_the_way(TableId(1), Duration::from_secs(waited)));
        assert_eq!(in_the_way(&block(60, 0, &[])), [true, false, false, false]);
        assert_eq!(in_the_way(&block(60, 1, &[])), [true, true, false, false]);
        assert_eq!(in_the_way(&block(60, 0, &[1])), [true, true, true, false]);
        assert_eq!(in_the_way(&block(60, 0, &[2])), [true, false, false, false]);
        // There may always be one of these.
        assert_eq!(in_the_way(&block(3, 1, &[1])), [true, false, false, false]);
    }
}
