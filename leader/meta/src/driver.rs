//! The task that owns a replica in a leader process, and [`Meta`], the handle that the rest of the leader has of it.

use super::replica::{AppliedEntry, Compaction, Replica, Transport};
use super::sled_store::{SledStore, name_damage};
use super::state::State;
use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use slipher_common::fail_point;
use slipher_common::ids::{TableId, TransactionId, Version};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// raft's clock.
const TICK_MILLISECONDS: u64 = 100;
/// Proposals in the queue; the next ones wait in `propose`.
const QUEUED_PROPOSALS_MAX: usize = 256;
/// Proposals that were made and are not applied; no more are taken from the queue.
const INFLIGHT_PROPOSALS_MAX: usize = 1024;
/// Proposals that share one flush.
const BATCH_PROPOSALS_MAX: usize = 64;
/// After so long a proposal is answered with "outcome unknown".
const PROPOSE_TIMEOUT_SECONDS: u64 = 30;
/// How long opening waits for a process that ends to let go of the directory.
const LOCK_WAIT_MILLISECONDS: u64 = 3_000;
/// Between two looks at the lock.
const LOCK_RETRY_MILLISECONDS: u64 = 20;
/// How long opening may take to read the log and to lead the group.
const OPEN_TIMEOUT_SECONDS: u64 = 120;
/// Entries in memory that bring on a snapshot.
const LOG_MAX_BYTES: usize = 64 * 1024 * 1024;
/// The only voter, for now.
const REPLICA_ID: u64 = 1;
/// After an error of the disk, how often it is tried again.
const REOPEN_MILLISECONDS: u64 = 2_000;

/// How the metadata service works.
#[derive(Clone, Debug)]
pub struct MetaOptions {
    /// Applied records after which a snapshot replaces the log.
    pub snapshot_after_records: u64,
    /// Records of a snapshot that stay in memory for other leaders that are a little behind.
    pub kept_records: u64,
}

impl Default for MetaOptions {
    fn default() -> Self {
        Self { snapshot_after_records: 10_000, kept_records: 1_000 }
    }
}

/// What came of a proposal.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The version that it made.
    pub version: Version,
    /// A state in which it is applied.
    pub state: Arc<State>,
    /// The last table that it created.
    pub created_table: Option<TableId>,
    /// Messages for the client.
    pub notices: Vec<String>,
}

/// The metadata service of a leader. A clone is another handle to the same.
#[derive(Clone)]
pub struct Meta {
    commands: mpsc::Sender<Command>,
    published: Arc<Published>,
    ended: watch::Receiver<bool>,
}

/// What the owning task shows.
struct Published {
    state: RwLock<Arc<State>>,
    versions: watch::Sender<Version>,
    /// The term in which it leads its group.
    term: AtomicU64,
    /// How often the directory was opened.
    boot: AtomicU64,
    /// Why the task ended.
    stopped: Mutex<Option<Error>>,
    /// It ended without answering somebody.
    left_unanswered: AtomicBool,
}

enum Command {
    Propose { transaction: TransactionId, record: Vec<u8>, answer: Answer },
    Shutdown,
}

type Answer = oneshot::Sender<Result<Applied>>;

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta").field("version", &self.state().version()).finish_non_exhaustive()
    }
}

