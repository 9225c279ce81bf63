//! A statement while it runs: how it is cancelled, timed, and when it cannot be cancelled any more.

use crate::frontend::CALL;
use crate::run::canceled;
use crate::telemetry::CurrentQuery;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a cancelled statement looks whether its commit is through.
const COMMITTING_LOOK_MS: u64 = 10;

/// The statement that runs, or ran last.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Ends it.
    pub(crate) token: CancellationToken,
    pub(crate) started: Instant,
    /// The query it runs at the moment.
    pub(crate) query: CurrentQuery,
    /// What it did is on its way to being committed.
    pub(crate) committing: Arc<AtomicBool>,
    /// It took longer than it may.
    timed_out: Arc<AtomicBool>,
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
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = self.token.cancelled() => {}
            result = &mut work => return result.map_err(|error| self.why(error)),
        }
        while self.committing.load(Ordering::SeqCst) {
            tokio::select! {
                biased;
                result = &mut work => return result,
                () = tokio::time::sleep(Duration::from_millis(COMMITTING_LOOK_MS)) => {}
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
