//! Connections between nodes: one per address, with limits on how long each step may take.

use crate::error::{Error, ErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{ChannelResolver, WorkerChannel};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use url::Url;

/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// A silent connection is probed so often.
pub const KEEP_ALIVE_INTERVAL_MS: u64 = 2_000;
/// A probe that is not answered in this time ends the connection. As long as a node may be silent: a busy one answers late.
pub const KEEP_ALIVE_TIMEOUT_MS: u64 = 10_000;

/// Bytes of one message of something long that is sent in parts (gRPC's default limit is 4 MiB).
pub const MESSAGE_CHUNK_BYTES: usize = 1 << 20;
/// Bytes of one stream that may be under way: a batch fits several times.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes of one connection that may be under way.
pub const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// An endpoint with Slipher's timeouts; connections are made at first use and made again after they broke.
pub fn endpoint(address: &str) -> crate::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| Error::new(ErrorKind::Config, format!("connecting to node \"{address}\": {error}")))?;
    Ok(endpoint
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .http2_keep_alive_interval(Duration::from_millis(KEEP_ALIVE_INTERVAL_MS))
        .keep_alive_timeout(Duration::from_millis(KEEP_ALIVE_TIMEOUT_MS))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true))
}

/// The connections of one process to compute nodes, by address.
#[derive(Clone, Debug)]
pub struct NodeChannels {
    channels: Arc<Mutex<HashMap<String, NodeChannel>>>,
    /// Where they are served, whoever uses them first.
    runtime: Option<Handle>,
}

impl Default for NodeChannels {
    fn default() -> Self {
        Self { channels: Arc::default(), runtime: Handle::try_current().ok() }
    }
}

impl NodeChannels {
    /// The connection to `address`; made lazily.
    pub fn channel(&self, address: &str) -> crate::Result<NodeChannel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let _served_there = self.runtime.as_ref().map(Handle::enter);
        let channel = NodeChannel { channel: endpoint(address)?.connect_lazy(), heard: Heard::default() };
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// When something came over the connection to `address` last: an answer, or a part of one.
    pub fn last_heard(&self, address: &str) -> Option<Instant> {
        self.channels.lock().get(address).and_then(|channel| *channel.heard.0.lock())
    }
}

/// When something was heard from a node last.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Option<Instant>>>);

impl Heard {
    fn note(&self) {
        *self.0.lock() = Some(Instant::now());
    }
}

/// A connection to a node that notes when something comes over it.
#[derive(Clone, Debug)]
pub struct NodeChannel {
    channel: Channel,
    heard: Heard,
}

impl Service<http::Request<Body>> for NodeChannel {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (answer, heard) = (self.channel.call(request), self.heard.clone());
        Box::pin(async move {
            let answer = answer.await?;
            heard.note();
            Ok(answer.map(|body| Body::new(NotedBody { body, heard })))
        })
    }
}

/// The body of an answer, which notes when its parts come.
struct NotedBody {
    body: Body,
    heard: Heard,
}

impl tonic::codegen::Body for NotedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<http_body::Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            self.heard.note();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// What a call to another node that failed means; `doing` says what it was for.
pub fn call_error(doing: &str, status: &Status) -> Error {
    if let Some(mut own) = Error::from_wire_text(status.message()) {
        own.message = format!("{doing}: {}", own.message);
        return own;
    }
    let kind = match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::Unknown => {
            ErrorKind::NodeUnavailable
        }
        Code::NotFound => ErrorKind::UndefinedFile,
        Code::DataLoss => ErrorKind::DataCorrupted,
        Code::FailedPrecondition => ErrorKind::Config,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("{doing}: {}", status.message()))
}

#[async_trait]
impl ChannelResolver for NodeChannels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let channel = self.channel(url.as_str().trim_end_matches('/')).map_err(DataFusionError::from)?;
        Ok(create_worker_client(BoxCloneSyncChannel::new(channel)))
    }
}
