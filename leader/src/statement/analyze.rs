//! ANALYZE.

use super::{Effect, Executes};
use crate::context::Context;
use crate::frontend::Outcome;
use crate::sql::QualifiedName;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::Result;
use tokio_util::sync::CancellationToken;

/// ANALYZE of one table, or of all.
pub(super) struct Analyze<'a>(pub(super) Option<&'a QualifiedName>);

#[async_trait]
impl Executes for Analyze<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    async fn run(&self, context: &Context, _: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        if let Some(name) = self.0 {
            context.attempt(false)?.snapshot.table(name)?;
        }
        Ok(Outcome::done("ANALYZE", vec!["statistics are kept by every load; nothing was left to do".to_owned()]))
    }
}
