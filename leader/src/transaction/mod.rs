//! Transactions: what a statement reads, and where its changes go.
//!
//! A statement on its own reads the latest version and commits one record. In a block ([`Transaction`]) all statements read one base version
//! with the block's own changes applied to it ([`State::speculate`]: the same code that applies records), and the changes become one record
//! at COMMIT. Whether they still fit what others committed meanwhile is decided when that record is applied.

mod locks;
#[cfg(test)]
mod tests;

pub(crate) use locks::{LockMode, LockOwner, TableLocks};

use crate::cluster::{Cluster, OpenBlock, Pin, RunningInBlock, RunningLoad, record};
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::super_options::SuperOptions;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use slipher_common::assign::Zone;
use slipher_common::error::JOIN_OUT_OF_MEMORY;
use slipher_common::ids::{DatabaseId, TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Applied, State, TableState, identified, in_time};
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Changes that one block may gather; each load, each definition is one or two.
const OPERATIONS_MAX_COUNT: usize = 100_000;

/// Tables that a block read.
pub(crate) type Reads = Arc<Mutex<BTreeSet<TableId>>>;

/// Whether what a statement did is on its way to being committed: from then on it is not cancelled.
pub(crate) type Committing = Arc<watch::Sender<bool>>;

/// A block of statements that commit together.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Its files are not swept before the end of the block.
    load: RunningLoad,
    changes: Mutex<Changes>,
    /// Tables that were read; kept for SERIALIZABLE only.
    reads: Option<Reads>,
    _pin: Pin,
    /// What the background knows of it; a block that only reads has nothing to lose.
    open: Option<OpenBlock>,
}

#[derive(Debug)]
struct Changes {
    /// What others had committed when the block began.
    base: Arc<State>,
    /// With the changes of the block.
    state: Arc<State>,
    operations: Vec<Kind>,
}

impl Transaction {
    /// Begins a block on the latest version, in a database.
    pub(crate) fn begin(cluster: &Arc<Cluster>, database: DatabaseId, serializable: bool, read_only: bool) -> Self {
        // Before it looks at anything: from now on the background knows of it.
        let open = (!read_only).then(|| cluster.open_block());
        let (base, pin) = cluster.pin_latest();
        let base = base.in_database(database);
        let changes = Changes { state: Arc::clone(&base), base, operations: Vec::new() };
        Self {
            load: cluster.start_load(),
            changes: Mutex::new(changes),
            reads: serializable.then(Reads::default),
            _pin: pin,
            open,
        }
    }

    /// It changes rows of a table: the background leaves them where they are.
    fn note_changing(&self, table: TableId) {
        if let Some(open) = &self.open {
            open.note_changing(table);
        }
    }

    /// Where tables that are read are noted.
    pub(crate) fn reads(&self) -> Option<Reads> {
        self.reads.clone()
    }

    /// What the block sees, with the addresses that nodes have now.
    fn state(&self, cluster: &Cluster) -> Arc<State> {
        Arc::new(self.changes.lock().state.with_nodes_of(&cluster.meta().state()))
    }

    /// Applies changes for the block alone.
    fn apply(&self, kinds: Vec<Kind>) -> Result<Vec<String>> {
        let mut changes = self.changes.lock();
        if changes.operations.len() + kinds.len() > OPERATIONS_MAX_COUNT {
            let message = format!("the transaction block makes more than {OPERATIONS_MAX_COUNT} changes");
            return Err(Error::new(ErrorKind::ProgramLimit, message).with_hint("commit more often"));
        }
        let (state, applied) = changes.state.speculate(record(kinds.clone(), &changes.state))?;
        changes.state = Arc::new(state);
        kinds.iter().filter_map(table_of_changed_rows).for_each(|table| self.note_changing(table));
        changes.operations.extend(kinds);
        Ok(applied.notices)
    }

    /// Commits the block: all of it, or an error and nothing. Its locks are held until it is known which.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        locks: Arc<LockOwner>,
        committing: &Committing,
    ) -> Result<()> {
        let change = {
            let changes = self.changes.lock();
            if changes.operations.is_empty() {
                return Ok(());
            }
            let mut change = record(changes.operations.clone(), &changes.base);
            change.transaction_id = self.load.id().to_vec();
            change.read_table_ids = read_table_ids(self.reads.as_ref(), &changes.base);
            change
        };
        propose(cluster, change, committing, (Arc::clone(self), locks)).await.map(|_| ())
    }
}

