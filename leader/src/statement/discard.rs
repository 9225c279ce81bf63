//! DISCARD: what the session made for itself goes.

use super::{Effect, Executes, Running};
use crate::context::{Block, Context};
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::{Error, ErrorKind};
use tokio_util::sync::CancellationToken;

/// DISCARD ALL and its kinds.
pub(super) struct Discard {
    /// Everything that the session set, prepared or made.
    pub(super) all: bool,
    /// Temporary tables.
    pub(super) temporary: bool,
}

impl Executes for Discard {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            if self.all && !matches!(*context.block.lock(), Block::None) {
                return Err(Error::new(ErrorKind::ActiveTransaction, "DISCARD ALL cannot run inside a transaction block"));
            }
            if self.temporary {
                let scope = context.scope()?;
                let state = scope.state();
                if let Some(drop) = context.drop_temporary(&state) {
                    scope.change(vec![drop], &state, None).await?;
                }
            }
            if self.all {
                context.settings.lock().reset(None)?;
                context.cursors.clear();
                context.prepared.clear();
            }
            Ok(Outcome::done(if self.all { "DISCARD ALL" } else { "DISCARD" }, Vec::new()))
        })
    }
}
