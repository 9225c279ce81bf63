//! Guards around a query's stream of rows: cancellation, and Slipher's errors.

use crate::cluster::Cluster;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use slipher_common::ids::NodeId;
use slipher_common::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a query that waits for rows looks whether its nodes answer.
const NODE_CHECK_INTERVAL_MS: u64 = 500;

/// Tells all nodes when a query ends before its rows do.
struct CancelOnDrop {
    cluster: Arc<Cluster>,
    query_id: String,
    finished: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let (cluster, query_id) = (Arc::clone(&self.cluster), std::mem::take(&mut self.query_id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { cluster.cancel_query(&query_id).await });
        }
    }
}

/// `rows` until `cancelled`; then an error 57014 and an order to every node to stop. Dropping the stream orders the same.
pub(crate) fn guarded(
    rows: SendableRecordBatchStream,
    cluster: Arc<Cluster>,
    query_id: String,
    cancelled: CancellationToken,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let guard = CancelOnDrop { cluster, query_id, finished: false };
    let stream = futures::stream::unfold(Some((rows, guard)), move |state| {
        let cancelled = cancelled.clone();
        async move {
            let (mut rows, mut guard) = state?;
            tokio::select! {
                biased;
                () = cancelled.cancelled() => {
                    drop((rows, guard));
                    Some((Err(DataFusionError::from(canceled())), None))
                }
                next = rows.next() => match next {
                    Some(Ok(batch)) => Some((Ok(batch), Some((rows, guard)))),
                    Some(Err(error)) => Some((Err(error), None)),
                    None => {
                        guard.finished = true;
                        None
                    }
                },
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}

/// `rows`, or an error when one of `nodes` is dead: a connection to a host that is gone can take longer to fail than anybody waits.
pub(super) fn unless_node_dies(
    rows: SendableRecordBatchStream,
    cluster: Arc<Cluster>,
    nodes: Vec<NodeId>,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let stream = futures::stream::unfold(Some(rows), move |rows| {
        let (cluster, nodes) = (Arc::clone(&cluster), nodes.clone());
        async move {
            let mut rows = rows?;
            loop {
                tokio::select! {
                    biased;
                    next = rows.next() => return match next? {
                        Ok(batch) => Some((Ok(batch), Some(rows))),
                        Err(error) => Some((Err(error), None)),
                    },
                    () = tokio::time::sleep(Duration::from_millis(NODE_CHECK_INTERVAL_MS)) => {}
                }
                if let Some(node) = nodes.iter().find(|node| !cluster.is_alive(**node)) {
                    let message = format!("running the query: compute node {node} does not answer");
                    return Some((Err(Error::new(ErrorKind::NodeUnavailable, message).into()), None));
                }
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}

/// What a cancelled statement answers.
pub(crate) fn canceled() -> Error {
    Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")
}
