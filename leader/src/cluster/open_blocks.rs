//! Transaction blocks that are open: what the background rewrites of their tables would make them lose, and they cannot run again.

use super::Cluster;
use parking_lot::Mutex;
use slipher_common::ids::TableId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A block is waited for until it is so old, whatever it does: it may want to change the table yet.
const IDLE_BLOCK_MAX_SECONDS: u64 = 120;
/// One whose statement runs, until it is so old.
const RUNNING_BLOCK_MAX_SECONDS: u64 = 30 * 60;
/// One that has changed rows of the table, or is about to, until it is so old.
const CHANGING_BLOCK_MAX_SECONDS: u64 = 2 * 60 * 60;
/// There may always be a block that is younger than this, which loses little: the background does not wait for such ones for ever.
const SHORT_BLOCK_MAX_SECONDS: u64 = 10;
/// It waits so long for them.
pub(crate) const WAIT_FOR_SHORT_MAX_SECONDS: u64 = 120;

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
    /// Its statements that run. A cursor that is not at its end is one.
    running: AtomicUsize,
    /// Tables whose rows it has changed, or is about to.
    changing: Mutex<BTreeSet<TableId>>,
}

impl Block {
    /// Whether it may want to change the table yet, or does so now; for a background that has waited for so long.
    fn is_in_the_way(&self, table: TableId, waited: Duration) -> bool {
        let age = self.began.elapsed();
        // There may always be others, too.
        let may_change = !self.is_one_of_many(waited)
            && waited < seconds(RUNNING_BLOCK_MAX_SECONDS)
            && (age < seconds(IDLE_BLOCK_MAX_SECONDS)
                || age < seconds(RUNNING_BLOCK_MAX_SECONDS) && self.running.load(Ordering::SeqCst) > 0);
        may_change || self.is_changing(table, waited)
    }

    /// Whether it loses when the table's segments are replaced, and the background has not waited for its like for too long.
    fn is_changing(&self, table: TableId, waited: Duration) -> bool {
        !self.is_one_of_many(waited)
            && waited.max(self.began.elapsed()) < seconds(CHANGING_BLOCK_MAX_SECONDS)
            && self.changing.lock().contains(&table)
    }

    fn is_one_of_many(&self, waited: Duration) -> bool {
        waited >= seconds(WAIT_FOR_SHORT_MAX_SECONDS) && self.began.elapsed() < seconds(SHORT_BLOCK_MAX_SECONDS)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A block that is open, or a statement that runs again because it lost, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenBlock {
    cluster: Arc<Cluster>,
    number: u64,
    block: Arc<Block>,
}

impl OpenBlock {
    /// It changes rows of a table.
    pub(crate) fn note_changing(&self, table: TableId) {
        self.block.changing.lock().insert(table);
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
        let block = Arc::new(Block { began: Instant::now(), running: AtomicUsize::new(0), changing: Mutex::default() });
        let mut known = self.open_blocks.0.lock();
        known.last += 1;
        let number = known.last;
        known.blocks.insert(number, Arc::clone(&block));
        OpenBlock { cluster: Arc::clone(self), number, block }
    }

    /// Whether there is a block that changes a table's rows, and that the background still waits for when it has waited for so long.
    pub(crate) fn has_blocks_changing(&self, table: TableId, waited: Duration) -> bool {
        self.open_blocks.0.lock().blocks.values().any(|block| block.is_changing(table, waited))
    }

    /// Whether there is a block that the background waits for before it rewrites a table, when it has waited for so long.
    pub(crate) fn has_blocks_in_the_way(&self, table: TableId, waited: Duration) -> bool {
        self.open_blocks.0.lock().blocks.values().any(|block| block.is_in_the_way(table, waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(age_seconds: u64, running: usize, changing: &[u64]) -> Block {
        let began = Instant::now().checked_sub(seconds(age_seconds)).unwrap();
        let changing = Mutex::new(changing.iter().copied().map(TableId).collect());
        Block { began, running: AtomicUsize::new(running), changing }
    }

    #[test]
    fn blocks_are_waited_for_by_what_they_would_lose() {
        let in_the_way = |block: &Block| [0, 500, 3000, 10_000].map(|waited| block.is_in_the_way(TableId(1), seconds(waited)));
        assert_eq!(in_the_way(&block(60, 0, &[])), [true, true, false, false]);
        assert_eq!(in_the_way(&block(200, 0, &[])), [false; 4]);
        assert_eq!(in_the_way(&block(200, 1, &[])), [true, true, false, false]);
        assert_eq!(in_the_way(&block(3000, 1, &[])), [false; 4]);
        assert_eq!(in_the_way(&block(3000, 0, &[1])), [true, true, true, false]);
        assert_eq!(in_the_way(&block(3000, 0, &[2])), [false; 4]);
        assert_eq!(in_the_way(&block(10_000, 1, &[1])), [false; 4]);
        // There may always be one of these.
        assert_eq!(in_the_way(&block(3, 1, &[1])), [true, false, false, false]);
        let changing = |block: &Block| [0, 500, 10_000].map(|waited| block.is_changing(TableId(1), seconds(waited)));
        assert_eq!(changing(&block(3, 1, &[1])), [true, false, false]);
        assert_eq!(changing(&block(3000, 0, &[1])), [true, true, false]);
        assert_eq!(changing(&block(60, 1, &[2])), [false; 3]);
    }
}
