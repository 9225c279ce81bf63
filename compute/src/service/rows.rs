//! Rows that the leader has itself, of INSERT ... VALUES: written without a plan, which would cost more than they do.

use super::next_part;
use crate::NodeRuntime;
use crate::memory::Admission;
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use slipher_common::manifest::Segment;
use slipher_common::plan::{ComputeRuntime, decode_lane};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::compute::WriteRowsRequest;
use slipher_proto::compute::write_rows_request::Part;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::Streaming;
use tonic::codegen::http::HeaderMap;

/// How errors of it begin.
const DOING: &str = "writing rows";

/// Writes the rows that arrive in `parts`; `headers` name the query. Answers the receipts. There is no such work in the background.
pub(super) async fn write(
    node: &Arc<NodeRuntime>,
    headers: &HeaderMap,
    mut parts: Streaming<WriteRowsRequest>,
) -> Result<Vec<Segment>> {
    let Some(Part::Sink(sink)) = next_part(&mut parts, DOING, |message| message.part).await? else {
        return Err(Error::new(ErrorKind::ProtocolViolation, format!("{DOING}: the first message is not the sink")));
    };
    let lane = decode_lane(&sink)?;
    let Some((memory, query)) = node.start_task(headers, Admission::AtOnce).await? else {
        return Err(Error::new(ErrorKind::ProtocolViolation, format!("{DOING}: no query is named")));
    };
    let config = SessionConfig::new().with_extension(Arc::new(query));
    let none = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
    let context = TaskContext::new(None, String::new(), config, none.0, none.1, none.2, none.3, memory);
    let schema = lane.table.arrow_schema();
    let arriving = Arriving { parts, decoder: StreamDecoder::new(), chunk: Buffer::default() };
    let batches = futures::stream::try_unfold(arriving, |mut arriving| async move {
        let batch = arriving.next().await?;
        Ok::<_, DataFusionError>(batch.map(|batch| (batch, arriving)))
    });
    node.sink(lane, Box::pin(RecordBatchStreamAdapter::new(schema, batches)), Arc::new(context)).await
}

/// An Arrow IPC stream whose bytes come in messages.
struct Arriving {
    parts: Streaming<WriteRowsRequest>,
    decoder: StreamDecoder,
    /// What is not decoded yet of the last message.
    chunk: Buffer,
}

impl Arriving {
    async fn next(&mut self) -> Result<Option<RecordBatch>, DataFusionError> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.chunk)? {
                return Ok(Some(batch));
            }
            match next_part(&mut self.parts, DOING, |message| message.part).await? {
                Some(Part::Chunk(chunk)) => self.chunk = Buffer::from_vec(chunk),
                Some(Part::Sink(_)) => {
                    return Err(Error::new(ErrorKind::ProtocolViolation, format!("{DOING}: a second sink")).into());
                }
                // It refuses a stream that ends within a batch; of one that ends between two, the leader counts the rows.
                None => return self.decoder.finish().map(|()| None).map_err(DataFusionError::from),
            }
        }
    }
}
