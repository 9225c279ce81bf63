//! The session behind every endpoint.

use super::cursors::Cursors;
use super::running::Running;
use super::settings::{CASE_SENSITIVE_IDENTIFIERS, ISOLATION, READ_ONLY, Settings};
use super::{CatalogListing, Description, DirectRun, Outcome, Progress, Session, Statement, TableKind, TableListing};
use super::{commands, direct, locking, views};
use crate::catalog::{is_temp_schema, temp_schema_of};
use crate::cluster::record;
use crate::engine::Shared;
use crate::load;
use crate::meta::{DatabaseState, State};
use crate::sql::{self, Parsed, TransactionModes};
use crate::telemetry::OpenSession;
use crate::transaction::{Clock, LockOwner, Reads, Scope, Transaction};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use slipher_common::ids::DatabaseId;
use slipher_common::plan::ResultTarget;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Reading a longer text takes so long that other sessions must not wait for it.
const LONG_TEXT_BYTES: usize = 64 * 1024;

/// Where a session is with respect to BEGIN and COMMIT.
#[derive(Clone, Debug)]
pub(super) enum Block {
    /// Each statement for itself.
    None,
    /// After BEGIN; the transaction begins with its first statement.
    Open {
        transaction: Option<Arc<Transaction>>,
        locks: Arc<LockOwner>,
        read_only: bool,
        serializable: bool,
        started: DateTime<Utc>,
    },
    /// After an error in a block: what it did is gone.
    Failed,
}

/// One client's session.
pub(crate) struct LeaderSession {
    pub(super) shared: Arc<Shared>,
    pub(super) database: DatabaseId,
    /// When it is renamed, which it is not while sessions are known to be in it, the session ends.
    pub(super) database_name: String,
    pub(super) user: String,
    /// Tells it from other sessions; clients see it as its process.
    pub(super) process_id: i32,
    /// The schema of its temporary tables.
    pub(super) temp_schema: Arc<str>,
    /// It may have some.
    pub(super) has_temporary: AtomicBool,
    pub(super) settings: Mutex<Settings>,
    /// What SET LOCAL replaced, for the end of the block.
    pub(super) local_settings: Mutex<Vec<(String, Option<String>)>>,
    /// The settings as they were before the block that is open.
    settings_before: Mutex<Option<Settings>>,
    pub(super) block: Arc<Mutex<Block>>,
    /// The block was begun by nobody's BEGIN: it ends with the text that its statements came in.
    pub(super) is_implicit: AtomicBool,
    pub(super) cursors: Arc<Cursors>,
    running: Mutex<Option<Running>>,
    /// What the statement that runs outside of a block has locked.
    pub(super) statement_locks: Mutex<Option<Arc<LockOwner>>>,
    /// Somebody ended the session.
    terminated: AtomicBool,
    /// Ends its connection.
    connection: Mutex<Option<CancellationToken>>,
    _counted: OpenSession,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl fmt::Debug for LeaderSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderSession").field("user", &self.user).finish_non_exhaustive()
    }
}

impl LeaderSession {
    /// A new session, known to all others.
    pub(crate) fn open(shared: Arc<Shared>, database: &DatabaseState, user: &str, application_name: &str) -> Arc<Self> {
        let mut settings = Settings::default();
        // The name is free text: setting it cannot fail.
        drop(settings.set("application_name", application_name));
        let counted = shared.telemetry.session();
        let sessions = Arc::clone(&shared.runner.sessions);
        let process_id = sessions.next_process_id();
        let session = Arc::new(Self {
            shared,
            database: database.id,
            database_name: database.name.clone(),
            process_id,
            temp_schema: Arc::from(temp_schema_of(process_id)),
            has_temporary: AtomicBool::new(false),
            user: user.to_owned(),
            settings: Mutex::new(settings),
            local_settings: Mutex::new(Vec::new()),
            settings_before: Mutex::default(),
            block: Arc::new(Mutex::new(Block::None)),
            is_implicit: AtomicBool::new(false),
            cursors: Arc::default(),
            running: Mutex::new(None),
            statement_locks: Mutex::default(),
            terminated: AtomicBool::new(false),
            connection: Mutex::default(),
            _counted: counted,
            one_at_a_time: tokio::sync::Mutex::new(()),
        });
        sessions.insert(&session);
        session
    }

