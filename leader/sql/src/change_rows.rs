//! UPDATE and DELETE: a query of the rows they are about.

use super::Parsed;
use super::embedded::{position_of, with_sqlparser};
use super::lex::Cursor;
use super::made::parse_made;
use super::names::{Name, QualifiedName};
use super::rewrite;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement,
    TableFactor, TableWithJoins, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::ids::TableId;
use slipher_common::plan::ROW_ID_COLUMN;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// Schema in which a table is found by its id, with row ids.
pub const ROW_ID_SCHEMA: &str = "slipher$row_ids";
/// What qualifies the target's columns in the query, whatever the user calls it.
pub const TARGET: &str = "slipher$target";
/// What the row id is called in the query.
const ROW_ID_ALIAS: &str = "slipher$row";

/// UPDATE or DELETE.
#[derive(Debug)]
pub struct ChangeSpec {
    /// The table.
    pub table: QualifiedName,
    /// What becomes of its rows.
    pub change: Change,
    /// Other tables decide which rows, and what becomes of them.
    pub joins: bool,
    /// There is a condition, or another table.
    pub filtered: bool,
    /// Yields the row id; for UPDATE the new values and then all columns of the row. Rewritten.
    query: Box<Statement>,
}

/// What becomes of the rows.
#[derive(Debug)]
pub enum Change {
    /// DELETE.
    Delete,
    /// UPDATE: columns with their new values; None for DEFAULT.
    Update(Vec<(Name, bool)>),
}

impl ChangeSpec {
    /// The query, of the table with this id.
    pub fn query(&self, table: TableId) -> Statement {
        self.query_where(table, true)
    }

    /// The query of rows that were found before: without its condition, unless that joins other tables.
    pub fn query_of_found(&self, table: TableId) -> Statement {
        self.query_where(table, self.joins)
    }

    /// The query, for WITH before the statement.
    pub(super) fn query_mut(&mut self) -> &mut Statement {
        &mut self.query
    }

    fn query_where(&self, table: TableId, conditional: bool) -> Statement {
        let mut query = self.query.clone();
        if let Some(select) = select_of(&mut query).filter(|_| !conditional) {
            select.selection = None;
        }
        if let Some(select) = select_of(&mut query)
            && let Some(TableWithJoins { relation: TableFactor::Table { name, .. }, .. }) = select.from.first_mut()
            && let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut()
        {
            last.value = table.to_string();
        }
        *query
    }

    /// The command's name.
    pub fn verb(&self) -> &'static str {
        match self.change {
            Change::Delete => "DELETE",
            Change::Update(_) => "UPDATE",
        }
    }
}

pub(super) fn select_of(statement: &mut Statement) -> Option<&mut Select> {
    match statement {
        Statement::Query(query) => match query.body.as_mut() {
            SetExpr::Select(select) => Some(select.as_mut()),
            _ => None,
        },
        _ => None,
    }
}

/// Reads DELETE.
pub(super) fn parse_delete(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["DELETE"])?;
    cursor.eat(&["FROM"]);
    let target = target(cursor)?;
    let others = if cursor.eat(&["USING"]) { tables(cursor)? } else { Vec::new() };
    finish(cursor, &target, Change::Delete, Vec::new(), others)
}

/// Reads UPDATE.
pub(super) fn parse_update(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["UPDATE"])?;
    let target = target(cursor)?;
    cursor.expect(&["SET"])?;
    let Assignments { columns, values } = assignments(cursor)?;
    let others = if cursor.eat(&["FROM"]) { tables(cursor)? } else { Vec::new() };
    finish(cursor, &target, Change::Update(columns), values, others)
}

/// `column = value, ...`.
pub(super) struct Assignments {
    /// The columns, and for each whether a value is given; if not, DEFAULT.
    pub columns: Vec<(Name, bool)>,
    /// The values.
    pub values: Vec<Expr>,
}

