//! One voter: raft over a log store, and the state machine behind it. It has no clock and no task of its own: the driver
//! of a leader process and the simulation call the same steps.

use super::job::Job;
use super::log_store::{LogEntry, LogStore, SnapshotFiles, SnapshotPlace, StoredHardState, StoredSnapshot};
use super::logging;
use super::parallel;
use super::state::{AppliedRecord, ReadRecord, State};
use super::window::{Window, entry_to_raft, entry_to_stored, hard_state_to_stored};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Config, RawNode, Ready, SnapshotStatus, StateRole};
use slipher_common::fail_point;
use slipher_common::ids::TransactionId;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Longest record, encoded.
pub(super) const RECORD_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Proposals that raft holds before they are committed.
const UNCOMMITTED_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Entries in one message to another replica; one entry may be longer.
const MESSAGE_MAX_BYTES: u64 = 1024 * 1024;
/// Messages with entries on their way to one other replica.
const INFLIGHT_MESSAGES_MAX: usize = 256;
/// Entries handed over to be applied at once.
const COMMITTED_BATCH_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Entries that are applied at once and have so many bytes are read by other cores.
const READ_AHEAD_BYTES: usize = 1024 * 1024;
/// Without a word from the leader for so long (to twice as long), a replica asks for votes.
pub(super) const ELECTION_TICKS: usize = 10;
/// The leader's heartbeat.
const HEARTBEAT_TICKS: usize = 3;

/// When a replica takes a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    /// Entries applied since the last snapshot.
    pub(super) after_entries: u64,
    /// Bytes of entries in memory.
    pub(super) after_bytes: usize,
    /// Entries in a snapshot that stay in memory for replicas that are a little behind.
    pub(super) kept_entries: u64,
    /// Snapshots are written on a thread of their own, beside commits.
    pub(super) in_background: bool,
}

/// The snapshot that is being made.
enum Compacting<F: SnapshotFiles> {
    Nothing,
    /// Its body is written.
    Writing(SnapshotPlace, Job<F::Body>),
    /// It is in force, and what it replaced is removed.
    Cleaning(Job<()>),
}

/// Where messages to other voters go.
pub(super) trait Transport {
    /// Sends, or loses, a message.
    fn send(&mut self, message: Message);
}

/// An entry that was applied.
#[derive(Clone, Debug)]
pub(super) struct AppliedEntry {
    /// The entry.
    #[cfg_attr(not(test), expect(dead_code, reason = "the simulation compares logs by it"))]
    pub(super) entry: LogEntry,
    /// Whose it is.
    pub(super) transaction: Option<TransactionId>,
    /// What came of it.
    pub(super) result: Result<AppliedRecord>,
}

/// One voter.
pub(super) struct Replica<S: LogStore> {
    node: RawNode<Window>,
    /// Before the store, which it uses.
    compacting: Compacting<S::Files>,
    store: S,
    state: Arc<State>,
    applied: (u64, u64),
    snapshot_index: u64,
    compaction: Compaction,
}

