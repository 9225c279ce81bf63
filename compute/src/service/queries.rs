//! Which queries run on this node, and how to end them.

use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use slipher_common::{Error, ErrorKind};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How many cancelled queries are remembered, for tasks that arrive after their query was cancelled.
const CANCELLED_QUERIES_MAX: usize = 1024;

/// The queries that run on a node.
#[derive(Debug, Default)]
pub struct QueryRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Token and number of tasks.
    running: HashMap<String, (CancellationToken, usize)>,
    cancelled: VecDeque<String>,
}

/// One task of a running query; the query is forgotten when its last task is dropped.
#[derive(Debug)]
pub struct RunningQuery {
    registry: Arc<QueryRegistry>,
    id: String,
    token: CancellationToken,
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
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        if let Some((_, tasks)) = state.running.get_mut(&self.id) {
            *tasks -= 1;
            if *tasks == 0 {
                state.running.remove(&self.id);
            }
        }
    }
}

impl QueryRegistry {
    /// Notes a task of a query. The token of a query that was cancelled before is cancelled from the start.
    pub fn start(self: &Arc<Self>, query_id: &str) -> RunningQuery {
        let mut state = self.state.lock();
        let cancelled = state.cancelled.iter().any(|id| id == query_id);
        let (token, tasks) = state.running.entry(query_id.to_owned()).or_insert_with(|| (CancellationToken::new(), 0));
        *tasks += 1;
        let token = token.clone();
        if cancelled {
            token.cancel();
        }
        RunningQuery { registry: Arc::clone(self), id: query_id.to_owned(), token }
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
            Some((token, _)) => {
                token.cancel();
                true
            }
            None => false,
        }
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
