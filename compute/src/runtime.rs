//! What a compute node does for plan nodes: the one object that a worker puts into its sessions.

use crate::activity::Activity;
use crate::memory::{Admission, MemoryLimits, QueryMemory};
use crate::queries::{QueryHandle, QueryRegistry, cancelled, until_cancelled};
use crate::recent::RecentRows;
use crate::replicate::Peers;
use crate::results::Results;
use crate::scan::Scanner;
use crate::segment::vortex_session;
use crate::sink::Sink;
use crate::store::Store;
use datafusion::execution::TaskContext;
use datafusion::execution::cache::cache_manager::{CacheManager, CacheManagerConfig, FileMetadataCache};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use slipher_common::Result;
use slipher_common::fence::FENCE_HEADER;
use slipher_common::ledger::LedgerLimits;
use slipher_common::manifest::Segment;
use slipher_common::plan::{
    BACKGROUND_HEADER, ComputeRuntime, LaneFiles, LaneResult, LaneScan, LaneSink, QUERY_ID_HEADER, RuntimeHandle,
};
use slipher_common::threads::Threads;
use slipher_common::trace::Span;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::codegen::http::HeaderMap;
use vortex::session::VortexSession;

/// Memory of all queries on one node, unless configured.
const NODE_MEMORY_BYTES_DEFAULT: usize = 4 << 30;
/// How long a query waits to be let in while others have all memory. Less than the 10 s for which its tasks on other nodes wait for this one.
const ADMISSION_WAIT_MAX_MS: u64 = 4_000;
/// Memory of one query on one node, unless configured.
const QUERY_MEMORY_BYTES_DEFAULT: usize = 1 << 30;
/// Spill space of one query on one node, unless configured.
const QUERY_SPILL_BYTES_DEFAULT: u64 = 64 << 30;
/// Memory for parsed segment footers, unless configured.
const FOOTER_CACHE_BYTES_DEFAULT: usize = 256 << 20;

/// Memory for rows that wait for clients, unless configured.
const RESULTS_BYTES_DEFAULT: usize = 512 << 20;

/// How a node is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Bytes the operators of all queries may hold on this node.
    pub node_memory_bytes: usize,
    /// Bytes the operators of one query may hold on this node.
    pub query_memory_bytes: usize,
    /// Bytes one query may spill on this node.
    pub query_spill_bytes: u64,
    /// Bytes of parsed segment footers that are kept across queries.
    pub footer_cache_bytes: usize,
    /// Bytes of rows that wait for Flight SQL clients, of each user and of all.
    pub results: LedgerLimits,
    /// Partitions that this node works on at a time.
    pub lanes: usize,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            node_memory_bytes: NODE_MEMORY_BYTES_DEFAULT,
            query_memory_bytes: QUERY_MEMORY_BYTES_DEFAULT,
            query_spill_bytes: QUERY_SPILL_BYTES_DEFAULT,
            footer_cache_bytes: FOOTER_CACHE_BYTES_DEFAULT,
            results: LedgerLimits { owner_bytes: RESULTS_BYTES_DEFAULT / 2, all_bytes: RESULTS_BYTES_DEFAULT },
            lanes: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// A compute node's files, connections, running queries and memory.
pub struct NodeRuntime {
    store: Arc<Store>,
    peers: Arc<Peers>,
    queries: Arc<QueryRegistry>,
    activity: Arc<Activity>,
    memory: Arc<QueryMemory>,
    session: VortexSession,
    footers: Arc<FileMetadataCache>,
    recent: Arc<RecentRows>,
    sinks_started: AtomicUsize,
    rows_received: Arc<AtomicU64>,
    results: Arc<Results>,
    background: Threads,
    lanes: usize,
}

impl fmt::Debug for NodeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRuntime").field("store", &self.store).finish_non_exhaustive()
    }
}

impl NodeRuntime {
    /// Opens a data directory (created where missing, refused where another process uses it).
    pub fn open(data_dir: impl AsRef<Path>, options: &NodeOptions) -> Result<Self> {
        let store = Arc::new(Store::open(data_dir)?);
        let limits = MemoryLimits {
            node_memory_bytes: options.node_memory_bytes,
            query_memory_bytes: options.query_memory_bytes,
            query_spill_bytes: options.query_spill_bytes,
            admission_wait_max: Duration::from_millis(ADMISSION_WAIT_MAX_MS),
        };
        let memory = Arc::new(QueryMemory::new(limits, store.spill_dir()));
        let activity = Arc::<Activity>::default();
        let caches = CacheManagerConfig { metadata_cache_limit: options.footer_cache_bytes, ..CacheManagerConfig::default() };
        Ok(Self {
            store,
            peers: Arc::default(),
            queries: Arc::new(QueryRegistry::new(Arc::clone(&activity))),
            activity,
            memory,
            session: vortex_session(),
            footers: CacheManager::try_new(&caches)?.get_file_metadata_cache(),
            recent: Arc::default(),
            sinks_started: AtomicUsize::new(0),
            rows_received: Arc::default(),
            results: Arc::new(Results::new(options.results)),
            background: Threads::background()?,
            lanes: options.lanes,
        })
    }

