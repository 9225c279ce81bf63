//! Versions that somebody still reads: their segments are not swept.

use super::Cluster;
use parking_lot::Mutex;
use slipher_common::ids::SegmentId;
use slipher_meta::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The pinned states by number.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    states: BTreeMap<u64, Arc<State>>,
}

/// Keeps the segments of one state until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    cluster: Arc<Cluster>,
    number: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.cluster.pins.0.lock().states.remove(&self.number);
    }
}

impl Cluster {
    /// The latest state, whose segments stay as long as the pin lives.
    pub(crate) fn pin_latest(self: &Arc<Self>) -> (Arc<State>, Pin) {
        let mut pins = self.pins.0.lock();
        // Under the lock, so that no sweep comes between.
        let state = self.meta.state();
        pins.last += 1;
        let number = pins.last;
        pins.states.insert(number, Arc::clone(&state));
        (state, Pin { cluster: Arc::clone(self), number })
    }

    /// The latest state, and the segments that it or a pinned one has.
    pub(super) fn live_segments(&self) -> (Arc<State>, Arc<[SegmentId]>) {
        let (state, pinned) = {
            let pins = self.pins.0.lock();
            (self.meta.state(), pins.states.values().map(Arc::clone).collect::<Vec<_>>())
        };
        let mut live: BTreeSet<SegmentId> = segments(&state).collect();
        for old in pinned.iter().filter(|old| old.version() != state.version()) {
            live.extend(segments(old));
        }
        (state, live.into_iter().collect())
    }
}

fn segments(state: &State) -> impl Iterator<Item = SegmentId> {
    state.tables().values().flat_map(|table| table.segments.keys().copied())
}
