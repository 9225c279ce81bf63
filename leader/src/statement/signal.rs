//! CANCEL.

use super::{Effect, Executes};
use crate::catalog::Signal;
use crate::context::Context;
use crate::frontend::Outcome;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::Result;
use tokio_util::sync::CancellationToken;

/// CANCEL of another session's statement.
pub(super) struct Cancel(pub(super) i32);

#[async_trait]
impl Executes for Cancel {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        let is_superuser = context.require_superuser("").is_ok();
        context.shared.signals.signal(self.0, Signal::Cancel, &context.user, is_superuser)?;
        Ok(Outcome::done("CANCEL", Vec::new()))
    }
}
