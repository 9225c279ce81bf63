//! COPY.

use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::Outcome;
use crate::load;
use datafusion::common::ParamValues;
use slipher_sql::CopySpec;
use tokio_util::sync::CancellationToken;

/// COPY.
pub(super) struct Copy<'a>(pub(super) &'a CopySpec);

impl Executes for Copy<'_> {
    fn effect(&self) -> Effect {
        Effect::Load("COPY")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![&self.0.table], adds_rows: true }
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let (spec, shared) = (self.0, &context.shared);
            let (rows, rejections) = load::copy(&shared.runner, &context.scope()?, spec, shared.load_dir.as_deref()).await?;
            let mut notices = spec.notices.clone();
            notices.extend(rejections);
            notices.push(format!("Load into table '{}' completed, {rows} record(s) loaded successfully.", spec.table.name));
            Ok(Outcome::Done { tag: format!("COPY {rows}"), rows: Some(rows), notices })
        })
    }
}
