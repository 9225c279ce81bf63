//! What the leader counts, for Prometheus.

use crate::cluster::Cluster;
use crate::plan::threads::Planners;
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use slipher_common::ids::NodeId;
use slipher_common::trace::Span;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::state::Sums;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

/// Marks what is not to be counted.
const FORGOTTEN: &str = "forgotten";
/// Buckets of latency: 1 ms, doubled up to about 9 minutes.
const LATENCY_BUCKETS: u16 = 20;

/// Which query a statement runs at the moment.
pub(crate) type CurrentQuery = Arc<Mutex<Option<String>>>;

tokio::task_local! {
    /// Where the statement that the task runs notes its query.
    pub(crate) static STATEMENT_QUERY: CurrentQuery;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    /// `query`, `load`, `definition` or `session`.
    kind: &'static str,
    /// `finished`, `failed` or `cancelled`.
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RewriterLabels {
    by: &'static str,
}

/// Counters of one leader.
pub(crate) struct Telemetry {
    registry: Registry,
    statements: Family<StatementLabels, Counter>,
    running: Gauge,
    seconds: Family<KindLabels, Histogram>,
    rows: Counter,
    sessions: Gauge,
    rewritten: Family<RewriterLabels, Counter>,
    plans_reused: Counter,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("running", &self.running.get()).finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Counters that start at 0, beside what `cluster`, `runtime` and `planners` are asked for at each scrape.
    pub(crate) fn new(cluster: Arc<Cluster>, runtime: Arc<RuntimeEnv>, planners: Planners) -> Self {
        let latency = || Histogram::new(exponential_buckets(0.001, 2.0, LATENCY_BUCKETS));
        let mut telemetry = Self {
            registry: Registry::with_prefix("slipher"),
            statements: Family::default(),
            running: Gauge::default(),
            seconds: Family::new_with_constructor(latency as fn() -> Histogram),
            rows: Counter::default(),
            sessions: Gauge::default(),
            rewritten: Family::default(),
            plans_reused: Counter::default(),
        };
        let Self { registry, statements, running, seconds, rows, sessions, rewritten, plans_reused } = &mut telemetry;
        registry.register("statements", "Statements that ended, by kind and how they ended", statements.clone());
        registry.register("statements_running", "Statements that run now", running.clone());
        registry.register("statement_seconds", "Time from a statement's start to its last row", seconds.clone());
        registry.register("rows_returned", "Rows that came through the leader to clients", rows.clone());
        registry.register("sessions", "Open sessions of all endpoints", sessions.clone());
        registry.register("segments_rewritten", "Segments that VACUUM and the background made others of", rewritten.clone());
        registry.register("plans_reused", "Runs of prepared statements with the plan of a former run", plans_reused.clone());
        registry.register_collector(Box::new(ClusterCollector { cluster, runtime, planners }));
        telemetry
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).map_err(|error| Error::internal(format!("writing the metrics: {error}")))?;
        Ok(out)
    }

    /// Counts segments whose rows `by` (`vacuum`, `compaction`, `sorting`) has written to others.
    pub(crate) fn rewrote(&self, by: &'static str, segments: usize) {
        self.rewritten.get_or_create(&RewriterLabels { by }).inc_by(segments as u64);
    }

    /// Counts a statement that has the plan of a former run.
    pub(crate) fn reused_plan(&self) {
        self.plans_reused.inc();
    }

    /// Counts a session until the answer is dropped.
    pub(crate) fn session(self: &Arc<Self>) -> OpenSession {
        self.sessions.inc();
        OpenSession(Arc::clone(self))
    }

    /// Counts a statement of `kind` until it ends.
    pub(crate) fn statement(self: &Arc<Self>, kind: &'static str) -> RunningStatement {
        self.running.inc();
        let span = Span::start("statement");
        span.set("slipher.statement.kind", kind);
        RunningStatement { telemetry: Arc::clone(self), kind, started: Instant::now(), state: None, span }
    }
}

/// A session that is counted.
#[derive(Debug)]
pub(crate) struct OpenSession(Arc<Telemetry>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.sessions.dec();
    }
}

/// A statement that is counted. Dropped before it ended, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct RunningStatement {
    telemetry: Arc<Telemetry>,
    kind: &'static str,
    started: Instant,
    state: Option<&'static str>,
    span: Span,
}

