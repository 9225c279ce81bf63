//! CREATE TABLE AS, SELECT INTO.

use super::parameters::parameter_types;
use super::{Effect, Executes};
use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::load;
use crate::run::Attempt;
use crate::sql::CreateTableAsSpec;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast;
use slipher_common::{Result, SqlType};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// CREATE TABLE AS.
pub(super) struct CreateTableAs<'a> {
    pub(super) spec: &'a CreateTableAsSpec,
    pub(super) query: &'a ast::Statement,
}

#[async_trait]
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

    async fn describe(&self, context: &Context, declared: &[Option<SqlType>]) -> Result<Description> {
        let plan = context.look_ahead()?.plan_typed(self.query, declared, None).await?;
        Ok(Description { parameters: parameter_types(&plan, declared)?, rows: None })
    }

    async fn plans(&self, attempt: &Attempt, parameters: Option<ParamValues>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        Ok(vec![attempt.plan_statement(self.query, parameters).await?])
    }

    async fn run(&self, context: &Context, parameters: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        context.has_temporary.fetch_or(self.spec.temporary, Ordering::SeqCst);
        let (runner, scope) = (&context.shared.runner, context.scope()?);
        let (rows, notices) = load::create_table_as(runner, &scope, self.spec, self.query, parameters).await?;
        Ok(Outcome::Done { tag: format!("SELECT {rows}"), rows: Some(rows), notices })
    }
}