    /// Ends the statement that runs now.
    pub(super) fn cancel_statement(&self) {
        if let Some(running) = self.running.lock().as_ref() {
            running.token.cancel();
        }
    }

    /// Ends the session: what runs, and its connection.
    pub(super) fn terminate(&self) {
        self.terminated.store(true, Ordering::SeqCst);
        // Its locks and what it did go at once, also where no connection notices.
        self.fail_block();
        self.cancel_statement();
        if let Some(connection) = self.connection.lock().as_ref() {
            connection.cancel();
        }
    }

    /// Whether a schema is not another session's.
    pub(super) fn sees(&self, schema: &str) -> bool {
        !is_temp_schema(schema) || schema == self.temp_schema.as_ref()
    }

    /// What drops its temporary tables; None when there are none.
    pub(super) fn drop_temporary(&self, state: &State) -> Option<Kind> {
        let name = self.temp_schema.to_string();
        let there = state.schemas().contains_key(&name);
        let database_id = self.database.0;
        there.then_some(Kind::DropSchema(proto::DropSchema { name, cascade: true, if_exists: true, database_id }))
    }

    fn start_statement(&self) -> (Running, Option<DropGuard>) {
        let (running, timer) = Running::start(self.settings.lock().statement_timeout_ms());
        *self.running.lock() = Some(running.clone());
        // Whoever ended the session may have looked for a statement before.
        if self.terminated.load(Ordering::SeqCst) {
            running.token.cancel();
        }
        (running, timer)
    }

    /// Errors of a failed block, before anything runs in it.
    fn check_block(&self, parsed: &Parsed) -> Result<()> {
        match parsed {
            Parsed::Commit | Parsed::Rollback if !self.terminated.load(Ordering::SeqCst) => Ok(()),
            _ => self.check_open(parsed.change().unwrap_or_default()),
        }
    }

    /// Whether something can run; `change` is what it changes data or definitions with, empty for nothing.
    fn check_open(&self, change: &str) -> Result<()> {
        if self.terminated.load(Ordering::SeqCst) {
            return Err(super::terminated());
        }
        let state = self.shared.cluster.meta().state();
        if state.databases().get(&self.database).is_none_or(|database| database.name != self.database_name) {
            let message = format!("database \"{}\" was dropped or renamed", self.database_name);
            return Err(Error::new(ErrorKind::UndefinedDatabase, message).with_hint("connect again"));
        }
        let read_only = match &*self.block.lock() {
            Block::Open { read_only, .. } => *read_only,
            Block::None => self.settings.lock().is_on(READ_ONLY),
            Block::Failed => return Err(failed_block()),
        };
        match read_only && !change.is_empty() {
            true => {
                let message = format!("cannot execute {change} in a read-only transaction");
                Err(Error::new(ErrorKind::ReadOnlyTransaction, message))
            }
            false => Ok(()),
        }
    }

    fn fail_block(&self) {
        let mut block = self.block.lock();
        if matches!(*block, Block::Open { .. }) {
            *block = Block::Failed;
            self.cursors.clear();
        }
    }

    /// Whether transactions are SERIALIZABLE that do not say what they are: by the session's setting, or the database's.
    pub(super) fn is_serializable(&self) -> bool {
        let set = self.settings.lock().changed(ISOLATION).map(|level| level.eq_ignore_ascii_case("serializable"));
        let state = self.shared.cluster.meta().state();
        set.unwrap_or_else(|| state.databases().get(&self.database).is_some_and(|database| database.serializable))
    }

    /// A block that has not begun to read or write. Settings are kept, for when it is rolled back.
    pub(super) fn new_block(&self, modes: TransactionModes) -> Block {
        let serializable = modes.serializable.unwrap_or_else(|| self.is_serializable());
        let read_only = modes.read_only.unwrap_or_else(|| self.settings.lock().is_on(READ_ONLY));
        *self.settings_before.lock() = Some(self.settings.lock().clone());
        let (locks, started) = (Arc::new(self.shared.locks.owner()), Utc::now());
        Block::Open { transaction: None, locks, read_only, serializable, started }
    }

    /// Whether a block is open.
    pub(super) fn is_in_block(&self) -> bool {
        matches!(*self.block.lock(), Block::Open { .. })
    }

