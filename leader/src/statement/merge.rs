//! MERGE.

use super::parameters::{either, parameter_types};
use super::{Effect, Executes};
use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::load;
use crate::run::Attempt;
use crate::sql::MergeSpec;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::{Result, SqlType};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// MERGE.
pub(super) struct Merge<'a>(pub(super) &'a MergeSpec);

#[async_trait]
impl Executes for Merge<'_> {
    fn effect(&self) -> Effect {
        Effect::Load("MERGE")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![&self.0.matched.table], adds_rows: true }
    }

    async fn describe(&self, context: &Context, declared: &[Option<SqlType>]) -> Result<Description> {
        let attempt = context.look_ahead()?;
        let id = attempt.snapshot.table(&self.0.matched.table)?.table.id;
        let matched = attempt.plan_typed(&self.0.matched.query(id), declared, None).await?;
        let insert = attempt.plan_typed(&self.0.insert.query, declared, None).await?;
        let parameters = either(parameter_types(&matched, declared)?, parameter_types(&insert, declared)?);
        Ok(Description { parameters, rows: None })
    }

    async fn plans(&self, attempt: &Attempt, parameters: Option<ParamValues>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        load::plan_merge(attempt, self.0, parameters).await
    }

    async fn run(&self, context: &Context, parameters: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        let rows = load::merge(&context.shared.runner, &context.scope()?, self.0, parameters).await?;
        Ok(Outcome::Done { tag: format!("MERGE {rows}"), rows: Some(rows), notices: Vec::new() })
    }
}
