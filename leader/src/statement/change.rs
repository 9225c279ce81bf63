//! UPDATE and DELETE.

use super::parameters::parameter_types;
use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::load;
use crate::run::Attempt;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::SqlType;
use slipher_sql::ChangeSpec;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// UPDATE or DELETE.
pub(super) struct Change<'a>(pub(super) &'a ChangeSpec);

impl Executes for Change<'_> {
    fn effect(&self) -> Effect {
        Effect::Load(self.0.verb())
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![&self.0.table], adds_rows: false }
    }

    fn describe<'a>(&'a self, context: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let attempt = context.look_ahead()?;
            let id = attempt.snapshot.table(&self.0.table)?.table.id;
            let plan = attempt.plan_typed(&self.0.query(id), declared, None).await?;
            Ok(Description { parameters: parameter_types(&plan, declared)?, rows: None })
        })
    }

    fn plans<'a>(&'a self, attempt: &'a Attempt, parameters: Option<ParamValues>) -> Running<'a, Vec<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move { Ok(vec![load::plan_change(attempt, self.0, parameters).await?]) })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        _: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        Box::pin(async move {
            let only_one_source = context.settings.lock().is_on("error_on_nondeterministic_update");
            let rows = load::change(&context.shared.runner, &context.scope()?, self.0, parameters, only_one_source).await?;
            Ok(Outcome::Done { tag: format!("{} {rows}", self.0.verb()), rows: Some(rows), notices: Vec::new() })
        })
    }
}
