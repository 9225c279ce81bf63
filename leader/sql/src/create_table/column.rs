//! One column of CREATE TABLE and its attributes, in any order.

use super::super::embedded::{position_of, with_sqlparser_until};
use super::super::lex::Cursor;
use super::super::names::Name;
use super::super::table_attributes::SortKey;
use super::super::{rewrite, types};
use super::{ColumnSpec, ConstraintSpec, ConstraintSpecKind, CreateTableSpec, Element};
use datafusion::sql::sqlparser::ast::{Expr, visit_expressions};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::catalog::{Column, Identity, SortStyle};
use slipher_common::error::did_you_mean;
use slipher_common::ids::ColumnId;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::ops::ControlFlow;

/// Every encoding Redshift knows.
const ENCODINGS: &[&str] = &[
    "raw",
    "az64",
    "bytedict",
    "delta",
    "delta32k",
    "lzo",
    "mostly8",
    "mostly16",
    "mostly32",
    "runlength",
    "text255",
    "text32k",
    "zstd",
];

/// 0A000 for CHECK.
pub(super) fn check_constraint(position: usize) -> Error {
    Error::not_supported("a CHECK constraint", "check the rows in the query that loads them").at(position)
}

/// What stands behind REFERENCES.
pub(super) fn references(cursor: &mut Cursor<'_>) -> Result<ConstraintSpecKind> {
    let other = cursor.qualified_name("a table")?;
    let columns = if cursor.looking_at_token(&Token::LParen) { cursor.names_in_parentheses("a column")? } else { Vec::new() };
    if cursor.looking_at(&["ON"]) || cursor.looking_at(&["MATCH"]) {
        return Err(
            Error::not_supported("an action of a foreign key", "leave it out; references are not enforced").at(cursor.position())
        );
    }
    Ok(ConstraintSpecKind::References(other, columns))
}

fn wrong(message: impl Into<String>, position: usize) -> Error {
    Error::new(ErrorKind::InvalidColumnDefinition, message).at(position)
}

impl ColumnSpec {
    /// The column of the catalog.
    pub(super) fn to_column(&self, id: ColumnId) -> Column {
        Column {
            id,
            name: self.name.value.clone(),
            sql_type: self.sql_type,
            not_null: self.not_null,
            default_expression: self.default_expression.clone(),
            encoding: self.encoding.clone(),
            identity: self.identity.clone(),
            stored_name: None,
            missing_value: None,
        }
    }
}

impl CreateTableSpec {
    /// Reads a column and its attributes.
    pub(super) fn parse_column(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let name = cursor.name("a column")?;
        let sql_type = types::parse(cursor)?;
        let mut column = ColumnSpec { name, sql_type, not_null: false, default_expression: None, encoding: None, identity: None };
        let mut nullable = None;
        while !cursor.at_end() && !cursor.looking_at_token(&Token::Comma) && !cursor.looking_at_token(&Token::RParen) {
            let position = cursor.position();
            let null = if cursor.eat(&["NOT", "NULL"]) { Some(false) } else { cursor.eat(&["NULL"]).then_some(true) };
            if let Some(null) = null {
                if nullable.is_some_and(|before| before != null) {
                    let message = format!("conflicting NULL/NOT NULL declarations for column \"{}\"", column.name);
                    return Err(wrong(message, position));
                }
                nullable = Some(null);
            } else if !self.parse_key(cursor, &column.name, position)? && !column.parse_attribute(cursor, position)? {
                return Err(super::super::embedded::explain_syntax(cursor.lexed, cursor.next)
                    .with_detail("expected \",\", \")\" or an attribute of the column"));
            }
        }
        column.finish(nullable)?;
        self.elements.push(Element::Column(column));
        Ok(())
    }

