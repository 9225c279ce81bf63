//! CANCEL.

use super::{Effect, Executes, Running};
use crate::catalog::Signal;
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use tokio_util::sync::CancellationToken;

/// CANCEL of another session's statement.
pub(super) struct Cancel(pub(super) i32);

impl Executes for Cancel {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let is_superuser = context.require_superuser("").is_ok();
            context.shared.signals.signal(self.0, Signal::Cancel, &context.user, is_superuser)?;
            Ok(Outcome::done("CANCEL", Vec::new()))
        })
    }
}
