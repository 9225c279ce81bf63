//! What planning and running one query share: the layout of tasks and lanes, and where they are.

use datafusion_distributed::{RouteTasksEvent, RouteTasksEventResponse};
use slipher_common::Result;
use slipher_common::assign::Zone;
use slipher_common::distribution::TokenTable;
use slipher_common::fence::Fence;
use slipher_common::placement::Layout;
use slipher_common::plan::ResultTarget;
use std::sync::Arc;
use url::Url;

/// One query's layout, addresses and id. A session extension of its plan and its run.
#[derive(Clone, Debug)]
pub(crate) struct QueryContext {
    /// Names the query in logs, cancellation and memory pools.
    pub(crate) query_id: String,
    /// Tasks, lanes and the slot of every slice.
    pub(crate) layout: Arc<Layout>,
    /// Internal address of each task's node.
    pub(crate) addresses: Arc<Vec<Url>>,
    /// Token of each slice.
    pub(crate) tokens: Arc<TokenTable>,
    /// It must not slow other queries down.
    pub(crate) background: bool,
    /// Whether it waits until it can have all of its memory on each node.
    pub(crate) whole_memory: bool,
    /// Who has its nodes work.
    pub(crate) fence: Option<Fence>,
    /// The session's time zone; None: UTC.
    pub(crate) zone: Option<Arc<Zone>>,
    /// What time it is, in microseconds since 1970.
    pub(crate) now_micros: i64,
}

/// A client that would fetch rows from the compute nodes. A session extension of planning.
#[derive(Clone, Debug)]
pub(crate) struct DirectResults {
    /// Who may fetch, and what was announced.
    pub(crate) target: Arc<ResultTarget>,
    /// Fewer estimated rows come through the leader: that saves the client connections.
    pub(crate) rows_min: usize,
}

impl QueryContext {
    /// Finds the tokens of `layout`.
    pub(crate) fn new(query_id: String, layout: Arc<Layout>, addresses: Vec<Url>) -> Result<Self> {
        let tokens = TokenTable::new(&layout.slot_of_slices(), layout.tasks() * layout.lanes)?;
        let (addresses, tokens) = (Arc::new(addresses), Arc::new(tokens));
        Ok(Self {
            query_id,
            layout,
            addresses,
            tokens,
            background: false,
            whole_memory: false,
            fence: None,
            zone: None,
            now_micros: 0,
        })
    }

    /// Task i of a stage of T tasks goes to the node that serves it; a stage of one task goes to the first node.
    pub(crate) fn route(&self, event: &RouteTasksEvent<'_>) -> Option<datafusion::error::Result<RouteTasksEventResponse>> {
        let urls = self.addresses.iter().take(event.task_count).cloned().collect::<Vec<_>>();
        (urls.len() == event.task_count).then(|| Ok(RouteTasksEventResponse::new(urls)))
    }
}
