//! EXPLAIN and EXPLAIN ANALYZE.

use super::parameters::given;
use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::{Description, Outcome, text_schema};
use crate::plan::explain;
use crate::run::{ShownParts, analyze};
use datafusion::common::ParamValues;
use slipher_common::{Error, SqlType};
use tokio_util::sync::CancellationToken;

/// What the column of its lines is called.
const COLUMN: &str = "QUERY PLAN";

/// EXPLAIN.
pub(super) struct Explain<'a> {
    pub(super) analyze: bool,
    pub(super) verbose: bool,
    pub(super) inner: Box<dyn Executes + 'a>,
}

impl Executes for Explain<'_> {
    fn effect(&self) -> Effect {
        match self.inner.effect().changes() {
            Some(what) if self.analyze => Effect::ReadAnd(what),
            _ => Effect::Read,
        }
    }

    fn describe<'a>(&'a self, _: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description { parameters: given(declared), rows: Some(text_schema(&[COLUMN])) }) })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        _: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        Box::pin(async move {
            let mut attempt = context.attempt(self.analyze)?;
            let parts = ShownParts::default();
            if !self.analyze {
                attempt.shows(parts.clone());
            }
            if self.analyze && self.inner.effect().changes().is_some() {
                let instead = "EXPLAIN shows its plan; EXPLAIN ANALYZE the query of its rows";
                return Err(Error::not_supported("EXPLAIN ANALYZE of a statement that changes something", instead));
            }
            let mut lines = Vec::new();
            let plans = self.inner.plans(&attempt, parameters).await?;
            for (what, physical) in parts.take() {
                lines.push(what);
                lines.extend(explain::explain(&physical, self.verbose)?);
            }
            for physical in plans {
                lines.extend(match self.analyze {
                    true => analyze(&attempt, physical).await?,
                    false => explain::explain(&physical, self.verbose)?,
                });
            }
            Ok(Outcome::of_text(&[COLUMN], vec![lines], "EXPLAIN"))
        })
    }
}
