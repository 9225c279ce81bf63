//! What all queries of a node may hold together: each has a small part for certain and takes more while there is some; who comes when
//! nothing is left waits in line.

use parking_lot::Mutex;
use slipher_common::{Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a query has for certain, and does not use after so long, others may have: it reads rows and keeps none, or its client is slow.
pub(super) const GRANT_UNUSED_MAX_MS: u64 = 1_000;
/// The same for one that has all of its memory for certain, as it has failed without.
pub(super) const WHOLE_UNUSED_MAX_MS: u64 = 60_000;
/// How often who waits looks for such parts. Memory that is given back ends the waiting at once.
const RECLAIM_INTERVAL_MS: u64 = 100;

/// The memory of a node for queries.
#[derive(Debug)]
pub(crate) struct NodeBudget {
    limit_bytes: usize,
    /// What queries hold, or have for certain. More than the limit where operators do not ask.
    charged_bytes: AtomicUsize,
    line: Mutex<VecDeque<Waiter>>,
    /// How many are in line.
    waiting_count: AtomicUsize,
    charges: Mutex<Vec<Weak<Charge>>>,
}

/// A query in line.
#[derive(Debug)]
struct Waiter {
    grant: GrantSize,
    turn: oneshot::Sender<Arc<Charge>>,
}

/// What a query has for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrantSize {
    pub(super) bytes: usize,
    /// What it does not use of that after so long, others may have.
    pub(super) unused_max: Duration,
}

impl GrantSize {
    /// A part of what it may use.
    pub(super) fn part(bytes: usize) -> Self {
        Self { bytes, unused_max: Duration::from_millis(GRANT_UNUSED_MAX_MS) }
    }

    /// All that it may use.
    pub(super) fn whole(bytes: usize) -> Self {
        Self { bytes, unused_max: Duration::from_millis(WHOLE_UNUSED_MAX_MS) }
    }
}

/// What one query has of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<NodeBudget>,
    admitted: Instant,
    unused_max: Duration,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    used_bytes: usize,
    /// For certain, used or not.
    grant_bytes: usize,
}

impl Held {
    fn charged_bytes(&self) -> usize {
        self.used_bytes.max(self.grant_bytes)
    }
}

