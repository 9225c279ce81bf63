//! How far a statement is.

use serde::Deserialize;

/// What the server tells.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Progress {
    elapsed_ms: u64,
    pub(super) tasks_started: u64,
    tasks_ended: u64,
    scanned_rows: u64,
    scanned_bytes: u64,
}

impl Progress {
    /// In words.
    pub(super) fn line(&self) -> String {
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
