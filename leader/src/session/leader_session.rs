//! The session behind every endpoint.

use super::cursors::Cursors;
use super::settings::Settings;
use super::{CatalogListing, Description, DirectRun, Outcome, Progress, Session, Statement, TableKind, TableListing};
use super::{commands, direct};
use crate::engine::Shared;
use crate::load;
use crate::run::{CurrentQuery, canceled};
use crate::sql::{self, Parsed};
use crate::telemetry::OpenSession;
use crate::transaction::{Scope, Transaction};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use slipher_common::plan::ResultTarget;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Where a session is with respect to BEGIN and COMMIT.
#[derive(Clone, Debug)]
pub(super) enum Block {
    /// Each statement for itself.
    None,
    /// After BEGIN; the transaction begins with its first statement.
    Open { transaction: Option<Arc<Transaction>>, read_only: bool, serializable: bool },
    /// After an error in a block: what it did is gone.
    Failed,
}

/// The statement that runs, or ran last.
struct Running {
    token: CancellationToken,
    started: Instant,
    query: CurrentQuery,
}

/// One client's session.
pub(crate) struct LeaderSession {
    pub(super) shared: Arc<Shared>,
    pub(super) user: String,
    pub(super) settings: Mutex<Settings>,
    /// What SET LOCAL replaced, for the end of the block.
    pub(super) local_settings: Mutex<Vec<(String, Option<String>)>>,
    pub(super) block: Mutex<Block>,
    pub(super) cursors: Cursors,
    running: Mutex<Option<Running>>,
    /// The statement took longer than statement_timeout.
    timed_out: Arc<AtomicBool>,
    _counted: OpenSession,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl fmt::Debug for LeaderSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderSession").field("user", &self.user).finish_non_exhaustive()
    }
}

