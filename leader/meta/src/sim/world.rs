//! Voters, network, crashes and checks.

use super::super::log_store::LogEntry;
use super::super::memory_store::{Disk, Fault, MemoryStore};
use super::super::replica::{AppliedEntry, Compaction, ELECTION_TICKS, Replica, Transport};
use super::client::Client;
use parking_lot::Mutex;
use prost::Message as _;
use raft::eraftpb::{Message, MessageType};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slipher_common::ids::{TransactionId, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const VOTERS: [u64; 3] = [1, 2, 3];
/// Messages on their way; the oldest are lost beyond that.
const NETWORK_MESSAGES_MAX: usize = 400;
/// Rounds in which a healed group must agree.
const SETTLE_ROUNDS_MAX: usize = 1_000;
/// Small, so that snapshots are taken and sent.
const COMPACTION: Compaction = Compaction { after_entries: 12, after_bytes: 1 << 20, kept_entries: 3, in_background: false };

/// What happened, to see that enough did and that a seed repeats itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) repeated: u64,
    pub(super) terms: u64,
    pub(super) crashes: u64,
    pub(super) lost_writes: u64,
    pub(super) installed_snapshots: u64,
    /// Folds every step's outcome.
    trace: u64,
}

impl Summary {
    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.repeated += other.repeated;
        self.terms += other.terms;
        self.crashes += other.crashes;
        self.lost_writes += other.lost_writes;
        self.installed_snapshots += other.installed_snapshots;
    }
}

struct Voter {
    id: u64,
    disk: Arc<Mutex<Disk>>,
    replica: Option<Replica<MemoryStore>>,
    /// Proposals that were made here and wait for their answer.
    waiting: BTreeSet<TransactionId>,
    /// Last entry applied since it started.
    applied: u64,
}

struct Outbox<'a>(&'a mut Vec<Message>);

impl Transport for Outbox<'_> {
    fn send(&mut self, message: Message) {
        self.0.push(message);
    }
}

/// Everything there is.
pub(super) struct World {
    random: StdRng,
    seed: u64,
    clock: u64,
    voters: Vec<Voter>,
    network: Vec<Message>,
    /// Voters on one side of a partition.
    side: BTreeSet<u64>,
    /// No more crashes.
    calm: bool,
    client: Client,
    leaders: BTreeMap<u64, u64>,
    log: BTreeMap<u64, LogEntry>,
    states: BTreeMap<Version, u64>,
    acknowledged: BTreeMap<TransactionId, Version>,
    summary: Summary,
}

impl World {
    pub(super) fn new(seed: u64, fault: Fault) -> Self {
        let voters = VOTERS.map(|id| {
            let disk = Disk::with_fault(fault);
            Voter { id, disk, replica: None, waiting: BTreeSet::new(), applied: 0 }
        });
        Self {
            random: StdRng::seed_from_u64(seed),
            seed,
            clock: 0,
            voters: voters.into(),
            network: Vec::new(),
            side: BTreeSet::new(),
            calm: false,
            client: Client::default(),
            leaders: BTreeMap::new(),
            log: BTreeMap::new(),
            states: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let acknowledged = self.acknowledged.len() as u64;
        Summary { acknowledged, terms: self.leaders.len() as u64, ..self.summary.clone() }
    }

    /// One random event.
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.clock += 1;
        let at = self.random.random_range(0..self.voters.len());
        match self.random.random_range(0..1000) {
            0..6 => self.crash(at),
            6..50 => return self.start(at),
            50..55 => self.side = VOTERS.into_iter().filter(|_| self.random.random_bool(0.5)).collect(),
            55..61 => self.side.clear(),
            61..120 => return self.propose(at),
            120..420 => return self.act(at, |replica| replica.tick()),
            _ => return self.deliver_one(),
        }
        Ok(())
    }

    fn crash(&mut self, at: usize) {
        let voter = &mut self.voters[at];
        if voter.replica.take().is_some() {
            let unsynced = Disk::unsynced(&voter.disk);
            let kept = self.random.random_range(0..=unsynced);
            Disk::crash(&voter.disk, kept);
            self.summary.crashes += 1;
            self.summary.lost_writes += (unsynced - kept) as u64;
        }
    }

