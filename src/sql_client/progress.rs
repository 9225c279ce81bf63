//! A line on the terminal that tells how far a long statement is.

use super::connection::Connection;
use parking_lot::Mutex;
use serde::Deserialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

/// A statement that takes less shows none.
const FIRST_AFTER_MS: u64 = 700;
/// How often the line is written anew.
const PERIOD_MS: u64 = 400;

/// What the server tells.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Progress {
    elapsed_ms: u64,
    tasks_started: u64,
    tasks_ended: u64,
    scanned_rows: u64,
    scanned_bytes: u64,
}

impl Progress {
    fn line(&self) -> String {
        format!(
            "{:.1} s, {} of {} tasks done, {} rows and {} read",
            self.elapsed_ms as f64 / 1000.0,
            self.tasks_ended,
            self.tasks_started,
            short(self.scanned_rows, 1000, ["", " thousand", " million", " billion"]),
            short(self.scanned_bytes, 1024, [" B", " KiB", " MiB", " GiB"]),
        )
    }
}

/// A number with three digits or so and its unit.
fn short(number: u64, step: u64, units: [&str; 4]) -> String {
    let mut scaled = number as f64;
    let mut unit = 0;
    while scaled >= step as f64 && unit + 1 < units.len() {
        scaled /= step as f64;
        unit += 1;
    }
    let digits = if unit == 0 || scaled >= 100.0 { 0 } else { 1 };
    format!("{scaled:.digits$}{}", units[unit])
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let progress =
            Progress { elapsed_ms: 12_345, tasks_started: 8, tasks_ended: 3, scanned_rows: 6_001_215, scanned_bytes: 734 << 20 };
        assert_eq!(progress.line(), "12.3 s, 3 of 8 tasks done, 6.0 million rows and 734 MiB read");
        assert_eq!(Progress::default().line(), "0.0 s, 0 of 0 tasks done, 0 rows and 0 B read");
        assert_eq!(serde_json::from_str::<Progress>("{}").unwrap(), Progress::default());
    }
}
