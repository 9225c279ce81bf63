//! PREPARE and EXECUTE.

use super::Parsed;
use super::embedded::{position_of, with_sqlparser};
use super::lex::Cursor;
use super::made::parse_made;
use super::names::Name;
use super::rewrite::build::{cast, nested};
use super::statement::Statement;
use super::{rewrite, types};
use datafusion::sql::sqlparser::ast::{self, DataType, Expr, SelectItem, SetExpr, Value, visit_expressions};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, Result, SqlType};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What can be prepared, by first words.
const PREPARABLE: &[&str] = &["SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE"];

/// What PREPARE says.
#[derive(Debug)]
pub struct PrepareSpec {
    /// The prepared statement's name.
    pub name: Name,
    /// Types of its parameters, as far as they are declared.
    pub types: Vec<Option<SqlType>>,
    /// The statement. Its text is that of the PREPARE around it, so that positions count from there.
    pub statement: Statement,
}

/// `PREPARE name [(type, ...)] AS statement`; `read` reads the statement from the cursor on.
pub(super) fn parse_prepare<'a>(cursor: &mut Cursor<'a>, read: impl FnOnce(&mut Cursor<'a>) -> Result<Parsed>) -> Result<Parsed> {
    cursor.expect(&["PREPARE"])?;
    let name = cursor.name("a prepared statement's name")?;
    let mut declared = Vec::new();
    if cursor.eat_token(&Token::LParen) {
        loop {
            // PostgreSQL's word for a type that is found out.
            declared.push(if cursor.eat(&["UNKNOWN"]) { None } else { Some(types::parse(cursor)?) });
            if !cursor.eat_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    cursor.expect(&["AS"])?;
    let first = cursor.peek().and_then(|lexeme| lexeme.keyword()).unwrap_or_default();
    if !PREPARABLE.contains(&first.as_str()) && !cursor.looking_at_token(&Token::LParen) {
        return Err(cursor.error("expected SELECT, INSERT, UPDATE, DELETE or MERGE"));
    }
    let text = Arc::from(cursor.lexed.text);
    Ok(match read(cursor)? {
        // What cannot run cannot be prepared.
        refused @ Parsed::Refused(_) => refused,
        parsed => {
            let statement = Statement { text, offset: 0, parsed: Arc::new(parsed) };
            Parsed::Prepare(Box::new(PrepareSpec { name, types: declared, statement }))
        }
    })
}

/// `EXECUTE name [(value, ...)]`.
pub(super) fn parse_execute(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["EXECUTE"])?;
    let name = cursor.name("a prepared statement")?;
    let mut values = Vec::new();
    if cursor.eat_token(&Token::LParen) && !cursor.eat_token(&Token::RParen) {
        loop {
            values.push(value(cursor)?);
            if !cursor.eat_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(Parsed::Execute { name, values })
}

/// The query of one row: `SELECT CAST(value AS type), ...`, of values that are rewritten already.
pub fn row_of_values(values: &[Expr], types: Vec<DataType>) -> Result<ast::Statement> {
    let mut query = parse_made("SELECT 1")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("the values of EXECUTE are no SELECT")) };
    select.projection.clear();
    for (index, (value, data_type)) in values.iter().zip(types).enumerate() {
        let mut expr = cast(nested(value.clone()), data_type);
        rewrite::rewrite_cast(&mut expr)?;
        select.projection.push(SelectItem::ExprWithAlias { expr, alias: ast::Ident::new(format!("value{}", index + 1)) });
    }
    Ok(ast::Statement::Query(query))
}

fn value(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let position = cursor.position();
    let lexed = cursor.lexed;
    let mut value = with_sqlparser(cursor, |parser| parser.parse_expr())?;
    rewrite::rewrite_expression(&mut value, &|span| position_of(lexed, span))?;
    let refused = visit_expressions(&value, |inner| match inner {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break("a subquery"),
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => ControlFlow::Break("a parameter"),
        _ => ControlFlow::Continue(()),
    });
    match refused {
        ControlFlow::Break(what) => {
            let instead = "give a value, or bind it to the prepared statement through your driver";
            Err(Error::not_supported(format_args!("{what} in the values of EXECUTE"), instead).at(position))
        }
        ControlFlow::Continue(()) => Ok(value),
    }
}
