//! DEALLOCATE: the endpoint keeps prepared statements, and lets them go.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use tokio_util::sync::CancellationToken;

/// DEALLOCATE.
pub(super) struct Deallocate;

impl Executes for Deallocate {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, _: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { Ok(Outcome::done("DEALLOCATE", Vec::new())) })
    }
}
