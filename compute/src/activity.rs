//! What a node and its queries have done, counted.

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use parking_lot::Mutex;
use slipher_common::Error;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the engine's operators begin that take rows from other tasks.
const NETWORK_OPERATOR: &str = "Network";
/// The engine's name of the bytes that such an operator took from other nodes.
const NETWORK_BYTES: &str = "bytes_transferred";

/// So many rows that a load left out are explained.
const REJECTIONS_SHOWN_MAX: usize = 10;

/// Counters of a node since it started; they only grow.
#[derive(Debug, Default)]
pub struct Activity {
    /// Rows that scans yielded.
    pub scanned_rows: AtomicU64,
    /// Bytes that scans read from segment files.
    pub scanned_bytes: AtomicU64,
    /// Rows that tasks took from other tasks.
    pub shuffled_rows: AtomicU64,
    /// Bytes that tasks took from other nodes.
    pub shuffled_bytes: AtomicU64,
    /// Rows that operators spilled.
    pub spilled_rows: AtomicU64,
    /// Bytes that operators spilled.
    pub spilled_bytes: AtomicU64,
    /// Tasks that ended.
    pub tasks: AtomicU64,
}

impl Activity {
    /// Counts a task that has ended, by what its operators measured.
    pub(crate) fn end_task(&self, plan: Option<&dyn ExecutionPlan>) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        if let Some(plan) = plan {
            self.count(plan);
        }
    }

    fn count(&self, plan: &dyn ExecutionPlan) {
        if let Some(metrics) = plan.metrics() {
            let add = |counter: &AtomicU64, count: Option<usize>| counter.fetch_add(count.unwrap_or(0) as u64, Ordering::Relaxed);
            add(&self.spilled_rows, metrics.spilled_rows());
            add(&self.spilled_bytes, metrics.spilled_bytes());
            if plan.name().starts_with(NETWORK_OPERATOR) {
                add(&self.shuffled_rows, metrics.output_rows());
                add(&self.shuffled_bytes, network_bytes(&metrics));
            }
        }
        for child in plan.children() {
            self.count(child.as_ref());
        }
    }
}

fn network_bytes(metrics: &MetricsSet) -> Option<usize> {
    // Not by sum_by_name, which passes over metrics of other crates.
    Some(
        metrics
            .iter()
            .map(|metric| metric.value())
            .filter(|value| value.name() == NETWORK_BYTES)
            .map(|value| value.as_usize())
            .sum(),
    )
}

/// Rows of files that a load left out (MAXERROR).
#[derive(Debug, Default)]
pub struct Rejections {
    rows: AtomicU64,
    first: Mutex<Vec<String>>,
}

impl Rejections {
    /// Counts a row; answers how many there are by now.
    pub fn add(&self, error: &Error) -> u64 {
        let mut first = self.first.lock();
        if first.len() < REJECTIONS_SHOWN_MAX {
            first.push(match &error.detail {
                Some(detail) => format!("{detail}: {error}"),
                None => error.to_string(),
            });
        }
        self.rows.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many rows, and why the first ones.
    pub fn seen(&self) -> (u64, Vec<String>) {
        (self.rows.load(Ordering::Relaxed), self.first.lock().clone())
    }
}

/// Counters of one query on one node.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows that a load left out.
    pub rejected: Rejections,
    /// Tasks that began.
    pub tasks_started: AtomicU64,
    /// Tasks that ended.
    pub tasks_ended: AtomicU64,
    /// Rows that scans yielded.
    pub scanned_rows: AtomicU64,
    /// Bytes that scans read from segment files.
    pub scanned_bytes: AtomicU64,
}
