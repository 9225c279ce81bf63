//! What the statements of a session work with: its settings, its block, its cursors, and what all sessions share.

mod block;
mod cursors;
mod locks;
mod per_statement;
mod prepared;
mod running;
mod session_settings;
mod settings;
mod shared;

pub(crate) use block::{Block, failed_block};
pub(crate) use cursors::Cursors;
pub(crate) use locks::Requires;
pub(crate) use per_statement::PerStatement;
pub(crate) use prepared::PreparedStatements;
pub(crate) use running::Running;
pub(crate) use session_settings::OwnSettings;
pub(crate) use settings::READ_ONLY;
pub(crate) use shared::Shared;

use crate::catalog::{is_temp_schema, temp_schema_of};
use crate::frontend::Outcome;
use crate::run::{Attempt, KeptPlan};
use crate::transaction::{Clock, Committing, LockOwner, Reads, Scope, Transaction};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use slipher_common::ids::{DatabaseId, TransactionId};
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{DatabaseState, State};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

/// What the statements of one session work with.
pub(crate) struct Context {
    /// What all sessions share.
    pub(crate) shared: Arc<Shared>,
    /// Its database.
    pub(crate) database: DatabaseId,
    /// Another one whose names are read, by USE.
    used: Mutex<Option<DatabaseId>>,
    /// When it is renamed, which it is not while sessions are known to be in it, the session ends.
    pub(crate) database_name: String,
    /// Who is connected.
    pub(crate) user: String,
    /// Tells it from other sessions; clients see it as its process.
    pub(crate) process_id: i32,
    /// The schema of its temporary tables.
    pub(crate) temp_schema: Arc<str>,
    /// It may have some.
    pub(crate) has_temporary: AtomicBool,
    /// Its settings.
    pub(crate) settings: Arc<OwnSettings>,
    /// Where it is with respect to BEGIN and COMMIT.
    pub(crate) block: Arc<Mutex<Block>>,
    /// The block was begun by nobody's BEGIN: it ends with the text that its statements came in.
    pub(crate) is_implicit: AtomicBool,
    /// The cursors of the block.
    pub(crate) cursors: Arc<Cursors>,
    /// What PREPARE and its client's protocol have prepared.
    pub(crate) prepared: PreparedStatements,
    /// The plans of statements that run several times.
    pub(crate) kept_plans: PerStatement<Arc<KeptPlan>>,
    /// The statement that runs, or ran last.
    pub(crate) running: Mutex<Option<Running>>,
    /// What the statement that runs outside of a block has locked.
    statement_locks: Mutex<Option<Arc<LockOwner>>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Context {
    /// Of a session that begins.
    pub(crate) fn new(shared: Arc<Shared>, database: &DatabaseState, user: &str, process_id: i32) -> Self {
        let block = Arc::new(Mutex::new(Block::None));
        let settings = Arc::new(OwnSettings::new(Arc::clone(&shared), database.id, user, Arc::clone(&block)));
        Self {
            shared,
            database: database.id,
            used: Mutex::default(),
            database_name: database.name.clone(),
            process_id,
            temp_schema: Arc::from(temp_schema_of(process_id)),
            has_temporary: AtomicBool::new(false),
            user: user.to_owned(),
            settings,
            block,
            is_implicit: AtomicBool::new(false),
            cursors: Arc::default(),
            prepared: PreparedStatements::default(),
            kept_plans: PerStatement::default(),
            running: Mutex::new(None),
            statement_locks: Mutex::default(),
        }
    }

    /// USE: names are looked up in another database, or in the session's own again.
    pub(crate) fn use_database(&self, other: Option<DatabaseId>) {
        *self.used.lock() = other.filter(|other| *other != self.database);
    }

    /// Whether names are looked up in another database than the session's.
    pub(crate) fn uses_other_database(&self) -> bool {
        self.used.lock().is_some()
    }

    /// Where names are looked up.
    fn current_database(&self) -> DatabaseId {
        self.used.lock().unwrap_or(self.database)
    }

    /// Whether a schema is not another session's.
    pub(crate) fn sees(&self, schema: &str) -> bool {
        !is_temp_schema(schema) || schema == self.temp_schema.as_ref()
    }

    /// What drops its temporary tables; None when there are none.
    pub(crate) fn drop_temporary(&self, state: &State) -> Option<Kind> {
        let name = self.temp_schema.to_string();
        let there = state.schemas().contains_key(&name);
        let database_id = self.database.0;
        there.then_some(Kind::DropSchema(proto::DropSchema { name, cascade: true, if_exists: true, database_id }))
    }

    /// Ends the statement that runs now.
    pub(crate) fn cancel_statement(&self) {
        if let Some(running) = self.running.lock().as_ref() {
            running.token.cancel();
        }
    }

    /// What a statement works with: in a block, with what the block saw and did. 25P02 in a block that has failed.
    pub(crate) fn scope(&self) -> Result<Scope> {
        let (transaction, locks, started) = match &mut *self.block.lock() {
            Block::Open { transaction, serializable, read_only, locks, started } => {
                let begin =
                    || Arc::new(Transaction::begin(&self.shared.cluster, self.current_database(), *serializable, *read_only));
                let begun = transaction.get_or_insert_with(begin);
                (Some(Arc::clone(begun)), Some(Arc::clone(locks)), Some(*started))
            }
            Block::None => (None, self.statement_locks.lock().clone(), None),
            Block::Failed => return Err(failed_block()),
        };
        Ok(self.scope_of(transaction, locks, started))
    }

    /// The same for a look ahead: a block that has not begun does not begin by it.
    pub(crate) fn scope_without_begin(&self) -> Result<Scope> {
        let (transaction, started) = match &*self.block.lock() {
            Block::Open { transaction, started, .. } => (transaction.clone(), Some(*started)),
            Block::None => (None, None),
            Block::Failed => return Err(failed_block()),
        };
        Ok(self.scope_of(transaction, None, started))
    }

    fn scope_of(
        &self,
        transaction: Option<Arc<Transaction>>,
        locks: Option<Arc<LockOwner>>,
        block_started: Option<DateTime<Utc>>,
    ) -> Scope {
        let reads = match &transaction {
            Some(transaction) => transaction.reads(),
            None => self.is_serializable().then(Reads::default),
        };
        let settings = self.settings.lock();
        let known = Arc::clone(&self.settings);
        Scope {
            cluster: Arc::clone(&self.shared.cluster),
            database: self.current_database(),
            search_path: Arc::new(settings.search_path(&self.user)),
            temp_schema: Some(Arc::clone(&self.temp_schema)),
            user: self.user.clone(),
            process_id: self.process_id,
            transaction,
            reads,
            locks,
            committing: self.committing(),
            clock: Clock::start(block_started),
            background: false,
            disabled_rules: settings.disabled_rules(),
            settings: Some(known),
            zone: settings.zone(),
            super_options: settings.super_options(),
            merge_joins: Arc::default(),
        }
    }

    /// Set when what the running statement did is on its way to being committed.
    pub(crate) fn committing(&self) -> Committing {
        self.running.lock().as_ref().map(|running| Arc::clone(&running.committing)).unwrap_or_default()
    }

    /// The same as [`Self::attempt`] for a look ahead: a block that has not begun does not begin by it.
    pub(crate) fn look_ahead(&self) -> Result<Attempt> {
        self.shared.runner.attempt(&self.scope_without_begin()?, TransactionId(Uuid::nil()), false)
    }

    /// One version, layout and engine session for a statement that loads nothing.
    pub(crate) fn attempt(&self, collect_metrics: bool) -> Result<Attempt> {
        self.shared.runner.attempt(&self.scope()?, TransactionId(Uuid::nil()), collect_metrics)
    }

    /// 42501 for others than superusers.
    pub(crate) fn require_superuser(&self, what: &str) -> Result<()> {
        let state = self.scope()?.state();
        if state.users().get(&self.user).is_some_and(|user| user.superuser) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InsufficientPrivilege, format!("must be superuser to {what}")))
    }

    /// One record of changes that were worked out on what `attempt` reads.
    pub(crate) async fn define(&self, tag: &str, attempt: &Attempt, kinds: Vec<Kind>) -> Result<Outcome> {
        let notices = self.scope()?.change(kinds, &attempt.snapshot.state, None).await?;
        Ok(Outcome::done(tag, notices))
    }
}
