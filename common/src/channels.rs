//! Connections between nodes: two per address, with limits on how long each step may take.

use crate::error::{Error, ErrorKind};
use crate::preface::Preface;
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
    of_nodes: Arc<Mutex<HashMap<String, OfNode>>>,
    /// Where connections to nodes' own services are served, whoever uses them first.
    usual: Handle,
    /// Where connections for tasks and their rows are.
    queries: Handle,
}

/// The connections to one node.
#[derive(Clone, Debug)]
struct OfNode {
    service: NodeChannel,
    tasks: NodeChannel,
}

impl NodeChannels {
    /// None yet. What is asked of nodes' own services is served by the caller's threads, tasks of queries and their rows by `queries`.
    pub fn new(queries: Handle) -> Self {
        let usual = Handle::try_current().unwrap_or_else(|_| queries.clone());
        Self { of_nodes: Arc::default(), usual, queries }
    }

    /// The connection to the own service of the node at `address`; made lazily.
    pub fn service(&self, address: &str) -> crate::Result<NodeChannel> {
        Ok(self.of_node(address)?.service)
    }

    /// The connection for tasks of queries on the node at `address`; made lazily.
    pub fn tasks(&self, address: &str) -> crate::Result<NodeChannel> {
        Ok(self.of_node(address)?.tasks)
    }

    fn of_node(&self, address: &str) -> crate::Result<OfNode> {
        let mut of_nodes = self.of_nodes.lock();
        if let Some(of_node) = of_nodes.get(address) {
            return Ok(of_node.clone());
        }
        let (endpoint, heard) = (endpoint(address)?, Heard::default());
        let service = {
            let _served_there = self.usual.enter();
            NodeChannel { channel: Preface::Service.channel(&endpoint), heard: heard.clone() }
        };
        let tasks = {
            let _served_there = self.queries.enter();
            NodeChannel { channel: endpoint.connect_lazy(), heard }
        };
        let of_node = OfNode { service, tasks };
        of_nodes.insert(address.to_owned(), of_node.clone());
        Ok(of_node)
    }

    /// When something came from the node at `address` last: an answer, or a part of one.
    pub fn last_heard(&self, address: &str) -> Option<Instant> {
        self.of_nodes.lock().get(address).and_then(|of_node| *of_node.service.heard.0.lock())
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
        let channel = self.tasks(url.as_str().trim_end_matches('/')).map_err(DataFusionError::from)?;
        Ok(create_worker_client(BoxCloneSyncChannel::new(channel)))
    }
}
