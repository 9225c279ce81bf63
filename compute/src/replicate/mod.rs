//! Copies of segments between compute nodes, and the connections they go over.

mod repair;

pub(crate) use repair::ensure_readable;

use crate::store::{FileFault, Store};
use parking_lot::Mutex;
use slipher_common::channels::{MESSAGE_CHUNK_BYTES, call_error};
use slipher_common::ids::{NodeId, SegmentId, TableId, TransactionId};
use slipher_common::plan::SegmentRef;
use slipher_common::preface::Preface;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::compute::compute_node_client::ComputeNodeClient;
use slipher_proto::compute::put_segment_request::Part;
use slipher_proto::compute::{GetSegmentRequest, PutSegmentRequest, SegmentHeader};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long connecting to a node may take.
const CONNECT_TIMEOUT_S: u64 = 3;
/// How often an open connection is probed, so that a silent node is noticed.
const KEEP_ALIVE_INTERVAL_S: u64 = 3;
/// How long the answer to a probe may take: a busy node answers late.
const KEEP_ALIVE_TIMEOUT_S: u64 = 10;
/// How long a transfer may take beside its bytes.
const TRANSFER_TIMEOUT_BASE_S: u64 = 30;
/// The slowest transfer that is waited for.
const TRANSFER_BYTES_PER_S_MIN: u64 = 1 << 20;
/// Most connections that are kept.
const CONNECTIONS_MAX: usize = 1024;

/// Connections to other compute nodes, one per address.
#[derive(Debug)]
pub struct Peers {
    clients: Mutex<HashMap<String, ComputeNodeClient<Channel>>>,
    /// Where they are served, whoever uses them first.
    runtime: Option<Handle>,
}

impl Default for Peers {
    fn default() -> Self {
        Self { clients: Mutex::default(), runtime: Handle::try_current().ok() }
    }
}

/// One segment file as a transfer names it.
#[derive(Clone, Copy, Debug)]
pub struct SegmentFile {
    /// The table.
    pub table: TableId,
    /// The segment.
    pub segment: SegmentId,
    /// Bytes.
    pub bytes: u64,
    /// XXH3-64.
    pub checksum: u64,
}

impl Peers {
    /// The client of a node (`http://host:port`); connects when it is first used, and again after a failure.
    pub fn client(&self, address: &str) -> Result<ComputeNodeClient<Channel>> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|e| {
            Error::new(ErrorKind::InvalidParameter, format!("connecting to compute node \"{address}\": {e}"))
                .with_hint("an internal address has the form http://host:port")
        })?;
        let _served_there = self.runtime.as_ref().map(Handle::enter);
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S))
            .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_INTERVAL_S))
            .keep_alive_timeout(Duration::from_secs(KEEP_ALIVE_TIMEOUT_S))
            .tcp_nodelay(true);
        let client = ComputeNodeClient::new(Preface::Service.channel(&endpoint));
        if clients.len() >= CONNECTIONS_MAX {
            // Addresses change seldom; starting over is simpler than an order of use.
            clients.clear();
        }
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    /// Copies an own file to the node at `address`; answers that node's id when the copy is durable there.
    pub async fn put_segment(
        &self,
        address: &str,
        store: &Arc<Store>,
        file: SegmentFile,
        transaction: TransactionId,
    ) -> Result<NodeId> {
        let doing = format!("copying segment {} of table {} to compute node \"{address}\"", file.segment, file.table);
        let header = SegmentHeader {
            segment_id: file.segment.to_vec(),
            table_id: file.table.0,
            bytes: file.bytes,
            checksum: file.checksum,
            transaction_id: transaction.to_vec(),
            fence: store.fence().map(|fence| fence.to_proto()),
        };
        let path = store.segment_path(file.table, file.segment);
        let source = tokio::fs::File::open(&path).await.map_err(|e| Error::io(format!("{doing}: \"{}\"", path.display()), &e))?;
        let failure = Arc::new(Mutex::new(None));
        let requests = put_requests(header, source, Arc::clone(&failure));
        let mut client = self.client(address)?;
        let answer = within(transfer_timeout(file.bytes), &doing, client.put_segment(requests)).await;
        // A stream that broke off here looks like a bad copy there.
        if let Some(e) = failure.lock().take() {
            return Err(Error::io(format!("{doing}: \"{}\"", path.display()), &e));
        }
        NodeId::from_bytes(&answer?.into_inner().node_id)
    }

    /// Fetches a file from the node at `address`, compares it, and keeps it as this node's own.
    pub async fn get_segment(&self, address: &str, store: &Arc<Store>, table: TableId, segment: &SegmentRef) -> Result<()> {
        let doing = format!("fetching segment {} of table {table} from compute node \"{address}\"", segment.id);
        let request = GetSegmentRequest { segment_id: segment.id.to_vec(), table_id: table.0 };
        let mut client = self.client(address)?;
        let mut incoming = store.create(table, segment.id, None).await?;
        let transfer = async {
            let mut chunks = client.get_segment(request).await?.into_inner();
            while let Some(message) = chunks.message().await? {
                if incoming.bytes() + message.chunk.len() as u64 > segment.bytes {
                    return Err(Status::data_loss(format!("more than the {} bytes of the segment arrived", segment.bytes)));
                }
                incoming
                    .append(&message.chunk)
                    .await
                    .map_err(|e| Status::internal(Error::io("storing it", &e).to_wire_text()))?;
            }
            Ok(())
        };
        within(transfer_timeout(segment.bytes), &doing, transfer).await?;
        incoming.publish(Some((segment.bytes, segment.checksum))).await?;
        Ok(())
    }
}

fn put_requests(
    header: SegmentHeader,
    source: tokio::fs::File,
    failure: Arc<Mutex<Option<std::io::Error>>>,
) -> impl futures::Stream<Item = PutSegmentRequest> + Send + 'static {
    let first = futures::stream::iter([PutSegmentRequest { part: Some(Part::Header(header)) }]);
    let chunks = futures::stream::unfold(source, move |mut source| {
        let failure = Arc::clone(&failure);
        async move {
            let mut chunk = Vec::with_capacity(MESSAGE_CHUNK_BYTES);
            match (&mut source).take(MESSAGE_CHUNK_BYTES as u64).read_to_end(&mut chunk).await {
                Ok(0) => None,
                Ok(_) => Some((PutSegmentRequest { part: Some(Part::Chunk(chunk)) }, source)),
                Err(e) => {
                    *failure.lock() = Some(e);
                    None
                }
            }
        }
    });
    futures::StreamExt::chain(first, chunks)
}

fn transfer_timeout(bytes: u64) -> Duration {
    Duration::from_secs(TRANSFER_TIMEOUT_BASE_S + bytes / TRANSFER_BYTES_PER_S_MIN)
}

/// Runs a call with a limit; what fails becomes an error that says what was being done.
async fn within<T>(limit: Duration, doing: &str, call: impl Future<Output = Result<T, Status>>) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(call_error(doing, &status)),
        Err(_) => Err(Error::new(ErrorKind::NodeUnavailable, format!("{doing}: no answer within {} s", limit.as_secs()))),
    }
}

/// The kind of error a fault of a node's own file is.
pub(crate) fn kind_of(fault: &FileFault) -> ErrorKind {
    match fault {
        FileFault::Missing => ErrorKind::UndefinedFile,
        FileFault::Size { .. } | FileFault::Checksum { .. } | FileFault::Unreadable(_) => ErrorKind::DataCorrupted,
    }
}