    /// DISTKEY, SORTKEY and constraints: what belongs to the table; answers whether there was one.
    fn parse_key(&mut self, cursor: &mut Cursor<'_>, column: &Name, position: usize) -> Result<bool> {
        let here = || Name { position, ..column.clone() };
        if cursor.eat(&["DISTKEY"]) {
            self.attributes.set_dist_key(here())?;
            return Ok(true);
        }
        if cursor.eat(&["SORTKEY"]) {
            self.attributes.set_sort_key(SortKey::Columns(SortStyle::Compound, vec![here()]), position)?;
            return Ok(true);
        }
        let name = if cursor.eat(&["CONSTRAINT"]) { cursor.name("a constraint's name")?.value } else { String::new() };
        let kind = if cursor.eat(&["PRIMARY", "KEY"]) {
            ConstraintSpecKind::PrimaryKey
        } else if cursor.eat(&["UNIQUE"]) {
            ConstraintSpecKind::Unique
        } else if cursor.eat(&["REFERENCES"]) {
            references(cursor)?
        } else if cursor.looking_at(&["CHECK"]) {
            return Err(check_constraint(cursor.position()));
        } else if name.is_empty() || cursor.looking_at(&["NOT", "NULL"]) || cursor.looking_at(&["NULL"]) {
            // NOT NULL may carry a name, which nothing uses.
            return Ok(!name.is_empty());
        } else {
            return Err(cursor.error("expected PRIMARY KEY, UNIQUE, REFERENCES or NOT NULL"));
        };
        self.constraints.push(ConstraintSpec { name, position, kind, columns: vec![here()] });
        Ok(true)
    }
}