    fn start(&mut self, at: usize) -> Result<(), String> {
        let voter = &mut self.voters[at];
        if voter.replica.is_some() {
            return Ok(());
        }
        let opened = Replica::open(voter.id, &VOTERS, MemoryStore::open(&voter.disk), COMPACTION);
        let replica = opened.map_err(|error| format!("voter {} does not start: {error}", voter.id))?;
        voter.applied = replica.applied_index();
        voter.waiting.clear();
        voter.replica = Some(replica);
        self.act(at, |_| {})
    }

    fn deliver_one(&mut self) -> Result<(), String> {
        if self.network.is_empty() {
            return Ok(());
        }
        // Not in order.
        let message = self.network.swap_remove(self.random.random_range(0..self.network.len()));
        if self.random.random_bool(0.08) {
            return Ok(());
        }
        if self.random.random_bool(0.05) {
            self.network.push(message.clone());
        }
        self.deliver(message)
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        let cut = self.side.contains(&message.from) != self.side.contains(&message.to);
        match self.voters.iter().position(|voter| voter.id == message.to) {
            Some(at) if !cut => self.act(at, |replica| replica.step(message)),
            _ => Ok(()),
        }
    }

    fn propose(&mut self, at: usize) -> Result<(), String> {
        let voter = &mut self.voters[at];
        let Some(replica) = &mut voter.replica else {
            return Ok(());
        };
        let (record, repeated) = self.client.record(&mut self.random, replica.state());
        let transaction = TransactionId::from_bytes(&record.transaction_id).map_err(|error| error.to_string())?;
        // A voter that knows no leader refuses.
        if replica.propose(record.encode_to_vec()).is_ok() {
            voter.waiting.insert(transaction);
            self.summary.repeated += u64::from(repeated);
        }
        self.act(at, |_| {})
    }

    /// Something happens at a voter; what follows from it is done and checked.
    fn act(&mut self, at: usize, event: impl FnOnce(&mut Replica<MemoryStore>)) -> Result<(), String> {
        let voter = &mut self.voters[at];
        let Some(replica) = &mut voter.replica else {
            return Ok(());
        };
        if !self.calm && self.random.random_bool(0.006) {
            Disk::stop_after(&voter.disk, self.random.random_range(0..6));
        }
        event(replica);
        let before = self.network.len();
        let id = voter.id;
        let processed = replica.process(&mut Outbox(&mut self.network));
        if Disk::has_stopped(&voter.disk) {
            // What it sent before is on its way.
            self.crash(at);
            return Ok(());
        }
        let applied = processed.map_err(|error| format!("voter {} fails: {error}", voter.id))?;
        let choice = [self.seed, voter.id, replica.term(), self.clock / 64].map(u64::to_le_bytes).concat();
        replica.set_election_timeout(ELECTION_TICKS + (xxh3_64(&choice) % ELECTION_TICKS as u64) as usize);
        let voted = |message: &Message| message.get_msg_type() == MessageType::MsgRequestVoteResponse && !message.reject;
        let voted = self.network[before..].iter().any(voted);
        let surplus = self.network.len().saturating_sub(NETWORK_MESSAGES_MAX);
        self.network.drain(..surplus.min(before));
        self.check(at, applied).map_err(|violation| format!("{violation} (seen at voter {id})"))?;
        // The moment at which it matters most that a vote is durable.
        if voted && !self.calm && self.random.random_bool(0.3) {
            self.crash(at);
            return self.start(at);
        }
        Ok(())
    }

