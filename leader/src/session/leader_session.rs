//! The session behind every endpoint.

use super::block_rows::BlockOfRows;
use super::descriptions::{Descriptions, Seen};
use super::listing::listing;
use super::registry::{Registered, Sessions};
use super::uppercase;
use crate::cluster::record;
use crate::context::{Block, Context, READ_ONLY, Running, Shared, failed_block};
use crate::frontend::{
    CatalogListing, Description, DirectRun, Outcome, PreparedStatement, Progress, Session, Statement, terminated,
};
use crate::load;
use crate::run::until_memory_is_free;
use crate::statement::{self, Effect};
use crate::telemetry::OpenSession;
use crate::transaction::SessionSettings;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::sql::sqlparser::ast::Expr;
use parking_lot::Mutex;
use slipher_common::assign::Zone;
use slipher_common::ids::DatabaseId;
use slipher_common::plan::ResultTarget;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_meta::DatabaseState;
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{Name, Parsed, TransactionModes};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Reading a longer text takes so long that other sessions must not wait for it.
const LONG_TEXT_BYTES: usize = 64 * 1024;

/// One client's session.
pub(crate) struct LeaderSession {
    /// What its statements work with.
    context: Context,
    sessions: Arc<Sessions>,
    /// Somebody ended the session.
    terminated: AtomicBool,
    /// Ends its connection.
    connection: Mutex<Option<CancellationToken>>,
    descriptions: Descriptions,
    _counted: OpenSession,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl fmt::Debug for LeaderSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderSession").field("user", &self.context.user).finish_non_exhaustive()
    }
}

impl LeaderSession {
    /// A new session, known to all others.
    pub(crate) fn open(
        shared: Arc<Shared>,
        sessions: Arc<Sessions>,
        database: &DatabaseState,
        user: &str,
        application_name: &str,
    ) -> Arc<Self> {
        let counted = shared.telemetry.session();
        let process_id = sessions.next_process_id();
        let context = Context::new(shared, database, user, process_id);
        // The name is free text: setting it cannot fail.
        drop(context.settings.lock().set("application_name", application_name));
        let session = Arc::new(Self {
            context,
            sessions: Arc::clone(&sessions),
            terminated: AtomicBool::new(false),
            connection: Mutex::default(),
            descriptions: Descriptions::default(),
            _counted: counted,
            one_at_a_time: tokio::sync::Mutex::new(()),
        });
        let weak: Weak<Self> = Arc::downgrade(&session);
        sessions.insert(process_id, weak);
        session
    }

    fn start_statement(&self) -> (Running, Option<DropGuard>) {
        let (running, timer) = Running::start(self.context.settings.lock().statement_timeout_ms());
        *self.context.running.lock() = Some(running.clone());
        // Whoever ended the session may have looked for a statement before.
        if self.terminated.load(Ordering::SeqCst) {
            running.token.cancel();
        }
        (running, timer)
    }