impl RunningStatement {
    /// Runs the statement's work: in its span, with `query` as the place where it notes which query it runs.
    pub(crate) fn around<F: Future>(&self, query: CurrentQuery, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.span.around(STATEMENT_QUERY.scope(query, work))
    }

    /// It ended without rows, or with an error.
    pub(crate) fn end(mut self, error: Option<&Error>) {
        self.ended(error);
    }

    fn ended(&mut self, error: Option<&Error>) {
        self.state = Some(state_of(error));
        if let Some(error) = error {
            self.span.fail(error.sqlstate());
        }
    }

    /// It was no statement after all.
    pub(crate) fn forget(mut self) {
        self.state = Some(FORGOTTEN);
    }

    /// It ends when `rows` do.
    pub(crate) fn end_with(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        self.watch(rows, true)
    }

    /// It ends when `progress` does, whose rows are no client's.
    pub(crate) fn end_with_progress(self, progress: SendableRecordBatchStream) -> SendableRecordBatchStream {
        self.watch(progress, false)
    }

    fn watch(self, rows: SendableRecordBatchStream, are_returned: bool) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let stream = futures::stream::unfold(Some((rows, self)), move |state| async move {
            let (mut rows, mut statement) = state?;
            let item: Option<datafusion::error::Result<RecordBatch>> = rows.next().await;
            match item {
                Some(Ok(batch)) => {
                    if are_returned {
                        statement.telemetry.rows.inc_by(batch.num_rows() as u64);
                    }
                    Some((Ok(batch), Some((rows, statement))))
                }
                Some(Err(error)) => {
                    let error = Error::from(error);
                    statement.ended(Some(&error));
                    Some((Err(error.into()), None))
                }
                None => {
                    statement.ended(None);
                    None
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}

fn state_of(error: Option<&Error>) -> &'static str {
    match error.map(|error| error.kind) {
        None => "finished",
        Some(ErrorKind::QueryCanceled) => "cancelled",
        Some(_) => "failed",
    }
}

impl Drop for RunningStatement {
    fn drop(&mut self) {
        let telemetry = &self.telemetry;
        telemetry.running.dec();
        if self.state == Some(FORGOTTEN) {
            return;
        }
        let state = self.state.unwrap_or("cancelled");
        telemetry.statements.get_or_create(&StatementLabels { kind: self.kind, state }).inc();
        telemetry.seconds.get_or_create(&KindLabels { kind: self.kind }).observe(self.started.elapsed().as_secs_f64());
    }
}

/// Reads the cluster's state when it is asked.
#[derive(Debug)]
struct ClusterCollector {
    cluster: Arc<Cluster>,
    runtime: Arc<RuntimeEnv>,
    planners: Planners,
}

impl Collector for ClusterCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let state = self.cluster.meta().state();
        let mut gauge = |name: &str, help: &str, value: i64| -> std::fmt::Result {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let pool: &Arc<dyn MemoryPool> = &self.runtime.memory_pool;
        let rows: u64 = state.tables().values().map(|table| table.totals.all().live_rows()).sum();
        gauge("leader_memory_reserved_bytes", "Memory that operators hold on the leader", pool.reserved() as i64)?;
        let (planning, abandoned) = self.planners.counts();
        gauge("statements_planning", "Statements that are planned now", planning as i64)?;
        gauge("statements_planning_abandoned", "Those among them that nobody waits for any more", abandoned as i64)?;
        gauge("tables", "Tables", state.tables().len() as i64)?;
        gauge("stored_rows", "Rows of all tables, each copy of a DISTSTYLE ALL table once", rows as i64)?;
        gauge("slices", "Slices of the cluster", state.placement().slices.len() as i64)?;
        let coarse = state.coarse_segments();
        gauge("coarse_segments", "Segments that were written when there were fewer slices, and are to be split", coarse as i64)?;
        gauge("compute_nodes", "Compute nodes that registered", state.nodes().len() as i64)?;
        gauge("compute_nodes_alive", "Compute nodes that answer", self.cluster.alive().len() as i64)?;
        let mut counter = |name: &str, help: &str, value: u64| -> std::fmt::Result {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter("commits", "Records of the Raft log that were applied", state.version().0)?;
        counter("sweeps_failed", "Sweeps of a compute node's files that failed", self.cluster.failed_sweeps())?;
        self.encode_nodes(&mut encoder)
    }
}

impl ClusterCollector {
    /// What each node holds, and what it said it did.
    fn encode_nodes(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let state = self.cluster.meta().state();
        let copies =
            |node: &NodeId| state.tables().values().map(|table| table.totals.on_node(*node)).fold(Sums::default(), Sums::plus);
        let activity = |node: &NodeId| self.cluster.activity(*node);
        let gauges: [PerNode<'_>; 11] = [
            ("node_up", "1 when the compute node answers", &|node| Some(u64::from(self.cluster.is_alive(*node)))),
            ("node_slices", "Slices that the compute node owns", &|node| {
                Some(state.placement().slices.iter().filter(|slice| slice.owner == *node).count() as u64)
            }),
            ("node_segments", "Segments with a copy on the compute node", &|node| Some(copies(node).segments)),
            ("node_stored_bytes", "Bytes of the segments with a copy on the compute node", &|node| Some(copies(node).bytes)),
            ("node_memory_reserved_bytes", "Memory that operators hold on the compute node", &|node| {
                activity(node).map(|all| all.memory_reserved_bytes)
            }),
            ("node_memory_budget_bytes", "Memory that all queries may have on the compute node", &|node| {
                activity(node).map(|all| all.memory_budget_bytes)
            }),
            ("node_memory_charged_bytes", "Memory that queries hold there, or have for certain", &|node| {
                activity(node).map(|all| all.memory_charged_bytes)
            }),
            ("node_queries_waiting", "Queries that wait there for memory", &|node| activity(node).map(|all| all.queries_waiting)),
            ("node_spill_used_bytes", "Spill space that queries hold on the compute node", &|node| {
                activity(node).map(|all| all.spill_used_bytes)
            }),
            ("node_disk_bytes", "Size of the file system of the compute node's data", &|node| {
                activity(node).map(|all| all.disk_bytes)
            }),
            ("node_disk_free_bytes", "Free space of that file system", &|node| activity(node).map(|all| all.disk_free_bytes)),
        ];
        for series in gauges {
            self.encode_series(encoder, series, |value| ConstGauge::new(value as i64))?;
        }
        let counters: [PerNode<'_>; 8] = [
            ("node_tasks", "Tasks of queries that ended on the compute node", &|node| activity(node).map(|all| all.tasks)),
            ("node_scanned_rows", "Rows that scans of tables yielded", &|node| activity(node).map(|all| all.scanned_rows)),
            ("node_scanned_bytes", "Bytes that scans read from segment files", &|node| {
                activity(node).map(|all| all.scanned_bytes)
            }),
            ("node_shuffled_rows", "Rows that tasks took from other tasks", &|node| activity(node).map(|all| all.shuffled_rows)),
            ("node_shuffled_bytes", "Bytes that tasks took from other nodes", &|node| {
                activity(node).map(|all| all.shuffled_bytes)
            }),
            ("node_spilled_rows", "Rows that operators spilled", &|node| activity(node).map(|all| all.spilled_rows)),
            ("node_spilled_bytes", "Bytes that operators spilled", &|node| activity(node).map(|all| all.spilled_bytes)),
            ("node_trash_rescued", "Segments that were swept though they were needed, and brought back: should be 0", &|node| {
                activity(node).map(|all| all.trash_rescued)
            }),
        ];
        for series in counters {
            self.encode_series(encoder, series, ConstCounter::new)?;
        }
        Ok(())
    }

    fn encode_series<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, value): PerNode<'_>,
        metric: impl Fn(u64) -> M,
    ) -> std::fmt::Result {
        let state = self.cluster.meta().state();
        let mut family = encoder.encode_descriptor(name, help, None, metric(0).metric_type())?;
        for (id, node) in state.nodes() {
            if let Some(value) = value(id) {
                let labels = [("node", id.to_string()), ("name", node.name.clone())];
                metric(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Name, help and value of a metric of each node.
type PerNode<'a> = (&'a str, &'a str, &'a dyn Fn(&NodeId) -> Option<u64>);
