//! Which queries run on this node, and how to end them.

use crate::activity::{Activity, Progress};
use crate::memory::Grant;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::StreamExt;
use parking_lot::Mutex;
use slipher_common::trace::Span;
use slipher_common::{Error, ErrorKind};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How many cancelled queries are remembered, for tasks that arrive after their query was cancelled.
const CANCELLED_QUERIES_MAX: usize = 1024;
/// How many queries are remembered that have no task here any more, but may on other nodes.
const ENDED_QUERIES_MAX: usize = 256;

/// The queries that run on a node.
#[derive(Debug, Default)]
pub struct QueryRegistry {
    state: Mutex<State>,
    activity: Arc<Activity>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<String, Query>,
    ended: VecDeque<(String, Arc<Progress>)>,
    cancelled: VecDeque<String>,
}

/// A query with tasks on this node.
#[derive(Debug)]
struct Query {
    token: CancellationToken,
    tasks: usize,
    progress: Arc<Progress>,
}

/// One task of a running query; the query has ended here when its last task has.
#[derive(Debug)]
pub struct RunningQuery {
    registry: Arc<QueryRegistry>,
    id: String,
    token: CancellationToken,
    progress: Arc<Progress>,
    /// What runs, to be asked for what it measured.
    plan: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    /// None once the task has ended.
    span: Mutex<Option<Span>>,
    /// The part of the node's memory that the query has for certain.
    grant: Mutex<Option<Arc<Grant>>>,
    /// Where its work is done, if not where it is asked for.
    background: Option<Handle>,
}

impl RunningQuery {
    /// Ends when the query is cancelled.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The query.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the task's work is done, if not where it is asked for.
    pub(crate) fn background(&self) -> Option<&Handle> {
        self.background.as_ref()
    }

    /// What the query has done on this node.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Counts the task as ended: its rows were read, or nobody wants them any more.
    pub(crate) fn end(&self) {
        let Some(span) = self.span.lock().take() else { return };
        drop(self.grant.lock().take());
        self.progress.tasks_ended.fetch_add(1, Ordering::Relaxed);
        self.registry.activity.end_task(self.plan.lock().take().as_deref());
        span.set("slipher.cancelled", self.token.is_cancelled());
        let mut state = self.registry.state.lock();
        let Some(query) = state.running.get_mut(&self.id) else { return };
        query.tasks -= 1;
        if query.tasks == 0
            && let Some(query) = state.running.remove(&self.id)
        {
            if state.ended.len() >= ENDED_QUERIES_MAX {
                state.ended.pop_front();
            }
            state.ended.push_back((self.id.clone(), query.progress));
        }
    }

    /// Keeps a part of the node's memory until the task ends.
    pub(crate) fn keep(&self, grant: Option<Arc<Grant>>) {
        *self.grant.lock() = grant;
    }

    /// Notes what the task runs.
    pub(crate) fn set_plan(&self, plan: &Arc<dyn ExecutionPlan>) {
        *self.plan.lock() = Some(Arc::clone(plan));
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.end();
    }
}

impl QueryRegistry {
    /// A registry whose tasks are counted in `activity`.
    pub fn new(activity: Arc<Activity>) -> Self {
        Self { state: Mutex::default(), activity }
    }

    /// Notes a task of a query; `span` lasts as long. `background`: it runs there. The token of a query that was cancelled before is cancelled from the start.
    pub fn start(self: &Arc<Self>, query_id: &str, span: Span, background: Option<Handle>) -> RunningQuery {
        let mut state = self.state.lock();
        let cancelled = state.cancelled.iter().any(|id| id == query_id);
        // Its next task may come after the one before it has ended.
        let again = state.ended.iter().position(|(id, _)| id == query_id).and_then(|place| state.ended.remove(place));
        let progress = again.map(|(_, progress)| progress).unwrap_or_default();
        let query = state.running.entry(query_id.to_owned()).or_insert_with(|| Query {
            token: CancellationToken::new(),
            tasks: 0,
            progress,
        });
        query.tasks += 1;
        query.progress.tasks_started.fetch_add(1, Ordering::Relaxed);
        if cancelled {
            query.token.cancel();
        }
        RunningQuery {
            registry: Arc::clone(self),
            id: query_id.to_owned(),
            token: query.token.clone(),
            progress: Arc::clone(&query.progress),
            plan: Mutex::default(),
            span: Mutex::new(Some(span)),
            grant: Mutex::default(),
            background,
        }
    }

    /// Ends a query; answers whether it ran here.
    pub fn cancel(&self, query_id: &str) -> bool {
        let mut state = self.state.lock();
        if !state.cancelled.iter().any(|id| id == query_id) {
            if state.cancelled.len() >= CANCELLED_QUERIES_MAX {
                state.cancelled.pop_front();
            }
            state.cancelled.push_back(query_id.to_owned());
        }
        match state.running.get(query_id) {
            Some(query) => {
                query.token.cancel();
                true
            }
            None => false,
        }
    }

    /// What a query has done here, if it runs or ran lately.
    pub fn progress(&self, query_id: &str) -> Option<Arc<Progress>> {
        let state = self.state.lock();
        let running = state.running.get(query_id).map(|query| &query.progress);
        running.or_else(|| state.ended.iter().find(|(id, _)| id == query_id).map(|(_, progress)| progress)).cloned()
    }

    /// The ids of the running queries.
    pub fn running(&self) -> Vec<String> {
        self.state.lock().running.keys().cloned().collect()
    }
}

/// Session extension that ties a task to its query: scans and sinks of the task end when the query is cancelled.
#[derive(Clone, Debug)]
pub struct QueryHandle(pub Arc<RunningQuery>);

impl QueryHandle {
    /// The query of a task, where the session names one.
    pub fn of(context: &TaskContext) -> Option<Arc<Self>> {
        context.session_config().get_extension::<Self>()
    }
}

/// The error of a cancelled query.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")
}

/// Ends `stream` with an error when the task's query is cancelled: a stream that merely stopped would look complete.
pub(crate) fn until_cancelled(stream: SendableRecordBatchStream, context: &TaskContext) -> SendableRecordBatchStream {
    let Some(handle) = QueryHandle::of(context) else { return stream };
    let schema = stream.schema();
    let token = handle.0.token.clone();
    let last = async move { if token.is_cancelled() { Some(Err(cancelled().into())) } else { None } };
    let ending = futures::stream::once(last).filter_map(|item| async move { item });
    let stream = stream.take_until(handle.0.token.clone().cancelled_owned()).chain(ending);
    // The handle lives as long as the stream, so that the query counts as running.
    let stream = stream.inspect(move |_| {
        let _ = &handle;
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}
