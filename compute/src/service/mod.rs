//! The compute node's own gRPC service: liveness, segment transfer, rows without a plan, sweeping, cancelling and progress.

mod queries;
mod rows;
mod stopping;
mod task;
#[cfg(test)]
pub(crate) mod tests;

pub use queries::{QueryHandle, QueryRegistry, RunningQuery};
pub(crate) use queries::{cancelled, until_cancelled};
pub(crate) use stopping::stoppable_joins;

use crate::NodeRuntime;
use crate::replicate::ensure_readable;
use crate::store::{DiskSpace, IncomingSegment, other_cluster};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use prost::Message as _;
use slipher_common::channels::MESSAGE_CHUNK_BYTES;
use slipher_common::ids::{ClusterId, SegmentId, SliceId, TableId, TransactionId};
use slipher_common::plan::SegmentRef;
use slipher_common::{Error, ErrorKind, Result, VERSION};
use slipher_proto::compute as proto;
use slipher_proto::compute::compute_node_server::{ComputeNode, ComputeNodeServer};
use slipher_proto::compute::put_segment_request::Part;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
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
    /// As a service of a tonic server.
    pub fn into_server(self) -> ComputeNodeServer<Self> {
        ComputeNodeServer::new(self)
    }

    fn activity(&self, disk: DiskSpace) -> proto::NodeActivity {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let activity = self.node.activity();
        let (memory_reserved_bytes, spill_used_bytes) = self.node.memory().in_use();
        proto::NodeActivity {
            scanned_rows: count(&activity.scanned_rows),
            scanned_bytes: count(&activity.scanned_bytes),
            shuffled_rows: count(&activity.shuffled_rows),
            shuffled_bytes: count(&activity.shuffled_bytes),
            spilled_rows: count(&activity.spilled_rows),
            spilled_bytes: count(&activity.spilled_bytes),
            tasks: count(&activity.tasks),
            memory_reserved_bytes,
            spill_used_bytes,
            disk_free_bytes: disk.free_bytes,
            disk_bytes: disk.bytes,
        }
    }

    async fn receive(&self, mut parts: Streaming<proto::PutSegmentRequest>) -> Result<()> {
        let doing = "storing a segment";
        let Some(Part::Header(header)) = next_part(&mut parts, doing, |message| message.part).await? else {
            return Err(Error::new(ErrorKind::ProtocolViolation, format!("{doing}: the first message is not the header")));
        };
        let (table, segment) = (TableId(header.table_id), SegmentId::from_bytes(&header.segment_id)?);
        let transaction = TransactionId::from_bytes(&header.transaction_id)?;
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
    let message = tokio::time::timeout(Duration::from_secs(CHUNK_TIMEOUT_S), messages.message())
        .await
        .map_err(|_| Error::new(ErrorKind::NodeUnavailable, format!("{doing}: the sender was silent for {CHUNK_TIMEOUT_S} s")))?;
    let message = message.map_err(|status| Error::new(ErrorKind::NodeUnavailable, format!("{doing}: {status}")))?;
    let empty = || Error::new(ErrorKind::ProtocolViolation, format!("{doing}: an empty message"));
    message.map(|message| part(message).ok_or_else(empty)).transpose()
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
        let asked = request.into_inner().cluster_id;
        if !asked.is_empty() {
            let asked = ClusterId::from_bytes(&asked).map_err(to_status)?;
            if let Some(own) = self.node.store().cluster_id().filter(|own| *own != asked) {
                return Err(to_status(other_cluster(Path::new("of this node"), own, asked)));
            }
        }
        let store = Arc::clone(self.node.store());
        let usage = store.usage();
        let disk = blocking(move || store.disk_space()).await?;
        Ok(Response::new(proto::PingResponse {
            node_id: self.node.store().node_id().to_vec(),
            cluster_id: self.node.store().cluster_id().map(ClusterId::to_vec).unwrap_or_default(),
            version: VERSION.to_owned(),
            segments: usage.segments,
            bytes: usage.bytes,
            activity: Some(self.activity(disk)),
            now_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
        }))
    }

    async fn fetch_segment(
        &self,
        request: Request<proto::FetchSegmentRequest>,
    ) -> Result<Response<proto::FetchSegmentResponse>, Status> {
        let request = request.into_inner();
        let segment = SegmentRef {
            id: SegmentId::from_bytes(&request.segment_id).map_err(to_status)?,
            slice: SliceId(request.slice),
            rows: request.rows,
            bytes: request.bytes,
            checksum: request.checksum,
            other_copies: request.addresses,
            delete_vector: None,
            number: 0,
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

    type GetSegmentStream = BoxStream<'static, Result<proto::GetSegmentResponse, Status>>;

    async fn get_segment(&self, request: Request<proto::GetSegmentRequest>) -> Result<Response<Self::GetSegmentStream>, Status> {
        let request = request.into_inner();
        let segment = SegmentId::from_bytes(&request.segment_id).map_err(to_status)?;
        let doing = format!("reading segment {segment} of table {} on node {}", request.table_id, self.node.store().node_id());
        let path = self.node.store().segment_path(TableId(request.table_id), segment);
        let file = tokio::fs::File::open(&path).await.map_err(|e| to_status(Error::io(&doing, &e)))?;
        // The receiver compares size and checksum.
        let chunks = ReaderStream::with_capacity(file, MESSAGE_CHUNK_BYTES)
            .map_ok(|chunk| proto::GetSegmentResponse { chunk: chunk.to_vec() })
            .map_err(move |e| to_status(Error::io(&doing, &e)));
        Ok(Response::new(chunks.boxed()))
    }

    async fn sweep(&self, request: Request<proto::SweepRequest>) -> Result<Response<proto::SweepResponse>, Status> {
        let request = request.into_inner();
        let live =
            request.live_segment_ids.iter().map(|id| SegmentId::from_bytes(id)).collect::<Result<_>>().map_err(to_status)?;
        let running = request
            .running_transaction_ids
            .iter()
            .map(|id| TransactionId::from_bytes(id))
            .collect::<Result<_>>()
            .map_err(to_status)?;
        let minimum_age = Duration::from_millis(request.minimum_age_ms);
        let written_before = UNIX_EPOCH + Duration::from_millis(request.written_before_ms);
        let store = Arc::clone(self.node.store());
        let swept = blocking(move || store.sweep(&live, &running, written_before, minimum_age)).await?;
        Ok(Response::new(proto::SweepResponse { files_removed: swept.files, bytes_removed: swept.bytes }))
    }

    async fn cancel_query(
        &self,
        request: Request<proto::CancelQueryRequest>,
    ) -> Result<Response<proto::CancelQueryResponse>, Status> {
        let found = self.node.queries().cancel(&request.into_inner().query_id);
        Ok(Response::new(proto::CancelQueryResponse { found }))
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
