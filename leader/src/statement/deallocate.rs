//! DEALLOCATE: the endpoint keeps prepared statements, and lets them go.

use super::{Effect, Executes};
use crate::context::Context;
use crate::frontend::Outcome;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::Result;
use tokio_util::sync::CancellationToken;

/// DEALLOCATE.
pub(super) struct Deallocate;

#[async_trait]
impl Executes for Deallocate {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    async fn run(&self, _: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        Ok(Outcome::done("DEALLOCATE", Vec::new()))
    }
}
