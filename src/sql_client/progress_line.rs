//! A line on the terminal that tells how far a long statement is.

use super::connection::Connection;
use super::progress::Progress;
use parking_lot::Mutex;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

/// A statement that takes less shows none.
const FIRST_AFTER_MS: u64 = 700;
/// How often the line is written anew.
const PERIOD_MS: u64 = 400;

#[derive(Debug, Default)]
struct State {
    is_shown: bool,
    is_over: bool,
}

/// The line; it goes when dropped.
pub(super) struct ProgressLine {
    state: Arc<Mutex<State>>,
}

impl ProgressLine {
    /// Begins to watch the statement that `connection` is about to run, where somebody looks.
    pub(super) fn start(connection: &Connection) -> Self {
        let state = Arc::<Mutex<State>>::default();
        if let Some(watch) = connection.watch().filter(|_| io::stderr().is_terminal()) {
            let shown = Arc::clone(&state);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(FIRST_AFTER_MS)).await;
                while !shown.lock().is_over {
                    let progress = watch.progress().await;
                    if let Some(progress) = progress.filter(|progress| progress.tasks_started > 0) {
                        show(&shown, &progress);
                    }
                    tokio::time::sleep(Duration::from_millis(PERIOD_MS)).await;
                }
            });
        }
        Self { state }
    }

    /// Ends it before something else is printed.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        if std::mem::take(&mut state.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn show(state: &Mutex<State>, progress: &Progress) {
    let mut state = state.lock();
    if !state.is_over {
        state.is_shown = true;
        // A terminal that is gone is noticed by others.
        let _ = write!(io::stderr(), "\r\x1b[K{}", progress.line());
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}
