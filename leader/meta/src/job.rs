//! Work of a replica on a thread of its own, which ends with the replica.

use slipher_common::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What runs, or has run. Dropping it asks it to stop, and waits for that: what it holds is free then.
pub(super) struct Job<T> {
    cancelled: Arc<AtomicBool>,
    runs: Runs<T>,
}

enum Runs<T> {
    Thread(JoinHandle<Result<T>>),
    Done(Result<T>),
    Taken,
}

impl<T: Send + 'static> Job<T> {
    /// Begins on a thread.
    pub(super) fn start(name: &str, work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Result<Self> {
        let cancelled = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&cancelled);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&flag));
        let thread = thread.map_err(|error| Error::io(format!("starting the thread \"{name}\""), &error))?;
        Ok(Self { cancelled, runs: Runs::Thread(thread) })
    }

    /// Does the work here and now, for whoever must not depend on threads.
    pub(super) fn run(work: impl FnOnce(&AtomicBool) -> Result<T>) -> Self {
        let cancelled = Arc::<AtomicBool>::default();
        let done = work(&cancelled);
        Self { cancelled, runs: Runs::Done(done) }
    }

    /// Whether [`Job::finish`] need not wait.
    pub(super) fn is_finished(&self) -> bool {
        match &self.runs {
            Runs::Thread(thread) => thread.is_finished(),
            Runs::Done(_) | Runs::Taken => true,
        }
    }

    /// What came of it.
    pub(super) fn finish(mut self) -> Result<T> {
        match std::mem::replace(&mut self.runs, Runs::Taken) {
            Runs::Thread(thread) => thread.join().unwrap_or_else(|_| Err(panicked())),
            Runs::Done(done) => done,
            Runs::Taken => Err(panicked()),
        }
    }
}

fn panicked() -> Error {
    Error::internal("work on the metadata gave up; its message is in the log")
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let Runs::Thread(thread) = std::mem::replace(&mut self.runs, Runs::Taken) {
            // Nobody asks any more what came of it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_dropped_has_ended() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let job = Job::start("test", move |cancelled| {
            while !cancelled.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            drop(inside);
            Ok(())
        });
        drop(job.unwrap());
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(Job::start("test", |_| Ok(7)).unwrap().finish().unwrap(), 7);
        let here = Job::run(|_| Ok(8));
        assert!(here.is_finished());
        assert_eq!(here.finish().unwrap(), 8);
        assert!(Job::<()>::start("test", |_| panic!("on purpose")).unwrap().finish().is_err());
    }
}
