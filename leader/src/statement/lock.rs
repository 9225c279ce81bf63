//! LOCK.

use super::{Effect, Executes};
use crate::context::Context;
use crate::frontend::Outcome;
use crate::sql::QualifiedName;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::Result;
use tokio_util::sync::CancellationToken;

/// LOCK of tables.
pub(super) struct Lock<'a>(pub(super) &'a [QualifiedName]);

#[async_trait]
impl Executes for Lock<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        context.lock(self.0).await.map(|()| Outcome::done("LOCK TABLE", Vec::new()))
    }
}
