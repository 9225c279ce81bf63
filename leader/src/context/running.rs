//! A statement while it runs: how it is cancelled, timed, and when it cannot be cancelled any more.

use crate::frontend::CALL;
use crate::run::canceled;
use crate::telemetry::CurrentQuery;
use crate::transaction::Committing;
use futures::FutureExt;
use slipher_common::{Error, ErrorKind, Result};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The statement that runs, or ran last.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Ends it.
    pub(crate) token: CancellationToken,
    pub(crate) started: Instant,
    /// The query it runs at the moment.
    pub(crate) query: CurrentQuery,
    /// What it did is on its way to being committed.
    pub(crate) committing: Committing,
    /// It took longer than it may.
    timed_out: Arc<AtomicBool>,
}

/// `work`, whose panic is its error: a defect that one statement meets must not end its connection, and whoever sent it is told. Locks of
/// this process are not poisoned, and what the statement did is taken back like that of any other that fails.
async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Error::internal(format!("running the statement: {}", text.unwrap_or("it ended unexpectedly"))))
        }
    }
}

impl Running {
    /// A statement of the task's call that begins, and may take so long; its time counts until the guard is dropped.
    pub(crate) fn start(limit_ms: Option<u64>) -> (Self, Option<DropGuard>) {
        let running = Self {
            token: CALL.try_with(CancellationToken::child_token).unwrap_or_default(),
            started: Instant::now(),
            query: CurrentQuery::default(),
            committing: Arc::default(),
            timed_out: Arc::default(),
        };
        let guard = limit_ms.map(|limit_ms| {
            let (timed, ended) = (running.clone(), CancellationToken::new());
            let guard = ended.clone().drop_guard();
            tokio::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(limit_ms)) => {
                        timed.timed_out.store(true, Ordering::SeqCst);
                        timed.token.cancel();
                    }
                    () = ended.cancelled() => {}
                }
            });
            guard
        });
        (running, guard)
    }

    /// Does the statement's work until it is cancelled. What is being committed cannot be taken back: then its outcome is the answer.
    pub(crate) async fn work<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let work = caught(work);
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = self.token.cancelled() => {}
            result = &mut work => return result.map_err(|error| self.why(error)),
        }
        let mut committing = self.committing.subscribe();
        while *committing.borrow_and_update() {
            tokio::select! {
                biased;
                result = &mut work => return result,
                _ = committing.changed() => {}
            }
        }
        Err(self.why(canceled()))
    }

    /// Who ended a statement: the user, or its time limit.
    pub(crate) fn why(&self, error: Error) -> Error {
        if error.kind == ErrorKind::QueryCanceled && self.timed_out.load(Ordering::SeqCst) {
            return Error { message: "canceling statement due to statement timeout".to_owned(), ..error };
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_statement() {
        let (running, _timer) = Running::start(None);
        let defect = |text: &'static str| async move { if text.is_empty() { Ok(1) } else { panic!("{text}") } };
        let error = running.work(defect("assertion failed: k > 0")).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.message.as_str()), ("XX000", "running the statement: assertion failed: k > 0"));
        assert_eq!(running.work(defect("")).await.unwrap(), 1);
    }
}
