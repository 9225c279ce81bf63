//! EXPLAIN ANALYZE: a plan that is run for what each of its parts did.

use super::Attempt;
use crate::plan::explain::outline;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion_distributed::{
    DistributedExec, DistributedMetricsFormat, display_plan_ascii, rewrite_distributed_plan_with_metrics,
};
use futures::TryStreamExt;
use slipher_common::Result;
use std::sync::Arc;

/// Runs the plan and shows what each stage and task did.
pub(crate) async fn analyze(attempt: &Attempt, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<String>> {
    let started = std::time::Instant::now();
    let rows = attempt.runner.start(attempt, Arc::clone(&plan))?;
    let mut count = 0u64;
    let outcome: datafusion::error::Result<()> = rows
        .try_for_each(|batch| {
            count += batch.num_rows() as u64;
            futures::future::ready(Ok(()))
        })
        .await;
    if let Err(error) = outcome {
        return Err(attempt.runner.explain_failure(attempt, error.into()).await);
    }
    let elapsed = started.elapsed();
    let mut lines = outline(&plan);
    lines.push(String::new());
    let shown = match plan.downcast_ref::<DistributedExec>() {
        Some(distributed) => {
            distributed.wait_for_metrics().await;
            let measured = rewrite_distributed_plan_with_metrics(Arc::clone(&plan), DistributedMetricsFormat::PerTask).await?;
            display_plan_ascii(measured.as_ref(), true)
        }
        None => DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(true).to_string(),
    };
    lines.extend(shown.lines().map(str::to_owned));
    lines.push(format!("Rows: {count}  Execution time: {:.3} ms", elapsed.as_secs_f64() * 1000.0));
    Ok(lines)
}
