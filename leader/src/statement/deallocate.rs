//! DEALLOCATE. What an endpoint keeps of a statement that it has prepared itself, it lets go by itself.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_sql::Name;
use tokio_util::sync::CancellationToken;

/// DEALLOCATE of one prepared statement, or of all.
pub(super) struct Deallocate<'a>(pub(super) Option<&'a Name>);

impl Executes for Deallocate<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            match self.0 {
                Some(name) => context.prepared.remove(&name.value)?,
                None => context.prepared.clear(),
            }
            Ok(Outcome::done(if self.0.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }, Vec::new()))
        })
    }
}
