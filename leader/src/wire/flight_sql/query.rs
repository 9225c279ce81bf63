//! Queries between GetFlightInfo and the end of their stream: tickets, running, cancelling.

use super::client::{Active, Client};
use super::registry::Registry;
use crate::frontend::{CALL, DirectRun, Outcome, ResultNode, Statement};
use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use slipher_common::flight::to_status;
use slipher_common::flight::{DirectTicket, Output};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Queries that have a ticket, at once.
const QUERIES_MAX_COUNT: usize = 10_000;
/// Queries of one session that have a ticket, at once.
const QUERIES_PER_SESSION_MAX_COUNT: usize = 100;
/// How long a ticket waits to be fetched.
const TICKET_MAX_SECONDS: u64 = 600;

/// Values for `$1`, `$2`, ... of each run of a statement.
pub(super) type ParameterRows = VecDeque<Vec<ScalarValue>>;

/// One query that has a ticket.
pub(super) struct Query {
    client: Arc<Client>,
    output: Output,
    cancel: CancellationToken,
    /// Taken by the one DoGet that runs it.
    work: Mutex<Option<Work>>,
}

/// What is left to do for a query.
pub(super) struct Work {
    /// The statement.
    pub(super) statement: Statement,
    /// It runs once for each row.
    pub(super) parameters: ParameterRows,
    /// Rows of a run that has started.
    pub(super) started: Option<SendableRecordBatchStream>,
}

/// A query whose rows clients fetch from the compute nodes.
#[derive(Debug)]
struct Direct {
    client: Arc<Client>,
    cancel: CancellationToken,
    /// Where its tickets are good.
    addresses: HashMap<DirectTicket, ResultNode>,
}

/// All queries that have a ticket.
#[derive(Debug)]
pub(super) struct Queries {
    by_handle: Registry<Arc<Query>>,
    /// By the secret of their tickets.
    direct: Mutex<HashMap<String, Arc<Direct>>>,
    shutdown: CancellationToken,
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// It had not started and will not.
    Before,
    /// It was told to stop.
    Running,
    /// There is no such query, or it has ended.
    Unknown,
}

impl Queries {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        let idle_max = Duration::from_secs(TICKET_MAX_SECONDS);
        Self { by_handle: Registry::new("query", QUERIES_MAX_COUNT, idle_max), direct: Mutex::default(), shutdown }
    }

    /// Keeps a query until its ticket is redeemed; answers the ticket's handle.
    pub(super) fn register(&self, client: Arc<Client>, output: Output, work: Work) -> Result<String> {
        let cancel = self.shutdown.child_token();
        let query = Arc::new(Query { client: client.clone(), output, cancel, work: Mutex::new(Some(work)) });
        self.by_handle.insert(query, QUERIES_PER_SESSION_MAX_COUNT, |other| Arc::ptr_eq(&other.client, &client))
    }

    /// Watches a query until its rows were fetched from the compute nodes. Its tickets are there, with the same limits as here.
    pub(super) fn watch(self: &Arc<Self>, client: &Arc<Client>, secret: &str, run: DirectRun) -> Result<()> {
        let cancel = self.shutdown.child_token();
        let DirectRun { parts, mut progress } = run;
        let direct = Direct { client: Arc::clone(client), cancel: cancel.clone(), addresses: parts.into_iter().collect() };
        {
            let mut all = self.direct.lock();
            let own = all.values().filter(|other| Arc::ptr_eq(&other.client, client)).count();
            if all.len() >= QUERIES_MAX_COUNT || own >= QUERIES_PER_SESSION_MAX_COUNT {
                return Err(Error::new(ErrorKind::ProgramLimit, "too many open queries")
                    .with_hint("fetch and finish their results, or cancel them"));
            }
            all.insert(secret.to_owned(), Arc::new(direct));
        }
        let (queries, active, secret) = (Arc::clone(self), client.enter(), secret.to_owned());
        tokio::spawn(async move {
            let _active = active;
            let watching = async {
                while let Some(batch) = progress.next().await {
                    batch?;
                }
                Ok::<_, DataFusionError>(())
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                ended = watching => if let Err(error) = ended {
                    // The client has learned it from the node it fetches from.
                    tracing::debug!(%error, "a result that clients fetch from the nodes ended early");
                },
            }
            drop(progress);
            queries.direct.lock().remove(&secret);
        });
        Ok(())
    }

    /// Where the leader reaches the node at which the ticket of a user's query is good.
    pub(super) fn address_of(&self, user: &str, ticket: &DirectTicket) -> Result<String> {
        let all = self.direct.lock();
        let known = all.get(&ticket.secret).filter(|direct| direct.client.session.user() == user);
        let node = known.and_then(|direct| direct.addresses.get(ticket));
        node.map(|node| node.internal.clone()).ok_or_else(unknown_ticket)
    }

    /// Runs the query of a ticket. A ticket is good for one run, by the user who got it.
    pub(super) async fn redeem(self: &Arc<Self>, user: &str, handle: &str) -> Result<(Output, Rows)> {
        let query = self.by_handle.get(handle).filter(|query| query.client.session.user() == user).ok_or_else(unknown_ticket)?;
        let work = query.work.lock().take().ok_or_else(unknown_ticket)?;
        let ticket = RedeemedTicket { queries: self.clone(), handle: handle.to_owned() };
        let mut rows = Rows {
            client: query.client.clone(),
            output: query.output.clone(),
            cancel: query.cancel.clone(),
            work,
            shutdown: self.shutdown.clone(),
            ended: false,
            _active: query.client.enter(),
            _ticket: ticket,
        };
        // The first run starts here, so that an error of planning is the call's own.
        if rows.work.started.is_none() {
            rows.start_next().await?;
        }
        Ok((query.output.clone(), rows))
    }

    /// Stops the query of a ticket.
    pub(super) fn cancel(&self, user: &str, handle: &str) -> Cancelled {
        if let Ok(ticket) = DirectTicket::parse(handle) {
            let all = self.direct.lock();
            let Some(direct) = all.get(&ticket.secret).filter(|direct| direct.client.session.user() == user) else {
                return Cancelled::Unknown;
            };
            direct.cancel.cancel();
            return Cancelled::Running;
        }
        let Some(query) = self.by_handle.get(handle).filter(|query| query.client.session.user() == user) else {
            return Cancelled::Unknown;
        };
        query.cancel.cancel();
        if query.work.lock().take().is_some() {
            self.by_handle.remove(handle);
            return Cancelled::Before;
        }
        Cancelled::Running
    }

    /// Drops tickets that nobody redeemed and those of sessions that ended.
    pub(super) fn sweep(&self) {
        for direct in self.direct.lock().values().filter(|direct| direct.client.is_closed()) {
            direct.cancel.cancel();
        }
        self.by_handle.sweep(|query| query.work.lock().is_none(), |query| query.client.is_closed());
    }
}

