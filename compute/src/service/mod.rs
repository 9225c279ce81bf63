//! The compute node's own gRPC service: control, segment transfer, rows without a plan, sweeping, cancelling and progress.

mod control;
mod fragment;
mod rows;
mod stopping;
mod sweep;
mod task;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use control::control_service;
pub(crate) use fragment::task_session;
pub(crate) use stopping::stoppable_joins;

use crate::NodeRuntime;
use crate::replicate::ensure_readable;
use crate::store::IncomingSegment;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use prost::Message as _;
use slipher_common::channels::MESSAGE_CHUNK_BYTES;
use slipher_common::fence::Fence;
use slipher_common::ids::{SegmentId, SliceId, TableId, TransactionId};
use slipher_common::plan::SegmentRef;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::compute as proto;
use slipher_proto::compute::compute_node_server::{ComputeNode, ComputeNodeServer};
use slipher_proto::compute::put_segment_request::Part;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::io::ReaderStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// How long a sender of a segment or of rows may be silent.
const CHUNK_TIMEOUT_S: u64 = 30;

/// The service of one node.
#[derive(Clone, Debug)]
pub struct ComputeNodeService {
    pub(crate) node: Arc<NodeRuntime>,
}

impl ComputeNodeService {
    /// The service of `node`.
    pub fn of(node: &Arc<NodeRuntime>) -> Self {
        Self { node: Arc::clone(node) }
    }

    /// As a service of a tonic server.
    pub fn into_server(self) -> ComputeNodeServer<Self> {
        ComputeNodeServer::new(self)
    }

    async fn receive(&self, mut parts: Streaming<proto::PutSegmentRequest>) -> Result<()> {
        let doing = "storing a segment";
        let Some(Part::Header(header)) = next_part(&mut parts, doing, |message| message.part).await? else {
            return Err(Error::new(ErrorKind::ProtocolViolation, format!("{doing}: the first message is not the header")));
        };
        let (table, segment) = (TableId(header.table_id), SegmentId::from_bytes(&header.segment_id)?);
        let transaction = TransactionId::from_bytes(&header.transaction_id)?;
        if let Some(fence) = &header.fence {
            self.node.store().obey(Fence::from_proto(fence)?).await?;
        }
        let mut incoming = self.node.store().create(table, segment, Some(transaction)).await?;
        while let Some(part) = next_part(&mut parts, doing, |message| message.part).await? {
            let Part::Chunk(chunk) = part else {
                return Err(Error::new(ErrorKind::ProtocolViolation, format!("storing segment {segment}: a second header")));
            };
            append(&mut incoming, segment, &chunk, header.bytes).await?;
        }
        incoming.publish(Some((header.bytes, header.checksum))).await?;
        Ok(())
    }
}

async fn append(incoming: &mut IncomingSegment, segment: SegmentId, chunk: &[u8], expected_bytes: u64) -> Result<()> {
    if incoming.bytes() + chunk.len() as u64 > expected_bytes {
        let message = format!("storing segment {segment}: more than its {expected_bytes} bytes arrived");
        return Err(Error::new(ErrorKind::DataCorrupted, message));
    }
    incoming.append(chunk).await.map_err(|e| Error::io(format!("storing segment {segment}"), &e))
}

/// The part in the next message of a sender, who may not be silent for long; None after the last.
async fn next_part<T, P>(messages: &mut Streaming<T>, doing: &str, part: fn(T) -> Option<P>) -> Result<Option<P>> {
    let message = next_message(messages, doing).await?;
    let empty = || Error::new(ErrorKind::ProtocolViolation, format!("{doing}: an empty message"));
    message.map(|message| part(message).ok_or_else(empty)).transpose()
}

/// The next message of a sender, who may not be silent for long; None after the last.
async fn next_message<T>(messages: &mut Streaming<T>, doing: &str) -> Result<Option<T>> {
    let message = tokio::time::timeout(Duration::from_secs(CHUNK_TIMEOUT_S), messages.message())
        .await
        .map_err(|_| Error::new(ErrorKind::NodeUnavailable, format!("{doing}: the sender was silent for {CHUNK_TIMEOUT_S} s")))?;
    message.map_err(|status| Error::new(ErrorKind::NodeUnavailable, format!("{doing}: {status}")))
}

/// An error as a status whose message carries all of it.
fn to_status(error: Error) -> Status {
    let code = match error.kind {
        ErrorKind::UndefinedFile => Code::NotFound,
        ErrorKind::DataCorrupted => Code::DataLoss,
        ErrorKind::Config => Code::FailedPrecondition,
        ErrorKind::ProtocolViolation | ErrorKind::InvalidParameter => Code::InvalidArgument,
        ErrorKind::DiskFull | ErrorKind::OutOfMemory | ErrorKind::ProgramLimit => Code::ResourceExhausted,
        ErrorKind::NodeUnavailable => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, error.to_wire_text())
}

/// Runs file work on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(to_status),
        Err(e) => Err(to_status(Error::internal(format!("working on files: {e}")))),
    }
}

