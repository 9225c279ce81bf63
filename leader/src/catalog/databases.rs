//! Names in other databases are refused: a session sees its own.

use slipher_common::{Error, Result};
use slipher_sql::Name;
use slipher_sql::position::REFERENCE_TO_DATABASE;

/// Refuses a name in a database other than the session's `own`.
pub(crate) fn check_database(named: Option<&Name>, own: &str) -> Result<()> {
    match named {
        Some(name) if name.value != own => Err(refused(&name.value, own).at(name.position)),
        _ => Ok(()),
    }
}

/// 0A000 for a name in another database.
pub(crate) fn refused(named: &str, own: &str) -> Error {
    let what = format!("{REFERENCE_TO_DATABASE}\"{named}\" from database \"{own}\"");
    Error::not_supported(what, "connect to that database")
}