impl Meta {
    /// Opens the metadata in `directory`, recovers what was committed, and returns when it can take proposals.
    pub async fn open(directory: &Path, options: MetaOptions) -> Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUED_PROPOSALS_MAX);
        let (ended_sender, ended) = watch::channel(false);
        let (opened_sender, opened) = oneshot::channel();
        let published = Arc::new(Published {
            state: RwLock::default(),
            versions: watch::channel(Version(0)).0,
            term: AtomicU64::new(0),
            boot: AtomicU64::new(0),
            stopped: Mutex::new(None),
            left_unanswered: AtomicBool::new(false),
        });
        let owner = Owner { published: Arc::clone(&published), queue, directory: directory.to_owned(), options, ends: false };
        // A thread of its own, because a flush blocks.
        let spawned = std::thread::Builder::new().name("slipher-meta".to_owned()).spawn(move || {
            owner.run(opened_sender);
            // Dropped also when `run` panics; by then the directory is free.
            drop(ended_sender);
        });
        spawned.map_err(|error| Error::io("starting the metadata thread", &error))?;
        match tokio::time::timeout(Duration::from_secs(OPEN_TIMEOUT_SECONDS), opened).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => return Err(damaged_beyond_reading(directory)),
            Err(_) => {
                let message =
                    format!("opening the metadata in \"{}\": no answer for {OPEN_TIMEOUT_SECONDS} s", directory.display());
                return Err(Error::new(ErrorKind::CannotConnectNow, message));
            }
        }
        Ok(Self { commands, published, ended })
    }

    /// The state after the last applied record.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.published.state.read())
    }

    /// The term in which this leader leads.
    pub fn term(&self) -> u64 {
        self.published.term.load(Ordering::SeqCst)
    }

    /// How often the directory was opened, this time included: two processes that opened copies of it have not both the highest number.
    pub fn boot(&self) -> u64 {
        self.published.boot.load(Ordering::SeqCst)
    }

    /// Tells each new version.
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.published.versions.subscribe()
    }

    /// Commits a record and returns when it is applied and durable. An empty transaction id is drawn, a missing time taken
    /// from the clock. A record with the id of one that was applied before is answered as that one was.
    ///
    /// A caller that stops waiting does not take the proposal back.
    pub async fn propose(&self, mut record: proto::Record) -> Result<Applied> {
        let transaction = identified(&mut record)?;
        in_time(transaction, self.propose_to_the_end(record)).await
    }

    /// The same for a caller that waits as long as it takes.
    pub async fn propose_to_the_end(&self, mut record: proto::Record) -> Result<Applied> {
        fail_point::pass("commit.propose")?;
        let transaction = identified(&mut record)?;
        if record.proposed_at_us == 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            record.proposed_at_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        }
        let (answer, answered) = oneshot::channel();
        let command = Command::Propose { transaction, record: record.encode_to_vec(), answer };
        self.commands.send(command).await.map_err(|_| self.stopped())?;
        answered.await.unwrap_or_else(|_| {
            self.published.left_unanswered.store(true, Ordering::SeqCst);
            Err(self.stopped())
        })
    }

    /// Ends the service: flushes, and returns when the directory is free.
    pub async fn shutdown(&self) {
        // An error means that it has ended, or is about to.
        let _ = self.commands.send(Command::Shutdown).await;
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Whether there may be records that are durable and not applied: they show when the log is opened again. Whoever was told that a
    /// proposal has failed may have been told so after this began to be true.
    pub fn is_stopped(&self) -> bool {
        self.published.stopped.lock().is_some() || self.published.left_unanswered.load(Ordering::SeqCst)
    }

    fn stopped(&self) -> Error {
        let reason = self.published.stopped.lock().clone();
        reason.unwrap_or_else(|| Error::new(ErrorKind::AdminShutdown, "committing a change: the metadata service has ended"))
    }
}

/// The transaction of a record; one without an id gets one.
pub fn identified(record: &mut proto::Record) -> Result<TransactionId> {
    if record.transaction_id.is_empty() {
        record.transaction_id = TransactionId(uuid::Uuid::now_v7()).to_vec();
    }
    TransactionId::from_bytes(&record.transaction_id)
}

/// Waits for what becomes of a proposal, but not for ever.
pub async fn in_time(transaction: TransactionId, outcome: impl Future<Output = Result<Applied>>) -> Result<Applied> {
    let limit = Duration::from_secs(PROPOSE_TIMEOUT_SECONDS);
    tokio::time::timeout(limit, outcome).await.unwrap_or_else(|_| {
        let message = format!("committing a change: no answer for {PROPOSE_TIMEOUT_SECONDS} s");
        let detail = format!("transaction {transaction} may be committed still");
        Err(Error::new(ErrorKind::OutcomeUnknown, message).with_detail(detail))
    })
}

