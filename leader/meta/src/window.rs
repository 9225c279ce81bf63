//! The part of the log that raft reads, in memory.
//!
//! raft panics when its storage fails. It gets this window, which cannot fail: it is filled from the log store when the
//! replica opens, where errors can be reported, and kept equal to it afterwards. Compaction bounds it.

use super::log_store::{LogEntry, StoredHardState};
use super::state::State;
use bytes::Bytes;
use prost::Message;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;

/// What raft reads; see the module.
#[derive(Debug)]
pub(super) struct Window {
    hard_state: HardState,
    voters: Vec<u64>,
    /// The entry before the first one.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    /// (index, term) and state of what was applied last: the source of snapshots for other replicas.
    applied: (u64, u64),
    state: Arc<State>,
}

impl Window {
    /// A window on entries that follow a snapshot of `state` at `applied`.
    pub(super) fn new(hard_state: StoredHardState, voters: Vec<u64>, applied: (u64, u64), state: Arc<State>) -> Self {
        Self {
            hard_state: hard_state_to_raft(&hard_state),
            voters,
            before: applied,
            entries: VecDeque::new(),
            bytes: 0,
            applied,
            state,
        }
    }

    /// Appends entries; whatever was at the index of the first one or behind it goes.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            while self.entries.back().is_some_and(|last| last.index >= entry.index) {
                self.bytes -= self.entries.pop_back().map_or(0, |last| last.data.len());
            }
            self.bytes += entry.data.len();
            self.entries.push_back(entry);
        }
    }

    /// Drops entries up to an index.
    pub(super) fn compact(&mut self, through: u64) {
        while self.entries.front().is_some_and(|first| first.index <= through) {
            if let Some(first) = self.entries.pop_front() {
                self.bytes -= first.data.len();
                self.before = (first.index, first.term);
            }
        }
    }

    /// Takes over a snapshot from another replica.
    pub(super) fn install(&mut self, applied: (u64, u64), voters: Vec<u64>, state: Arc<State>) {
        self.entries.clear();
        self.bytes = 0;
        self.before = applied;
        self.voters = voters;
        self.set_applied(applied, state);
    }

    /// Notes what was applied.
    pub(super) fn set_applied(&mut self, applied: (u64, u64), state: Arc<State>) {
        self.applied = applied;
        self.state = state;
    }

    /// The same as in the log store.
    pub(super) fn set_hard_state(&mut self, hard_state: &HardState) {
        self.hard_state = hard_state.clone();
    }

    /// The hard state.
    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// The group's voters.
    pub(super) fn voters(&self) -> &[u64] {
        &self.voters
    }

    /// Bytes of the entries in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn last(&self) -> u64 {
        self.entries.back().map_or(self.before.0, |last| last.index)
    }

    fn position(&self, index: u64) -> Option<usize> {
        index.checked_sub(self.before.0 + 1).map(|position| position as usize)
    }
}

impl Storage for Window {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), ConfState::from((self.voters.clone(), Vec::new()))))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let (Some(from), Some(to)) = (self.position(low), self.position(high)) else {
            return Err(StorageError::Compacted.into());
        };
        if to > self.entries.len() || from > to {
            return Err(StorageError::Unavailable.into());
        }
        let mut found: Vec<Entry> = self.entries.range(from..to).cloned().collect();
        raft::util::limit_size(&mut found, max_size.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        let position = self.position(index).ok_or(StorageError::Compacted)?;
        Ok(self.entries.get(position).ok_or(StorageError::Unavailable)?.term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let (index, term) = self.applied;
        if index == 0 || index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot { data: self.state.to_proto().encode_to_vec().into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.index = index;
        metadata.term = term;
        metadata.set_conf_state(ConfState::from((self.voters.clone(), Vec::new())));
        Ok(snapshot)
    }
}

/// The stored form of raft's hard state.
pub(super) fn hard_state_to_stored(hard_state: &HardState) -> StoredHardState {
    StoredHardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit }
}

fn hard_state_to_raft(stored: &StoredHardState) -> HardState {
    HardState { term: stored.term, vote: stored.vote, commit: stored.commit, ..HardState::default() }
}

/// The stored form of one of raft's entries.
pub(super) fn entry_to_stored(entry: &Entry) -> LogEntry {
    LogEntry {
        index: entry.index,
        term: entry.term,
        kind: entry.get_entry_type() as i32,
        data: entry.data.clone(),
        context: entry.context.clone(),
        chain: Bytes::new(),
    }
}

/// raft's form of a stored entry; `None` for a kind that it does not know.
pub(super) fn entry_to_raft(stored: LogEntry) -> Option<Entry> {
    let mut entry = Entry { index: stored.index, term: stored.term, ..Entry::default() };
    entry.set_entry_type(match stored.kind {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    });
    entry.data = stored.data;
    entry.context = stored.context;
    Some(entry)
}