    /// What a statement works with: in a block, with what the block saw and did. 25P02 in a block that has failed.
    pub(super) fn scope(&self) -> Result<Scope> {
        let (transaction, locks, started) = match &mut *self.block.lock() {
            Block::Open { transaction, serializable, read_only, locks, started } => {
                let begin = || Arc::new(Transaction::begin(&self.shared.cluster, self.database, *serializable, *read_only));
                let begun = transaction.get_or_insert_with(begin);
                (Some(Arc::clone(begun)), Some(Arc::clone(locks)), Some(*started))
            }
            Block::None => (None, self.statement_locks.lock().clone(), None),
            Block::Failed => return Err(failed_block()),
        };
        Ok(self.scope_of(transaction, locks, started))
    }

    /// The same for a look ahead: a block that has not begun does not begin by it.
    pub(super) fn scope_without_begin(&self) -> Result<Scope> {
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
        Scope {
            shared: Arc::clone(&self.shared),
            database: self.database,
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
            merge_joins: Arc::default(),
        }
    }

    /// Set when what the running statement did is on its way to being committed.
    pub(super) fn committing(&self) -> Arc<AtomicBool> {
        self.running.lock().as_ref().map(|running| Arc::clone(&running.committing)).unwrap_or_default()
    }

    /// The block that ended did nothing: its settings neither.
    pub(super) fn undo_settings(&self) {
        if let Some(before) = self.settings_before.lock().take() {
            *self.settings.lock() = before;
        }
    }

    /// Takes the block that ends, and all that ends with it.
    pub(super) fn end_block(&self) -> Block {
        self.is_implicit.store(false, Ordering::SeqCst);
        self.end_local_settings();
        self.cursors.clear();
        std::mem::replace(&mut *self.block.lock(), Block::None)
    }

    /// Undoes SET LOCAL.
    fn end_local_settings(&self) {
        let mut settings = self.settings.lock();
        for (name, before) in self.local_settings.lock().drain(..) {
            let undone = match before {
                Some(value) => settings.set(&name, &value),
                None => settings.reset(Some(&name)),
            };
            if let Err(error) = undone {
                tracing::warn!(%error, setting = name, "a setting of before the transaction does not come back");
            }
        }
    }
}

impl Drop for LeaderSession {
    /// Its temporary tables go. Those that stay because the leader ends go when it starts again.
    fn drop(&mut self) {
        self.shared.runner.sessions.remove(self.process_id);
        if !self.has_temporary.load(Ordering::SeqCst) {
            return;
        }
        // The record that makes them may still be on its way: this one comes behind it.
        let state = self.shared.cluster.meta().state();
        // They went with their database.
        if !state.databases().contains_key(&self.database) {
            return;
        }
        let (name, database_id) = (self.temp_schema.to_string(), self.database.0);
        let drop = Kind::DropSchema(proto::DropSchema { name, cascade: true, if_exists: true, database_id });
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, schema) = (Arc::clone(&self.shared), Arc::clone(&self.temp_schema));
        runtime.spawn(async move {
            let dropped = shared.cluster.meta().propose(record(vec![drop], &state)).await;
            let gone = !shared.cluster.meta().state().databases().contains_key(&DatabaseId(database_id));
            if let Err(error) = dropped.map(|_| ()).or_else(|error| if gone { Ok(()) } else { Err(error) }) {
                tracing::warn!(%error, %schema, "temporary tables of a session stay until the leader starts again");
            }
        });
    }
}

/// Whether this thread can leave what it serves to another one while it works.
fn can_hand_over() -> bool {
    let runtime = tokio::runtime::Handle::try_current();
    runtime.is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
}

fn failed_block() -> Error {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    Error::new(ErrorKind::FailedTransaction, message)
}

/// What a statement counts as.
fn kind(parsed: &Parsed) -> &'static str {
    match parsed {
        Parsed::Query(_) | Parsed::Explain { .. } => "query",
        Parsed::Insert(_) | Parsed::Change(_) | Parsed::Merge(_) | Parsed::Copy(_) | Parsed::CreateTableAs { .. } => "load",
        other if other.change().is_some() => "definition",
        _ => "session",
    }
}

/// The block in which rows are read: it has failed when they have.
struct BlockOfRows {
    block: Arc<Mutex<Block>>,
    cursors: Arc<Cursors>,
    transaction: Option<Arc<Transaction>>,
    running: Running,
    /// The time limit counts until the last row.
    _timer: Option<DropGuard>,
}