    /// What the description of a query depends on; None for other statements, and where the block has definitions of its own.
    fn seen(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Option<Seen>> {
        if !matches!(*statement.parsed, Parsed::Query(_)) {
            return Ok(None);
        }
        let scope = self.context.scope_without_begin()?;
        Ok(scope.state().definitions().map(|definitions| Seen {
            definitions,
            database: scope.database,
            search_path: scope.search_path,
            declared: declared.to_vec(),
            disabled_rules: scope.disabled_rules,
            super_options: scope.super_options,
        }))
    }

    /// Errors of a failed block, before anything runs in it.
    fn check_effect(&self, effect: Effect) -> Result<()> {
        match effect {
            Effect::End if !self.terminated.load(Ordering::SeqCst) => Ok(()),
            other => self.check_open(other.changes().unwrap_or_default()),
        }
    }

    /// Whether something can run; `change` is what it changes data or definitions with, empty for nothing.
    fn check_open(&self, change: &str) -> Result<()> {
        if self.terminated.load(Ordering::SeqCst) {
            return Err(terminated());
        }
        let state = self.context.shared.cluster.meta().state();
        if state.databases().get(&self.context.database).is_none_or(|database| database.name != self.context.database_name) {
            let message = format!("database \"{}\" was dropped or renamed", self.context.database_name);
            return Err(Error::new(ErrorKind::UndefinedDatabase, message).with_hint("connect again"));
        }
        if !change.is_empty() && self.context.uses_other_database() {
            let instead = "connect to that database, or RESET USE";
            return Err(Error::not_supported(format_args!("{change} in a database that USE names"), instead));
        }
        let read_only = match &*self.context.block.lock() {
            Block::Open { read_only, .. } => *read_only,
            Block::None => self.context.settings.lock().is_on(READ_ONLY),
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

    /// Runs a statement; the session's turn is held.
    async fn run_one(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        let kind = statement::of_kept(&statement.parsed);
        self.check_effect(kind.effect())?;
        let counted = self.context.shared.telemetry.statement(kind.effect().counted_as());
        let (running, timer) = self.start_statement();
        let query = Arc::clone(&running.query);
        let work = counted.around(query, statement::run(&self.context, kind.as_ref(), parameters, &running.token));
        match running.work(work).await {
            Ok(Outcome::Rows { schema, stream, tag }) => {
                let stream = BlockOfRows::new(&self.context, running, timer).watch(counted.end_with(stream));
                Ok(uppercase::answered(&self.context, Outcome::Rows { schema, stream, tag }))
            }
            Ok(done) => {
                counted.end(None);
                Ok(done)
            }
            Err(error) => {
                counted.end(Some(&error));
                self.context.fail_block();
                Err(slipher_sql::position::locate(&statement.text, error))
            }
        }
    }

    /// What EXECUTE names, and the values that it gives to the parameters.
    async fn prepared_call(
        &self,
        statement: &Statement,
        name: &Name,
        values: &[Expr],
    ) -> Result<(Arc<PreparedStatement>, Vec<ScalarValue>)> {
        self.check_effect(Effect::Session)?;
        let (running, _timer) = self.start_statement();
        let work = async {
            let prepared = self.context.prepared.known(&name.value).map_err(|error| error.at(name.position))?;
            let values = statement::values_of_execute(&self.context, name, &prepared, values, &running.token).await?;
            Ok((prepared, values))
        };
        running.work(work).await.map_err(|error| {
            self.context.fail_block();
            slipher_sql::position::locate(&statement.text, error)
        })
    }
}

impl Registered for LeaderSession {
    fn user(&self) -> &str {
        &self.context.user
    }

    fn database(&self) -> DatabaseId {
        self.context.database
    }

    fn cancel_statement(&self) {
        self.context.cancel_statement();
    }

    fn terminate(&self) {
        self.terminated.store(true, Ordering::SeqCst);
        // Its locks and what it did go at once, also where no connection notices.
        self.context.fail_block();
        self.context.cancel_statement();
        if let Some(connection) = self.connection.lock().as_ref() {
            connection.cancel();
        }
    }
}

impl Drop for LeaderSession {
    /// Its temporary tables go. Those that stay because the leader ends go when it starts again.
    fn drop(&mut self) {
        self.sessions.remove(self.context.process_id);
        if !self.context.has_temporary.load(Ordering::SeqCst) {
            return;
        }
        // The record that makes them may still be on its way: this one comes behind it.
        let state = self.context.shared.cluster.meta().state();
        // They went with their database.
        if !state.databases().contains_key(&self.context.database) {
            return;
        }
        let (name, database_id) = (self.context.temp_schema.to_string(), self.context.database.0);
        let drop = Kind::DropSchema(proto::DropSchema { name, cascade: true, if_exists: true, database_id });
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, schema) = (Arc::clone(&self.context.shared), Arc::clone(&self.context.temp_schema));
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

#[async_trait]
impl Session for LeaderSession {
    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let case_sensitive = self.context.settings.lock().keeps_case_of_names();
        let text = if case_sensitive { Cow::Borrowed(sql) } else { slipher_sql::fold::fold_quoted(sql) };
        let parsed = match text.len() > LONG_TEXT_BYTES && can_hand_over() {
            true => tokio::task::block_in_place(|| slipher_sql::parse::parse(&text)),
            false => slipher_sql::parse::parse(&text),
        };
        parsed.inspect_err(|_| self.context.fail_block())
    }

    async fn describe(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description> {
        // A portal that waits for its client to ask for more rows keeps being the statement that a cancel means.
        let before = self.context.running.lock().clone();
        let seen = self.seen(statement, declared)?;
        if let Some(known) = seen.as_ref().and_then(|seen| self.descriptions.get(statement, seen)) {
            return Ok(uppercase::told(&self.context, known));
        }
        let (running, _timer) = self.start_statement();
        let kind = statement::of(&statement.parsed);
        let description = self.context.shared.cluster.with_first_nodes(|| kind.describe(&self.context, declared));
        let described = running.work(description).await;
        let mut current = self.context.running.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.query, &running.query)) {
            *current = before;
        }
        drop(current);
        if let (Some(seen), Ok(description)) = (seen, &described) {
            self.descriptions.keep(statement, seen, description);
        }
        described.map(|description| uppercase::told(&self.context, description)).map_err(|error| {
            self.context.fail_block();
            slipher_sql::position::locate(&statement.text, error)
        })
    }

    async fn execute(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        let _turn = self.one_at_a_time.lock().await;
        match &*statement.parsed {
            Parsed::Execute { name, values } => {
                let (prepared, values) = self.prepared_call(statement, name, values).await?;
                // Its positions count in the text of another statement.
                self.run_one(&prepared.statement, values).await.map_err(|error| Error { position: None, ..error })
            }
            _ => self.run_one(statement, parameters).await,
        }
    }

    async fn execute_direct(
        &self,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
        target: ResultTarget,
    ) -> Result<Option<DirectRun>> {
        // Rows on compute nodes have their names already.
        if self.context.settings.lock().tells_names_in_uppercase() {
            return Ok(None);
        }
        let _turn = self.one_at_a_time.lock().await;
        let effect = statement::of(&statement.parsed).effect();
        self.check_effect(effect)?;
        let counted = self.context.shared.telemetry.statement(effect.counted_as());
        let (running, timer) = self.start_statement();
        let query = Arc::clone(&running.query);
        let start =
            || statement::start_direct(&self.context, &statement.parsed, parameters.clone(), target.clone(), &running.token);
        let work = until_memory_is_free(|| self.context.shared.cluster.with_first_nodes(start));
        let work = counted.around(query, work);
        match running.work(work).await {
            Ok(Some(DirectRun { parts, progress })) => {
                let progress = counted.end_with_progress(progress);
                let progress = BlockOfRows::new(&self.context, running, timer).watch(progress);
                Ok(Some(DirectRun { parts, progress }))
            }
            // It runs, and counts, when its rows are asked for.
            Ok(None) => {
                counted.forget();
                Ok(None)
            }
            Err(error) => {
                counted.end(Some(&error));
                self.context.fail_block();
                Err(slipher_sql::position::locate(&statement.text, error))
            }
        }
    }

    fn fail(&self) {
        self.context.fail_block();
    }

    fn begin_implicit(&self, next: &Statement) {
        let controls = matches!(statement::of(&next.parsed).effect(), Effect::Begin | Effect::End);
        let mut block = self.context.block.lock();
        if !controls && matches!(*block, Block::None) {
            *block = self.context.new_block(TransactionModes::default());
            self.context.is_implicit.store(true, Ordering::SeqCst);
        }
    }

    async fn end_implicit(&self) -> Result<()> {
        let _turn = self.one_at_a_time.lock().await;
        match self.context.is_implicit.load(Ordering::SeqCst) {
            true => self.context.commit().await.map(|_| ()),
            false => Ok(()),
        }
    }

    async fn ingest(&self, schema: Option<&str>, table: &str, rows: SendableRecordBatchStream) -> Result<u64> {
        let _turn = self.one_at_a_time.lock().await;
        self.check_open("INSERT")?;
        let counted = self.context.shared.telemetry.statement("load");
        let (running, _timer) = self.start_statement();
        let work = async {
            let _locked = self.context.lock_named(&[(schema, table)], true).await?;
            load::ingest(&self.context.shared.runner, &self.context.scope()?, schema, table, rows).await
        };
        let result = running.work(counted.around(Arc::clone(&running.query), work)).await;
        if result.is_err() {
            self.context.fail_block();
        }
        counted.end(result.as_ref().err());
        result
    }

    async fn catalog(&self) -> Result<CatalogListing> {
        listing(&self.context).await
    }

    fn cancel(&self) {
        self.context.cancel_statement();
    }

    fn process_id(&self) -> i32 {
        self.context.process_id
    }

    fn end_with(&self, connection: CancellationToken) {
        if self.terminated.load(Ordering::SeqCst) {
            connection.cancel();
        }
        *self.connection.lock() = Some(connection);
    }

    async fn progress(&self) -> Option<Progress> {
        let (query, elapsed) = {
            let running = self.context.running.lock();
            let running = running.as_ref()?;
            (running.query.lock().clone()?, running.started.elapsed())
        };
        let sum = self.context.shared.cluster.query_progress(&query).await;
        Some(Progress {
            elapsed_ms: elapsed.as_millis() as u64,
            tasks_started: sum.tasks_started,
            tasks_ended: sum.tasks_ended,
            scanned_rows: sum.scanned_rows,
            scanned_bytes: sum.scanned_bytes,
        })
    }

    fn zone(&self) -> Option<Arc<Zone>> {
        self.context.settings.lock().zone()
    }

    fn prepared(&self, name: &str) -> Option<Arc<PreparedStatement>> {
        self.context.prepared.get(name)
    }

    fn keep_prepared(&self, name: &str, prepared: PreparedStatement) -> Result<()> {
        self.context.prepared.insert(name, prepared)
    }

    fn forget_prepared(&self, name: &str) {
        // A name that is not there is no error.
        drop(self.context.prepared.remove(name));
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.context.settings.shown(name)
    }

    fn set_setting(&self, name: &str, value: &str) -> Result<()> {
        self.context.settings.set(name, value, false).map(drop)
    }

    fn idle_limit(&self) -> Option<(Duration, Error)> {
        let in_transaction = self.transaction_status() != b'I';
        let limit = Duration::from_millis(self.context.settings.lock().idle_timeout_ms(in_transaction)?);
        let (kind, what) = match in_transaction {
            true => (ErrorKind::IdleTransactionTimeout, "idle-in-transaction timeout"),
            false => (ErrorKind::IdleSessionTimeout, "idle-session timeout"),
        };
        Some((limit, Error::new(kind, format!("terminating connection due to {what}"))))
    }

    fn user(&self) -> &str {
        &self.context.user
    }

    fn database(&self) -> &str {
        &self.context.database_name
    }

    fn transaction_status(&self) -> u8 {
        match *self.context.block.lock() {
            Block::None => b'I',
            Block::Open { .. } => b'T',
            Block::Failed => b'E',
        }
    }
}
