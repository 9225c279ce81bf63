//! Tasks: their sessions, and those whose rows come in one answer. Of a query that reads little, the engine's own way (a channel for each
//! task's plan, a call for its rows, and waiting until both have ended) takes longer than the reading.

use super::stopping::stoppable_joins;
use super::to_status;
use crate::NodeRuntime;
use crate::memory::Admission;
use arrow::ipc::writer::StreamWriter;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedExt, DistributedTaskContext, WorkerPlanRewriteEvent};
use futures::StreamExt;
use futures::stream::BoxStream;
use slipher_common::Result;
use slipher_common::batch::compact;
use slipher_common::channels::MESSAGE_CHUNK_BYTES;
use slipher_common::plan::{SlipherCodec, WHOLE_MEMORY_HEADER, decode_fragment, fragment_session};
use slipher_proto::compute::{ReadRowsRequest, ReadRowsResponse};
use std::collections::VecDeque;
use std::sync::Arc;
use tonic::Status;
use tonic::codegen::http::HeaderMap;

/// The memory of a query is enough to merge the spilled rows of so many sorts.
const SORTS_OF_A_QUERY_MAX: usize = 16;

/// The session that one task's fragment is decoded and run in; `headers` name its query.
pub(crate) async fn task_session(
    node: &Arc<NodeRuntime>,
    headers: &HeaderMap,
    mut config: SessionConfig,
    mut runtime: Arc<RuntimeEnv>,
) -> Result<SessionStateBuilder> {
    let admission = if headers.contains_key(WHOLE_MEMORY_HEADER) { Admission::Whole } else { Admission::InTurn };
    if let Some((memory, query)) = node.start_task(headers, admission).await? {
        config.set_extension(Arc::new(query));
        runtime = memory;
    }
    config.set_extension(Arc::new(node.handle()));
    let options = config.options_mut();
    slipher_common::plan::apply_engine_options(options);
    // Every sort of every lane sets so much aside for merging what it spilled: a part of the query's memory, never all of it.
    let share = node.memory().limits().query_memory_bytes / SORTS_OF_A_QUERY_MAX;
    options.execution.sort_spill_reservation_bytes = options.execution.sort_spill_reservation_bytes.min(share);
    Ok(fragment_session(config, runtime).with_distributed_user_codec(SlipherCodec))
}

/// Runs the only partition of a fragment; answers its rows.
pub(super) async fn read(
    node: &Arc<NodeRuntime>,
    headers: &HeaderMap,
    request: ReadRowsRequest,
) -> Result<BoxStream<'static, Result<ReadRowsResponse, Status>>> {
    let task = DistributedTaskContext { task_index: request.task as usize, task_count: request.tasks as usize };
    let config = SessionConfig::new().with_extension(Arc::new(task));
    let session = task_session(node, headers, config, Arc::default()).await?.build();
    let context = session.task_ctx();
    let plan = decode_fragment(&request.fragment, &context)?;
    let plan = stoppable_joins(WorkerPlanRewriteEvent { plan, session_config: context.session_config() })?.plan;
    let rows = plan.execute(0, context)?;
    let writer = StreamWriter::try_new(Vec::new(), &rows.schema()).map_err(DataFusionError::from)?;
    let leaving = Leaving { rows: Some(rows), writer, written: VecDeque::new() };
    let messages = futures::stream::try_unfold(leaving, |mut leaving| async move {
        let message = leaving.next().await.map_err(to_status)?;
        Ok(message.map(|chunk| (ReadRowsResponse { chunk }, leaving)))
    });
    Ok(messages.boxed())
}

/// Rows that become messages.
struct Leaving {
    /// None when all have come.
    rows: Option<SendableRecordBatchStream>,
    writer: StreamWriter<Vec<u8>>,
    written: VecDeque<Vec<u8>>,
}

impl Leaving {
    /// The next message; None after the last.
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.written.pop_front() {
                return Ok(Some(message));
            }
            let Some(rows) = &mut self.rows else { return Ok(None) };
            match rows.next().await.transpose()? {
                Some(batch) => self.writer.write(&compact(&batch)?)?,
                None => {
                    self.rows = None;
                    self.writer.finish()?;
                }
            }
            let bytes = std::mem::take(self.writer.get_mut());
            self.written.extend(bytes.chunks(MESSAGE_CHUNK_BYTES).map(<[u8]>::to_vec));
        }
    }
}
