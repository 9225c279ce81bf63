//! Locks on tables: LOCK excludes writers, writers exclude LOCK. Readers need none: they see one version.
//!
//! Whoever writes holds a table's shared lock until its statement or block ends, so that LOCK gets the table when nobody's changes
//! are on their way, and nobody's changes make the block that holds it lose.

use parking_lot::Mutex;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// What is asked of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// A writer's: others write too.
    Shared,
    /// LOCK's: nobody else writes.
    Exclusive,
}

/// A table, and what is asked of it.
pub(crate) type Wanted = (TableId, LockMode);

/// The locks of all tables.
#[derive(Debug, Default)]
pub(crate) struct TableLocks {
    table: Mutex<LockTable>,
    changed: Notify,
    last_owner: AtomicU64,
}

#[derive(Debug, Default)]
struct LockTable {
    held: BTreeMap<TableId, BTreeMap<u64, LockMode>>,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    wanted: Vec<Wanted>,
    /// Who has to let go first.
    behind: BTreeSet<u64>,
}

/// Who holds locks: a statement or a block. They are released when it is dropped.
#[derive(Debug)]
pub(crate) struct LockOwner {
    locks: Arc<TableLocks>,
    number: u64,
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        self.locks.table.lock().held.retain(|_, holders| {
            holders.remove(&self.number);
            !holders.is_empty()
        });
        self.locks.changed.notify_waiters();
    }
}

/// Takes the entry of somebody who does not wait any more, for whatever reason.
struct WaitEnd<'a>(&'a LockOwner);

impl Drop for WaitEnd<'_> {
    fn drop(&mut self) {
        self.0.locks.table.lock().waiting.remove(&self.0.number);
        self.0.locks.changed.notify_waiters();
    }
}

impl TableLocks {
    /// Somebody who will hold locks.
    pub(crate) fn owner(self: &Arc<Self>) -> LockOwner {
        LockOwner { locks: Arc::clone(self), number: self.last_owner.fetch_add(1, Ordering::Relaxed) }
    }
}

impl TableLocks {
    /// Whether somebody waits for a table to have it for himself.
    pub(crate) fn is_wanted(&self, table: TableId) -> bool {
        let wanted = (table, LockMode::Exclusive);
        self.table.lock().waiting.values().any(|waiting| waiting.wanted.contains(&wanted))
    }

    /// Whether more than one writes to a table.
    pub(crate) fn has_several_writers(&self, table: TableId) -> bool {
        self.table.lock().held.get(&table).is_some_and(|holders| holders.len() > 1)
    }
}

impl LockOwner {
    /// Takes locks if nobody is in the way.
    pub(crate) fn try_acquire(&self, wanted: &[Wanted]) -> bool {
        self.locks.table.lock().grant(self.number, wanted)
    }

    /// Waits until all can be held together. 40P01 when those it waits for wait for it.
    pub(crate) async fn acquire(&self, wanted: &[Wanted]) -> Result<()> {
        if self.try_acquire(wanted) {
            return Ok(());
        }
        let _end = WaitEnd(self);
        loop {
            let changed = self.locks.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.locks.table.lock().wait(self.number, wanted)? {
                return Ok(());
            }
            changed.await;
        }
    }
}

impl LockTable {
    /// Gives the locks if nobody is in the way.
    fn grant(&mut self, owner: u64, wanted: &[Wanted]) -> bool {
        if !self.in_the_way(owner, wanted).is_empty() {
            return false;
        }
        for (table, mode) in wanted {
            let held = self.held.entry(*table).or_default().entry(owner).or_insert(*mode);
            if *mode == LockMode::Exclusive {
                *held = *mode;
            }
        }
        true
    }

    /// Gives the locks, or notes for whom the owner waits.
    fn wait(&mut self, owner: u64, wanted: &[Wanted]) -> Result<bool> {
        if self.grant(owner, wanted) {
            return Ok(true);
        }
        let behind = self.in_the_way(owner, wanted);
        self.waiting.insert(owner, Waiting { wanted: wanted.to_vec(), behind });
        match self.waits_for(owner, owner) {
            true => Err(Error::new(ErrorKind::DeadlockDetected, "deadlock detected")
                .with_detail("the transaction waits for a lock that is held by one that waits for it")
                .with_hint("lock all tables at the beginning of a transaction, in the same order everywhere")),
            false => Ok(false),
        }
    }

