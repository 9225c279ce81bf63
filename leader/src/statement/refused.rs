//! Statements that are written right, and answer with an error that says what to use.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::Error;
use tokio_util::sync::CancellationToken;

/// One that is not supported, or names what cannot be.
pub(super) struct Refused<'a>(pub(super) &'a Error);

impl Executes for Refused<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, _: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { Err(self.0.clone()) })
    }
}
