//! Statements that are written right, and answer with an error that says what to use.

use super::{Effect, Executes};
use crate::context::Context;
use crate::frontend::Outcome;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::{Error, Result};
use tokio_util::sync::CancellationToken;

/// One that is not supported, or names what cannot be.
pub(super) struct Refused<'a>(pub(super) &'a Error);

#[async_trait]
impl Executes for Refused<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    async fn run(&self, _: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        Err(self.0.clone())
    }
}
