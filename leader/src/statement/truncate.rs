//! TRUNCATE.

use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::Outcome;
use crate::load;
use datafusion::common::ParamValues;
use slipher_sql::QualifiedName;
use tokio_util::sync::CancellationToken;

/// TRUNCATE.
pub(super) struct Truncate<'a>(pub(super) &'a QualifiedName);

impl Executes for Truncate<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("TRUNCATE TABLE")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![self.0], adds_rows: false }
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let notices = load::truncate(&context.shared.runner, &context.scope()?, self.0).await?;
            Ok(Outcome::done("TRUNCATE TABLE", notices))
        })
    }
}
