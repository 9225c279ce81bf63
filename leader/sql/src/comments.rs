//! COMMENT ON.

use super::Parsed;
use super::lex::Cursor;
use super::names::{Name, QualifiedName, SchemaName};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, Result};

/// What a comment is about.
#[derive(Debug)]
pub enum CommentOn {
    /// A table.
    Table(QualifiedName),
    /// A view.
    View(QualifiedName),
    /// A column of a table or view.
    Column {
        /// The table or view.
        relation: QualifiedName,
        /// The column.
        column: Name,
    },
    /// A schema.
    Schema(SchemaName),
    /// A database.
    Database(Name),
}

/// `COMMENT ON { TABLE | VIEW | COLUMN | SCHEMA | DATABASE } name IS { 'text' | NULL }`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["COMMENT", "ON"])?;
    let position = cursor.position();
    let kinds = ["TABLE", "VIEW", "COLUMN", "SCHEMA", "DATABASE", "CONSTRAINT", "FUNCTION", "PROCEDURE", "USER", "ROLE", "GROUP"];
    let on = match cursor.eat_one_of(&kinds) {
        Some("TABLE") => CommentOn::Table(cursor.qualified_name("a table")?),
        Some("VIEW") => CommentOn::View(cursor.qualified_name("a view")?),
        Some("COLUMN") => column(cursor)?,
        Some("SCHEMA") => CommentOn::Schema(cursor.schema_name()?),
        Some("DATABASE") => CommentOn::Database(cursor.name("a database")?),
        Some(other) => {
            let instead = "tables, views, columns, schemas and databases have comments";
            return Err(Error::not_supported(format_args!("COMMENT ON {other}"), instead).at(position));
        }
        None => return Err(cursor.error("expected TABLE, VIEW, COLUMN, SCHEMA or DATABASE")),
    };
    cursor.expect(&["IS"])?;
    let text = if cursor.eat(&["NULL"]) { None } else { Some(cursor.string("a text in single quotes, or NULL")?) };
    // An empty text takes the comment back, too.
    Ok(Parsed::Comment { on, text: text.filter(|text| !text.is_empty()) })
}

/// `[[database.]schema.]relation.column`.
fn column(cursor: &mut Cursor<'_>) -> Result<CommentOn> {
    let mut parts = vec![cursor.name("a table or view")?];
    while cursor.eat_token(&Token::Period) {
        parts.push(cursor.name("a column")?);
    }
    match parts.pop() {
        Some(column) if !parts.is_empty() => Ok(CommentOn::Column { relation: QualifiedName::from_parts(parts)?, column }),
        _ => Err(cursor.error("expected the column behind its table: table.column")),
    }
}
