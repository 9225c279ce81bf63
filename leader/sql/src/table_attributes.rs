//! What stands behind the columns of CREATE TABLE: DISTSTYLE, DISTKEY, SORTKEY, ENCODE AUTO, BACKUP, in any order.

use super::lex::Cursor;
use super::names::Name;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::catalog::{Column, Constraint, ConstraintKind, Distribution, SortStyle, Table};
use slipher_common::ids::ColumnId;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// Most columns of a SORTKEY.
pub(crate) const SORT_KEY_COLUMNS_MAX: usize = 400;
/// Most columns of an interleaved SORTKEY.
pub(crate) const INTERLEAVED_SORT_KEY_COLUMNS_MAX: usize = 8;

/// DISTSTYLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistStyle {
    /// KEY.
    Key,
    /// EVEN.
    Even,
    /// ALL.
    All,
    /// AUTO.
    Auto,
}

/// SORTKEY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// SORTKEY AUTO.
    Auto,
    /// [COMPOUND | INTERLEAVED] SORTKEY (columns).
    Columns(SortStyle, Vec<Name>),
}

/// The attributes of a table as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableAttributes {
    /// Keys may name columns by their numbers: those of a query.
    by_number: bool,
    /// DISTSTYLE and its position.
    pub dist_style: Option<(DistStyle, usize)>,
    /// DISTKEY, of the table or of a column.
    pub dist_key: Option<Name>,
    /// SORTKEY, of the table or of a column, and its position.
    pub sort_key: Option<(SortKey, usize)>,
    /// ENCODE AUTO and its position.
    pub(crate) encode_auto: Option<usize>,
    /// BACKUP and its position.
    pub(crate) backup: Option<(bool, usize)>,
}

fn contradiction(message: impl Into<String>, position: usize) -> Error {
    Error::new(ErrorKind::InvalidTableDefinition, message).at(position)
}

impl TableAttributes {
    /// Reads attributes as long as some come.
    pub(crate) fn parse(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        loop {
            let position = cursor.position();
            if cursor.eat(&["DISTSTYLE"]) {
                self.parse_dist_style(cursor, position)?;
            } else if cursor.eat(&["DISTKEY"]) {
                let mut names = self.key_columns(cursor)?;
                if let Some(second) = names.get(1) {
                    return Err(contradiction("DISTKEY takes one column", second.position));
                }
                if let Some(name) = names.pop() {
                    self.set_dist_key(name)?;
                }
            } else if let Some(word) = cursor.eat_one_of(&["COMPOUND", "INTERLEAVED", "SORTKEY"]) {
                self.parse_sort_key(cursor, word, position)?;
            } else if cursor.eat(&["ENCODE"]) {
                cursor.expect(&["AUTO"])?;
                self.encode_auto = Some(position);
            } else if cursor.eat(&["BACKUP"]) {
                let word = cursor.eat_one_of(&["YES", "NO"]).ok_or_else(|| cursor.error("expected YES or NO"))?;
                if self.backup.replace((word == "YES", position)).is_some() {
                    return Err(contradiction("BACKUP stands more than once", position));
                }
            } else {
                return Ok(());
            }
        }
    }