impl<S: LogStore> Replica<S> {
    /// Opens a voter of a group on what its store holds.
    pub(super) fn open(id: u64, voters: &[u64], mut store: S, compaction: Compaction) -> Result<Self> {
        let (state, applied, voters) = match State::decode_pieces(|take| store.read_snapshot(take))? {
            (Some(snapshot), state) => (state, (snapshot.index, snapshot.term), snapshot.voters),
            (None, _) => (State::default(), (0, 0), voters.to_vec()),
        };
        let state = Arc::new(state);
        let hard_state = store.hard_state()?;
        let entries = store.take_entries()?;
        check_log(&hard_state, applied, &entries)?;
        let mut window = Window::new(hard_state, voters, applied, Arc::clone(&state));
        for entry in entries {
            let (index, kind) = (entry.index, entry.kind);
            let entry = entry_to_raft(entry);
            let unknown =
                || Error::new(ErrorKind::DataCorrupted, format!("reading metadata log entry {index}: unknown kind {kind}"));
            window.append([entry.ok_or_else(unknown)?]);
        }
        let config = Config {
            id,
            applied: applied.0,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            max_size_per_msg: MESSAGE_MAX_BYTES,
            max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
            max_uncommitted_size: UNCOMMITTED_MAX_BYTES,
            max_committed_size_per_ready: COMMITTED_BATCH_MAX_BYTES,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let node = RawNode::new(&config, window, &logging::logger())
            .map_err(|error| Error::internal(format!("starting the metadata replica: {error}")))?;
        Ok(Self { node, compacting: Compacting::Nothing, store, state, applied, snapshot_index: applied.0, compaction })
    }

    /// The state after the last applied entry.
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Index of the last applied entry.
    pub(super) fn applied_index(&self) -> u64 {
        self.applied.0
    }

    /// Whether this voter leads its group and has applied everything that was committed before it did.
    pub(super) fn is_ready_leader(&self) -> bool {
        let raft = &self.node.raft;
        self.is_leader() && raft.commit_to_current_term() && self.applied.0 >= raft.raft_log.committed
    }

    /// Whether this voter leads its group, as far as it knows.
    pub(super) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The term it is in.
    pub(super) fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// How often its store was opened.
    pub(super) fn boot(&self) -> u64 {
        self.store.boot()
    }

    /// In place of raft's random choice, so that a simulation can be repeated.
    #[cfg(test)]
    pub(super) fn set_election_timeout(&mut self, ticks: usize) {
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    /// One tick of the clock.
    pub(super) fn tick(&mut self) {
        self.node.tick();
    }

    /// Asks for votes now.
    pub(super) fn campaign(&mut self) -> Result<()> {
        self.node.campaign().map_err(|error| Error::internal(format!("starting an election of the metadata leader: {error}")))
    }

    /// Takes a message from another voter.
    #[cfg_attr(not(test), expect(dead_code, reason = "a group of one voter gets no messages"))]
    pub(super) fn step(&mut self, message: Message) {
        if let Err(error) = self.node.step(message) {
            // A late message of a former life, or a forwarded proposal that finds no leader: the sender tries again.
            tracing::debug!(%error, "metadata message ignored");
        }
    }

    /// Proposes a record, encoded. What came of it is told by [`Replica::process`], once it is applied.
    pub(super) fn propose(&mut self, record: Vec<u8>) -> Result<()> {
        if record.len() > RECORD_MAX_BYTES {
            return Err(Error::new(
                ErrorKind::ProgramLimit,
                format!("committing a change of {} bytes of metadata: the limit is {RECORD_MAX_BYTES}", record.len()),
            )
            .with_hint("commit fewer segments or tables in one transaction"));
        }
        match self.node.propose(Vec::new(), record) {
            Ok(()) => Ok(()),
            Err(raft::Error::ProposalDropped) if self.is_leader() => Err(Error::new(
                ErrorKind::ProgramLimit,
                format!("committing a change: {UNCOMMITTED_MAX_BYTES} bytes of earlier ones are not committed yet"),
            )
            .with_hint("try again")),
            Err(error) => Err(Error::new(ErrorKind::CannotConnectNow, format!("committing a change: {error}"))
                .with_detail("the metadata group has no leader")
                .with_hint("try again")),
        }
    }

    /// Does all outstanding work: persists, sends, applies. After an error the replica must not be used again.
    pub(super) fn process(&mut self, transport: &mut impl Transport) -> Result<Vec<AppliedEntry>> {
        let mut done = Vec::new();
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.process_ready(ready, transport, &mut done)?;
        }
        self.compact_when_due()?;
        Ok(done)
    }

    /// The order is the point: entries and hard state are durable before any message that promises them goes out, and
    /// before anything is applied and acknowledged.
    fn process_ready(&mut self, mut ready: Ready, transport: &mut impl Transport, done: &mut Vec<AppliedEntry>) -> Result<()> {
        let mut snapshots_to = Vec::new();
        let mut send = |messages: Vec<Message>| {
            for message in messages {
                if message.get_msg_type() == MessageType::MsgSnapshot {
                    snapshots_to.push(message.to);
                }
                transport.send(message);
            }
        };
        // A leader's messages promise nothing of its own: it counts itself only after `advance_append`.
        send(ready.take_messages());
        self.persist(&ready)?;
        send(ready.take_persisted_messages());
        self.apply(ready.take_committed_entries(), done)?;

        let mut light = self.node.advance_append(ready);
        if light.commit_index().is_some() {
            // Durable with the next flush: a replica that forgets how far it committed learns it again.
            self.set_hard_state()?;
        }
        send(light.take_messages());
        self.apply(light.take_committed_entries(), done)?;
        self.node.advance_apply();
        for peer in snapshots_to {
            // Whether it arrived is found by probing: a lost one is asked for again.
            self.node.report_snapshot(peer, SnapshotStatus::Finish);
        }
        Ok(())
    }

    fn persist(&mut self, ready: &Ready) -> Result<()> {
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().set_hard_state(hard_state);
        }
        if !ready.snapshot().is_empty() {
            self.install(ready)?;
        }
        let hard_state = ready.hs().map(hard_state_to_stored);
        if !ready.entries().is_empty() || hard_state.is_some() {
            let entries: Vec<LogEntry> = ready.entries().iter().map(entry_to_stored).collect();
            // In one write: without its entries the commit index, without its term an entry would contradict the rest.
            self.store.append(&entries, hard_state.as_ref())?;
            self.node.mut_store().append(ready.entries().iter().cloned());
        }
        if ready.must_sync() {
            self.store.flush()?;
        }
        Ok(())
    }

    fn set_hard_state(&mut self) -> Result<()> {
        let hard_state = self.node.raft.hard_state();
        self.store.set_hard_state(&hard_state_to_stored(&hard_state))?;
        self.node.mut_store().set_hard_state(&hard_state);
        Ok(())
    }

