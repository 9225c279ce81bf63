//! EXPLAIN and EXPLAIN ANALYZE.

use super::parameters::given;
use super::{Effect, Executes};
use crate::context::Context;
use crate::frontend::{Description, Outcome, text_schema};
use crate::plan::explain;
use crate::run::analyze;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use slipher_common::{Error, Result, SqlType};
use tokio_util::sync::CancellationToken;

/// What the column of its lines is called.
const COLUMN: &str = "QUERY PLAN";

/// EXPLAIN.
pub(super) struct Explain<'a> {
    pub(super) analyze: bool,
    pub(super) verbose: bool,
    pub(super) inner: Box<dyn Executes + 'a>,
}

#[async_trait]
impl Executes for Explain<'_> {
    fn effect(&self) -> Effect {
        match self.inner.effect().changes() {
            Some(what) if self.analyze => Effect::ReadAnd(what),
            _ => Effect::Read,
        }
    }

    async fn describe(&self, _: &Context, declared: &[Option<SqlType>]) -> Result<Description> {
        Ok(Description { parameters: given(declared), rows: Some(text_schema(&[COLUMN])) })
    }

    async fn run(&self, context: &Context, parameters: Option<ParamValues>, _: &CancellationToken) -> Result<Outcome> {
        let attempt = context.attempt(self.analyze)?;
        if self.analyze && self.inner.effect().changes().is_some() {
            let instead = "EXPLAIN shows its plan; EXPLAIN ANALYZE the query of its rows";
            return Err(Error::not_supported("EXPLAIN ANALYZE of a statement that changes something", instead));
        }
        let mut lines = Vec::new();
        for physical in self.inner.plans(&attempt, parameters).await? {
            lines.extend(match self.analyze {
                true => analyze(&attempt, physical).await?,
                false => explain::explain(&physical, self.verbose)?,
            });
        }
        Ok(Outcome::of_text(&[COLUMN], vec![lines], "EXPLAIN"))
    }
}
