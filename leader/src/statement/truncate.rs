//! TRUNCATE.

use super::{Effect, Executes};
use crate::context::{Context, Requires};
use crate::frontend::Outcome;
use crate::load;
use crate::sql::QualifiedName;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::Result;
use tokio_util::sync::CancellationToken;

/// TRUNCATE.
pub(super) struct Truncate<'a>(pub(super) &'a QualifiedName);

#[async_trait]
impl Executes for Truncate<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("TRUNCATE TABLE")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![self.0], adds_rows: false }
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        let notices = load::truncate(&context.shared.runner, &context.scope()?, self.0).await?;
        Ok(Outcome::done("TRUNCATE TABLE", notices))
    }
}