    /// Partitions that it works on at a time.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The data directory.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Connections to other nodes.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// The queries that run here.
    pub fn queries(&self) -> &Arc<QueryRegistry> {
        &self.queries
    }

    /// Memory pools of queries.
    pub fn memory(&self) -> &Arc<QueryMemory> {
        &self.memory
    }

    /// Where work runs that must not slow queries down.
    pub(crate) fn background(&self) -> &Handle {
        self.background.handle()
    }

    /// Rows that wait for clients.
    pub(crate) fn results(&self) -> &Arc<Results> {
        &self.results
    }

    /// What the node has done since it started.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// What scans need.
    pub(crate) fn scanner(&self) -> Scanner {
        Scanner {
            activity: Arc::clone(&self.activity),
            store: Arc::clone(&self.store),
            peers: Arc::clone(&self.peers),
            session: self.session.clone(),
            footers: Arc::clone(&self.footers),
            recent: Arc::clone(&self.recent),
        }
    }

    /// Rows that loads have brought to this node's sinks since it started.
    pub fn rows_received(&self) -> u64 {
        self.rows_received.load(Ordering::Relaxed)
    }

    /// Begins a task of the query that `headers` name, if they name one: its place among the running queries, and its memory, for which it may
    /// have to wait.
    pub(crate) async fn start_task(
        &self,
        headers: &HeaderMap,
        admission: Admission,
    ) -> Result<Option<(Arc<RuntimeEnv>, QueryHandle)>> {
        let Some(query_id) = headers.get(QUERY_ID_HEADER).and_then(|value| value.to_str().ok()) else { return Ok(None) };
        if let Some(fence) = headers.get(FENCE_HEADER) {
            self.store.heed(fence.to_str().unwrap_or_default().parse()?)?;
        }
        let span = Span::remote("task", headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))));
        span.set("slipher.query_id", query_id.to_owned());
        span.set("slipher.node", self.store.node_id().to_string());
        let background = headers.contains_key(BACKGROUND_HEADER).then(|| self.background().clone());
        let query = self.queries.start(query_id, span, background);
        let memory = tokio::select! {
            biased;
            () = query.token().cancelled() => return Err(cancelled()),
            memory = self.memory.admit(query_id, admission) => memory?,
        };
        query.keep(memory.grant);
        Ok(Some((memory.environment, QueryHandle(Arc::new(query)))))
    }

    /// The session extension under which plan nodes find this runtime.
    pub fn handle(self: &Arc<Self>) -> RuntimeHandle {
        RuntimeHandle(Arc::clone(self) as Arc<dyn ComputeRuntime>)
    }
}

impl ComputeRuntime for NodeRuntime {
    fn scan(&self, lane: LaneScan, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(until_cancelled(self.scanner().scan(lane, Arc::clone(&context))?, &context))
    }

    fn sink(
        &self,
        lane: LaneSink,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> BoxFuture<'static, Result<Vec<Segment>>> {
        let received = Arc::clone(&self.rows_received);
        let schema = input.schema();
        let counted = input.inspect_ok(move |batch| {
            received.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        });
        let input: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema, counted));
        let first_slice = self.sinks_started.fetch_add(1, Ordering::Relaxed);
        let sink = Sink {
            recent: Arc::clone(&self.recent),
            ..Sink::new(Arc::clone(&self.store), Arc::clone(&self.peers), self.session.clone(), first_slice)
        };
        async move {
            let Some(query) = QueryHandle::of(&context) else { return sink.run(lane, input, context).await };
            tokio::select! {
                () = query.0.token().cancelled() => Err(cancelled()),
                receipts = sink.run(lane, input, context) => receipts,
            }
        }
        .boxed()
    }

    fn offer(
        &self,
        lane: LaneResult,
        rows: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> BoxFuture<'static, Result<u64>> {
        self.results.offer(lane, rows, &context)
    }

    fn read_files(&self, lane: LaneFiles, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let progress = QueryHandle::of(&context).map(|query| Arc::clone(query.0.progress())).unwrap_or_default();
        Ok(until_cancelled(crate::load::read_files(lane, progress, Arc::clone(&context))?, &context))
    }
}
