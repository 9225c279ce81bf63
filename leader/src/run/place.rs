//! On which threads a plan runs.

use crate::plan::read_rows::is_short;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use slipher_common::plan::execute_on;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The rows of `plan`: made here where that takes no longer than asking other threads for it, otherwise on those that run queries, which let
/// statements that need little go first.
pub(super) fn rows_of(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    queries: &Handle,
) -> Result<SendableRecordBatchStream> {
    match is_short(&plan) {
        true => execute_stream(plan, context),
        false => Ok(execute_on(queries, plan, context, execute_stream)),
    }
}
