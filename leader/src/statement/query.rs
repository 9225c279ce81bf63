//! SELECT.

use super::parameters::parameter_types;
use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::{Description, Outcome};
use crate::run::{Attempt, KeptPlan, guarded};
use crate::transaction::Scope;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use slipher_common::ids::TransactionId;
use slipher_common::{ErrorKind, Result, SqlType};
use slipher_sql::Parsed;
use slipher_sql::output::column_names;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A read-only statement is tried so often when compute nodes die before its first row.
pub(super) const READ_ATTEMPTS_MAX: usize = 3;

/// A query.
pub(super) struct Query<'a> {
    pub(super) query: &'a ast::Statement,
    /// The statement that it is, where that may run again.
    pub(super) parsed: Option<&'a Arc<Parsed>>,
}

impl Executes for Query<'_> {
    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn describe<'a>(&'a self, context: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let attempt = context.look_ahead()?;
            let mut plan = attempt.plan_typed(self.query, declared, None).await?;
            let parameters = parameter_types(&plan, declared)?;
            if parameters.len() > declared.iter().flatten().count() {
                // What was left open is known by now.
                let types: Vec<Option<SqlType>> = parameters.iter().copied().map(Some).collect();
                plan = attempt.plan_typed(self.query, &types, None).await?;
            }
            let schema = output_schema(self.query, &row_schema(&attempt, &plan).await);
            Ok(Description { parameters, rows: Some(schema) })
        })
    }

    fn plans<'a>(&'a self, attempt: &'a Attempt, parameters: Option<ParamValues>) -> Running<'a, Vec<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move { Ok(vec![attempt.plan_statement(self.query, parameters).await?]) })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        token: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        let kept = self.parsed.map(|parsed| kept_plan(context, parsed));
        Box::pin(async move { select(context, self.query, kept, parameters, token).await })
    }
}

/// What is kept of a statement's plan.
fn kept_plan(context: &Context, parsed: &Arc<Parsed>) -> Arc<KeptPlan> {
    context.kept_plans.get(parsed).unwrap_or_else(|| {
        let kept = Arc::<KeptPlan>::default();
        context.kept_plans.keep(parsed, Arc::clone(&kept));
        kept
    })
}

/// The schema of the rows as they will come: types are settled by the optimizer.
async fn row_schema(attempt: &Attempt, plan: &LogicalPlan) -> SchemaRef {
    match attempt.optimize(plan).await {
        Ok(optimized) => Arc::clone(optimized.schema().inner()),
        // A parameter whose type only its value will tell.
        Err(_) => Arc::clone(plan.schema().inner()),
    }
}

/// Runs a query; again, where nodes die before its first row. `kept` is of former runs.
pub(super) async fn select(
    context: &Context,
    query: &ast::Statement,
    kept: Option<Arc<KeptPlan>>,
    parameters: Option<ParamValues>,
    token: &CancellationToken,
) -> Result<Outcome> {
    let runner = &context.shared.runner;
    let mut attempts = 0;
    let merge_joins = Arc::new(AtomicBool::new(false));
    loop {
        attempts += 1;
        let scope = Scope { merge_joins: Arc::clone(&merge_joins), ..context.scope()? };
        let attempt = runner.attempt(&scope, TransactionId(Uuid::nil()), false)?;
        let physical = match &kept {
            Some(kept) => {
                let (plan, reused) = attempt.plan_again(kept, query, parameters.clone()).await?;
                if reused {
                    context.shared.telemetry.reused_plan();
                }
                plan
            }
            None => attempt.plan_statement(query, parameters.clone()).await?,
        };
        let rows = runner.start(&attempt, attempt.short_way(physical)?)?;
        let mut rows = guarded(rows, Arc::clone(&context.shared.cluster), attempt.query_id.clone(), token.clone());
        match rows.next().await {
            Some(Err(error)) => {
                let error = runner.explain_failure(&attempt, error.into()).await;
                // No row has left for the client: a fresh layout may answer from replicas.
                if error.kind == ErrorKind::NodeUnavailable && attempts < READ_ATTEMPTS_MAX {
                    tracing::warn!(query = attempt.query_id, reason = error.message, "running the query again");
                    continue;
                }
                if scope.saves_memory_after(&error) {
                    tracing::info!(query = attempt.query_id, "running the query again with joins that can be spilled");
                    continue;
                }
                return Err(error);
            }
            first => {
                let schema = output_schema(query, &rows.schema());
                return Ok(rows_outcome(attempt, schema, first.transpose()?, rows));
            }
        }
    }
}

/// The schema of a query's rows as a client sees it: an expression is named after what it is, not after its text.
pub(super) fn output_schema(query: &ast::Statement, schema: &SchemaRef) -> SchemaRef {
    let names = column_names(query, schema.fields().iter().map(|field| field.name().as_str()));
    let fields = schema.fields().iter().zip(names).map(|(field, name)| Arc::new(field.as_ref().clone().with_name(name)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn rows_outcome(attempt: Attempt, schema: SchemaRef, first: Option<RecordBatch>, rows: SendableRecordBatchStream) -> Outcome {
    let runner = attempt.runner.clone();
    let attempt = Arc::new(attempt);
    let rest = rows.then(move |batch| {
        let (runner, attempt) = (runner.clone(), Arc::clone(&attempt));
        async move {
            match batch {
                Ok(batch) => Ok(batch),
                Err(error) => Err(DataFusionError::from(runner.explain_failure(&attempt, error.into()).await)),
            }
        }
    });
    let named = Arc::clone(&schema);
    let stream = futures::stream::iter(first.map(Ok)).chain(rest).map(move |batch| {
        let batch: RecordBatch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&named), batch.columns().to_vec(), &options)?)
    });
    Outcome::Rows { schema: Arc::clone(&schema), stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)), tag: "SELECT" }
}
