//! DECLARE, FETCH, CLOSE.

use super::parameters::parameter_types;
use super::query::select;
use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::{Description, Outcome};
use datafusion::common::ParamValues;
use datafusion::sql::sqlparser::ast;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_sql::Name;
use tokio_util::sync::CancellationToken;

/// DECLARE.
pub(super) struct Declare<'a> {
    pub(super) name: &'a Name,
    pub(super) query: &'a ast::Statement,
}

impl Executes for Declare<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, context: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let plan = context.look_ahead()?.plan_typed(self.query, declared, None).await?;
            Ok(Description { parameters: parameter_types(&plan, declared)?, rows: None })
        })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        _: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        Box::pin(async move {
            check_in_block(context)?;
            context.cursors.check_new(&self.name.value)?;
            // It outlives the statement, and the statement's time limit.
            let rows = select(context, self.query, None, parameters, &CancellationToken::new()).await?;
            context.cursors.open(&self.name.value, rows)?;
            Ok(Outcome::done("DECLARE CURSOR", Vec::new()))
        })
    }
}

/// FETCH.
pub(super) struct Fetch<'a> {
    pub(super) name: &'a Name,
    /// How many rows; None: all that are left.
    pub(super) count: Option<u64>,
}

impl Executes for Fetch<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, context: &'a Context, _: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description::of_rows(Some(context.cursors.schema(&self.name.value)?))) })
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, token: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            context.cursors.fetch(&self.name.value, self.count, token).map_err(|error| error.at(self.name.position))
        })
    }
}

/// CLOSE of one cursor, or of all.
pub(super) struct Close<'a>(pub(super) Option<&'a Name>);

impl Executes for Close<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            context.cursors.close(self.0.map(|name| name.value.as_str()))?;
            Ok(Outcome::done("CLOSE CURSOR", Vec::new()))
        })
    }
}

/// 25P01 outside of a block: the cursor would be gone before anybody could fetch.
fn check_in_block(context: &Context) -> Result<()> {
    match context.is_in_block() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::NoActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks")
            .with_hint("send BEGIN before it")),
    }
}
