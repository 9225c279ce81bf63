//! What the names in definitions must mean.

use crate::catalog::{Snapshot, is_temp_schema};
use slipher_common::error::did_you_mean;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Relation, State, not_a_view};
use slipher_sql::{Name, QualifiedName};

/// Temporary tables stay where they are.
pub(super) fn check_move(from: &str, to: &str) -> Result<()> {
    match from != to && (is_temp_schema(from) || is_temp_schema(to)) {
        true => {
            Err(Error::not_supported("moving a table into or out of a temporary schema", "copy its rows with CREATE TABLE AS"))
        }
        false => Ok(()),
    }
}

/// The name of a schema that is there.
pub(super) fn known_schema(state: &State, schema: &Name) -> Result<String> {
    let found = state.find_schema(&schema.value).map_err(|error| error.at(schema.position))?;
    Ok(found.name.clone())
}

/// The name of a user who is there.
pub(super) fn known_user(state: &State, user: &Name) -> Result<String> {
    if state.users().contains_key(&user.value) {
        return Ok(user.value.clone());
    }
    let known = state.users().keys().map(String::as_str);
    Err(Error::new(ErrorKind::UndefinedObject, format!("user \"{user}\" does not exist"))
        .with_hint(did_you_mean(&user.value, known))
        .at(user.position))
}

/// The tables or views that DROP names, and messages about those that are not there.
pub(super) fn to_drop(
    snapshot: &Snapshot,
    names: &[QualifiedName],
    if_exists: bool,
    what: &str,
) -> Result<(Vec<TableId>, Vec<String>)> {
    let (mut found, mut notices) = (Vec::new(), Vec::new());
    for name in names {
        match (snapshot.named(name), what) {
            (Ok(Relation::Table(table)), "table") => found.push(table.table.id),
            (Ok(Relation::View(view)), "view") => found.push(view.view.id),
            (Ok(Relation::Table(_)), _) => return Err(not_a_view(&name.name.value).at(name.name.position)),
            (Ok(Relation::View(_)), _) => {
                return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", name.name))
                    .with_hint("it is a view: use DROP VIEW")
                    .at(name.name.position));
            }
            (Err(error), _) if if_exists && matches!(error.kind, ErrorKind::UndefinedTable | ErrorKind::UndefinedSchema) => {
                notices.push(format!("{what} \"{}\" does not exist, skipping", name.name));
            }
            (Err(error), _) => return Err(error),
        }
    }
    found.dedup();
    Ok((found, notices))
}
