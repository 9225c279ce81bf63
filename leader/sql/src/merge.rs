//! MERGE: a change of the rows that match, and an INSERT of the others.

use super::Parsed;
use super::change_rows::{
    Assignments, Change, ChangeSpec, Target, assignments, given_values, matched, quoted, select_of, target,
};
use super::embedded::{position_of, with_sqlparser};
use super::lex::Cursor;
use super::made::parse_made;
use super::names::Name;
use super::rewrite;
use datafusion::sql::sqlparser::ast::{Expr, SetExpr, Statement, TableWithJoins};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};

/// MERGE.
#[derive(Debug)]
pub struct MergeSpec {
    /// WHEN MATCHED.
    pub matched: ChangeSpec,
    /// WHEN NOT MATCHED.
    pub insert: MergeInsert,
}

/// Rows of the source that match nothing.
#[derive(Debug)]
pub struct MergeInsert {
    /// The columns given; empty: the table's first columns, in order.
    pub columns: Vec<Name>,
    /// For each of them whether a value is given; if not, DEFAULT. None: the query yields the table's columns, in order.
    pub given: Option<Vec<bool>>,
    /// Yields the values given. Rewritten.
    pub query: Box<Statement>,
}

/// Reads MERGE.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["MERGE", "INTO"])?;
    let target = target(cursor)?;
    cursor.expect(&["USING"])?;
    let source = with_sqlparser(cursor, |parser| parser.parse_table_and_joins())?;
    cursor.expect(&["ON"])?;
    let condition = with_sqlparser(cursor, |parser| parser.parse_expr())?;
    if cursor.eat(&["REMOVE", "DUPLICATES"]) {
        cursor.expect_end()?;
        return remove_duplicates(cursor, &target, source, condition);
    }
    cursor.expect(&["WHEN", "MATCHED", "THEN"])?;
    let (change, values) = if cursor.eat(&["DELETE"]) {
        (Change::Delete, Vec::new())
    } else {
        cursor.expect(&["UPDATE", "SET"])?;
        let Assignments { columns, values } = assignments(cursor)?;
        (Change::Update(columns), values)
    };
    let changed = matched(cursor, &target, (change, values), vec![source.clone()], Some(condition.clone()))?;
    cursor.expect(&["WHEN", "NOT", "MATCHED", "THEN", "INSERT"])?;
    let columns = if cursor.looking_at_token(&Token::LParen) { cursor.names_in_parentheses("a column")? } else { Vec::new() };
    cursor.expect(&["VALUES"])?;
    let (given, values) = values_in_parentheses(cursor)?;
    if !columns.is_empty() && columns.len() != given.len() {
        let message = format!("INSERT of MERGE names {} columns and gives {} values", columns.len(), given.len());
        return Err(Error::new(ErrorKind::Syntax, message).at(columns[0].position));
    }
    cursor.expect_end()?;
    let query = unmatched(cursor, &target, values, source, condition)?;
    let insert = MergeInsert { columns, given: Some(given), query };
    Ok(Parsed::Merge(Box::new(MergeSpec { matched: changed, insert })))
}

/// Rows of the target that match go, all rows of the source come: so one row is left where several matched.
fn remove_duplicates(cursor: &Cursor<'_>, target: &Target, source: TableWithJoins, condition: Expr) -> Result<Parsed> {
    let matched = matched(cursor, target, (Change::Delete, Vec::new()), vec![source.clone()], Some(condition))?;
    let mut query = Box::new(Statement::Query(parse_made("SELECT *")?));
    let Some(select) = select_of(&mut query) else {
        return Err(Error::internal("the query of MERGE is no SELECT"));
    };
    select.from = vec![source];
    rewrite::rewrite_statement(&mut query, &|span| position_of(cursor.lexed, span))?;
    let insert = MergeInsert { columns: Vec::new(), given: None, query };
    Ok(Parsed::Merge(Box::new(MergeSpec { matched, insert })))
}

/// `(value, ...)`, each an expression or DEFAULT.
fn values_in_parentheses(cursor: &mut Cursor<'_>) -> Result<(Vec<bool>, Vec<Expr>)> {
    cursor.expect_token(&Token::LParen)?;
    let (mut given, mut values) = (Vec::new(), Vec::new());
    loop {
        let is_given = !cursor.eat(&["DEFAULT"]);
        given.push(is_given);
        if is_given {
            values.push(with_sqlparser(cursor, |parser| parser.parse_expr())?);
        }
        if !cursor.eat_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok((given, values))
}

/// `SELECT values FROM source WHERE NOT EXISTS (SELECT 1 FROM target WHERE condition)`.
fn unmatched(
    cursor: &Cursor<'_>,
    target: &Target,
    values: Vec<Expr>,
    source: TableWithJoins,
    condition: Expr,
) -> Result<Box<Statement>> {
    let table = &target.table;
    let schema = table.schema.as_ref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    let text = format!("SELECT 1 FROM {schema}{}{}", quoted(&table.name), target.alias_clause());
    let mut subquery = parse_made(&text)?;
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        select.selection = Some(condition);
    }
    let mut statement = Box::new(Statement::Query(parse_made("SELECT 1")?));
    let Some(select) = select_of(&mut statement) else {
        return Err(Error::internal("the query of MERGE is no SELECT"));
    };
    // Without values the `1` stays, for a row of defaults only.
    if !values.is_empty() {
        select.projection = given_values(values).collect();
    }
    select.from = vec![source];
    select.selection = Some(Expr::Exists { subquery, negated: true });
    rewrite::rewrite_statement(&mut statement, &|span| position_of(cursor.lexed, span))?;
    Ok(statement)
}
