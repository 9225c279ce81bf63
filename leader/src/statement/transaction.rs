//! BEGIN, COMMIT, ROLLBACK, SET TRANSACTION.

use super::{Effect, Executes};
use crate::context::Context;
use crate::frontend::Outcome;
use crate::sql::TransactionModes;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::Result;
use tokio_util::sync::CancellationToken;

/// BEGIN.
pub(super) struct Begin(pub(super) TransactionModes);

#[async_trait]
impl Executes for Begin {
    fn effect(&self) -> Effect {
        Effect::Begin
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        context.begin(self.0)
    }
}

/// SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION.
pub(super) struct SetTransaction {
    /// For blocks to come, and not for the one that is open.
    pub(super) session: bool,
    pub(super) modes: TransactionModes,
}

#[async_trait]
impl Executes for SetTransaction {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        context.set_transaction(self.session, self.modes)
    }
}

/// COMMIT.
pub(super) struct Commit;

#[async_trait]
impl Executes for Commit {
    fn effect(&self) -> Effect {
        Effect::End
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        context.commit().await
    }
}

/// ROLLBACK.
pub(super) struct Rollback;

#[async_trait]
impl Executes for Rollback {
    fn effect(&self) -> Effect {
        Effect::End
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        context.roll_back()
    }
}
