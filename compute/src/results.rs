//! Rows that lie ready for the clients that have their tickets.

use crate::queries::{QueryHandle, cancelled};
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use parking_lot::Mutex;
use slipher_common::flight::{DirectTicket, Output};
use slipher_common::ledger::{Account, Full, Ledger, LedgerLimits};
use slipher_common::plan::LaneResult;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
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
    Batch(RecordBatch, Ready),
    Failed(Error),
    End,
}

/// A batch that waits counts as its query's memory, and against the limits of results, until the client takes it.
struct Ready {
    account: Arc<Account>,
    memory: MemoryReservation,
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.account.remove(self.memory.size());
    }
}

struct Offered {
    owner: Vec<u8>,
    output: Output,
    items: mpsc::Receiver<Item>,
}

/// All results of one node.
pub(crate) struct Results {
    offered: Mutex<HashMap<DirectTicket, Offered>>,
    ledger: Arc<Ledger>,
    /// By the secret of their tickets: lanes of one result share an account.
    accounts: Mutex<HashMap<String, Weak<Account>>>,
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
    /// None yet. `limits` are of the rows that wait for clients, of each user and of all.
    pub(crate) fn new(limits: LedgerLimits) -> Self {
        Self { offered: Mutex::default(), ledger: Arc::new(Ledger::new(limits)), accounts: Mutex::default() }
    }

    fn account(&self, secret: &str, owner: &[u8]) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(secret).and_then(Weak::upgrade) {
            return account;
        }
        accounts.retain(|_, account| account.strong_count() > 0);
        let account = Arc::new(self.ledger.open(owner));
        accounts.insert(secret.to_owned(), Arc::downgrade(&account));
        account
    }

    /// Makes the ticket good at once; the future ends when the client has taken all rows, with their number.
    pub(crate) fn offer(
        self: &Arc<Self>,
        lane: LaneResult,
        rows: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> BoxFuture<'static, Result<u64>> {
        let (sender, items) = mpsc::channel(READY_BATCHES_MAX_COUNT);
        let LaneResult { ticket, owner, output } = lane;
        let account = self.account(&ticket.secret, &owner);
        let memory = MemoryConsumer::new("Result").register(context.memory_pool());
        self.offered.lock().insert(ticket.clone(), Offered { owner, output: output.clone(), items });
        let withdraw = Withdraw { results: Arc::clone(self), ticket, failed: AtomicBool::new(false) };
        let query = QueryHandle::of(context);
        async move {
            let token = query.as_ref().map_or_else(CancellationToken::new, |query| query.0.token().clone());
            let lane = Pump { sender, token, withdraw, account, memory };
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
                Some(Item::Batch(batch, _taken)) => Some((Ok(batch), Some(items))),
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

fn gone() -> Error {
    Error::new(ErrorKind::QueryCanceled, "the client went away before it had fetched all rows")
}

/// One lane on its way to the client.
struct Pump {
    sender: mpsc::Sender<Item>,
    token: CancellationToken,
    withdraw: Withdraw,
    account: Arc<Account>,
    memory: MemoryReservation,
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
                    self.send_batch(batch).await?;
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

    /// Over the limits, a lane keeps one batch at most, however large it is. Beside other results that wait it does not begin.
    async fn send_batch(&self, batch: RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size();
        if let Err(full) = self.account.try_add(bytes) {
            let begins = !self.is_fetched() && self.sender.capacity() == READY_BATCHES_MAX_COUNT;
            if begins && !self.account.is_alone(full) {
                return Err(self.fail(self.too_much(full)));
            }
            let all = self.until_taken(self.sender.reserve_many(READY_BATCHES_MAX_COUNT)).await?;
            drop(all.map_err(|_| gone())?);
            self.account.add(bytes);
        }
        // It is there: the query's memory cannot refuse it.
        self.memory.grow(bytes);
        let ready = Ready { account: Arc::clone(&self.account), memory: self.memory.split(bytes) };
        self.send(Item::Batch(batch, ready)).await
    }

    async fn send(&self, item: Item) -> Result<()> {
        self.until_taken(self.sender.send(item)).await?.map_err(|_| gone())
    }

    fn is_fetched(&self) -> bool {
        !self.withdraw.results.offered.lock().contains_key(&self.withdraw.ticket)
    }

    fn too_much(&self, full: Full) -> Error {
        let limits = self.withdraw.results.ledger.limits();
        let (whose, bytes, option) = match full {
            Full::Owner => ("of the user", limits.owner_bytes, "--user-results-mib"),
            Full::All => ("of all users", limits.all_bytes, "--results-mib"),
        };
        let message = format!("out of memory: rows {whose} that wait to be fetched take more than {} MiB", bytes >> 20);
        Error::new(ErrorKind::OutOfMemory, message)
            .with_hint(format!("fetch results before asking for others, or start the compute nodes with a larger {option}"))
    }

    async fn until_taken<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let seconds = if self.is_fetched() { STALLED_MAX_SECONDS } else { UNFETCHED_MAX_SECONDS };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::poll;

    /// Two of its batches are more than `limits` allow.
    fn rows() -> (usize, SendableRecordBatchStream) {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1; 100]))]).unwrap();
        let bytes = batch.get_array_memory_size();
        let batches = futures::stream::iter((0..3).map(move |_| Ok(batch.clone())));
        (bytes, Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn offered(results: &Arc<Results>, secret: &str, owner: &[u8]) -> (DirectTicket, BoxFuture<'static, Result<u64>>) {
        let (_, rows) = rows();
        let ticket = DirectTicket { secret: secret.to_owned(), task: 0, lane: 0 };
        let lane = LaneResult { ticket: ticket.clone(), owner: owner.to_vec(), output: Output::new(&rows.schema()) };
        (ticket, results.offer(lane, rows, &context()))
    }

    #[tokio::test]
    async fn rows_that_wait_are_limited_by_user_and_in_all() {
        let bytes = rows().0;
        let results = Arc::new(Results::new(LedgerLimits { owner_bytes: bytes, all_bytes: 2 * bytes }));
        // Alone, a result keeps one batch, and comes through when it is fetched.
        let (first, mut first_rows) = offered(&results, "first", b"a");
        assert!(poll!(&mut first_rows).is_pending());
        assert_eq!(results.ledger.all_bytes(), bytes);
        // A second one of the same user's is too much, one of another user's is not, and the third user is in the way of all.
        let refused = offered(&results, "second", b"a").1.await.unwrap_err();
        assert_eq!(refused.sqlstate(), "53200");
        let (other, mut other_rows) = offered(&results, "other", b"b");
        assert!(poll!(&mut other_rows).is_pending());
        let refused = offered(&results, "third", b"c").1.await.unwrap_err();
        assert!(refused.message.contains("of all users"), "{refused}");
        for (ticket, owner, rows) in [(first, b"a", first_rows), (other, b"b", other_rows)] {
            let (_, fetched) = results.take(&ticket, owner).unwrap();
            let (sent, taken) = futures::join!(rows, fetched.collect::<Vec<_>>());
            assert_eq!((sent.unwrap(), taken.into_iter().map(|batch| batch.unwrap().num_rows()).sum()), (300, 300));
        }
        assert_eq!(results.ledger.all_bytes(), 0);
    }
}