/// The thread ended with a panic.
fn damaged_beyond_reading(directory: &Path) -> Error {
    let error = Error::new(ErrorKind::DataCorrupted, "it is damaged");
    name_damage(directory, error.with_detail("reading it gave up; the message is in the log"))
}

/// For a group of one voter: there is nobody to send to.
struct NoPeers;

impl Transport for NoPeers {
    fn send(&mut self, message: raft::eraftpb::Message) {
        tracing::error!(to = message.to, "metadata message to a voter that is not there");
    }
}

/// The owning task.
struct Owner {
    published: Arc<Published>,
    queue: mpsc::Receiver<Command>,
    directory: PathBuf,
    options: MetaOptions,
    /// Somebody asked for its end.
    ends: bool,
}

impl Owner {
    fn run(mut self, opened: oneshot::Sender<Result<()>>) {
        let replica = match self.open_replica() {
            Ok(replica) => replica,
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = opened.send(Err(Error::io("starting the metadata task", &error)));
                return;
            }
        };
        if opened.send(Ok(())).is_err() {
            return;
        }
        let mut replica = replica;
        while let Err(error) = runtime.block_on(self.serve(replica)) {
            tracing::error!(%error, "the metadata service stops");
            let stopped = Error::new(error.kind, format!("the metadata service has stopped: {error}"));
            let passes = matches!(error.kind, ErrorKind::DiskFull | ErrorKind::Io);
            let hint = if passes {
                "make room on the leader's disk: it tries again by itself"
            } else {
                "restart the leader when the cause is gone"
            };
            *self.published.stopped.lock() = Some(stopped.with_hint(hint));
            if !passes || self.ends {
                return;
            }
            match runtime.block_on(self.recover()) {
                Some(recovered) => replica = recovered,
                None => return,
            }
            *self.published.stopped.lock() = None;
        }
    }

    /// Opens the log again as soon as that can be done; until then nothing can be committed. None when the service ends.
    async fn recover(&mut self) -> Option<Replica<SledStore>> {
        let mut retries = tokio::time::interval(Duration::from_millis(REOPEN_MILLISECONDS));
        retries.tick().await;
        loop {
            tokio::select! {
                command = self.queue.recv() => match command {
                    Some(Command::Propose { answer, .. }) => {
                        let reason = self.published.stopped.lock().clone();
                        let reason = reason.unwrap_or_else(|| Error::internal("the metadata service has stopped"));
                        drop(answer.send(Err(reason)));
                    }
                    Some(Command::Shutdown) | None => return None,
                },
                _ = retries.tick() => match self.open_replica() {
                    Ok(replica) => return Some(replica),
                    Err(error) => tracing::warn!(%error, "the metadata service cannot go on yet"),
                },
            }
        }
    }

    fn open_replica(&self) -> Result<Replica<SledStore>> {
        let replica = open_replica(&self.directory, Some(&self.options))?;
        self.publish(&replica);
        tracing::info!(version = replica.state().version().0, applied = replica.applied_index(), "metadata recovered");
        Ok(replica)
    }

    fn publish(&self, replica: &Replica<SledStore>) {
        let state = Arc::clone(replica.state());
        let version = state.version();
        self.published.term.store(replica.term(), Ordering::SeqCst);
        self.published.boot.store(replica.boot(), Ordering::SeqCst);
        *self.published.state.write() = state;
        self.published.versions.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    async fn serve(&mut self, mut replica: Replica<SledStore>) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MILLISECONDS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waiting = Waiting::default();
        let mut batch = Vec::with_capacity(BATCH_PROPOSALS_MAX);
        loop {
            tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH_PROPOSALS_MAX), if waiting.len() < INFLIGHT_PROPOSALS_MAX => {
                    if received == 0 {
                        return Ok(());
                    }
                }
                _ = ticks.tick() => replica.tick(),
            }
            for command in batch.drain(..) {
                match command {
                    Command::Propose { transaction, record, answer } => match replica.propose(record) {
                        Ok(()) => waiting.add(transaction, answer),
                        Err(error) => drop(answer.send(Err(error))),
                    },
                    Command::Shutdown => self.ends = true,
                }
            }
            // All proposals of the batch are one append and one flush.
            match replica.process(&mut NoPeers) {
                Ok(applied) => {
                    self.publish(&replica);
                    fail_point::pass("commit.answer")?;
                    waiting.answer(applied, replica.state());
                }
                Err(error) => {
                    // Before anybody hears of it: what they wrote must stay as long as it may turn out to be committed.
                    *self.published.stopped.lock() = Some(error.clone());
                    waiting.fail(&error);
                    return Err(error);
                }
            }
            if self.ends {
                return Ok(());
            }
        }
    }
}