/// The table whose rows an operation changes; adding rows changes none.
fn table_of_changed_rows(kind: &Kind) -> Option<TableId> {
    match kind {
        Kind::DeleteRows(delete) => Some(TableId(delete.table_id)),
        Kind::ReplaceSegments(replace) if !replace.remove.is_empty() => Some(TableId(replace.table_id)),
        _ => None,
    }
}

/// Of the tables that were read, those that others can have changed: a table that the block made itself is not among them.
fn read_table_ids(reads: Option<&Reads>, base: &State) -> Vec<u64> {
    let known =
        |reads: &Reads| reads.lock().iter().filter(|table| base.table_by_id(**table).is_some()).map(|table| table.0).collect();
    reads.map(known).unwrap_or_default()
}

/// Proposes a record in a task of its own. Whoever waits for it may go; what it needs stays until its outcome is known: the files of its
/// segments, and its locks.
async fn propose(
    cluster: &Arc<Cluster>,
    mut record: proto::Record,
    committing: &Committing,
    needed: impl Send + 'static,
) -> Result<Applied> {
    let transaction = identified(&mut record)?;
    let proposer = Arc::clone(cluster);
    committing.send_replace(true);
    let proposal = tokio::spawn(async move {
        let outcome = proposer.meta().propose_to_the_end(record).await;
        drop(needed);
        outcome
    });
    let known = async { proposal.await.unwrap_or_else(|error| Err(Error::internal(format!("committing a change: {error}")))) };
    let outcome = in_time(transaction, known).await;
    // What the statement does from now on can be cancelled again.
    committing.send_replace(false);
    outcome
}

/// What time it is for a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// When its block began; outside a block, when it did.
    pub(crate) transaction: DateTime<Utc>,
    /// When it began.
    pub(crate) statement: DateTime<Utc>,
}

impl Clock {
    /// For a statement that begins now, in a block that began at `block`.
    pub(crate) fn start(block: Option<DateTime<Utc>>) -> Self {
        let statement = Utc::now();
        Self { transaction: block.unwrap_or(statement), statement }
    }
}

/// The settings of a session, as functions of its statements reach them.
pub(crate) trait SessionSettings: fmt::Debug + Send + Sync {
    /// What SHOW tells of a setting; None for an unknown one.
    fn shown(&self, name: &str) -> Option<String>;
    /// Changes a setting; `local`: until the block ends.
    fn change(&self, name: &str, value: &str, local: bool) -> Result<()>;
}

/// What one statement works with.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Where it runs.
    pub(crate) cluster: Arc<Cluster>,
    /// Where names are looked up.
    pub(crate) database: DatabaseId,
    /// The schemas of unqualified names.
    pub(crate) search_path: Arc<Vec<String>>,
    /// The schema of the session's temporary tables.
    pub(crate) temp_schema: Option<Arc<str>>,
    /// Who runs it.
    pub(crate) user: String,
    /// The session that runs it.
    pub(crate) process_id: i32,
    /// The block it stands in.
    pub(crate) transaction: Option<Arc<Transaction>>,
    /// Where tables that are read are noted, if it is SERIALIZABLE.
    pub(crate) reads: Option<Reads>,
    /// What the statement has locked, or the block it stands in.
    pub(crate) locks: Option<Arc<LockOwner>>,
    /// Set when what it did is on its way to being committed.
    pub(crate) committing: Committing,
    /// What time it is.
    pub(crate) clock: Clock,
    /// It must not slow other statements down.
    pub(crate) background: bool,
    /// What its session leaves out of its plans.
    pub(crate) disabled_rules: DisabledRules,
    /// Its session's time zone; None: UTC.
    pub(crate) zone: Option<Arc<Zone>>,
    /// Its session's settings; None for work of the system's own.
    pub(crate) settings: Option<Arc<dyn SessionSettings>>,
    /// What it says of SUPER values.
    pub(crate) super_options: SuperOptions,
    /// Its joins sort both sides instead of holding one of them: set when one did not fit into memory.
    pub(crate) merge_joins: Arc<AtomicBool>,
}

