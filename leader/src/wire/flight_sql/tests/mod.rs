//! The endpoint over loopback, with Arrow's own Flight SQL client, against an engine in this process.

pub(in crate::wire) mod fake;
mod fuzz;
mod metadata;
mod statements;
mod uploads;

use super::{FlightOptions, serve};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use fake::FakeEngine;
use futures::TryStreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::transport::Channel;

type Client = FlightSqlServiceClient<Channel>;

/// An endpoint that lives as long as this value.
struct Server {
    engine: Arc<FakeEngine>,
    url: String,
    _shutdown: DropGuard,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(FlightOptions::default()).await
    }

    async fn start_with(options: FlightOptions) -> Self {
        let engine = FakeEngine::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, engine.clone(), options, shutdown.clone()));
        Self { engine, url, _shutdown: shutdown.drop_guard() }
    }

    /// A client that has not said who it is.
    async fn stranger(&self) -> Client {
        FlightSqlServiceClient::new(Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap())
    }

    async fn client(&self) -> Client {
        let mut client = self.stranger().await;
        client.handshake("admin", "secret").await.unwrap();
        client
    }

    fn ran_count(&self, text: &str) -> usize {
        self.engine.ran.lock().iter().filter(|ran| *ran == text).count()
    }
}

async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await?.try_collect().await
}

async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, FlightError> {
    let info = client.execute(sql.to_owned(), None).await?;
    fetch(client, info).await
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("not a status: {other}"),
    }
}

fn sqlstate(error: FlightError) -> String {
    let status = status(error);
    let state = status.metadata().get("sqlstate").unwrap_or_else(|| panic!("no SQLSTATE: {status}"));
    assert!(status.message().ends_with(&format!(" (SQLSTATE {})", state.to_str().unwrap())), "{}", status.message());
    state.to_str().unwrap().to_owned()
}

fn table(batches: &[RecordBatch]) -> String {
    arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string()
}

/// Waits for something that happens soon or never.
async fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..200 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen: {what}");
}