/// Reads what follows SET.
pub(super) fn assignments(cursor: &mut Cursor<'_>) -> Result<Assignments> {
    let (mut columns, mut values, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    loop {
        let column = cursor.name("a column")?;
        if !seen.insert(column.value.clone()) {
            let message = format!("multiple assignments to same column \"{column}\"");
            return Err(Error::new(ErrorKind::Syntax, message).at(column.position));
        }
        cursor.expect_token(&Token::Eq)?;
        let given = !cursor.eat(&["DEFAULT"]);
        if given {
            values.push(with_sqlparser(cursor, |parser| parser.parse_expr())?);
        }
        columns.push((column, given));
        if !cursor.eat_token(&Token::Comma) {
            break;
        }
    }
    Ok(Assignments { columns, values })
}

/// `table [[AS] alias]`.
pub(super) struct Target {
    /// The table.
    pub table: QualifiedName,
    /// Its alias.
    pub alias: Option<Name>,
}

impl Target {
    /// ` AS "alias"`, where it has one.
    pub(super) fn alias_clause(&self) -> String {
        self.alias.as_ref().map(|alias| format!(" AS {}", quoted(alias))).unwrap_or_default()
    }
}

/// A name as it stands in a query that is put together here.
pub(super) fn quoted(name: &Name) -> String {
    format!("\"{}\"", name.value.replace('"', "\"\""))
}

/// Reads `table [[AS] alias]`.
pub(super) fn target(cursor: &mut Cursor<'_>) -> Result<Target> {
    let table = cursor.qualified_name("a table")?;
    let ends_here = cursor.at_end() || ["SET", "USING", "WHERE", "FROM", "ON"].iter().any(|word| cursor.looking_at(&[word]));
    let alias = if cursor.eat(&["AS"]) || !ends_here { Some(cursor.name("an alias")?) } else { None };
    Ok(Target { table, alias })
}

fn tables(cursor: &mut Cursor<'_>) -> Result<Vec<TableWithJoins>> {
    with_sqlparser(cursor, |parser| parser.parse_comma_separated(Parser::parse_table_and_joins))
}

fn finish(
    cursor: &mut Cursor<'_>,
    target: &Target,
    change: Change,
    values: Vec<Expr>,
    others: Vec<TableWithJoins>,
) -> Result<Parsed> {
    let selection = if cursor.eat(&["WHERE"]) { Some(with_sqlparser(cursor, |parser| parser.parse_expr())?) } else { None };
    cursor.expect_end()?;
    Ok(Parsed::Change(Box::new(matched(cursor, target, (change, values), others, selection)?)))
}

/// The change of those rows of the target that `selection` finds, together with `others`.
pub(super) fn matched(
    cursor: &Cursor<'_>,
    target: &Target,
    (change, values): (Change, Vec<Expr>),
    others: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<ChangeSpec> {
    let joins = !others.is_empty();
    let filtered = selection.is_some() || joins;
    let mut statement = Box::new(Statement::Query(skeleton(target)?));
    let Some(select) = select_of(&mut statement) else {
        return Err(Error::internal("the query of a change is no SELECT"));
    };
    select.projection = projection(&change, values);
    select.from.extend(others);
    select.selection = selection;
    rewrite::rewrite_statement(&mut statement, &|span| position_of(cursor.lexed, span))?;
    Ok(ChangeSpec { table: target.table.clone(), change, joins, filtered, query: statement })
}

/// A query of the target alone; its name is filled in when it is known.
fn skeleton(target: &Target) -> Result<Box<Query>> {
    parse_made(&format!("SELECT 1 FROM \"{ROW_ID_SCHEMA}\".\"0\"{}", target.alias_clause()))
}

/// The values given, under names that no column has.
pub(super) fn given_values(values: Vec<Expr>) -> impl Iterator<Item = SelectItem> {
    let alias = |number| Ident::with_quote('"', format!("slipher$set_{number}"));
    values.into_iter().enumerate().map(move |(number, expr)| SelectItem::ExprWithAlias { expr, alias: alias(number) })
}

fn projection(change: &Change, values: Vec<Expr>) -> Vec<SelectItem> {
    let ident = |text: &str| Ident::with_quote('"', text);
    let id = Expr::CompoundIdentifier(vec![ident(TARGET), ident(ROW_ID_COLUMN)]);
    let mut items = vec![SelectItem::ExprWithAlias { expr: id, alias: ident(ROW_ID_ALIAS) }];
    if matches!(change, Change::Update(_)) {
        items.extend(given_values(values));
        let all = SelectItemQualifiedWildcardKind::ObjectName(ObjectName(vec![ObjectNamePart::Identifier(ident(TARGET))]));
        items.push(SelectItem::QualifiedWildcard(all, WildcardAdditionalOptions::default()));
    }
    items
}