    /// Takes over the leader's snapshot.
    fn install(&mut self, ready: &Ready) -> Result<()> {
        let snapshot = ready.snapshot();
        let metadata = snapshot.get_metadata();
        let state = Arc::new(State::decode(&snapshot.data)?);
        let stored = StoredSnapshot {
            index: metadata.index,
            term: metadata.term,
            voters: metadata.get_conf_state().voters.clone(),
            data: snapshot.data.clone(),
        };
        // Entries behind the snapshot come with the next write, and only then may the commit index be one of them.
        let mut hard_state = hard_state_to_stored(self.node.store().hard_state());
        hard_state.commit = stored.index;
        // It would be of an older state.
        self.compacting = Compacting::Nothing;
        self.store.install(&stored, &hard_state)?;
        self.applied = (stored.index, stored.term);
        self.snapshot_index = stored.index;
        self.state = Arc::clone(&state);
        self.node.mut_store().install(self.applied, stored.voters, state);
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>, done: &mut Vec<AppliedEntry>) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut state = State::clone(&self.state);
        let read = |entry: &Entry| ReadRecord::decode(&entry.data);
        let mut left = entries.iter();
        let mut apply = |read: Result<ReadRecord, prost::DecodeError>| {
            let Some(entry) = left.next() else {
                return Err(Error::internal("applying the metadata log: a record without an entry"));
            };
            self.applied = (entry.index, entry.term);
            if entry.get_entry_type() != EntryType::EntryNormal {
                return Err(Error::not_supported("changing the voters of the metadata group", "start a new group"));
            }
            // A new leader begins its term with an empty entry.
            if entry.data.is_empty() {
                return Ok(());
            }
            let record = read.map_err(|error| {
                Error::new(ErrorKind::DataCorrupted, format!("applying metadata log entry {}: {error}", entry.index))
            })?;
            fail_point::pass("commit.apply")?;
            let transaction = TransactionId::from_bytes(record.transaction_id()).ok();
            let result = state.apply_read(entry.index, record);
            done.push(AppliedEntry { entry: entry_to_stored(entry), transaction, result });
            Ok(())
        };
        if entries.iter().map(|entry| entry.data.len()).sum::<usize>() < READ_AHEAD_BYTES {
            entries.iter().try_for_each(|entry| apply(read(entry)))?;
        } else {
            parallel::ahead(&entries, read, apply)?;
        }
        self.state = Arc::new(state);
        let (applied, state) = (self.applied, Arc::clone(&self.state));
        self.node.mut_store().set_applied(applied, state);
        Ok(())
    }

    /// A snapshot is made in steps, between which commits go on: its body, then the header that puts it in force, then the cleaning up.
    fn compact_when_due(&mut self) -> Result<()> {
        self.compacting = match std::mem::replace(&mut self.compacting, Compacting::Nothing) {
            Compacting::Writing(place, job) if job.is_finished() => {
                self.store.compact(&place, job.finish()?)?;
                self.store.flush()?;
                self.snapshot_index = place.index;
                let kept = if self.node.store().bytes() < self.compaction.after_bytes { self.compaction.kept_entries } else { 0 };
                self.node.mut_store().compact(place.index.saturating_sub(kept));
                let files = self.store.snapshot_files()?;
                Compacting::Cleaning(self.run("slipher-clean", move |cancelled| files.clean(cancelled))?)
            }
            Compacting::Cleaning(job) if job.is_finished() => {
                job.finish()?;
                Compacting::Nothing
            }
            Compacting::Nothing if self.is_snapshot_due() => self.begin_snapshot()?,
            goes_on => goes_on,
        };
        Ok(())
    }

    fn is_snapshot_due(&self) -> bool {
        let entries = self.applied.0 - self.snapshot_index;
        entries > 0 && (entries >= self.compaction.after_entries || self.node.store().bytes() >= self.compaction.after_bytes)
    }

    fn begin_snapshot(&self) -> Result<Compacting<S::Files>> {
        let (index, term) = self.applied;
        let place = SnapshotPlace { index, term, voters: self.node.store().voters().to_vec() };
        let (files, state) = (self.store.snapshot_files()?, Arc::clone(&self.state));
        let write = move |cancelled: &AtomicBool| files.write_body(index, &mut state.encoded_parts(), cancelled);
        Ok(Compacting::Writing(place, self.run("slipher-snapshot", write)?))
    }

    fn run<T: Send + 'static>(&self, name: &str, work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Result<Job<T>> {
        if self.compaction.in_background { Job::start(name, work) } else { Ok(Job::run(work)) }
    }
}

/// raft panics on a log that contradicts itself; an error names what is wrong.
fn check_log(hard_state: &StoredHardState, snapshot: (u64, u64), entries: &[LogEntry]) -> Result<()> {
    let damaged = |what: String| Err(Error::new(ErrorKind::DataCorrupted, format!("reading the metadata log: {what}")));
    let (mut last, mut term) = snapshot;
    for entry in entries {
        if entry.index != last + 1 || entry.term < term {
            return damaged(format!("entry {} of term {} follows entry {last} of term {term}", entry.index, entry.term));
        }
        (last, term) = (entry.index, entry.term);
    }
    if hard_state.commit < snapshot.0 || hard_state.commit > last {
        return damaged(format!("commit index {} is not between {} and {last}", hard_state.commit, snapshot.0));
    }
    if hard_state.term < term {
        return damaged(format!("term {} is older than term {term} of its last entry", hard_state.term));
    }
    Ok(())
}
