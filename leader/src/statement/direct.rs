//! Queries whose rows clients fetch from the compute nodes: the leader only watches them.

use super::parameters::bound;
use super::query::READ_ATTEMPTS_MAX;
use crate::context::Context;
use crate::frontend::{DirectRun, ResultNode};
use crate::plan::context::DirectResults;
use crate::run::{Attempt, guarded};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream};
use futures::StreamExt;
use slipher_common::flight::DirectTicket;
use slipher_common::plan::{ResultSinkExec, ResultTarget};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::Parsed;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the nodes may take to say that all tickets are good.
const READY_MAX_SECONDS: u64 = 60;

/// Starts `parsed` with its rows on the compute nodes, if it is a query that allows it.
pub(crate) async fn start(
    context: &Context,
    parsed: &Parsed,
    parameters: Vec<ScalarValue>,
    target: ResultTarget,
    token: &CancellationToken,
) -> Result<Option<DirectRun>> {
    let Parsed::Query(query) = parsed else { return Ok(None) };
    let rows_min = context.shared.direct_rows_min;
    let parameters = bound(parameters);
    let extension = Arc::new(DirectResults { target: Arc::new(target), rows_min });
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut attempt = context.attempt(false)?;
        Arc::make_mut(&mut attempt.session).config_mut().set_extension(Arc::clone(&extension));
        let logical = attempt.plan_query(query, parameters.clone()).await?;
        if comes_through_the_leader(&logical) {
            return Ok(None);
        }
        let physical = attempt.plan_physical(&logical).await?;
        let Some(parts) = parts(&attempt, &physical, &extension.target.secret) else { return Ok(None) };
        let rows = context.shared.runner.start(&attempt, physical)?;
        let mut progress = guarded(rows, Arc::clone(&context.shared.cluster), attempt.query_id.clone(), token.clone());
        match ready(&mut progress, parts.len()).await {
            Ok(()) => return Ok(Some(DirectRun { parts, progress: keeping(progress, attempt) })),
            Err(error) => {
                let error = context.shared.runner.explain_failure(&attempt, error).await;
                if error.kind != ErrorKind::NodeUnavailable || attempts >= READ_ATTEMPTS_MAX {
                    return Err(error);
                }
                tracing::warn!(query = attempt.query_id, reason = error.message, "running the query again");
            }
        }
    }
}

/// `progress`, with what `attempt` reads kept as long as it runs.
fn keeping(progress: SendableRecordBatchStream, attempt: Attempt) -> SendableRecordBatchStream {
    let schema = progress.schema();
    let progress = progress.inspect(move |_| {
        let _ = &attempt;
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, progress))
}

/// Whether the top of the plan says so already: what is sorted, limited or one row is put together in one place.
fn comes_through_the_leader(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => comes_through_the_leader(&projection.input),
        LogicalPlan::Filter(filter) => comes_through_the_leader(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => comes_through_the_leader(&alias.input),
        _ => false,
    }
}

/// The tickets of a plan that keeps its rows on the nodes, with their addresses. None if it does not, or a node has no such address.
fn parts(attempt: &Attempt, plan: &Arc<dyn ExecutionPlan>, secret: &str) -> Option<Vec<(DirectTicket, ResultNode)>> {
    let lanes = sink_partitions(plan)?;
    let layout = &attempt.snapshot.query.as_ref().ok()?.layout;
    let mut parts = Vec::with_capacity(layout.tasks() * lanes);
    for (task, node) in layout.nodes.iter().enumerate() {
        let cluster = &attempt.snapshot.cluster;
        let node =
            ResultNode { flight: cluster.flight_addresses.get(node)?.clone(), internal: cluster.addresses.get(node)?.clone() };
        for lane in 0..lanes {
            parts.push((DirectTicket { secret: secret.to_owned(), task, lane }, node.clone()));
        }
    }
    Some(parts)
}

fn sink_partitions(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let mut found = None;
    crate::plan::explain::visit(plan, &mut |node| {
        if node.is::<ResultSinkExec>() {
            found = Some(node.output_partitioning().partition_count());
        }
    });
    found
}

/// Waits until every ticket is good: each lane then says so with a row.
async fn ready(progress: &mut SendableRecordBatchStream, parts: usize) -> Result<()> {
    let wait = async {
        let mut seen = 0;
        while seen < parts {
            match progress.next().await {
                Some(batch) => seen += lanes_ready(&batch?)?,
                None => return Err(Error::internal(format!("starting a result: {seen} of {parts} lanes are there"))),
            }
        }
        Ok(())
    };
    let late = |_| {
        Error::new(
            ErrorKind::NodeUnavailable,
            format!("starting a result: the nodes were not ready in {READY_MAX_SECONDS} seconds"),
        )
    };
    tokio::time::timeout(Duration::from_secs(READY_MAX_SECONDS), wait).await.map_err(late)?
}

fn lanes_ready(batch: &RecordBatch) -> Result<usize> {
    let counts = batch.column(0).as_primitive_opt::<UInt64Type>();
    let counts = counts.ok_or_else(|| Error::internal("starting a result: a lane sent something else than a count"))?;
    Ok(counts.iter().flatten().filter(|count| *count == 0).count())
}