impl NodeBudget {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            charged_bytes: AtomicUsize::new(0),
            line: Mutex::default(),
            waiting_count: AtomicUsize::new(0),
            charges: Mutex::default(),
        }
    }

    /// Bytes that all queries may have.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes that they have.
    pub(crate) fn charged_bytes(&self) -> usize {
        self.charged_bytes.load(Ordering::SeqCst)
    }

    /// How many queries wait in line.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting_count.load(Ordering::SeqCst)
    }

    /// Waits in line for `grant`. Whoever stops to wait leaves the line, and gives back what came meanwhile.
    pub(super) async fn admit(self: &Arc<Self>, grant: GrantSize) -> Result<Arc<Charge>> {
        if self.waiting_count.load(Ordering::SeqCst) == 0
            && let Some(charge) = self.try_admit(grant)
        {
            return Ok(charge);
        }
        let (turn, mut come) = oneshot::channel();
        {
            let mut line = self.line.lock();
            line.push_back(Waiter { grant, turn });
            self.waiting_count.store(line.len(), Ordering::SeqCst);
        }
        loop {
            self.reclaim(Instant::now());
            self.serve();
            tokio::select! {
                biased;
                charge = &mut come => return charge.map_err(|_| Error::internal("the line for memory has ended")),
                () = tokio::time::sleep(Duration::from_millis(RECLAIM_INTERVAL_MS)) => {}
            }
        }
    }

    /// A query that does not wait, and has nothing for certain.
    pub(super) fn admit_now(self: &Arc<Self>) -> Arc<Charge> {
        self.charge(GrantSize::part(0))
    }

    fn try_admit(self: &Arc<Self>, grant: GrantSize) -> Option<Arc<Charge>> {
        self.take(grant.bytes).then(|| self.charge(grant))
    }

    fn charge(self: &Arc<Self>, grant: GrantSize) -> Arc<Charge> {
        let held = Mutex::new(Held { used_bytes: 0, grant_bytes: grant.bytes });
        let (budget, admitted) = (Arc::clone(self), Instant::now());
        let charge = Arc::new(Charge { budget, admitted, unused_max: grant.unused_max, held });
        let mut charges = self.charges.lock();
        // Amortised: half of those that are kept are alive.
        if charges.len() == charges.capacity() {
            charges.retain(|charge| charge.strong_count() > 0);
            let alive = charges.len();
            charges.reserve(alive.max(1));
        }
        charges.push(Arc::downgrade(&charge));
        charge
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |charged: usize| charged.checked_add(bytes).filter(|charged| *charged <= self.limit_bytes);
        bytes == 0 || self.charged_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    fn give_back(self: &Arc<Self>, bytes: usize) {
        if bytes > 0 {
            self.charged_bytes.fetch_sub(bytes, Ordering::SeqCst);
            if self.waiting_count.load(Ordering::SeqCst) > 0 {
                self.serve();
            }
        }
    }

    /// Lets in who is first in line, as long as there is enough.
    fn serve(self: &Arc<Self>) {
        let mut unwanted = Vec::new();
        let mut line = self.line.lock();
        while let Some(first) = line.front() {
            if !first.turn.is_closed() {
                let Some(charge) = self.try_admit(first.grant) else { break };
                if let Some(Err(charge)) = line.pop_front().map(|first| first.turn.send(charge)) {
                    unwanted.push(charge);
                }
            } else {
                line.pop_front();
            }
        }
        self.waiting_count.store(line.len(), Ordering::SeqCst);
        // What is dropped gives back, and comes here again.
        drop(line);
        drop(unwanted);
    }

    /// Takes back what queries have had for long and do not use.
    fn reclaim(&self, now: Instant) {
        // Not dropped under the lock: the last one of a charge gives back.
        let charges: Vec<_> = self.charges.lock().iter().filter_map(Weak::upgrade).collect();
        for charge in charges {
            if now.saturating_duration_since(charge.admitted) >= charge.unused_max {
                charge.settle();
            }
        }
    }
}

impl Charge {
    /// The budget it is of.
    pub(super) fn budget(&self) -> &NodeBudget {
        &self.budget
    }

    /// Takes more, if there is enough; whether there is.
    pub(super) fn try_add(&self, bytes: usize) -> bool {
        let mut held = self.held.lock();
        let used_bytes = held.used_bytes.saturating_add(bytes);
        let taken = self.budget.take(used_bytes.saturating_sub(held.charged_bytes()));
        if taken {
            held.used_bytes = used_bytes;
        }
        taken
    }

    /// Takes more, also where there is not enough: it is used already.
    pub(super) fn add(&self, bytes: usize) {
        let mut held = self.held.lock();
        let used_bytes = held.used_bytes.saturating_add(bytes);
        let more = used_bytes.saturating_sub(held.charged_bytes());
        self.budget.charged_bytes.fetch_add(more, Ordering::SeqCst);
        held.used_bytes = used_bytes;
    }

    /// Uses less.
    pub(super) fn remove(&self, bytes: usize) {
        self.change(|held| held.used_bytes = held.used_bytes.saturating_sub(bytes));
    }

