//! MERGE.

use super::parameters::{either, parameter_types};
use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::load;
use crate::run::Attempt;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::SqlType;
use slipher_sql::MergeSpec;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// MERGE.
pub(super) struct Merge<'a>(pub(super) &'a MergeSpec);

impl Executes for Merge<'_> {
    fn effect(&self) -> Effect {
        Effect::Load("MERGE")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![&self.0.target], adds_rows: true }
    }

    fn describe<'a>(&'a self, context: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let attempt = context.look_ahead()?;
            let id = attempt.snapshot.table(&self.0.target)?.table.id;
            let mut parameters = Vec::new();
            let changes = self.0.matched.iter().map(|change| change.query(id));
            for query in changes.chain(self.0.inserts.iter().map(|insert| insert.query.as_ref().clone())) {
                let plan = attempt.plan_typed(&query, declared, None).await?;
                parameters = either(parameters, parameter_types(&plan, declared)?);
            }
            Ok(Description { parameters, rows: None })
        })
    }

    fn plans<'a>(&'a self, attempt: &'a Attempt, parameters: Option<ParamValues>) -> Running<'a, Vec<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move { load::plan_merge(attempt, self.0, parameters).await })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        _: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        Box::pin(async move {
            let rows = load::merge(&context.shared.runner, &context.scope()?, self.0, parameters).await?;
            Ok(Outcome::Done { tag: format!("MERGE {rows}"), rows: Some(rows), notices: Vec::new() })
        })
    }
}