    fn check(&mut self, at: usize, applied: Vec<AppliedEntry>) -> Result<(), String> {
        let voter = &mut self.voters[at];
        let Some(replica) = &voter.replica else {
            return Ok(());
        };
        if replica.is_leader() {
            let leader = *self.leaders.entry(replica.term()).or_insert(voter.id);
            if leader != voter.id {
                return Err(format!("voter {} leads term {} that voter {leader} leads", voter.id, replica.term()));
            }
        }
        for AppliedEntry { entry, transaction, result } in applied {
            if entry.index <= voter.applied {
                return Err(format!("voter {} applies {} after {}", voter.id, entry.index, voter.applied));
            }
            voter.applied = entry.index;
            let known = self.log.entry(entry.index).or_insert_with(|| entry.clone());
            if *known != entry {
                return Err(format!("entry {} was applied as two different ones", entry.index));
            }
            let answered = transaction.filter(|transaction| voter.waiting.remove(transaction));
            match (answered, result) {
                (Some(transaction), Ok(result)) => {
                    let first = *self.acknowledged.entry(transaction).or_insert(result.version);
                    if first != result.version {
                        return Err(format!("transaction {transaction} was applied at {first} and at {}", result.version));
                    }
                }
                (Some(_), Err(_)) => self.summary.refused += 1,
                (None, _) => {}
            }
        }
        if replica.applied_index() > voter.applied {
            // Empty entries of new terms are not reported; a jump is a snapshot from the leader.
            let jumped = (voter.applied + 1..=replica.applied_index()).any(|index| self.log.contains_key(&index));
            self.summary.installed_snapshots += u64::from(jumped);
            voter.applied = replica.applied_index();
        }
        let state = replica.state();
        let trace = [self.summary.trace, at as u64, replica.term(), replica.applied_index(), self.network.len() as u64];
        self.summary.trace = xxh3_64(&trace.map(u64::to_le_bytes).concat());
        if self.summary.trace.is_multiple_of(4) || !self.states.contains_key(&state.version()) {
            let hash = xxh3_64(&state.to_proto().encode_to_vec());
            let known = *self.states.entry(state.version()).or_insert(hash);
            if known != hash {
                return Err(format!("voter {} has another state at version {} than others", voter.id, state.version()));
            }
        }
        Ok(())
    }

    /// All faults end: the voters must come to agree, and whatever was acknowledged must be there.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.side.clear();
        self.calm = true;
        for at in 0..self.voters.len() {
            // Whatever was about to fail does so now.
            self.crash(at);
            self.start(at)?;
        }
        let last = Client::last_record();
        let transaction = TransactionId::from_bytes(&last.transaction_id).map_err(|error| error.to_string())?;
        for round in 0..SETTLE_ROUNDS_MAX {
            self.clock += 1;
            if round % 50 == 0 {
                let voter = &mut self.voters[round / 50 % VOTERS.len()];
                if voter.replica.as_mut().is_some_and(|replica| replica.propose(last.encode_to_vec()).is_ok()) {
                    voter.waiting.insert(transaction);
                }
            }
            for at in 0..self.voters.len() {
                self.act(at, |replica| replica.tick())?;
            }
            for message in std::mem::take(&mut self.network) {
                self.deliver(message)?;
            }
            if self.has_settled(transaction) {
                return self.check_acknowledged();
            }
        }
        Err(format!("no agreement {SETTLE_ROUNDS_MAX} rounds after the last fault"))
    }

    fn has_settled(&self, last: TransactionId) -> bool {
        let highest = self.log.keys().next_back().copied().unwrap_or_default();
        let quiet = self.network.iter().all(|message| message.get_msg_type() != MessageType::MsgAppend);
        let agree =
            self.voters.iter().all(|voter| voter.replica.as_ref().is_some_and(|replica| replica.applied_index() >= highest));
        quiet && agree && self.acknowledged.contains_key(&last)
    }

    fn check_acknowledged(&self) -> Result<(), String> {
        for replica in self.voters.iter().filter_map(|voter| voter.replica.as_ref()) {
            let stored = replica.state().to_proto().recent_transactions;
            let applied: BTreeMap<&[u8], u64> = stored.iter().map(|one| (&one.transaction_id[..], one.version)).collect();
            for (transaction, version) in &self.acknowledged {
                if applied.get(&transaction.to_vec()[..]) != Some(&version.0) {
                    return Err(format!("transaction {transaction}, acknowledged at version {version}, was lost"));
                }
            }
        }
        Ok(())
    }
}