#[tonic::async_trait]
impl ComputeNode for ComputeNodeService {
    async fn ping(&self, request: Request<proto::PingRequest>) -> Result<Response<proto::PingResponse>, Status> {
        self.answer_ping(request.into_inner()).await.map(Response::new)
    }

    async fn fetch_segment(
        &self,
        request: Request<proto::FetchSegmentRequest>,
    ) -> Result<Response<proto::FetchSegmentResponse>, Status> {
        let request = request.into_inner();
        self.node.store().obey(Fence::required(request.fence.as_ref()).map_err(to_status)?).await.map_err(to_status)?;
        let segment = SegmentRef {
            id: SegmentId::from_bytes(&request.segment_id).map_err(to_status)?,
            slice: SliceId(request.slice),
            rows: request.rows,
            bytes: request.bytes,
            checksum: request.checksum,
            other_copies: request.addresses.into(),
            delete_vector: None,
            number: 0,
            part: None,
        };
        let table = TableId(request.table_id);
        let readable = ensure_readable(self.node.store(), self.node.peers(), table, &request.table_name, &segment).await;
        readable.map(|_| Response::new(proto::FetchSegmentResponse {})).map_err(to_status)
    }

    async fn put_segment(
        &self,
        request: Request<Streaming<proto::PutSegmentRequest>>,
    ) -> Result<Response<proto::PutSegmentResponse>, Status> {
        self.receive(request.into_inner()).await.map_err(to_status)?;
        Ok(Response::new(proto::PutSegmentResponse { node_id: self.node.store().node_id().to_vec() }))
    }

    type WriteRowsStream = BoxStream<'static, Result<proto::WriteRowsResponse, Status>>;

    async fn write_rows(
        &self,
        request: Request<Streaming<proto::WriteRowsRequest>>,
    ) -> Result<Response<Self::WriteRowsStream>, Status> {
        let (metadata, _, parts) = request.into_parts();
        let receipts = rows::write(&self.node, &metadata.into_headers(), parts).await.map_err(to_status)?;
        // One by one: those of a wide table in many slices would not fit one message.
        let receipts =
            receipts.into_iter().map(|segment| Ok(proto::WriteRowsResponse { receipt: segment.to_proto().encode_to_vec() }));
        Ok(Response::new(futures::stream::iter(receipts).boxed()))
    }

    type ReadRowsStream = BoxStream<'static, Result<proto::ReadRowsResponse, Status>>;

    async fn read_rows(&self, request: Request<proto::ReadRowsRequest>) -> Result<Response<Self::ReadRowsStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let rows = fragment::read(&self.node, &metadata.into_headers(), request).await.map_err(to_status)?;
        Ok(Response::new(rows))
    }

    type GetSegmentStream = BoxStream<'static, Result<proto::GetSegmentResponse, Status>>;

    async fn get_segment(&self, request: Request<proto::GetSegmentRequest>) -> Result<Response<Self::GetSegmentStream>, Status> {
        let request = request.into_inner();
        let segment = SegmentId::from_bytes(&request.segment_id).map_err(to_status)?;
        let doing = format!("reading segment {segment} of table {} on node {}", request.table_id, self.node.store().node_id());
        let table = TableId(request.table_id);
        let path = self.node.store().segment_path(table, segment);
        if !self.node.store().contains(table, segment) {
            let store = Arc::clone(self.node.store());
            blocking(move || store.rescue(table, segment)).await?;
        }
        let file = tokio::fs::File::open(&path).await.map_err(|e| to_status(Error::io(&doing, &e)))?;
        // The receiver compares size and checksum.
        let chunks = ReaderStream::with_capacity(file, MESSAGE_CHUNK_BYTES)
            .map_ok(|chunk| proto::GetSegmentResponse { chunk: chunk.to_vec() })
            .map_err(move |e| to_status(Error::io(&doing, &e)));
        Ok(Response::new(chunks.boxed()))
    }

    async fn sweep(&self, request: Request<Streaming<proto::SweepRequest>>) -> Result<Response<proto::SweepResponse>, Status> {
        self.sweep_in_parts(request.into_inner()).await.map(Response::new)
    }

    async fn cancel_query(
        &self,
        request: Request<proto::CancelQueryRequest>,
    ) -> Result<Response<proto::CancelQueryResponse>, Status> {
        Ok(Response::new(self.end_query(request.get_ref())))
    }

    async fn query_progress(
        &self,
        request: Request<proto::QueryProgressRequest>,
    ) -> Result<Response<proto::QueryProgressResponse>, Status> {
        let progress = self.node.queries().progress(&request.into_inner().query_id).unwrap_or_default();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (rejected_rows, rejections) = progress.rejected.seen();
        Ok(Response::new(proto::QueryProgressResponse {
            rejected_rows,
            rejections,
            tasks_started: count(&progress.tasks_started),
            tasks_ended: count(&progress.tasks_ended),
            scanned_rows: count(&progress.scanned_rows),
            scanned_bytes: count(&progress.scanned_bytes),
        }))
    }
}