/// Recovers the replica and makes it lead its group. Without options it takes no snapshots.
pub(super) fn open_replica(directory: &Path, options: Option<&MetaOptions>) -> Result<Replica<SledStore>> {
    let store = open_store(directory)?;
    let compaction = Compaction {
        after_entries: options.map_or(u64::MAX, |options| options.snapshot_after_records.max(1)),
        after_bytes: options.map_or(usize::MAX, |_| LOG_MAX_BYTES),
        kept_entries: options.map_or(0, |options| options.kept_records),
        in_background: true,
    };
    let replica = Replica::open(REPLICA_ID, &[REPLICA_ID], store, compaction);
    let mut replica = replica.map_err(|error| name_damage(directory, error))?;
    // Nobody else is there to elect: no need to wait for a timeout.
    replica.campaign()?;
    replica.process(&mut NoPeers)?;
    if !replica.is_ready_leader() {
        let message = format!("opening the metadata in \"{}\": the only voter does not lead its group", directory.display());
        return Err(Error::internal(message));
    }
    Ok(replica)
}

fn open_store(directory: &Path) -> Result<SledStore> {
    let deadline = Instant::now() + Duration::from_millis(LOCK_WAIT_MILLISECONDS);
    loop {
        match SledStore::open(directory) {
            // A process that ends, or a handle that is being dropped, needs a moment.
            Err(error) if error.kind == ErrorKind::CannotConnectNow && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(LOCK_RETRY_MILLISECONDS));
            }
            result => return result,
        }
    }
}

/// Who waits for which transaction.
#[derive(Default)]
struct Waiting {
    answers: HashMap<TransactionId, Vec<Answer>>,
    count: usize,
}

impl Waiting {
    fn len(&self) -> usize {
        self.count
    }

    fn add(&mut self, transaction: TransactionId, answer: Answer) {
        self.answers.entry(transaction).or_default().push(answer);
        self.count += 1;
    }

    fn answer(&mut self, applied: Vec<AppliedEntry>, state: &Arc<State>) {
        for entry in applied {
            let answers = entry.transaction.and_then(|transaction| self.answers.remove(&transaction)).unwrap_or_default();
            self.count -= answers.len();
            for answer in answers {
                let result = entry.result.clone().map(|applied| Applied {
                    version: applied.version,
                    state: Arc::clone(state),
                    created_table: applied.created_table,
                    notices: applied.notices,
                });
                // The client may have gone.
                let _ = answer.send(result);
            }
        }
    }

    /// What was proposed may be durable or not: the outcome shows after a restart.
    fn fail(&mut self, error: &Error) {
        for (transaction, answers) in self.answers.drain() {
            for answer in answers {
                let failed = Error::new(error.kind, format!("committing a change: {error}"));
                let _ = answer.send(Err(failed.with_detail(format!("transaction {transaction} may be committed still"))));
            }
        }
        self.count = 0;
    }
}

#[cfg(test)]
mod tests;
