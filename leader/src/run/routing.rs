//! Tasks, lanes, addresses and tokens: worked out once for a placement and the nodes that live, not for each statement.

use crate::cluster::{ClusterView, task_addresses};
use crate::plan::context::QueryContext;
use parking_lot::Mutex;
use slipher_common::Result;
use std::sync::Arc;

/// What the last statement was routed by.
#[derive(Debug, Default)]
pub(super) struct Routings(Mutex<Option<Routed>>);

#[derive(Debug)]
struct Routed {
    view: ClusterView,
    /// Of no query in particular.
    context: QueryContext,
}

impl Routed {
    fn is_of(&self, view: &ClusterView) -> bool {
        Arc::ptr_eq(&self.view.placement, &view.placement)
            && self.view.classes == view.classes
            && self.view.alive == view.alive
            && self.view.addresses == view.addresses
            && self.view.lanes == view.lanes
    }
}

impl Routings {
    /// The context of a query over the nodes of `view`.
    pub(super) fn context(&self, view: &ClusterView, lanes: Option<usize>, query_id: &str) -> Result<QueryContext> {
        let mut last = self.0.lock();
        if let Some(routed) = last.as_ref().filter(|routed| routed.is_of(view)) {
            return Ok(QueryContext { query_id: query_id.to_owned(), ..routed.context.clone() });
        }
        let layout = view.layout(lanes)?;
        let addresses = task_addresses(&layout.nodes, &view.addresses)?;
        let context = QueryContext::new(query_id.to_owned(), Arc::new(layout), addresses)?;
        *last = Some(Routed { view: view.clone(), context: context.clone() });
        Ok(context)
    }
}
