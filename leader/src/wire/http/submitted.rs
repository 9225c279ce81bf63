//! Statements that were submitted: they run, and what came of them is kept until it expires, or its user's newer results need the room.

use super::HttpOptions;
use super::kept::{Batch, KeptRows};
use super::rows::{columns, error as error_json, rows};
use crate::frontend::{Outcome, Session, Statement};
use datafusion::common::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use slipher_common::ledger::{Account, Full, Ledger};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Statements that are kept at a time.
const STATEMENTS_MAX_COUNT: usize = 1_000;
/// Statements of one user that run at a time.
const RUNNING_PER_USER_MAX_COUNT: usize = 50;
/// How long an ended statement is kept.
const KEPT_MAX_SECONDS: u64 = 3_600;
/// Largest result that is kept, as JSON.
const RESULT_MAX_BYTES: usize = 64 << 20;
/// What a statement takes beside its text and its rows.
const STATEMENT_BYTES: usize = 1_024;
const SWEEP_PERIOD_SECONDS: u64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Started,
    Finished,
    Failed,
    Aborted,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
        }
    }
}

/// What became of a statement so far.
pub(super) struct Progress {
    pub(super) status: Status,
    tag: Option<String>,
    notices: Vec<String>,
    pub(super) columns: Option<Vec<Value>>,
    pub(super) rows: KeptRows,
    pub(super) error: Option<Error>,
    ended: Option<Instant>,
}

/// A statement, from its request until it is forgotten.
pub(super) struct Submitted {
    user: String,
    sql: String,
    submitted: Instant,
    /// Until the statement has ended.
    pub(super) session: Mutex<Option<Arc<dyn Session>>>,
    pub(super) cancel: CancellationToken,
    pub(super) done: CancellationToken,
    pub(super) progress: Mutex<Progress>,
    /// What is kept of it.
    account: Account,
}

/// All statements of the endpoint.
pub(super) struct Statements {
    by_id: Mutex<HashMap<Uuid, Arc<Submitted>>>,
    ledger: Arc<Ledger>,
    running_max: usize,
    shutdown: CancellationToken,
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").field("kept", &self.by_id.lock().len()).finish_non_exhaustive()
    }
}

impl Statements {
    pub(super) fn new(options: &HttpOptions, shutdown: CancellationToken) -> Self {
        let ledger = Arc::new(Ledger::new(options.results));
        Self { by_id: Mutex::default(), ledger, running_max: options.running_max, shutdown }
    }

    /// Forgets what ended long ago.
    pub(super) async fn sweep_forever(&self) {
        let mut period = tokio::time::interval(Duration::from_secs(SWEEP_PERIOD_SECONDS));
        loop {
            period.tick().await;
            let old = |ended: Instant| ended.elapsed() > Duration::from_secs(KEPT_MAX_SECONDS);
            self.by_id.lock().retain(|_, statement| !statement.progress.lock().ended.is_some_and(old));
        }
    }

    /// Notes a statement that begins to run in `session`.
    pub(super) fn submit(&self, user: String, sql: String, session: &Arc<dyn Session>) -> Result<(Uuid, Arc<Submitted>)> {
        let submitted = Arc::new(Submitted::new(user, sql, &self.ledger, self.shutdown.child_token()));
        *submitted.session.lock() = Some(Arc::clone(session));
        self.keep(&submitted, submitted.sql.len() + STATEMENT_BYTES)?;
        Ok((self.insert(&submitted)?, submitted))
    }

    fn insert(&self, statement: &Arc<Submitted>) -> Result<Uuid> {
        if self.by_id.lock().len() >= STATEMENTS_MAX_COUNT {
            self.forget_oldest_of(&statement.user);
        }
        let mut all = self.by_id.lock();
        let running = |other: &&Arc<Submitted>| other.progress.lock().status == Status::Started;
        if all.values().filter(running).count() >= self.running_max {
            return Err(Error::new(ErrorKind::TooManyConnections, "too many statements run")
                .with_detail(format!("the limit is {}", self.running_max))
                .with_hint("wait until some have ended, or raise --max-connections"));
        }
        let own = |other: &&Arc<Submitted>| other.user == statement.user && running(other);
        if all.len() >= STATEMENTS_MAX_COUNT || all.values().filter(own).count() >= RUNNING_PER_USER_MAX_COUNT {
            return Err(Error::new(ErrorKind::ProgramLimit, "too many statements are kept or run")
                .with_hint("wait until some have ended, or delete those that are no longer needed"));
        }
        let id = Uuid::new_v4();
        all.insert(id, Arc::clone(statement));
        Ok(id)
    }

