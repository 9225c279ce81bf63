//! BEGIN, COMMIT, ROLLBACK, SET TRANSACTION.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_sql::TransactionModes;
use tokio_util::sync::CancellationToken;

/// BEGIN.
pub(super) struct Begin(pub(super) TransactionModes);

impl Executes for Begin {
    fn effect(&self) -> Effect {
        Effect::Begin
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { context.begin(self.0) })
    }
}

/// SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION.
pub(super) struct SetTransaction {
    /// For blocks to come, and not for the one that is open.
    pub(super) session: bool,
    pub(super) modes: TransactionModes,
}

impl Executes for SetTransaction {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { context.set_transaction(self.session, self.modes) })
    }
}

/// COMMIT.
pub(super) struct Commit;

impl Executes for Commit {
    fn effect(&self) -> Effect {
        Effect::End
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { context.commit().await })
    }
}

/// ROLLBACK.
pub(super) struct Rollback;

impl Executes for Rollback {
    fn effect(&self) -> Effect {
        Effect::End
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move { context.roll_back() })
    }
}
