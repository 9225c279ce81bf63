//! HTTP: `/healthz`, `/readyz`, `/metrics`, and statements without a connection (`/v1/statements`).
//!
//! `statements` answers requests, `submitted` runs and keeps them, `rows` writes their results as JSON, which `kept` holds. Health and metrics need no password: they tell nothing of
//! the data; statements do (HTTP basic authentication).

mod kept;
mod rows;
mod statements;
mod submitted;
#[cfg(test)]
mod tests;

use crate::frontend::Engine;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use slipher_common::drain::drained;
use slipher_common::ledger::LedgerLimits;
use slipher_common::tls::{Incoming, Refusal, ServerTls, Stream};
use slipher_common::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use submitted::Statements;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longest request body: one statement with its parameters.
const BODY_MAX_BYTES: usize = 16 << 20;

/// How the endpoint behaves.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Bytes of results that are kept, of each user and of all.
    pub results: LedgerLimits,
    /// Statements that run at a time; one more gets 53300.
    pub running_max: usize,
    /// Encryption for clients that want it.
    pub tls: Option<ServerTls>,
}

/// What requests share.
#[derive(Clone, Debug)]
struct Endpoint {
    engine: Arc<dyn Engine>,
    statements: Arc<Statements>,
}

/// Answers HTTP until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<dyn Engine>,
    options: HttpOptions,
    shutdown: CancellationToken,
) -> Result<()> {
    let connections = Connections(Incoming::new(listener, options.tls.as_ref(), &["http/1.1"], Refusal::HTTP)?);
    let statements = Arc::new(Statements::new(&options, shutdown.clone()));
    let router = router(engine, Arc::clone(&statements));
    let server = axum::serve(connections, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let server = drained(server.into_future(), shutdown.cancelled_owned());
    tokio::select! {
        ended = server => ended.map_err(|error| Error::io("serving HTTP", &error)),
        () = statements.sweep_forever() => Ok(()),
    }
}

/// Connections as axum takes them.
struct Connections(Incoming);

impl axum::serve::Listener for Connections {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        match self.0.next().await {
            Some(stream) => (stream, self.0.address()),
            // Accepting ends with the runtime only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.0.address())
    }
}

fn router(engine: Arc<dyn Engine>, statements: Arc<Statements>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/statements", post(statements::execute))
        .route("/v1/statements/{id}", get(statements::describe).delete(statements::cancel))
        .route("/v1/statements/{id}/result", get(statements::result))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(Endpoint { engine, statements })
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Queries can be answered: every slice is on a node that answers.
async fn readyz(State(endpoint): State<Endpoint>) -> Response {
    match endpoint.engine.check_ready() {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.message)).into_response(),
    }
}

async fn metrics(State(endpoint): State<Endpoint>) -> Response {
    match endpoint.engine.metrics() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => Problem(error).into_response(),
    }
}

/// An error as an answer: `{"error": {"sqlstate", "message", "detail", "hint", "position"}}`.
#[derive(Debug)]
struct Problem(Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = axum::Json(serde_json::json!({ "error": rows::error(&self.0) }));
        let status = match self.0.kind {
            ErrorKind::InvalidPassword | ErrorKind::InvalidAuthorization => StatusCode::UNAUTHORIZED,
            ErrorKind::InvalidCursorName => StatusCode::NOT_FOUND,
            ErrorKind::TooManyConnections | ErrorKind::ProgramLimit | ErrorKind::OutOfMemory => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::CannotConnectNow | ErrorKind::NodeUnavailable | ErrorKind::AdminShutdown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorKind::Internal | ErrorKind::Io | ErrorKind::DataCorrupted => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut response = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"slipher\""));
        }
        response
    }
}
