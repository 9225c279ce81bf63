//! ANALYZE.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_sql::QualifiedName;
use tokio_util::sync::CancellationToken;

/// ANALYZE of one table, or of all.
pub(super) struct Analyze<'a>(pub(super) Option<&'a QualifiedName>);

impl Executes for Analyze<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            if let Some(name) = self.0 {
                context.attempt(false)?.snapshot.table(name)?;
            }
            Ok(Outcome::done("ANALYZE", vec!["statistics are kept by every load; nothing was left to do".to_owned()]))
        })
    }
}