fn unknown_ticket() -> Error {
    Error::new(ErrorKind::InvalidCursorName, "the ticket is unknown, was used already or has expired")
        .with_hint("ask for a new one with GetFlightInfo")
}

/// Forgets the ticket when its stream ends.
struct RedeemedTicket {
    queries: Arc<Queries>,
    handle: String,
}

impl Drop for RedeemedTicket {
    fn drop(&mut self) {
        self.queries.by_handle.remove(&self.handle);
    }
}

/// The rows of a query as they come; the next run starts when the one before it has ended.
pub(super) struct Rows {
    client: Arc<Client>,
    output: Output,
    cancel: CancellationToken,
    shutdown: CancellationToken,
    work: Work,
    ended: bool,
    _active: Active,
    _ticket: RedeemedTicket,
}

impl Rows {
    /// As a stream that yields one error at most, as its end. Dropping it drops the query's own stream, which stops its nodes.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static {
        stream::unfold(self, |mut rows| async move {
            let item = rows.next().await.transpose()?;
            rows.ended = item.is_err();
            Some((item.map_err(|error| FlightError::Tonic(Box::new(to_status(error)))), rows))
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended {
            if let Some(stream) = self.work.started.as_mut() {
                let item = tokio::select! {
                    biased;
                    () = self.cancel.cancelled() => return Err(stopped(&self.shutdown)),
                    item = stream.next() => item,
                };
                match item {
                    Some(batch) => return self.output.convert(&batch?).map(Some),
                    None => self.work.started = None,
                }
            } else if !self.start_next().await? {
                break;
            }
        }
        Ok(None)
    }

    /// Starts the run for the next row of parameters, if there is one.
    async fn start_next(&mut self) -> Result<bool> {
        let Some(parameters) = self.work.parameters.pop_front() else { return Ok(false) };
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(stopped(&self.shutdown)),
            outcome = run(&self.client, &self.work.statement, parameters) => outcome?,
        };
        if let Outcome::Rows { stream, .. } = outcome {
            self.work.started = Some(stream);
        }
        Ok(true)
    }
}

fn stopped(shutdown: &CancellationToken) -> Error {
    match shutdown.is_cancelled() {
        true => Error::new(ErrorKind::AdminShutdown, "the query was ended because the leader is shutting down"),
        false => Error::new(ErrorKind::QueryCanceled, "the query was cancelled on the client's request"),
    }
}

/// Runs a statement.
pub(super) async fn run(client: &Arc<Client>, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
    let (session, statement) = (client.session.clone(), statement.clone());
    detached(client, async move { session.execute(&statement, parameters).await.map_err(|error| in_text(error, &statement)) })
        .await
}

/// Does `work` in a task of its own: when the caller goes away, the statements of the call end, and the work still comes to an orderly
/// end, instead of being dropped at whatever it was waiting for.
pub(super) async fn detached<T: Send + 'static>(
    client: &Arc<Client>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let call = CancellationToken::new();
    let guard = call.clone().drop_guard();
    let active = client.enter();
    let joined = tokio::spawn(CALL.scope(call, async move {
        let _active = active;
        work.await
    }))
    .await;
    // Rows that are still to come are of the same call.
    guard.disarm();
    joined.map_err(|error| Error::internal(format!("running a statement: {error}")))?
}

/// Positions count within the statement; the client knows the text it sent.
pub(super) fn in_text(mut error: Error, statement: &Statement) -> Error {
    error.position = error.position.map(|position| position + statement.offset);
    error
}