    /// `(column, ...)`; of CREATE TABLE AS also the numbers of its columns.
    fn key_columns(&self, cursor: &mut Cursor<'_>) -> Result<Vec<Name>> {
        if !self.by_number || !matches!(cursor.peek_at(1).map(|lexeme| &lexeme.token), Some(Token::Number(..))) {
            return cursor.names_in_parentheses("a column");
        }
        cursor.expect_token(&Token::LParen)?;
        let mut names = Vec::new();
        loop {
            let position = cursor.position();
            let value = cursor.integer("the number of a column")?.to_string();
            names.push(Name { value, quoted: false, position });
            if !cursor.eat_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
        Ok(names)
    }

    fn parse_dist_style(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Result<()> {
        let word = cursor.eat_one_of(&["KEY", "EVEN", "ALL", "AUTO"]);
        let style = match word {
            Some("KEY") => DistStyle::Key,
            Some("EVEN") => DistStyle::Even,
            Some("ALL") => DistStyle::All,
            Some(_) => DistStyle::Auto,
            None => return Err(cursor.error("expected KEY, EVEN, ALL or AUTO after DISTSTYLE")),
        };
        if self.dist_style.replace((style, position)).is_some() {
            return Err(contradiction("DISTSTYLE stands more than once", position));
        }
        Ok(())
    }

    fn parse_sort_key(&mut self, cursor: &mut Cursor<'_>, word: &str, position: usize) -> Result<()> {
        let key = if word == "SORTKEY" && cursor.eat(&["AUTO"]) {
            SortKey::Auto
        } else {
            if word != "SORTKEY" {
                cursor.expect(&["SORTKEY"])?;
            }
            let style = if word == "INTERLEAVED" { SortStyle::Interleaved } else { SortStyle::Compound };
            SortKey::Columns(style, self.key_columns(cursor)?)
        };
        self.set_sort_key(key, position)
    }

    /// Of a table that gets its columns from a query.
    pub(crate) fn of_query() -> Self {
        Self { by_number: true, ..Self::default() }
    }

    /// DISTKEY; an error when there is one already.
    pub(crate) fn set_dist_key(&mut self, name: Name) -> Result<()> {
        match &self.dist_key {
            Some(first) => Err(contradiction("cannot specify more than one DISTKEY", name.position)
                .with_detail(format!("the first is on column \"{first}\""))),
            None => {
                self.dist_key = Some(name);
                Ok(())
            }
        }
    }

    /// SORTKEY; an error when there is one already.
    pub(crate) fn set_sort_key(&mut self, key: SortKey, position: usize) -> Result<()> {
        if self.sort_key.replace((key, position)).is_some() {
            return Err(contradiction("SORTKEY stands more than once", position)
                .with_hint("name all columns in one table attribute: SORTKEY (a, b)"));
        }
        Ok(())
    }

    /// Where the first attribute stands that LIKE would inherit.
    pub(crate) fn first_inherited(&self) -> Option<usize> {
        let positions = [
            self.dist_style.map(|(_, position)| position),
            self.dist_key.as_ref().map(|name| name.position),
            self.sort_key.as_ref().map(|(_, position)| *position),
            self.backup.map(|(_, position)| position),
        ];
        positions.into_iter().flatten().min()
    }

    /// Sets what the attributes mean on a table that is there; what they do not name stays.
    pub fn alter(&self, table: &mut Table) -> Result<()> {
        if self.dist_style.is_some() || self.dist_key.is_some() {
            (table.distribution, table.distribution_auto) = self.distribution(&table.columns, &table.constraints)?;
        }
        match &self.sort_key {
            None => {}
            Some((SortKey::Auto, _)) => table.sort_auto = true,
            Some((SortKey::Columns(style, names), position)) => {
                table.sort_auto = false;
                table.sort_style = *style;
                table.sort_key =
                    if names.is_empty() { Vec::new() } else { sort_columns(&table.columns, *style, names, *position)? };
            }
        }
        table.encode_auto |= self.encode_auto.is_some();
        Ok(())
    }

    /// Sets what the attributes mean on a table whose columns and constraints are complete.
    pub(crate) fn apply(&self, table: &mut Table) -> Result<()> {
        (table.distribution, table.distribution_auto) = self.distribution(&table.columns, &table.constraints)?;
        table.backup = self.backup.is_none_or(|(backup, _)| backup);
        let encoded = table.columns.iter().any(|column| column.encoding.is_some());
        if let (Some(position), true) = (self.encode_auto, encoded) {
            return Err(contradiction("ENCODE AUTO contradicts ENCODE of a column", position).with_hint("leave one of them out"));
        }
        table.encode_auto = self.encode_auto.is_some() || !encoded;
        match &self.sort_key {
            None | Some((SortKey::Auto, _)) => table.sort_auto = true,
            Some((SortKey::Columns(style, names), position)) => {
                table.sort_style = *style;
                table.sort_key = sort_columns(&table.columns, *style, names, *position)?;
            }
        }
        Ok(())
    }

    fn distribution(&self, columns: &[Column], constraints: &[Constraint]) -> Result<(Distribution, bool)> {
        let key = match &self.dist_key {
            Some(name) => {
                let column = find_key(columns, name, "DISTKEY")?;
                Some((column.id, name.position))
            }
            None => None,
        };
        match (self.dist_style, key) {
            (None | Some((DistStyle::Key, _)), Some((id, _))) => Ok((Distribution::Key(id), false)),
            (Some((DistStyle::Key, position)), None) => {
                Err(contradiction("DISTSTYLE KEY needs a DISTKEY column", position).with_hint("add DISTKEY (column)"))
            }
            (Some((DistStyle::Even, _)), None) => Ok((Distribution::Even, false)),
            (Some((DistStyle::All, _)), None) => Ok((Distribution::All, false)),
            (Some((_, _)), Some((_, position))) => Err(contradiction("a DISTKEY contradicts the table's DISTSTYLE", position)
                .with_hint("use DISTSTYLE KEY, or leave DISTSTYLE out")),
            (None | Some((DistStyle::Auto, _)), None) => Ok((automatic(columns, constraints), true)),
        }
    }
}

/// KEY by a primary key of one column that can be one, else EVEN.
fn automatic(columns: &[Column], constraints: &[Constraint]) -> Distribution {
    let primary = constraints.iter().find(|constraint| constraint.kind == ConstraintKind::PrimaryKey);
    match primary.map(|constraint| constraint.columns.as_slice()) {
        Some([key]) if columns.iter().any(|column| column.id == *key && column.sql_type.has_bounds()) => Distribution::Key(*key),
        _ => Distribution::Even,
    }
}

fn sort_columns(columns: &[Column], style: SortStyle, names: &[Name], position: usize) -> Result<Vec<ColumnId>> {
    let most = match style {
        SortStyle::Compound => SORT_KEY_COLUMNS_MAX,
        SortStyle::Interleaved => INTERLEAVED_SORT_KEY_COLUMNS_MAX,
    };
    if names.len() > most {
        return Err(contradiction(format!("SORTKEY names {} columns, {most} are allowed", names.len()), position));
    }
    let mut seen = HashSet::new();
    names
        .iter()
        .map(|name| {
            let column = find_key(columns, name, "SORTKEY")?;
            if !seen.insert(column.id) {
                return Err(Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" stands twice in SORTKEY"))
                    .at(name.position));
            }
            Ok(column.id)
        })
        .collect()
}

