//! Which segment ids are live in any table.

use imbl::OrdSet;
use slipher_common::ids::SegmentId;
use std::collections::BTreeSet;

/// The ids of all live segments. A clone shares all of them, and a commit copies the few places that it touches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SegmentIndex {
    ids: OrdSet<SegmentId>,
}

impl SegmentIndex {
    /// Of these ids, or the first one that stands twice.
    pub(super) fn of(mut ids: Vec<SegmentId>) -> Result<Self, SegmentId> {
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(pair[0]),
            None => Ok(Self { ids: ids.into_iter().collect() }),
        }
    }

    /// Adds an id; false when it is live already.
    pub(super) fn insert(&mut self, id: SegmentId) -> bool {
        self.ids.insert(id).is_none()
    }

    /// Takes an id out.
    pub(super) fn remove(&mut self, id: SegmentId) {
        self.ids.remove(&id);
    }

    /// Whether it holds these ids and no others.
    pub(super) fn is(&self, ids: &BTreeSet<SegmentId>) -> bool {
        self.ids.len() == ids.len() && ids.iter().all(|id| self.ids.contains(id))
    }
}