    /// A statement of `user`'s.
    pub(super) fn get(&self, id: Uuid, user: &str) -> Result<Arc<Submitted>> {
        let known = self.by_id.lock().get(&id).filter(|statement| statement.user == user).cloned();
        known.ok_or_else(|| {
            let limit = self.ledger.limits().owner_bytes >> 20;
            Error::new(ErrorKind::InvalidCursorName, format!("there is no statement {id}")).with_hint(format!(
                "ended statements are kept for {KEPT_MAX_SECONDS} seconds; the oldest ones go earlier where a user's take more than {limit} MiB"
            ))
        })
    }

    /// Forgets a statement.
    pub(super) fn forget(&self, id: Uuid) {
        let forgotten = self.by_id.lock().remove(&id);
        drop(forgotten);
    }

    /// Forgets the statement of `user`'s that ended first; whether there was one.
    fn forget_oldest_of(&self, user: &str) -> bool {
        let mut all = self.by_id.lock();
        let ended = all.iter().filter(|(_, statement)| statement.user == user);
        let ended = ended.filter_map(|(id, statement)| Some((statement.progress.lock().ended?, *id)));
        let oldest = ended.min().and_then(|(_, id)| all.remove(&id));
        // Its rows go outside of the lock.
        drop(all);
        oldest.is_some()
    }

    /// Counts `bytes` that are about to be kept of a statement. Results that its user has not deleted go first, the oldest ones before others.
    fn keep(&self, statement: &Submitted, bytes: usize) -> Result<()> {
        while let Err(full) = statement.account.try_add(bytes) {
            if self.forget_oldest_of(&statement.user) {
                continue;
            }
            let limits = self.ledger.limits();
            let (whose, limit, option) = match full {
                Full::Owner => (format!("of user \"{}\"", statement.user), limits.owner_bytes, "--user-results-mib"),
                Full::All => ("of all users".to_owned(), limits.all_bytes, "--results-mib"),
            };
            let message = format!("keeping a result: the results {whose} take more than the {} MiB that are kept", limit >> 20);
            return Err(Error::new(ErrorKind::OutOfMemory, message).with_hint(format!(
                "add LIMIT or aggregate, read it over Flight SQL or the PostgreSQL protocol, delete results that are no longer needed, or start \
                 the leader with a larger {option}"
            )));
        }
        Ok(())
    }
}

impl Submitted {
    fn new(user: String, sql: String, ledger: &Arc<Ledger>, cancel: CancellationToken) -> Self {
        let progress = Progress {
            status: Status::Started,
            tag: None,
            notices: Vec::new(),
            columns: None,
            rows: KeptRows::default(),
            error: None,
            ended: None,
        };
        Self {
            account: ledger.open(user.as_bytes()),
            user,
            sql,
            submitted: Instant::now(),
            session: Mutex::default(),
            cancel,
            done: CancellationToken::new(),
            progress: Mutex::new(progress),
        }
    }

    pub(super) fn describe(&self, id: Uuid) -> Value {
        let progress = self.progress.lock();
        let took = progress.ended.unwrap_or_else(Instant::now).duration_since(self.submitted);
        json!({
            "id": id,
            "status": progress.status.name(),
            "sql": self.sql,
            "tag": progress.tag,
            "notices": progress.notices,
            "rows": progress.rows.len(),
            "columns": progress.columns,
            "duration_ms": took.as_secs_f64() * 1000.0,
            "error": progress.error.as_ref().map(error_json),
        })
    }