/// A state that is read; its segments are not swept meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// The state.
    pub(crate) state: Arc<State>,
    _kept: Kept,
}

/// What keeps the segments.
#[derive(Clone, Debug)]
enum Kept {
    ByPin(#[expect(dead_code, reason = "lives as long as the reading")] Arc<Pin>),
    ByBlock(
        #[expect(dead_code, reason = "lives as long as the reading")] Arc<Transaction>,
        #[expect(dead_code, reason = "lives as long as the reading")] Option<Arc<RunningInBlock>>,
    ),
}

/// Keeps the files that a statement writes until it is decided what becomes of them.
#[derive(Debug)]
pub(crate) enum Load {
    /// Of a statement on its own.
    Statement(RunningLoad),
    /// Of a block.
    Block(Arc<Transaction>),
}

impl Load {
    /// Under this id the files are written and committed.
    pub(crate) fn id(&self) -> TransactionId {
        match self {
            Self::Statement(load) => load.id(),
            Self::Block(transaction) => transaction.load.id(),
        }
    }
}

impl Scope {
    /// Whether the statement may be tried again after `error` with joins that need less memory. From now on its joins do.
    pub(crate) fn saves_memory_after(&self, error: &Error) -> bool {
        error.kind == ErrorKind::OutOfMemory
            && error.message == JOIN_OUT_OF_MEMORY
            && !self.merge_joins.swap(true, Ordering::SeqCst)
    }

    /// What the statement reads; of a block, with its own changes.
    pub(crate) fn state(&self) -> Arc<State> {
        match &self.transaction {
            Some(transaction) => transaction.state(&self.cluster),
            None => self.cluster.meta().state().in_database(self.database),
        }
    }

    /// The same, with its segments kept as long as the answer lives.
    pub(crate) fn read(&self) -> Reading {
        match &self.transaction {
            Some(transaction) => {
                let running = transaction.open.as_ref().map(|open| Arc::new(open.run()));
                let kept = Kept::ByBlock(Arc::clone(transaction), running);
                Reading { state: transaction.state(&self.cluster), _kept: kept }
            }
            None => {
                let (state, pin) = self.cluster.pin_latest();
                Reading { state: state.in_database(self.database), _kept: Kept::ByPin(Arc::new(pin)) }
            }
        }
    }

    /// The version that last changed a table for everybody: in a block that has changed it itself, the one before; 0 for a table of its own.
    pub(crate) fn committed_version_of(&self, table: &TableState) -> u64 {
        match &self.transaction {
            None => table.changed_version.0,
            Some(transaction) => {
                let changes = transaction.changes.lock();
                changes.base.table_by_id(table.table.id).map_or(0, |table| table.changed_version.0)
            }
        }
    }

    /// A statement is about to look for rows of a table that it will change.
    pub(crate) fn note_changing(&self, table: TableId) {
        if let Some(transaction) = &self.transaction {
            transaction.note_changing(table);
        }
    }

    /// Begins to write.
    pub(crate) fn start_load(&self) -> Load {
        match &self.transaction {
            Some(transaction) => Load::Block(Arc::clone(transaction)),
            None => Load::Statement(self.cluster.start_load()),
        }
    }

    /// Makes changes that were worked out on `read`: at once, or with the block's commit. Answers messages for the client.
    pub(crate) async fn change(&self, kinds: Vec<Kind>, read: &State, load: Option<Load>) -> Result<Vec<String>> {
        let kinds = self.cluster.set_aside(kinds).await?;
        match (&self.transaction, load) {
            (Some(transaction), _) => transaction.apply(kinds),
            (None, load) => {
                let mut change = record(kinds, read);
                change.read_table_ids = read_table_ids(self.reads.as_ref(), read);
                if let Some(load) = &load {
                    change.transaction_id = load.id().to_vec();
                }
                let needed = (load, self.locks.clone());
                let applied = propose(&self.cluster, change, &self.committing, needed).await?;
                Ok(applied.notices)
            }
        }
    }

    /// Whether a statement that lost against another one may run again by itself: in a block it would read what it read before.
    pub(crate) fn can_run_again(&self) -> bool {
        self.transaction.is_none()
    }
}