impl LeaderSession {
    pub(crate) fn new(shared: Arc<Shared>, user: &str, application_name: &str) -> Self {
        let mut settings = Settings::default();
        // The name is free text: setting it cannot fail.
        drop(settings.set("application_name", application_name));
        let counted = shared.telemetry.session();
        Self {
            shared,
            user: user.to_owned(),
            settings: Mutex::new(settings),
            local_settings: Mutex::new(Vec::new()),
            block: Mutex::new(Block::None),
            cursors: Cursors::default(),
            running: Mutex::new(None),
            timed_out: Arc::default(),
            _counted: counted,
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    fn start_statement(&self) -> (CancellationToken, CurrentQuery) {
        let (token, query) = (CancellationToken::new(), CurrentQuery::default());
        self.timed_out.store(false, Ordering::SeqCst);
        *self.running.lock() = Some(Running { token: token.clone(), started: Instant::now(), query: Arc::clone(&query) });
        if let Some(limit_ms) = self.settings.lock().statement_timeout_ms() {
            let (timed, timed_out) = (token.clone(), Arc::clone(&self.timed_out));
            tokio::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(limit_ms)) => {
                        timed_out.store(true, Ordering::SeqCst);
                        timed.cancel();
                    }
                    () = timed.cancelled() => {}
                }
            });
        }
        (token, query)
    }

    /// Errors of a failed block, before anything runs in it.
    fn check_block(&self, parsed: &Parsed) -> Result<()> {
        let ends = matches!(parsed, Parsed::Commit | Parsed::Rollback);
        if matches!(*self.block.lock(), Block::Failed) && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(ErrorKind::FailedTransaction, message));
        }
        if let (Block::Open { read_only: true, .. }, Some(command)) = (&*self.block.lock(), parsed.change()) {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(Error::new(ErrorKind::ReadOnlyTransaction, message));
        }
        Ok(())
    }

    fn fail_block(&self) {
        let mut block = self.block.lock();
        if matches!(*block, Block::Open { .. }) {
            *block = Block::Failed;
            self.cursors.clear();
        }
    }

    /// Whether a block is open.
    pub(super) fn is_in_block(&self) -> bool {
        matches!(*self.block.lock(), Block::Open { .. })
    }

    /// What a statement works with: in a block, with what the block saw and did.
    pub(super) fn scope(&self) -> Scope {
        let transaction = match &mut *self.block.lock() {
            Block::Open { transaction, serializable, .. } => {
                let begin = || Arc::new(Transaction::begin(&self.shared.cluster, *serializable));
                let begun = transaction.get_or_insert_with(begin);
                Some(Arc::clone(begun))
            }
            Block::None | Block::Failed => None,
        };
        let search_path = Arc::new(self.settings.lock().search_path(&self.user));
        Scope { shared: Arc::clone(&self.shared), search_path, user: self.user.clone(), transaction }
    }

    /// Undoes SET LOCAL.
    pub(super) fn end_local_settings(&self) {
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

/// Who ended a statement: the user, or its time limit.
fn why(error: Error, timed_out: &AtomicBool) -> Error {
    if error.kind == ErrorKind::QueryCanceled && timed_out.load(Ordering::SeqCst) {
        return Error { message: "canceling statement due to statement timeout".to_owned(), ..error };
    }
    error
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

#[async_trait]
impl Session for LeaderSession {
    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        sql::parse::parse(sql).inspect_err(|_| self.fail_block())
    }

    async fn describe(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description> {
        let described = self.description(statement, declared).await;
        described.map_err(|error| {
            self.fail_block();
            sql::position::locate(&statement.text, error)
        })
    }

    async fn execute(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        let _turn = self.one_at_a_time.lock().await;
        self.check_block(&statement.parsed)?;
        let counted = self.shared.telemetry.statement(kind(&statement.parsed));
        let (token, query) = self.start_statement();
        let result = tokio::select! {
            biased;
            () = token.cancelled() => Err(canceled()),
            result = counted.around(query, commands::run(self, &statement.parsed, parameters, &token)) => result,
        };
        match result {
            Ok(Outcome::Rows { schema, stream, tag }) => {
                let timed_out = Arc::clone(&self.timed_out);
                let told = counted.end_with(stream).map(move |batch| batch.map_err(|error| why(error.into(), &timed_out).into()));
                let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), told));
                Ok(Outcome::Rows { schema, stream, tag })
            }
            Ok(done) => {
                counted.end(None);
                Ok(done)
            }
            Err(error) => {
                counted.end(Some(&error));
                self.fail_block();
                Err(sql::position::locate(&statement.text, why(error, &self.timed_out)))
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
        let (token, query) = self.start_statement();
        let result = tokio::select! {
            biased;
            () = token.cancelled() => Err(canceled()),
            result = counted.around(query, direct::start(self, &statement.parsed, parameters, target, &token)) => result,
        };
        match result {
            Ok(Some(DirectRun { parts, progress })) => {
                Ok(Some(DirectRun { parts, progress: counted.end_with_progress(progress) }))
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

    async fn ingest(&self, schema: Option<&str>, table: &str, rows: SendableRecordBatchStream) -> Result<u64> {
        let _turn = self.one_at_a_time.lock().await;
        let counted = self.shared.telemetry.statement("load");
        let (token, query) = self.start_statement();
        let scope = self.scope();
        let result = tokio::select! {
            biased;
            () = token.cancelled() => Err(canceled()),
            result = counted.around(query, load::ingest(&scope, schema, table, rows)) => result,
        };
        if result.is_err() {
            self.fail_block();
        }
        counted.end(result.as_ref().err());
        result
    }

    async fn catalog(&self) -> Result<CatalogListing> {
        let state = self.scope().state();
        let tables = state.tables().values().map(|known| TableListing {
            schema: known.table.schema.clone(),
            name: known.table.name.clone(),
            kind: TableKind::Table,
            columns: known.table.arrow_schema(),
            table: Some(Arc::clone(&known.table)),
        });
        Ok(CatalogListing { schemas: state.schemas().keys().cloned().collect(), tables: tables.collect() })
    }

    fn cancel(&self) {
        if let Some(running) = self.running.lock().as_ref() {
            running.token.cancel();
        }
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

    fn transaction_status(&self) -> u8 {
        match *self.block.lock() {
            Block::None => b'I',
            Block::Open { .. } => b'T',
            Block::Failed => b'E',
        }
    }
}
