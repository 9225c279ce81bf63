//! CREATE TABLE AS, SELECT INTO.

use super::parameters::parameter_types;
use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::load;
use crate::run::Attempt;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast;
use slipher_common::SqlType;
use slipher_sql::CreateTableAsSpec;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// CREATE TABLE AS.
pub(super) struct CreateTableAs<'a> {
    pub(super) spec: &'a CreateTableAsSpec,
    pub(super) query: &'a ast::Statement,
}

impl Executes for CreateTableAs<'_> {
    fn effect(&self) -> Effect {
        Effect::Load("CREATE TABLE AS")
    }

    fn requires(&self) -> Requires<'_> {
        match self.spec.or_replace {
            true => Requires::Tables { names: vec![&self.spec.name], adds_rows: false },
            false => Requires::Nothing,
        }
    }

    fn describe<'a>(&'a self, context: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let plan = context.look_ahead()?.plan_typed(self.query, declared, None).await?;
            Ok(Description { parameters: parameter_types(&plan, declared)?, rows: None })
        })
    }

    fn plans<'a>(&'a self, attempt: &'a Attempt, parameters: Option<ParamValues>) -> Running<'a, Vec<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move { Ok(vec![attempt.plan_statement(self.query, parameters).await?]) })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        _: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        Box::pin(async move {
            context.has_temporary.fetch_or(self.spec.temporary, Ordering::SeqCst);
            let (runner, scope) = (&context.shared.runner, context.scope()?);
            let (rows, notices) = load::create_table_as(runner, &scope, self.spec, self.query, parameters).await?;
            Ok(Outcome::Done { tag: format!("SELECT {rows}"), rows: Some(rows), notices })
        })
    }
}