    fn in_the_way(&self, owner: u64, wanted: &[Wanted]) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        for (table, mode) in wanted {
            let holders = self.held.get(table);
            let mine = holders.and_then(|holders| holders.get(&owner));
            if mine == Some(&LockMode::Exclusive) {
                continue;
            }
            let others = holders.into_iter().flatten().filter(|(other, _)| **other != owner);
            let keeps_out = |held: &LockMode| *mode == LockMode::Exclusive || *held == LockMode::Exclusive;
            found.extend(others.filter(|(_, held)| keeps_out(held)).map(|(other, _)| *other));
            // Writers that come later do not keep LOCK waiting for ever; but one for whom it waits anyhow goes on.
            if *mode == LockMode::Shared && mine.is_none() {
                let wants = |waiting: &Waiting| waiting.wanted.contains(&(*table, LockMode::Exclusive));
                let first = self.waiting.iter().filter(|(other, waiting)| **other != owner && wants(waiting));
                found.extend(first.filter(|(other, _)| !self.waits_for(**other, owner)).map(|(other, _)| *other));
            }
        }
        found
    }

    /// Whether one waits for another, or for somebody who does.
    fn waits_for(&self, one: u64, other: u64) -> bool {
        let behind = |owner: u64| self.waiting.get(&owner).into_iter().flat_map(|waiting| waiting.behind.iter().copied());
        let mut pending: Vec<u64> = behind(one).collect();
        let mut seen = BTreeSet::new();
        while let Some(next) = pending.pop() {
            if next == other {
                return true;
            }
            if seen.insert(next) {
                pending.extend(behind(next));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: TableId = TableId(1);
    const B: TableId = TableId(2);

    /// Whether an acquisition still waits after it had its chance.
    async fn waits(future: &mut (impl Future<Output = Result<()>> + Unpin)) -> bool {
        tokio::time::timeout(Duration::from_millis(20), future).await.is_err()
    }

    #[tokio::test]
    async fn writers_share_and_lock_waits_for_them() {
        let locks = Arc::<TableLocks>::default();
        let (one, two, lock, late) = (locks.owner(), locks.owner(), locks.owner(), locks.owner());
        one.acquire(&[(A, LockMode::Shared)]).await.unwrap();
        two.acquire(&[(A, LockMode::Shared), (B, LockMode::Shared)]).await.unwrap();
        let mut locking = Box::pin(lock.acquire(&[(A, LockMode::Exclusive)]));
        assert!(waits(&mut locking).await);
        // Behind LOCK, though only writers hold the table; another table is free.
        let mut writing = Box::pin(late.acquire(&[(A, LockMode::Shared)]));
        assert!(waits(&mut writing).await);
        drop(one);
        assert!(waits(&mut locking).await);
        drop(two);
        locking.await.unwrap();
        assert!(!locks.owner().try_acquire(&[(A, LockMode::Shared)]) && locks.owner().try_acquire(&[(B, LockMode::Shared)]));
        assert!(waits(&mut writing).await);
        drop(lock);
        writing.await.unwrap();
        late.acquire(&[(A, LockMode::Exclusive)]).await.unwrap();
    }

    #[tokio::test]
    async fn the_one_that_closes_a_circle_is_told() {
        let locks = Arc::<TableLocks>::default();
        let (one, two) = (locks.owner(), locks.owner());
        one.acquire(&[(A, LockMode::Exclusive)]).await.unwrap();
        two.acquire(&[(B, LockMode::Exclusive)]).await.unwrap();
        let mut waiting = Box::pin(one.acquire(&[(B, LockMode::Exclusive)]));
        assert!(waits(&mut waiting).await);
        let error = two.acquire(&[(A, LockMode::Shared)]).await.unwrap_err();
        assert_eq!(error.sqlstate(), "40P01");
        drop(two);
        waiting.await.unwrap();
        // Two writers that both want the table for themselves.
        let (three, four) = (locks.owner(), locks.owner());
        drop(one);
        three.acquire(&[(A, LockMode::Shared)]).await.unwrap();
        four.acquire(&[(A, LockMode::Shared)]).await.unwrap();
        let mut waiting = Box::pin(three.acquire(&[(A, LockMode::Exclusive)]));
        assert!(waits(&mut waiting).await);
        assert_eq!(four.acquire(&[(A, LockMode::Exclusive)]).await.unwrap_err().sqlstate(), "40P01");
    }

    #[tokio::test]
    async fn nobody_waits_behind_one_who_waits_for_him() {
        let locks = Arc::<TableLocks>::default();
        let (writer, lock) = (locks.owner(), locks.owner());
        writer.acquire(&[(A, LockMode::Shared)]).await.unwrap();
        let mut locking = Box::pin(lock.acquire(&[(A, LockMode::Exclusive), (B, LockMode::Exclusive)]));
        assert!(waits(&mut locking).await);
        writer.acquire(&[(B, LockMode::Shared)]).await.unwrap();
        assert!(!lock.try_acquire(&[(B, LockMode::Exclusive)]));
        drop(writer);
        locking.await.unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_stands_in_nobodys_way() {
        let locks = Arc::<TableLocks>::default();
        let (writer, lock, late) = (locks.owner(), locks.owner(), locks.owner());
        writer.acquire(&[(A, LockMode::Shared)]).await.unwrap();
        let mut locking = Box::pin(lock.acquire(&[(A, LockMode::Exclusive)]));
        assert!(waits(&mut locking).await);
        drop(locking);
        late.acquire(&[(A, LockMode::Shared)]).await.unwrap();
    }
}
