//! Planning happens on threads of its own. The engine's planner looks neither for cancellation nor at the clock, and makes no pause: on
//! the threads that serve sessions it would keep all of them waiting, and whoever wants to cancel it first of all.

use slipher_common::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// So many statements are planned at a time for each processor; who comes later waits, and can be cancelled while it does. Planning that
/// nobody waits for any more counts until it ends.
const PLANNING_PER_PROCESSOR_MAX: usize = 2;

/// The threads that plan.
#[derive(Clone, Debug)]
pub(crate) struct Planners {
    free: Arc<Semaphore>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    running: AtomicUsize,
    abandoned: AtomicUsize,
}

impl Default for Planners {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { free: Arc::new(Semaphore::new(processors * PLANNING_PER_PROCESSOR_MAX)), counts: Arc::default() }
    }
}

impl Planners {
    /// Statements that are planned now, and those among them whose clients do not wait any more.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.counts.running.load(Ordering::Relaxed), self.counts.abandoned.load(Ordering::Relaxed))
    }

    /// Does `work` on a thread of its own. When the answer is dropped, nobody waits for the thread; it ends when the work does.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let free = Arc::clone(&self.free).acquire_owned().await;
        let free = free.map_err(|_| Error::internal("planning: the leader is stopping"))?;
        let watch = Arc::new(Watch { counts: Arc::clone(&self.counts), ended: AtomicUsize::new(0) });
        let waiting = Waiting(Arc::clone(&watch));
        self.counts.running.fetch_add(1, Ordering::Relaxed);
        let planned = tokio::task::spawn_blocking(move || {
            let _free = free;
            let _working = Working(watch);
            work()
        });
        let planned = planned.await;
        drop(waiting);
        planned.unwrap_or_else(|error| Err(Error::internal(format!("planning the statement: {error}"))))
    }
}

/// Who of the two, the thread and the one who waits for it, has gone.
#[derive(Debug)]
struct Watch {
    counts: Arc<Counts>,
    ended: AtomicUsize,
}

/// The thread, while it works.
struct Working(Arc<Watch>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.counts.running.fetch_sub(1, Ordering::Relaxed);
        if self.0.ended.fetch_add(1, Ordering::SeqCst) > 0 {
            self.0.counts.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The statement, while it waits for the thread.
struct Waiting(Arc<Watch>);

impl Drop for Waiting {
    fn drop(&mut self) {
        // Counted first: the thread may end in the next moment.
        self.0.counts.abandoned.fetch_add(1, Ordering::Relaxed);
        if self.0.ended.fetch_add(1, Ordering::SeqCst) > 0 {
            self.0.counts.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[tokio::test]
    async fn who_does_not_wait_any_more_goes_at_once_and_the_thread_is_counted_until_it_ends() {
        let planners = Planners { free: Arc::new(Semaphore::new(1)), counts: Arc::default() };
        let (go, wait) = channel::<()>();
        let stuck = planners.run(move || wait.recv().map_err(|error| Error::internal(error.to_string())));
        assert!(tokio::time::timeout(Duration::from_millis(50), stuck).await.is_err());
        assert_eq!(planners.counts(), (1, 1));
        // The next one waits for the thread, and can go, too.
        assert!(tokio::time::timeout(Duration::from_millis(50), planners.run(|| Ok(()))).await.is_err());
        assert_eq!(planners.counts(), (1, 1));
        go.send(()).unwrap();
        assert_eq!(planners.run(|| Ok(7)).await.unwrap(), 7);
        assert_eq!(planners.counts(), (0, 0));
        let error = planners.run::<()>(|| panic!("a defect of the planner")).await.unwrap_err();
        assert_eq!(error.sqlstate(), "XX000");
        assert_eq!(planners.counts(), (0, 0));
    }
}
