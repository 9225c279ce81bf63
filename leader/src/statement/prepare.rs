//! PREPARE, EXECUTE.

use super::query::select;
use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::{Description, Outcome, PreparedStatement};
use crate::plan::parameters::written;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::sql::sqlparser::ast::Expr;
use futures::TryStreamExt;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_sql::{Name, PrepareSpec, row_of_values};
use tokio_util::sync::CancellationToken;

/// PREPARE.
pub(super) struct Prepare<'a>(pub(super) &'a PrepareSpec);

impl Executes for Prepare<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let PrepareSpec { name, types, statement } = self.0;
            context.prepared.check_new(&name.value)?;
            let description = super::of(&statement.parsed).describe(context, types).await?;
            let prepared = PreparedStatement { statement: statement.clone(), declared: types.clone(), description };
            context.prepared.insert(&name.value, prepared)?;
            Ok(Outcome::done("PREPARE", Vec::new()))
        })
    }
}

/// EXECUTE. The session runs the statement that it names in its place.
pub(super) struct Execute<'a> {
    pub(super) name: &'a Name,
    pub(super) values: &'a [Expr],
}

impl Executes for Execute<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, context: &'a Context, _: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let prepared = context.prepared.known(&self.name.value)?;
            check_count(self.name, &prepared, self.values)?;
            let types: Vec<Option<SqlType>> = prepared.description.parameters.iter().copied().map(Some).collect();
            let description = super::of(&prepared.statement.parsed).describe(context, &types).await.map_err(elsewhere)?;
            Ok(Description { parameters: Vec::new(), ..description })
        })
    }

    fn run<'a>(&'a self, _: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        let instead = "send EXECUTE as a statement of its own";
        Box::pin(async move { Err(Error::not_supported("EXECUTE inside of another statement", instead)) })
    }
}

/// An error of a statement that was prepared stands nowhere in the text of EXECUTE.
fn elsewhere(mut error: Error) -> Error {
    error.position = None;
    error
}

fn check_count(name: &Name, prepared: &PreparedStatement, values: &[Expr]) -> Result<()> {
    let wanted = prepared.description.parameters.len();
    if values.len() == wanted {
        return Ok(());
    }
    let message = format!("wrong number of parameters for prepared statement \"{name}\"");
    Err(Error::new(ErrorKind::Syntax, message)
        .with_detail(format!("expected {wanted} parameters but got {}", values.len()))
        .at(name.position))
}

/// The values that EXECUTE gives the parameters of a prepared statement, as values of their types.
pub(crate) async fn values_of(
    context: &Context,
    name: &Name,
    prepared: &PreparedStatement,
    values: &[Expr],
    token: &CancellationToken,
) -> Result<Vec<ScalarValue>> {
    check_count(name, prepared, values)?;
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let types = prepared.description.parameters.iter().map(|sql_type| written(*sql_type)).collect();
    let query = row_of_values(values, types)?;
    let Outcome::Rows { stream, .. } = select(context, &query, None, None, token).await? else {
        return Err(Error::internal("the values of EXECUTE came without a row"));
    };
    let batches: Vec<_> = stream.try_collect().await?;
    let row = batches.iter().find(|batch| batch.num_rows() == 1);
    let row = row.ok_or_else(|| Error::internal("the values of EXECUTE are not one row"))?;
    Ok(row.columns().iter().map(|column| ScalarValue::try_from_array(column, 0)).collect::<datafusion::error::Result<_>>()?)
}