/// The column that rows are distributed or sorted by.
fn find_key<'a>(columns: &'a [Column], name: &Name, named_in: &str) -> Result<&'a Column> {
    let column = find(columns, name, named_in)?;
    match column.sql_type {
        other if !other.has_bounds() => {
            Err(contradiction(format!("column \"{name}\" of type {other} cannot be a {named_in}"), name.position)
                .with_hint("keep the part of it that rows are found by in a column of its own"))
        }
        _ => Ok(column),
    }
}

/// The column of a name; 42703 with a hint when there is none.
pub(super) fn find<'a>(columns: &'a [Column], name: &Name, named_in: &str) -> Result<&'a Column> {
    // No name without quotes begins with a digit.
    if !name.quoted && name.value.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        let place = name.value.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        return place.and_then(|place| columns.get(place)).ok_or_else(|| {
            let message = format!("{named_in} position {name} is not in the select list");
            Error::new(ErrorKind::InvalidColumnReference, message)
                .with_detail(format!("the query has {} columns", columns.len()))
                .at(name.position)
        });
    }
    columns.iter().find(|column| column.name == name.value).ok_or_else(|| {
        let hint = slipher_common::error::did_you_mean(&name.value, columns.iter().map(|column| column.name.as_str()));
        Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" named in {named_in} does not exist"))
            .with_hint(hint)
            .at(name.position)
    })
}
