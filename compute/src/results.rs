//! Rows that lie ready for the clients that have their tickets.

use crate::queries::{QueryHandle, cancelled};
use arrow::record_batch::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use parking_lot::Mutex;
use slipher_common::flight::{DirectTicket, Output};
use slipher_common::plan::LaneResult;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

/// Batches of a lane that wait for the client; its query waits with the next.
const READY_BATCHES_MAX_COUNT: usize = 2;
/// How long rows wait for a client that does not come.
const UNFETCHED_MAX_SECONDS: u64 = 600;
/// How long they wait for a client that takes nothing more.
const STALLED_MAX_SECONDS: u64 = 900;

/// How long a client has to take what is left, or to come for it, before it learns of an error.
const FAREWELL_MAX_SECONDS: u64 = 60;

/// What a lane sends: batches, then the end. A channel that closes before the end belongs to a query that failed elsewhere.
enum Item {
    Batch(RecordBatch),
    Failed(Error),
    End,
}

struct Offered {
    owner: Vec<u8>,
    output: Output,
    items: mpsc::Receiver<Item>,
}

/// All results of one node.
#[derive(Default)]
pub(crate) struct Results {
    offered: Mutex<HashMap<DirectTicket, Offered>>,
}

impl std::fmt::Debug for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").field("offered", &self.offered.lock().len()).finish()
    }
}

/// Takes the ticket back when the query ends; after an error some time later, so that a client that comes now learns of it.
struct Withdraw {
    results: Arc<Results>,
    ticket: DirectTicket,
    failed: AtomicBool,
}

impl Drop for Withdraw {
    fn drop(&mut self) {
        let (results, ticket) = (Arc::clone(&self.results), self.ticket.clone());
        match Handle::try_current() {
            Ok(runtime) if self.failed.load(Ordering::SeqCst) => {
                runtime.spawn(async move {
                    tokio::time::sleep(Duration::from_secs(FAREWELL_MAX_SECONDS)).await;
                    results.offered.lock().remove(&ticket);
                });
            }
            _ => drop(results.offered.lock().remove(&ticket)),
        }
    }
}

impl Results {
    /// Makes the ticket good at once; the future ends when the client has taken all rows, with their number.
    pub(crate) fn offer(
        self: &Arc<Self>,
        lane: LaneResult,
        rows: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> BoxFuture<'static, Result<u64>> {
        let (sender, items) = mpsc::channel(READY_BATCHES_MAX_COUNT);
        let LaneResult { ticket, owner, output } = lane;
        self.offered.lock().insert(ticket.clone(), Offered { owner, output: output.clone(), items });
        let withdraw = Withdraw { results: Arc::clone(self), ticket, failed: AtomicBool::new(false) };
        let query = QueryHandle::of(context);
        async move {
            let token = query.as_ref().map_or_else(CancellationToken::new, |query| query.0.token().clone());
            let lane = Pump { sender, token, withdraw };
            lane.run(rows, &output).await
        }
        .boxed()
    }

    /// The rows of a ticket, once, for its owner.
    pub(crate) fn take(
        &self,
        ticket: &DirectTicket,
        owner: &[u8],
    ) -> Result<(Output, impl Stream<Item = Result<RecordBatch>> + use<>)> {
        let unknown = || {
            Error::new(ErrorKind::InvalidCursorName, "the ticket is unknown, was used already or has expired")
                .with_hint("ask for a new one with GetFlightInfo")
        };
        let mut all = self.offered.lock();
        // A forged or foreign call must not use the ticket up.
        if all.get(ticket).ok_or_else(unknown)?.owner != owner {
            return Err(unknown());
        }
        let offered = all.remove(ticket).ok_or_else(unknown)?;
        let rows = stream::unfold(Some(offered.items), |items| async move {
            let mut items = items?;
            match items.recv().await {
                Some(Item::Batch(batch)) => Some((Ok(batch), Some(items))),
                Some(Item::Failed(error)) => Some((Err(error), None)),
                Some(Item::End) => None,
                None => Some((Err(ended_early()), None)),
            }
        });
        Ok((offered.output, rows))
    }
}

fn ended_early() -> Error {
    Error::new(ErrorKind::QueryCanceled, "the query ended before all of its rows were sent")
        .with_detail("it failed on another node, or was cancelled")
        .with_hint("run the statement again")
}

/// One lane on its way to the client.
struct Pump {
    sender: mpsc::Sender<Item>,
    token: CancellationToken,
    withdraw: Withdraw,
}

impl Pump {
    async fn run(self, mut rows: SendableRecordBatchStream, output: &Output) -> Result<u64> {
        let mut count = 0;
        loop {
            let next = tokio::select! {
                biased;
                () = self.token.cancelled() => return Err(self.fail(cancelled())),
                next = rows.next() => next,
            };
            let batch = match next {
                None => break,
                Some(batch) => batch.map_err(Error::from).and_then(|batch| output.convert(&batch)),
            };
            match batch {
                Ok(batch) => {
                    count += batch.num_rows() as u64;
                    self.send(Item::Batch(batch)).await?;
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
        self.send(Item::End).await?;
        // Until the client has read the end, or given up, the query counts as running.
        self.until_taken(self.sender.closed()).await?;
        Ok(count)
    }

    /// Tells the client too, behind the batches that it has not taken yet; the query need not wait for that.
    fn fail(&self, error: Error) -> Error {
        self.withdraw.failed.store(true, Ordering::SeqCst);
        if let Err(TrySendError::Full(item)) = self.sender.try_send(Item::Failed(error.clone())) {
            let sender = self.sender.clone();
            tokio::spawn(async move {
                let wait = Duration::from_secs(FAREWELL_MAX_SECONDS);
                drop(tokio::time::timeout(wait, sender.send(item)).await);
            });
        }
        error
    }

    async fn send(&self, item: Item) -> Result<()> {
        let gone = || Error::new(ErrorKind::QueryCanceled, "the client went away before it had fetched all rows");
        self.until_taken(self.sender.send(item)).await?.map_err(|_| gone())
    }

    async fn until_taken<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let fetched = !self.withdraw.results.offered.lock().contains_key(&self.withdraw.ticket);
        let seconds = if fetched { STALLED_MAX_SECONDS } else { UNFETCHED_MAX_SECONDS };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.fail(cancelled())),
            done = work => Ok(done),
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {
                let message = format!("rows waited {seconds} seconds for their client");
                Err(self.fail(Error::new(ErrorKind::QueryCanceled, message)))
            }
        }
    }
}
