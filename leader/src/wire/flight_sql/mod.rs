//! Arrow Flight SQL: statements, prepared statements, metadata calls, bulk ingest, transactions, cancelling.
//!
//! The way of a query: `endpoint` (gRPC) → `client` (credentials to a session) → `service` (plans, gives a ticket) →
//! `query` (redeems the ticket, runs) → `slipher_common::flight` (types every client reads) → stream. Uploads come in through `input`.

mod client;
mod endpoint;
mod info;
mod ingest;
mod input;
mod ipc;
mod keys;
mod metadata;
mod prepared;
mod query;
mod registry;
mod service;
mod session_options;
#[cfg(test)]
pub(super) mod tests;

use crate::frontend::Engine;
use arrow_flight::flight_service_server::FlightServiceServer;
use slipher_common::drain::drained;
use slipher_common::tls::{Incoming, Refusal, ServerTls};
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longest message a client may send, in bytes: one record batch of an upload.
const MESSAGE_MAX_BYTES: usize = 128 << 20;
/// Calls that run at once over one connection.
const CALLS_PER_CONNECTION_MAX_COUNT: u32 = 200;
/// How often expired sessions, tickets and prepared statements are looked for.
const SWEEP_PERIOD_SECONDS: u64 = 15;
/// How often an idle connection is probed, and how long its answer may take.
const KEEPALIVE_PERIOD_SECONDS: u64 = 60;
/// See [`KEEPALIVE_PERIOD_SECONDS`].
const KEEPALIVE_TIMEOUT_SECONDS: u64 = 20;
/// How long a session may be idle unless an option says otherwise.
const SESSION_IDLE_MAX_SECONDS: u64 = 3600;
/// Sessions at a time unless an option says otherwise.
const SESSIONS_MAX_COUNT: usize = 500;

/// How the endpoint behaves.
#[derive(Clone, Debug)]
pub struct FlightOptions {
    /// Sessions and prepared statements end when they were not used for so long.
    pub session_idle_max: Duration,
    /// Sessions at a time; one more gets 53300.
    pub sessions_max: usize,
    /// Sessions know BEGIN, COMMIT and ROLLBACK: clients are told so, and ingest into a new table is one transaction.
    pub transactions: bool,
    /// Encryption for clients that want it.
    pub tls: Option<ServerTls>,
}

impl Default for FlightOptions {
    fn default() -> Self {
        Self {
            session_idle_max: Duration::from_secs(SESSION_IDLE_MAX_SECONDS),
            sessions_max: SESSIONS_MAX_COUNT,
            transactions: true,
            tls: None,
        }
    }
}

/// Serves Flight SQL on `listener` until `shutdown`; running queries then end with 57P01.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<dyn Engine>,
    options: FlightOptions,
    shutdown: CancellationToken,
) -> Result<()> {
    let connections = Incoming::new(listener, options.tls.as_ref(), &["h2"], Refusal::HTTP2)?;
    let service = Arc::new(service::Service::new(engine, options, shutdown.clone())?);
    let flight = FlightServiceServer::new(endpoint::Endpoint(service.clone())).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX_COUNT)
        .http2_keepalive_interval(Some(Duration::from_secs(KEEPALIVE_PERIOD_SECONDS)))
        .http2_keepalive_timeout(Some(Duration::from_secs(KEEPALIVE_TIMEOUT_SECONDS)))
        .add_service(flight)
        .serve_with_incoming_shutdown(connections, shutdown.clone().cancelled_owned());
    let server = drained(server, shutdown.cancelled_owned());
    tokio::select! {
        ended = server => ended.map_err(|error| Error::new(ErrorKind::Io, format!("serving Flight SQL: {error}"))),
        () = sweep_forever(&service) => Ok(()),
    }
}

async fn sweep_forever(service: &service::Service) {
    let mut period = tokio::time::interval(Duration::from_secs(SWEEP_PERIOD_SECONDS));
    loop {
        period.tick().await;
        service.sweep();
    }
}
