//! SHOW of objects: DATABASES, SCHEMAS, TABLES, COLUMNS, TABLE, VIEW.

use super::Parsed;
use super::lex::Cursor;
use super::names::{Name, QualifiedName, SchemaName};
use slipher_common::{Error, ErrorKind, Result};

/// More rows than so many are not asked for.
const ROWS_MAX_COUNT: i64 = 10_000;

/// Which objects a SHOW lists.
#[derive(Debug)]
pub enum ListedObjects {
    /// SHOW DATABASES.
    Databases,
    /// SHOW SCHEMAS FROM DATABASE.
    Schemas(Name),
    /// SHOW TABLES FROM SCHEMA: tables and views.
    Tables(SchemaName),
    /// SHOW COLUMNS FROM TABLE.
    Columns(QualifiedName),
}

/// Objects that there are in Redshift, and what to use for them here.
const REFUSED: &[&str] = &[
    "CONSTRAINTS",
    "GRANTS",
    "PROCEDURES",
    "PROCEDURE",
    "FUNCTIONS",
    "PARAMETERS",
    "EXTERNAL",
    "MODEL",
    "DATASHARES",
    "POLICIES",
    "TEMPLATE",
    "TEMPLATES",
];

/// What stands behind SHOW, if it is an object; None for a setting.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Parsed>> {
    let position = cursor.position();
    if cursor.eat(&["VIEW"]) {
        return Ok(Some(Parsed::ShowView { name: cursor.qualified_name("a view")? }));
    }
    if cursor.eat(&["TABLE"]) {
        return Ok(Some(Parsed::ShowTable { name: cursor.qualified_name("a table")? }));
    }
    let objects = if cursor.eat(&["DATABASES"]) {
        if cursor.eat(&["FROM"]) {
            return Err(Error::not_supported("SHOW DATABASES FROM DATA CATALOG", "SHOW DATABASES lists those of the cluster")
                .at(position));
        }
        ListedObjects::Databases
    } else if cursor.eat(&["SCHEMAS"]) {
        cursor.expect(&["FROM"])?;
        cursor.eat(&["DATABASE"]);
        ListedObjects::Schemas(cursor.name("a database")?)
    } else if cursor.eat(&["TABLES"]) {
        cursor.expect(&["FROM"])?;
        cursor.eat(&["SCHEMA"]);
        ListedObjects::Tables(cursor.schema_name()?)
    } else if cursor.eat(&["COLUMNS"]) {
        cursor.expect(&["FROM"])?;
        cursor.eat(&["TABLE"]);
        ListedObjects::Columns(cursor.qualified_name("a table")?)
    } else if let Some(object) = cursor.eat_one_of(REFUSED) {
        let instead = "SHOW DATABASES, SCHEMAS, TABLES, COLUMNS, TABLE and VIEW are there";
        return Err(Error::not_supported(format_args!("SHOW {object}"), instead).at(position));
    } else {
        return Ok(None);
    };
    let like = if cursor.eat(&["LIKE"]) { Some(cursor.string("a pattern in single quotes")?) } else { None };
    let limit = if cursor.eat(&["LIMIT"]) { Some(limit(cursor)?) } else { None };
    Ok(Some(Parsed::ShowObjects { objects, like, limit }))
}

fn limit(cursor: &mut Cursor<'_>) -> Result<usize> {
    let position = cursor.position();
    let rows = cursor.integer("a number of rows")?;
    let valid = usize::try_from(rows).ok().filter(|_| rows <= ROWS_MAX_COUNT);
    valid.ok_or_else(|| {
        Error::new(ErrorKind::InvalidParameter, format!("LIMIT {rows} of SHOW: not between 0 and {ROWS_MAX_COUNT}")).at(position)
    })
}