    pub(super) async fn run(
        self: Arc<Self>,
        statements: Arc<Statements>,
        session: Arc<dyn Session>,
        statement: Statement,
        parameters: Vec<ScalarValue>,
    ) {
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")),
            result = self.collect(&statements, session.as_ref(), &statement, parameters) => result,
        };
        *self.session.lock() = None;
        drop(session);
        self.end(result.map_err(|error| Error { position: error.position.map(|position| position + statement.offset), ..error }));
    }

    fn end(&self, result: Result<()>) {
        let mut progress = self.progress.lock();
        progress.status = match &result {
            Ok(()) => Status::Finished,
            Err(error) if error.kind == ErrorKind::QueryCanceled => Status::Aborted,
            Err(_) => Status::Failed,
        };
        if let Err(error) = result {
            self.account.remove(std::mem::take(&mut progress.rows).bytes());
            progress.error = Some(error);
        }
        progress.ended = Some(Instant::now());
        drop(progress);
        self.done.cancel();
    }

    async fn collect(
        &self,
        statements: &Statements,
        session: &dyn Session,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
    ) -> Result<()> {
        let (schema, mut stream, tag) = match session.execute(statement, parameters).await? {
            Outcome::Done { tag, notices, .. } => {
                // It is done, and must not fail any more.
                self.account.add(notices.iter().map(String::len).sum());
                let mut progress = self.progress.lock();
                progress.tag = Some(tag);
                progress.notices = notices;
                return Ok(());
            }
            Outcome::Rows { schema, stream, tag } => (schema, stream, tag),
        };
        let columns = columns(&schema);
        statements.keep(self, columns.iter().map(|column| column.to_string().len()).sum())?;
        {
            let mut progress = self.progress.lock();
            progress.tag = Some(tag.to_owned());
            progress.columns = Some(columns);
        }
        let zone = session.zone();
        let mut result_bytes = 0;
        while let Some(batch) = stream.next().await {
            let batch = Batch::new(&rows(&batch?, zone.as_ref())?)?;
            result_bytes += batch.bytes();
            if result_bytes > RESULT_MAX_BYTES {
                let message = format!("the result is larger than the {} MiB that are kept", RESULT_MAX_BYTES >> 20);
                return Err(Error::new(ErrorKind::ProgramLimit, message)
                    .with_hint("add LIMIT or aggregate, or read it over Flight SQL or the PostgreSQL protocol"));
            }
            statements.keep(self, batch.bytes())?;
            self.progress.lock().rows.push(batch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipher_common::ledger::LedgerLimits;

    fn statements(running_max: usize) -> Statements {
        let results = LedgerLimits { owner_bytes: 10_000, all_bytes: 15_000 };
        Statements::new(&HttpOptions { results, running_max, tls: None }, CancellationToken::new())
    }

    fn submit(statements: &Statements, user: &str) -> Result<(Uuid, Arc<Submitted>)> {
        let submitted = Arc::new(Submitted::new(user.to_owned(), String::new(), &statements.ledger, CancellationToken::new()));
        statements.keep(&submitted, STATEMENT_BYTES)?;
        Ok((statements.insert(&submitted)?, submitted))
    }

    fn finished(statements: &Statements, user: &str, bytes: usize) -> Uuid {
        let (id, submitted) = submit(statements, user).unwrap();
        statements.keep(&submitted, bytes).unwrap();
        submitted.end(Ok(()));
        id
    }

    #[test]
    fn the_oldest_results_of_a_user_make_room_for_newer_ones_of_that_user_only() {
        let statements = statements(100);
        let other = finished(&statements, "b", 1_000);
        let (first, second) = (finished(&statements, "a", 3_000), finished(&statements, "a", 3_000));
        let third = finished(&statements, "a", 3_000);
        let kept = |id| statements.by_id.lock().contains_key(&id);
        assert_eq!([other, first, second, third].map(kept), [true, false, true, true]);
        assert_eq!(statements.get(first, "a").err().unwrap().kind, ErrorKind::InvalidCursorName);
        // The limit of all is reached; nobody else's go.
        finished(&statements, "b", 2_000);
        let (_, running) = submit(&statements, "c").unwrap();
        let refused = statements.keep(&running, 5_000).unwrap_err();
        assert_eq!(refused.sqlstate(), "53200");
        assert!(refused.message.contains("of all users"), "{refused}");
        assert_eq!([other, second, third].map(kept), [true, true, true]);
    }

    #[test]
    fn one_result_that_does_not_fit_fails_and_what_it_took_is_free_again() {
        let statements = statements(100);
        let (id, running) = submit(&statements, "a").unwrap();
        let batch = || Batch::new(&vec![json!(["x"]); 100]).unwrap();
        let bytes = batch().bytes();
        while statements.keep(&running, bytes).is_ok() {
            running.progress.lock().rows.push(batch());
        }
        let refused = statements.keep(&running, bytes).unwrap_err();
        assert_eq!(refused.sqlstate(), "53200");
        assert!(refused.message.contains("of user \"a\""), "{refused}");
        running.end(Err(refused));
        assert_eq!(statements.ledger.all_bytes(), STATEMENT_BYTES);
        statements.forget(id);
        drop(running);
        assert_eq!(statements.ledger.all_bytes(), 0);
    }

    #[test]
    fn so_many_statements_run_at_a_time() {
        let statements = statements(2);
        let running = [submit(&statements, "a").unwrap(), submit(&statements, "b").unwrap()];
        assert_eq!(submit(&statements, "c").err().unwrap().sqlstate(), "53300");
        running[0].1.end(Ok(()));
        submit(&statements, "c").unwrap();
    }
}
