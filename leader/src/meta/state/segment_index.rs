//! Which segment ids are live in any table.

use slipher_common::ids::SegmentId;
use std::collections::BTreeSet;
use std::sync::Arc;

const SHARDS: usize = 256;

/// The ids of all live segments. In shards, so that a commit copies the few it touches and not the whole set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SegmentIndex {
    shards: Arc<Vec<Arc<BTreeSet<SegmentId>>>>,
}

impl Default for SegmentIndex {
    fn default() -> Self {
        Self { shards: Arc::new(vec![Arc::default(); SHARDS]) }
    }
}

impl SegmentIndex {
    // The last byte of an id is random in every version of UUID that is used.
    fn shard(id: SegmentId) -> usize {
        usize::from(id.0.as_bytes()[15])
    }

    /// Adds an id; false when it is live already.
    pub(super) fn insert(&mut self, id: SegmentId) -> bool {
        if self.shards[Self::shard(id)].contains(&id) {
            return false;
        }
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[Self::shard(id)]).insert(id)
    }

    /// Takes an id out.
    pub(super) fn remove(&mut self, id: SegmentId) {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[Self::shard(id)]).remove(&id);
    }
}
