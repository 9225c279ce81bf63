//! COMMENT ON.

use super::{Effect, Executes, Running};
use crate::catalog::Snapshot;
use crate::context::Context;
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Commented, Relation, not_a_view};
use slipher_proto::meta::operation::Kind;
use slipher_sql::{CommentOn, Name, QualifiedName};
use tokio_util::sync::CancellationToken;

/// COMMENT ON.
pub(super) struct Comment<'a> {
    pub(super) on: &'a CommentOn,
    /// None: it has none any more.
    pub(super) text: Option<&'a str>,
}

impl Executes for Comment<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("COMMENT")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let object = object(&attempt.snapshot, self.on)?;
            context.define("COMMENT", &attempt, vec![Kind::Comment(object.to_proto(self.text))]).await
        })
    }
}

/// What is meant.
fn object(snapshot: &Snapshot, on: &CommentOn) -> Result<Commented> {
    let state = &snapshot.state;
    match on {
        CommentOn::Database(name) => {
            let known = state.find_database(&name.value).map_err(|error| error.at(name.position))?;
            Ok(Commented::Database(known.id))
        }
        CommentOn::Schema(name) => {
            snapshot.check_database(name.database.as_ref())?;
            let known = state.find_schema(&name.name.value).map_err(|error| error.at(name.name.position))?;
            Ok(Commented::Schema(state.database(), known.id))
        }
        CommentOn::Table(name) => match snapshot.named(name)? {
            Relation::Table(table) => Ok(Commented::Relation(table.table.id, None)),
            Relation::View(_) => Err(not_a_table(name)),
        },
        CommentOn::View(name) => match snapshot.named(name)? {
            Relation::View(view) => Ok(Commented::Relation(view.view.id, None)),
            Relation::Table(_) => Err(not_a_view(&name.name.value).at(name.name.position)),
        },
        CommentOn::Column { relation, column } => column_of(snapshot, relation, column),
    }
}

fn not_a_table(name: &QualifiedName) -> Error {
    Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", name.name))
        .with_hint("it is a view: use COMMENT ON VIEW")
        .at(name.name.position)
}

fn column_of(snapshot: &Snapshot, relation: &QualifiedName, column: &Name) -> Result<Commented> {
    let known = match snapshot.named(relation)? {
        Relation::Table(table) => {
            let place = table.table.index_of_name(&column.value).map_err(|error| error.at(column.position))?;
            return Ok(Commented::Relation(table.table.id, table.table.columns.get(place).map(|known| known.id.0)));
        }
        Relation::View(view) => &view.view,
    };
    if known.columns.is_empty() {
        let instead = "say it of the view, or of the columns that it reads";
        return Err(Error::not_supported("a comment on a column of a view without schema binding", instead).at(column.position));
    }
    match (1..).zip(&known.columns).find(|(_, known)| known.name == column.value) {
        Some((place, _)) => Ok(Commented::Relation(known.id, Some(place))),
        None => {
            let names = known.columns.iter().map(|known| known.name.as_str());
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", known.name);
            let hint = did_you_mean(&column.value, names);
            Err(Error::new(ErrorKind::UndefinedColumn, message).with_hint(hint).at(column.position))
        }
    }
}
