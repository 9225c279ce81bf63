//! ALTER SCHEMA.

use super::Parsed;
use super::lex::Cursor;
use super::names::Name;
use slipher_common::{Error, Result};

/// What becomes of a schema.
#[derive(Debug)]
pub enum SchemaChange {
    /// RENAME TO.
    Rename(Name),
    /// OWNER TO.
    Owner(Name),
}

/// What follows ALTER SCHEMA: `name { RENAME TO name | OWNER TO user | QUOTA ... }`.
pub(super) fn parse_alter(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let name = cursor.schema_name()?;
    let position = cursor.position();
    let change = if cursor.eat(&["RENAME", "TO"]) {
        SchemaChange::Rename(cursor.name("a schema's name")?)
    } else if cursor.eat(&["OWNER", "TO"]) {
        SchemaChange::Owner(cursor.name("a user's name")?)
    } else if cursor.eat(&["QUOTA"]) {
        return Err(Error::not_supported("QUOTA of a schema", "leave QUOTA out and watch the sizes of tables").at(position));
    } else {
        return Err(cursor.error("expected RENAME TO or OWNER TO"));
    };
    Ok(Parsed::AlterSchema { name, change })
}
