//! MERGE.

use super::{Effect, Executes};
use crate::context::{Context, Requires};
use crate::frontend::Outcome;
use crate::load;
use crate::run::Attempt;
use crate::sql::MergeSpec;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::Result;
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

    async fn plans(&self, attempt: &Attempt, parameters: Option<ParamValues>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        load::plan_merge(attempt, self.0, parameters).await
    }

    async fn run(&self, context: &Context, parameters: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        let rows = load::merge(&context.shared.runner, &context.scope()?, self.0, parameters).await?;
        Ok(Outcome::Done { tag: format!("MERGE {rows}"), rows: Some(rows), notices: Vec::new() })
    }
}
