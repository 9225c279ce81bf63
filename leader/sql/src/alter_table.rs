//! ALTER TABLE.

use super::Parsed;
use super::create_table::{CreateTableSpec, parse_added_column, parse_added_constraint};
use super::lex::Cursor;
use super::names::{Name, QualifiedName};
use super::table_attributes::{SortKey, TableAttributes};
use super::types;
use slipher_common::catalog::{Column, SortStyle};
use slipher_common::{Error, Result, SqlType};

/// What one ALTER TABLE does.
#[derive(Debug)]
pub enum TableChange {
    /// RENAME TO.
    Rename(Name),
    /// RENAME COLUMN.
    RenameColumn {
        /// Its name.
        from: Name,
        /// The new one.
        to: Name,
    },
    /// SET SCHEMA.
    SetSchema(Name),
    /// OWNER TO.
    Owner(Name),
    /// SWAP WITH: both tables get each other's names.
    Swap(QualifiedName),
    /// APPEND FROM: the rows of another table move here.
    Append {
        /// The other table.
        source: QualifiedName,
        /// Columns that only the other table has are left out.
        ignore_extra: bool,
        /// Columns that only this table has get their defaults.
        fill_target: bool,
    },
    /// ADD CONSTRAINT.
    AddConstraint(Box<CreateTableSpec>),
    /// DROP CONSTRAINT.
    DropConstraint(Name),
    /// ADD COLUMN.
    AddColumn {
        /// Its id is still 0.
        column: Box<Column>,
        /// Where its name stands.
        position: usize,
        /// No error when it is there.
        if_not_exists: bool,
    },
    /// DROP COLUMN.
    DropColumn {
        /// The column.
        name: Name,
        /// No error when it is not there.
        if_exists: bool,
        /// With the views that use it.
        cascade: bool,
    },
    /// ALTER DISTSTYLE, DISTKEY, SORTKEY, ENCODE AUTO.
    Layout(Box<TableAttributes>),
    /// ALTER COLUMN ... ENCODE.
    Encoding {
        /// The column.
        name: Name,
        /// The encoding.
        encoding: Name,
    },
    /// ALTER COLUMN ... TYPE.
    ColumnType {
        /// The column.
        name: Name,
        /// Its new type.
        sql_type: SqlType,
    },
}

/// Reads what follows ALTER TABLE.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let table = cursor.qualified_name("a table")?;
    let change = change(cursor, &table)?;
    Ok(Parsed::AlterTable { table, change })
}

fn change(cursor: &mut Cursor<'_>, table: &QualifiedName) -> Result<TableChange> {
    let position = cursor.position();
    let refuse =
        |what: &str, instead: &str| Err(Error::not_supported(format_args!("ALTER TABLE ... {what}"), instead).at(position));
    if cursor.eat(&["RENAME", "TO"]) {
        return Ok(TableChange::Rename(cursor.name("a table's name")?));
    }
    if cursor.eat(&["RENAME"]) {
        cursor.eat(&["COLUMN"]);
        let from = cursor.name("a column")?;
        cursor.expect(&["TO"])?;
        return Ok(TableChange::RenameColumn { from, to: cursor.name("a column's name")? });
    }
    if cursor.eat(&["SET", "SCHEMA"]) {
        return Ok(TableChange::SetSchema(cursor.name("a schema")?));
    }
    if cursor.eat(&["OWNER", "TO"]) {
        return Ok(TableChange::Owner(cursor.name("a user")?));
    }
    if cursor.eat(&["SWAP", "WITH"]) {
        return Ok(TableChange::Swap(cursor.qualified_name("a table")?));
    }
    if ["PRIMARY", "UNIQUE", "FOREIGN", "CONSTRAINT", "CHECK"].iter().any(|word| cursor.looking_at(&["ADD", word])) {
        cursor.expect(&["ADD"])?;
        return Ok(TableChange::AddConstraint(Box::new(parse_added_constraint(cursor, table)?)));
    }
    if cursor.eat(&["ADD"]) {
        cursor.eat(&["COLUMN"]);
        let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
        let position = cursor.position();
        let column = Box::new(parse_added_column(cursor, table)?);
        return Ok(TableChange::AddColumn { column, position, if_not_exists });
    }
    if cursor.eat(&["DROP", "CONSTRAINT"]) {
        let name = cursor.name("a constraint")?;
        // Nothing depends on what is not enforced.
        cursor.eat_one_of(&["CASCADE", "RESTRICT"]);
        return Ok(TableChange::DropConstraint(name));
    }
    if cursor.eat(&["DROP"]) {
        cursor.eat(&["COLUMN"]);
        let if_exists = cursor.eat(&["IF", "EXISTS"]);
        let name = cursor.name("a column")?;
        let cascade = cursor.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
        return Ok(TableChange::DropColumn { name, if_exists, cascade });
    }
    if ["DISTKEY", "DISTSTYLE", "SORTKEY", "COMPOUND", "INTERLEAVED", "ENCODE"]
        .iter()
        .any(|word| cursor.looking_at(&["ALTER", word]))
    {
        cursor.next += 1;
        return Ok(TableChange::Layout(Box::new(layout(cursor)?)));
    }
    if cursor.eat(&["ALTER"]) {
        cursor.eat(&["COLUMN"]);
        let name = cursor.name("a column")?;
        if cursor.eat(&["ENCODE"]) {
            let encoding = cursor.name("an encoding")?;
            return Ok(TableChange::Encoding { name, encoding });
        }
        if !cursor.eat(&["TYPE"]) {
            return refuse(
                "ALTER COLUMN",
                "ALTER COLUMN ... TYPE is there; for the rest make the table anew with CREATE TABLE AS",
            );
        }
        return Ok(TableChange::ColumnType { name, sql_type: types::parse(cursor)? });
    }
    if cursor.eat(&["APPEND", "FROM"]) {
        let source = cursor.qualified_name("a table")?;
        let option = cursor.eat_one_of(&["IGNOREEXTRA", "FILLTARGET"]);
        let (ignore_extra, fill_target) = (option == Some("IGNOREEXTRA"), option == Some("FILLTARGET"));
        return Ok(TableChange::Append { source, ignore_extra, fill_target });
    }
    Err(cursor.error("expected RENAME, ADD, DROP, ALTER COLUMN, SET SCHEMA, OWNER TO, SWAP WITH or APPEND FROM"))
}

/// `DISTSTYLE style [DISTKEY column]`, `DISTKEY column`, `[COMPOUND | INTERLEAVED] SORTKEY (columns)`, `SORTKEY AUTO | NONE`, `ENCODE AUTO`.
fn layout(cursor: &mut Cursor<'_>) -> Result<TableAttributes> {
    let mut attributes = TableAttributes::default();
    let position = cursor.position();
    if cursor.eat(&["SORTKEY", "NONE"]) {
        attributes.set_sort_key(SortKey::Columns(SortStyle::Compound, Vec::new()), position)?;
        return Ok(attributes);
    }
    // DISTKEY stands without parentheses here.
    if cursor.eat(&["DISTKEY"]) {
        attributes.set_dist_key(cursor.name("a column")?)?;
        return Ok(attributes);
    }
    if cursor.eat(&["DISTSTYLE", "KEY", "DISTKEY"]) {
        attributes.set_dist_key(cursor.name("a column")?)?;
        return Ok(attributes);
    }
    attributes.parse(cursor)?;
    Ok(attributes)
}
