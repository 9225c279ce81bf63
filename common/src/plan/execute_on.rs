//! Plans that run on other threads than those that read their rows.

use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::StreamExt;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Batches that wait between the threads that make rows and the one that reads them.
const BATCHES_WAITING_MAX: usize = 2;

/// The rows that `start` begins to make, made on `runtime`. They end when nobody wants them any more.
pub fn execute_on(
    runtime: &Handle,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    start: impl FnOnce(Arc<dyn ExecutionPlan>, Arc<TaskContext>) -> Result<SendableRecordBatchStream> + Send + 'static,
) -> SendableRecordBatchStream {
    let mut rows = RecordBatchReceiverStreamBuilder::new(plan.schema(), BATCHES_WAITING_MAX);
    let sender = rows.tx();
    let work = async move {
        let mut made = start(plan, context)?;
        while let Some(batch) = made.next().await {
            // Nobody wants the rest.
            if sender.send(batch).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    };
    rows.spawn_on(work, runtime);
    rows.build()
}