    /// From now on nothing is for certain: what is not used is given back.
    pub(super) fn settle(&self) {
        self.change(|held| held.grant_bytes = 0);
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        let freed = {
            let mut held = self.held.lock();
            let before = held.charged_bytes();
            change(&mut held);
            before.saturating_sub(held.charged_bytes())
        };
        self.budget.give_back(freed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = self.held.get_mut().charged_bytes();
        self.budget.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, poll};
    use std::pin::pin;
    use std::task::Poll;

    fn budget(limit_bytes: usize) -> Arc<NodeBudget> {
        Arc::new(NodeBudget::new(limit_bytes))
    }

    fn admitted(budget: &Arc<NodeBudget>, grant_bytes: usize) -> Arc<Charge> {
        budget.admit(GrantSize::part(grant_bytes)).now_or_never().expect("there is enough").unwrap()
    }

    #[test]
    fn a_query_has_its_grant_for_certain_and_more_while_there_is_some() {
        let budget = budget(100);
        let (first, second) = (admitted(&budget, 20), admitted(&budget, 20));
        assert_eq!(budget.charged_bytes(), 40);
        assert!(first.try_add(80));
        assert_eq!(budget.charged_bytes(), 100);
        assert!(!first.try_add(1));
        assert!(second.try_add(20));
        assert!(!second.try_add(1));
        // What nobody asked for counts, too.
        second.add(30);
        assert_eq!(budget.charged_bytes(), 130);
        second.remove(45);
        assert_eq!(budget.charged_bytes(), 100);
        first.remove(80);
        assert_eq!(budget.charged_bytes(), 40);
        drop((first, second));
        assert_eq!(budget.charged_bytes(), 0);
    }

    #[tokio::test]
    async fn who_comes_when_nothing_is_left_waits_in_line() {
        let budget = budget(100);
        let first = admitted(&budget, 100);
        let mut second = pin!(budget.admit(GrantSize::part(60)));
        let mut third = pin!(budget.admit(GrantSize::part(10)));
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut third).is_pending());
        first.settle();
        // 10 would have fitted before, but the line is kept.
        let Poll::Ready(Ok(second)) = poll!(&mut second) else { panic!("it is its turn") };
        let Poll::Ready(Ok(third)) = poll!(&mut third) else { panic!("there is enough for both") };
        assert_eq!(budget.charged_bytes(), 70);
        drop((first, second, third));
        assert_eq!((budget.charged_bytes(), budget.line.lock().len()), (0, 0));
    }

    #[tokio::test]
    async fn who_stops_to_wait_is_in_nobodys_way() {
        let budget = budget(100);
        let first = admitted(&budget, 100);
        let mut gone = Box::pin(budget.admit(GrantSize::part(100)));
        let mut served = Box::pin(budget.admit(GrantSize::part(100)));
        let mut third = pin!(budget.admit(GrantSize::part(100)));
        assert!(poll!(&mut gone).is_pending());
        assert!(poll!(&mut served).is_pending());
        assert!(poll!(&mut third).is_pending());
        drop(gone);
        // It is the second one's turn, who does not look any more.
        drop(first);
        assert_eq!(budget.charged_bytes(), 100);
        drop(served);
        let Poll::Ready(Ok(third)) = poll!(&mut third) else { panic!("what came for another is given back") };
        drop(third);
        assert_eq!(budget.charged_bytes(), 0);
    }

    #[test]
    fn a_part_that_is_not_used_goes_to_who_waits() {
        let budget = budget(100);
        let (idle, busy) = (admitted(&budget, 50), admitted(&budget, 50));
        assert!(busy.try_add(30));
        budget.reclaim(Instant::now());
        assert_eq!(budget.charged_bytes(), 100, "it was given a moment ago");
        budget.reclaim(Instant::now() + Duration::from_millis(GRANT_UNUSED_MAX_MS));
        assert_eq!(budget.charged_bytes(), 30);
        assert!(idle.try_add(70));
        assert!(!busy.try_add(1));
        idle.remove(70);
        // Who has failed before keeps what it was given.
        let whole = budget.admit(GrantSize::whole(60)).now_or_never().expect("there is enough").unwrap();
        budget.reclaim(Instant::now() + Duration::from_millis(GRANT_UNUSED_MAX_MS));
        assert!(!idle.try_add(11));
        assert!(whole.try_add(60));
    }

    #[test]
    fn charges_of_ended_queries_are_forgotten() {
        let budget = budget(100);
        let kept: Vec<_> = (0..10).map(|_| budget.admit_now()).collect();
        for _ in 0..1_000 {
            drop(budget.admit_now());
        }
        assert!(budget.charges.lock().len() <= 4 * kept.len());
    }
}