impl ColumnSpec {
    /// An attribute of the column itself; answers whether there was one.
    fn parse_attribute(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Result<bool> {
        if cursor.eat(&["ENCODE"]) {
            self.parse_encoding(cursor)?;
        } else if cursor.eat(&["DEFAULT"]) {
            let expression = default_expression(cursor)?;
            if self.default_expression.replace(expression).is_some() || self.identity.is_some() {
                return Err(wrong(format!("multiple default values specified for column \"{}\"", self.name), position));
            }
        } else if cursor.eat(&["IDENTITY"]) {
            self.parse_identity(cursor, false, position)?;
        } else if cursor.eat(&["GENERATED"]) {
            cursor.expect(&["BY", "DEFAULT", "AS", "IDENTITY"])?;
            self.parse_identity(cursor, true, position)?;
        } else if cursor.eat(&["COLLATE"]) {
            let at = cursor.position();
            match cursor.eat_one_of(&["CASE_SENSITIVE", "CS", "CASE_INSENSITIVE", "CI"]) {
                Some("CASE_SENSITIVE" | "CS") => {}
                Some(_) => {
                    return Err(Error::not_supported("a case-insensitive column", "compare with LOWER(...) on both sides").at(at));
                }
                None => return Err(cursor.error("expected CASE_SENSITIVE or CASE_INSENSITIVE")),
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn parse_encoding(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let position = cursor.position();
        let word = cursor.peek().and_then(|lexeme| lexeme.keyword()).unwrap_or_default().to_lowercase();
        if word.is_empty() {
            return Err(cursor.error("expected an encoding"));
        }
        cursor.next += 1;
        if word == "auto" {
            // The default; the table says ENCODE AUTO for all of them.
            return Ok(());
        }
        check_encoding(&word, &self.name.value, self.sql_type).map_err(|error| error.at(position))?;
        if self.encoding.replace(word).is_some() {
            return Err(wrong(format!("ENCODE of column \"{}\" stands more than once", self.name), position));
        }
        Ok(())
    }

    fn parse_identity(&mut self, cursor: &mut Cursor<'_>, by_default: bool, position: usize) -> Result<()> {
        let (mut seed, mut step) = (1, 1);
        if cursor.eat_token(&Token::LParen) {
            seed = cursor.integer("a seed")?;
            cursor.expect_token(&Token::Comma)?;
            let at = cursor.position();
            step = cursor.integer("a step")?;
            if step == 0 {
                return Err(Error::new(ErrorKind::InvalidParameter, "the step of IDENTITY must not be 0").at(at));
            }
            cursor.expect_token(&Token::RParen)?;
        }
        if !matches!(self.sql_type, SqlType::Integer | SqlType::BigInt) {
            return Err(wrong(format!("identity column \"{}\" must be of type INTEGER or BIGINT", self.name), position));
        }
        if self.default_expression.is_some() || self.identity.is_some() {
            return Err(wrong(format!("multiple default values specified for column \"{}\"", self.name), position));
        }
        self.identity = Some(Identity { seed, step, by_default, next: 0 });
        Ok(())
    }

    fn finish(&mut self, nullable: Option<bool>) -> Result<()> {
        if self.identity.is_some() && nullable == Some(true) {
            let message = format!("conflicting NULL/NOT NULL declarations for column \"{}\"", self.name);
            return Err(wrong(message, self.name.position).with_detail("an identity column is NOT NULL"));
        }
        self.not_null = nullable == Some(false) || self.identity.is_some();
        Ok(())
    }
}

/// Which types Redshift allows an encoding for.
fn encoding_fits(encoding: &str, sql_type: SqlType) -> bool {
    use SqlType::*;
    let exact = matches!(sql_type, SmallInt | Integer | BigInt | Decimal { .. });
    let temporal = matches!(sql_type, Date | Time | TimeTz | Timestamp | TimestampTz);
    match encoding {
        "az64" | "delta" => exact || temporal,
        "delta32k" => (exact && sql_type != SmallInt) || temporal,
        "mostly8" => exact,
        "mostly16" => exact && sql_type != SmallInt,
        "mostly32" => matches!(sql_type, BigInt | Decimal { .. }),
        "text255" | "text32k" => matches!(sql_type, VarChar(_)),
        "lzo" => !matches!(sql_type, Boolean | Real | DoublePrecision),
        "bytedict" => sql_type != Boolean,
        _ => true,
    }
}

/// The text of the expression that comes next; it may not look at columns.
/// Where the next NOT NULL starts, or the text ends: sqlparser would read `1 NOT NULL` as one expression.
fn attribute_behind(cursor: &Cursor<'_>) -> usize {
    let is_not_null = |at: usize| {
        let keyword = |ahead: usize| cursor.peek_at(ahead).and_then(|lexeme| lexeme.keyword());
        keyword(at).as_deref() == Some("NOT")
            && keyword(at + 1).as_deref() == Some("NULL")
            && keyword(at - 1).as_deref() != Some("IS")
    };
    let left = cursor.lexed.lexemes.len() - cursor.next;
    cursor.next + (1..left).find(|at| is_not_null(*at)).unwrap_or(left)
}

fn default_expression(cursor: &mut Cursor<'_>) -> Result<String> {
    let from = cursor.peek().ok_or_else(|| cursor.error("expected an expression"))?;
    let position = from.start + 1;
    let lexed = cursor.lexed;
    let until = attribute_behind(cursor);
    let mut expression = with_sqlparser_until(cursor, until, |parser| parser.parse_expr())?;
    rewrite::rewrite_expression(&mut expression, &|span| position_of(lexed, span))?;
    let refused = visit_expressions(&expression, |inner| match inner {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break("a column"),
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break("a subquery"),
        _ => ControlFlow::Continue(()),
    });
    if let ControlFlow::Break(what) = refused {
        return Err(
            wrong(format!("cannot use {what} in a DEFAULT expression"), position).with_hint("strings stand in single quotes")
        );
    }
    let until = lexed.lexemes.get(cursor.next.saturating_sub(1)).map_or(from.bytes.end, |last| last.bytes.end);
    Ok(lexed.text[from.bytes.start..until].to_owned())
}

/// ENCODE of ALTER COLUMN; None for AUTO.
pub fn checked_encoding(word: &str, column: &str, sql_type: SqlType) -> Result<Option<String>> {
    if word == "auto" {
        return Ok(None);
    }
    check_encoding(word, column, sql_type)?;
    Ok(Some(word.to_owned()))
}

/// An encoding that Redshift has, and that fits the type.
fn check_encoding(word: &str, column: &str, sql_type: SqlType) -> Result<()> {
    if !ENCODINGS.contains(&word) {
        let hint = did_you_mean(word, ENCODINGS.iter().copied());
        let message = format!("unknown encoding \"{word}\" for column \"{column}\"");
        return Err(Error::new(ErrorKind::InvalidColumnDefinition, message).with_hint(hint));
    }
    if !encoding_fits(word, sql_type) {
        let message = format!("invalid encoding \"{word}\" for column \"{column}\" of type {sql_type}");
        return Err(
            Error::new(ErrorKind::InvalidColumnDefinition, message).with_hint("ENCODE ZSTD fits every type; ENCODE AUTO chooses")
        );
    }
    Ok(())
}
