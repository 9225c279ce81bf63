//! SHOW TABLE, SHOW DATABASES, SCHEMAS, TABLES and COLUMNS.

mod definition;
mod listing;

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::{Description, Outcome, text_schema};
use datafusion::common::ParamValues;
use slipher_common::SqlType;
use slipher_sql::{ListedObjects, QualifiedName};
use tokio_util::sync::CancellationToken;

/// What SHOW TABLE calls its column.
const SHOW_TABLE_COLUMN: &str = "Show Table DDL statement";

/// SHOW TABLE.
pub(super) struct ShowTable<'a>(pub(super) &'a QualifiedName);

impl Executes for ShowTable<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, _: &'a Context, _: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description::of_rows(Some(text_schema(&[SHOW_TABLE_COLUMN])))) })
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let table = attempt.snapshot.table(self.0)?;
            let text = definition::of(&table.table);
            Ok(Outcome::of_text(&[SHOW_TABLE_COLUMN], vec![vec![text]], "SHOW"))
        })
    }
}

/// SHOW DATABASES, SCHEMAS, TABLES, COLUMNS.
pub(super) struct ShowObjects<'a> {
    pub(super) objects: &'a ListedObjects,
    /// Those whose names are like this.
    pub(super) like: Option<&'a str>,
    /// So many rows at most.
    pub(super) limit: Option<usize>,
}

impl Executes for ShowObjects<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, _: &'a Context, _: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description::of_rows(Some(listing::schema_of(self.objects)))) })
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let rows = listing::of(context, self.objects, self.like, self.limit).await?;
            Ok(Outcome::of_batch(rows, "SHOW"))
        })
    }
}
