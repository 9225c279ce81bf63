//! Connections between nodes: one per address, with limits on how long each step may take.

use crate::error::{Error, ErrorKind};
use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result};
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{ChannelResolver, WorkerChannel};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use url::Url;

/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// A silent connection is probed so often.
pub const KEEP_ALIVE_INTERVAL_MS: u64 = 2_000;
/// A probe that is not answered in this time ends the connection.
pub const KEEP_ALIVE_TIMEOUT_MS: u64 = 4_000;

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
    channels: Arc<Mutex<HashMap<String, Channel>>>,
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
    pub fn channel(&self, address: &str) -> crate::Result<Channel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let _served_there = self.runtime.as_ref().map(Handle::enter);
        let channel = endpoint(address)?.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
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