impl BlockOfRows {
    fn new(session: &LeaderSession, running: Running, timer: Option<DropGuard>) -> Self {
        let block = Arc::clone(&session.block);
        let transaction = match &*block.lock() {
            Block::Open { transaction, .. } => transaction.clone(),
            Block::None | Block::Failed => None,
        };
        Self { block, cursors: Arc::clone(&session.cursors), transaction, running, _timer: timer }
    }

    /// The rows, while the block lives by them.
    fn watch(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let told = rows.map(move |batch| {
            batch.map_err(|error| {
                self.fail();
                self.running.why(error.into()).into()
            })
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, told))
    }

    fn fail(&self) {
        let mut block = self.block.lock();
        let same = match (&*block, &self.transaction) {
            (Block::Open { transaction: Some(open), .. }, Some(mine)) => Arc::ptr_eq(open, mine),
            _ => false,
        };
        if same {
            *block = Block::Failed;
            self.cursors.clear();
        }
    }
}

#[async_trait]
impl Session for LeaderSession {
    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let case_sensitive = self.settings.lock().is_on(CASE_SENSITIVE_IDENTIFIERS);
        let text = if case_sensitive { Cow::Borrowed(sql) } else { sql::names::fold_quoted(sql) };
        let parsed = match text.len() > LONG_TEXT_BYTES && can_hand_over() {
            true => tokio::task::block_in_place(|| sql::parse::parse(&text)),
            false => sql::parse::parse(&text),
        };
        parsed.inspect_err(|_| self.fail_block())
    }

    async fn describe(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description> {
        // A portal that waits for its client to ask for more rows keeps being the statement that a cancel means.
        let before = self.running.lock().clone();
        let (running, _timer) = self.start_statement();
        let description = self.shared.cluster.with_first_nodes(|| self.description(statement, declared));
        let described = running.work(description).await;
        let mut current = self.running.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.query, &running.query)) {
            *current = before;
        }
        drop(current);
        described.map_err(|error| {
            self.fail_block();
            sql::position::locate(&statement.text, error)
        })
    }

    async fn execute(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        let _turn = self.one_at_a_time.lock().await;
        self.check_block(&statement.parsed)?;
        let counted = self.shared.telemetry.statement(kind(&statement.parsed));
        let (running, timer) = self.start_statement();
        let query = Arc::clone(&running.query);
        let work = counted.around(query, commands::run(self, &statement.parsed, parameters, &running.token));
        match running.work(work).await {
            Ok(Outcome::Rows { schema, stream, tag }) => {
                let stream = BlockOfRows::new(self, running, timer).watch(counted.end_with(stream));
                Ok(Outcome::Rows { schema, stream, tag })
            }
            Ok(done) => {
                counted.end(None);
                Ok(done)
            }
            Err(error) => {
                counted.end(Some(&error));
                self.fail_block();
                Err(sql::position::locate(&statement.text, error))
            }
        }
    }

    async fn execute_direct(
        &self,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
        target: ResultTarget,
    ) -> Result<Option<DirectRun>> {
        let _turn = self.one_at_a_time.lock().await;
        self.check_block(&statement.parsed)?;
        let counted = self.shared.telemetry.statement(kind(&statement.parsed));
        let (running, timer) = self.start_statement();
        let query = Arc::clone(&running.query);
        let start = || direct::start(self, &statement.parsed, parameters.clone(), target.clone(), &running.token);
        let work = counted.around(query, self.shared.cluster.with_first_nodes(start));
        match running.work(work).await {
            Ok(Some(DirectRun { parts, progress })) => {
                let progress = counted.end_with_progress(progress);
                let progress = BlockOfRows::new(self, running, timer).watch(progress);
                Ok(Some(DirectRun { parts, progress }))
            }
            // It runs, and counts, when its rows are asked for.
            Ok(None) => {
                counted.forget();
                Ok(None)
            }
            Err(error) => {
                counted.end(Some(&error));
                self.fail_block();
                Err(sql::position::locate(&statement.text, error))
            }
        }
    }

    fn fail(&self) {
        self.fail_block();
    }

    fn begin_implicit(&self, next: &Statement) {
        let controls = matches!(*next.parsed, Parsed::Begin { .. } | Parsed::Commit | Parsed::Rollback);
        let mut block = self.block.lock();
        if !controls && matches!(*block, Block::None) {
            *block = self.new_block(TransactionModes::default());
            self.is_implicit.store(true, Ordering::SeqCst);
        }
    }

    async fn end_implicit(&self) -> Result<()> {
        let _turn = self.one_at_a_time.lock().await;
        match self.is_implicit.load(Ordering::SeqCst) {
            true => commands::commit(self).await.map(|_| ()),
            false => Ok(()),
        }
    }

    async fn ingest(&self, schema: Option<&str>, table: &str, rows: SendableRecordBatchStream) -> Result<u64> {
        let _turn = self.one_at_a_time.lock().await;
        self.check_open("INSERT")?;
        let counted = self.shared.telemetry.statement("load");
        let (running, _timer) = self.start_statement();
        let work = async {
            let _locked = locking::lock_named(self, &[(schema, table)], true).await?;
            load::ingest(&self.scope()?, schema, table, rows).await
        };
        let result = running.work(counted.around(Arc::clone(&running.query), work)).await;
        if result.is_err() {
            self.fail_block();
        }
        counted.end(result.as_ref().err());
        result
    }

    async fn catalog(&self) -> Result<CatalogListing> {
        let state = self.scope_without_begin()?.state();
        let here = |database: DatabaseId, schema: &str| database == self.database && self.sees(schema);
        let tables = state.tables().values().filter(|known| here(known.table.database, &known.table.schema));
        let tables = tables.map(|known| TableListing {
            schema: known.table.schema.clone(),
            name: known.table.name.clone(),
            kind: TableKind::Table,
            columns: known.table.arrow_schema(),
            table: Some(Arc::clone(&known.table)),
        });
        let mut tables: Vec<TableListing> = tables.collect();
        for known in state.views().values().filter(|known| here(known.view.database, &known.view.schema)) {
            tables.push(TableListing {
                schema: known.view.schema.clone(),
                name: known.view.name.clone(),
                kind: TableKind::View,
                columns: views::columns(self, &known.view).await,
                table: None,
            });
        }
        let schemas = state.schemas().keys().filter(|schema| self.sees(schema)).cloned().collect();
        let databases = state.databases().values().map(|database| database.name.clone()).collect();
        Ok(CatalogListing { database: self.database_name.clone(), databases, schemas, tables })
    }

    fn cancel(&self) {
        self.cancel_statement();
    }

    fn process_id(&self) -> i32 {
        self.process_id
    }

    fn end_with(&self, connection: CancellationToken) {
        if self.terminated.load(Ordering::SeqCst) {
            connection.cancel();
        }
        *self.connection.lock() = Some(connection);
    }

    async fn progress(&self) -> Option<Progress> {
        let (query, elapsed) = {
            let running = self.running.lock();
            let running = running.as_ref()?;
            (running.query.lock().clone()?, running.started.elapsed())
        };
        let sum = self.shared.cluster.query_progress(&query).await;
        Some(Progress {
            elapsed_ms: elapsed.as_millis() as u64,
            tasks_started: sum.tasks_started,
            tasks_ended: sum.tasks_ended,
            scanned_rows: sum.scanned_rows,
            scanned_bytes: sum.scanned_bytes,
        })
    }

    fn setting(&self, name: &str) -> Option<String> {
        match name {
            "session_authorization" => return Some(self.user.clone()),
            "is_superuser" => {
                let state = self.shared.cluster.meta().state();
                let superuser = state.users().get(&self.user).is_some_and(|user| user.superuser);
                return Some(if superuser { "on" } else { "off" }.to_owned());
            }
            _ => {}
        }
        self.settings.lock().get(name)
    }

    fn set_setting(&self, name: &str, value: &str) -> Result<()> {
        self.settings.lock().set(name, value)
    }

    fn idle_limit(&self) -> Option<(Duration, Error)> {
        let in_transaction = self.transaction_status() != b'I';
        let limit = Duration::from_millis(self.settings.lock().idle_timeout_ms(in_transaction)?);
        let (kind, what) = match in_transaction {
            true => (ErrorKind::IdleTransactionTimeout, "idle-in-transaction timeout"),
            false => (ErrorKind::IdleSessionTimeout, "idle-session timeout"),
        };
        Some((limit, Error::new(kind, format!("terminating connection due to {what}"))))
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn database(&self) -> &str {
        &self.database_name
    }

    fn transaction_status(&self) -> u8 {
        match *self.block.lock() {
            Block::None => b'I',
            Block::Open { .. } => b'T',
            Block::Failed => b'E',
        }
    }
}
