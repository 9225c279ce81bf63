//! LOCK.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_sql::QualifiedName;
use tokio_util::sync::CancellationToken;

/// LOCK of tables.
pub(super) struct Lock<'a>(pub(super) &'a [QualifiedName]);

impl Executes for Lock<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { context.lock(self.0).await.map(|()| Outcome::done("LOCK TABLE", Vec::new())) })
    }
}
