//! INSERT.

use super::embedded::{position_of, query_to_end, with_sqlparser_until};
use super::lex::Cursor;
use super::literal_rows::LiteralRows;
use super::names::{Name, QualifiedName};
use super::rewrite;
use datafusion::sql::sqlparser::ast::{self, Expr, Parens, SetExpr, Statement, Values};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::functions::{AS_BYTES, AS_CHAR, CONCAT, TO_TEXT};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::collections::HashSet;
use std::sync::Arc;

/// INSERT INTO table [(columns)] source.
#[derive(Debug)]
pub struct InsertSpec {
    /// Where rows go.
    pub table: QualifiedName,
    /// The columns given; empty: the table's first columns, in order.
    pub columns: Vec<Name>,
    /// Where rows come from.
    pub source: InsertSource,
    /// VALUES as they were written, where some of them became text in the source because they stand beside strings: a SUPER column keeps each as
    /// it is.
    pub written: Option<Vec<Vec<Expr>>>,
}

/// What the values for a column are typed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesOf {
    /// SUPER, each by itself.
    Super,
    /// VARBYTE, each by itself.
    Bytes,
    /// What they are, all together.
    Others,
}

impl ValuesOf {
    /// For a column of this type.
    pub fn column(sql_type: Option<SqlType>) -> Self {
        match sql_type {
            Some(SqlType::Super) => Self::Super,
            Some(SqlType::VarByte(_)) => Self::Bytes,
            _ => Self::Others,
        }
    }
}

/// Where an INSERT's rows come from.
#[derive(Debug)]
pub enum InsertSource {
    /// DEFAULT VALUES: one row.
    DefaultValues,
    /// VALUES with DEFAULT among the values (`None`), rewritten for the engine's planner.
    ValuesWithDefaults(Vec<Vec<Option<Expr>>>),
    /// VALUES of many rows of literals.
    Literals(Arc<LiteralRows>),
    /// A query or VALUES, rewritten; always `Statement::Query`.
    Query(Box<Statement>),
}

impl InsertSpec {
    /// The source as a query, DEFAULT replaced by what `default` gives for the n-th value of a row (from 0). `None` for
    /// DEFAULT VALUES: there is no value at all. `columns` says which values are for columns whose values are typed one by one.
    pub fn query(&self, columns: &[ValuesOf], mut default: impl FnMut(usize) -> Result<Expr>) -> Result<Option<Statement>> {
        let any_own = columns.iter().any(|of| *of != ValuesOf::Others);
        match &self.source {
            InsertSource::DefaultValues => Ok(None),
            InsertSource::Query(query) => Ok(Some(match (&self.written, query.as_ref()) {
                (Some(rows), _) if any_own => values_query(typed_alone(rows.clone(), columns)),
                (None, Statement::Query(values)) if any_own => match values.body.as_ref() {
                    SetExpr::Values(values) => {
                        let rows = values.rows.iter().map(|row| row.content.clone()).collect();
                        values_query(typed_alone(rows, columns))
                    }
                    _ => query.as_ref().clone(),
                },
                _ => query.as_ref().clone(),
            })),
            InsertSource::Literals(rows) => Ok(Some(values_query(typed_alone(rows.rows(), columns)))),
            InsertSource::ValuesWithDefaults(rows) => {
                let filled = rows.iter().map(|row| {
                    let values = row.iter().enumerate().map(|(i, value)| match value {
                        Some(expression) => Ok(expression.clone()),
                        None => default(i),
                    });
                    values.collect::<Result<Vec<_>>>()
                });
                Ok(Some(values_query(typed_alone(filled.collect::<Result<Vec<_>>>()?, columns))))
            }
        }
    }
}

/// Parses INSERT to the end of the statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<InsertSpec> {
    cursor.expect(&["INSERT", "INTO"])?;
    let table = cursor.qualified_name("a table")?;
    // "(SELECT ..." and "((" start the source, not a list of columns.
    let list = cursor.looking_at_token(&Token::LParen)
        && cursor.peek_at(1).is_some_and(|lexeme| {
            lexeme.token != Token::LParen && !matches!(lexeme.keyword().as_deref(), Some("SELECT" | "WITH" | "VALUES"))
        });
    let columns = if list { cursor.names_in_parentheses("a column")? } else { Vec::new() };
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(column.value.as_str())) {
        return Err(
            Error::new(ErrorKind::DuplicateColumn, format!("column \"{twice}\" specified more than once")).at(twice.position)
        );
    }
    let mut written = None;
    let source = if cursor.eat(&["DEFAULT", "VALUES"]) {
        cursor.expect_end()?;
        InsertSource::DefaultValues
    } else if cursor.looking_at(&["VALUES"]) {
        values(cursor, columns.len(), &mut written)?
    } else if cursor.at_end() || !starts_query(cursor) {
        return Err(cursor.error("expected VALUES, DEFAULT VALUES or a query"));
    } else {
        InsertSource::Query(query_to_end(cursor)?)
    };
    Ok(InsertSpec { table, columns, source, written })
}

fn starts_query(cursor: &Cursor<'_>) -> bool {
    cursor.looking_at_token(&Token::LParen) || ["SELECT", "WITH"].iter().any(|word| cursor.looking_at(&[word]))
}

fn values(cursor: &mut Cursor<'_>, columns: usize, written: &mut Option<Vec<Vec<Expr>>>) -> Result<InsertSource> {
    let start = cursor.next;
    cursor.expect(&["VALUES"])?;
    if let Some(rows) = LiteralRows::read(cursor, (columns > 0).then_some(columns)) {
        return Ok(InsertSource::Literals(Arc::new(rows)));
    }
    let mut rows = Vec::new();
    let (mut any_default, mut width) = (false, None);
    loop {
        let position = cursor.position();
        cursor.expect_token(&Token::LParen)?;
        let mut row = Vec::new();
        loop {
            if cursor.eat(&["DEFAULT"]) {
                any_default = true;
                row.push(None);
            } else {
                cursor_value(cursor, &mut row)?;
            }
            if !cursor.eat_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
        check_width(row.len(), columns, *width.get_or_insert(row.len()), position)?;
        rows.push(row);
        if !cursor.eat_token(&Token::Comma) {
            break;
        }
    }
    if !cursor.at_end() {
        if ["ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "OFFSET"].iter().any(|word| cursor.looking_at(&[word]))
            && !any_default
        {
            cursor.next = start;
            return query_to_end(cursor).map(InsertSource::Query);
        }
        return Err(super::embedded::explain_syntax(cursor.lexed, cursor.next));
    }
    if any_default {
        return Ok(InsertSource::ValuesWithDefaults(rows));
    }
    let rows: Vec<Vec<Expr>> = rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
    if (0..rows.first().map_or(0, Vec::len)).any(|column| has_texts_beside_others(&rows, column)) {
        *written = Some(rows.clone());
    }
    Ok(InsertSource::Query(Box::new(values_query(rows))))
}

/// VALUES as a query.
pub fn values_query(mut rows: Vec<Vec<Expr>>) -> Statement {
    for column in 0..rows.first().map_or(0, Vec::len) {
        bring_to_text(&mut rows, column);
    }
    if rows.len() > 1 {
        rows.iter_mut().flatten().for_each(forget_length);
    }
    let rows = rows.into_iter().map(Parens::with_empty_span).collect();
    let values = Values { explicit_row: false, value_keyword: false, rows };
    Statement::Query(Box::new(rewrite::query_of(SetExpr::Values(values))))
}

/// A column where strings stand beside other values becomes text, as the engine knows no type of both; what the text is
/// worth in the table's column is seen when it is written.
fn bring_to_text(rows: &mut [Vec<Expr>], column: usize) {
    if !has_texts_beside_others(rows, column) {
        return;
    }
    for value in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
        if is_text(value) || is_open(value) {
            continue;
        }
        *value = match literal_text(value) {
            Some(text) => Expr::value(ast::Value::SingleQuotedString(text)),
            None => rewrite::as_text(std::mem::replace(value, Expr::value(ast::Value::Null))),
        };
    }
}

/// Strings that know their length become strings that do not: the engine wants all rows of VALUES to say the same of a column.
fn forget_length(value: &mut Expr) {
    let knows = match value {
        Expr::Function(call) => [TO_TEXT, AS_CHAR, AS_BYTES].iter().any(|name| call.name.to_string() == *name),
        _ => false,
    };
    if knows {
        let inner = std::mem::replace(value, Expr::value(ast::Value::Null));
        *value = rewrite::build::call(CONCAT, vec![inner]);
    }
}

fn is_text(value: &Expr) -> bool {
    matches!(plain_value(value), Some(ast::Value::SingleQuotedString(_)))
}

fn is_open(value: &Expr) -> bool {
    matches!(plain_value(value), Some(ast::Value::Null | ast::Value::Placeholder(_)))
}

/// Whether a column has strings and other values.
fn has_texts_beside_others(rows: &[Vec<Expr>], column: usize) -> bool {
    let values = || rows.iter().filter_map(|row| row.get(column));
    values().any(is_text) && values().any(|value| !is_text(value) && !is_open(value))
}

/// The values of SUPER columns as SUPER, those of VARBYTE columns as bytes.
fn typed_alone(mut rows: Vec<Vec<Expr>>, columns: &[ValuesOf]) -> Vec<Vec<Expr>> {
    for row in &mut rows {
        for (value, of) in row.iter_mut().zip(columns) {
            let is_bare = matches!(plain_value(value), Some(ast::Value::Null | ast::Value::Number(..) | ast::Value::Boolean(_)));
            let mut written = || std::mem::replace(value, Expr::value(ast::Value::Null));
            match of {
                ValuesOf::Super => {
                    let name = ast::ObjectName::from(vec![ast::Ident::new("super")]);
                    *value = rewrite::build::cast(written(), ast::DataType::Custom(name, Vec::new()));
                }
                // Numbers are no bytes, and are refused where they stand.
                ValuesOf::Bytes if !is_bare => *value = rewrite::build::call(AS_BYTES, vec![written()]),
                ValuesOf::Bytes | ValuesOf::Others => {}
            }
        }
    }
    rows
}

fn plain_value(expression: &Expr) -> Option<&ast::Value> {
    match expression {
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

/// A literal as it stands in the statement: it may have more digits than any type of the engine.
fn literal_text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match plain_value(expr) {
            Some(ast::Value::Number(digits, _)) => Some(format!("-{digits}")),
            // A float.
            None => literal_text(expr).map(|digits| format!("-{digits}")),
            _ => None,
        },
        // What the rewrite makes of 1e300.
        Expr::Cast { expr, data_type: ast::DataType::DoublePrecision, .. } => match plain_value(expr)? {
            ast::Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => match plain_value(expression)? {
            ast::Value::Number(digits, _) => Some(digits.clone()),
            ast::Value::Boolean(value) => Some(value.to_string()),
            _ => None,
        },
    }
}

/// One value; literals, the bulk of a long INSERT, without starting sqlparser.
fn cursor_value(cursor: &mut Cursor<'_>, row: &mut Vec<Option<Expr>>) -> Result<()> {
    let ends = |cursor: &Cursor<'_>, ahead: usize| {
        cursor.peek_at(ahead).is_some_and(|lexeme| matches!(lexeme.token, Token::Comma | Token::RParen))
    };
    if let Some(lexeme) = cursor.peek()
        && ends(cursor, 1)
        && let Some(value) = literal(&lexeme.token)
    {
        cursor.next += 1;
        row.push(Some(Expr::Value(ast::Value::with_empty_span(value))));
        return Ok(());
    }
    let lexed = cursor.lexed;
    let mut expression = with_value_tokens(cursor)?;
    rewrite::rewrite_expression(&mut expression, &|span| position_of(lexed, span))?;
    row.push(Some(expression));
    Ok(())
}

fn literal(token: &Token) -> Option<ast::Value> {
    match token {
        // 1e300 is a float, which is for the rewrite to say.
        Token::Number(digits, long) if !digits.contains(['e', 'E']) => Some(ast::Value::Number(digits.clone(), *long)),
        Token::SingleQuotedString(text) => Some(ast::Value::SingleQuotedString(text.clone())),
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("null") => Some(ast::Value::Null),
        _ => None,
    }
}

/// Parses an expression with only the tokens up to the end of this value, so that a long INSERT costs linear time.
fn with_value_tokens(cursor: &mut Cursor<'_>) -> Result<Expr> {
    let mut depth = 0_usize;
    let mut ahead = 0;
    while let Some(lexeme) = cursor.peek_at(ahead) {
        match lexeme.token {
            Token::LParen => depth += 1,
            Token::RParen if depth > 0 => depth -= 1,
            Token::Comma | Token::RParen if depth == 0 => break,
            _ => {}
        }
        ahead += 1;
    }
    // The token that ends the value is there for error messages.
    let until = cursor.next + ahead + 1;
    with_sqlparser_until(cursor, until, |parser| parser.parse_expr())
}

fn check_width(width: usize, columns: usize, first: usize, position: usize) -> Result<()> {
    let wrong = if columns > 0 && width > columns {
        "INSERT has more expressions than target columns"
    } else if columns > 0 && width < columns {
        "INSERT has more target columns than expressions"
    } else if width != first {
        "VALUES lists must all be the same length"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Syntax, wrong).at(position))
}

#[cfg(test)]
mod tests {
    use super::super::Parsed;
    use super::super::parse::parse as parse_text;
    use super::*;
    use std::sync::Arc;

    fn insert(sql: &str) -> InsertSpec {
        let statement = parse_text(sql).unwrap().remove(0);
        match Arc::into_inner(statement.parsed).unwrap() {
            Parsed::Insert(spec) => *spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_queries_and_defaults_are_told_apart() {
        let spec = insert("INSERT INTO s.t (a, \"B\") VALUES (1, 'x'), (-2, upper('y'))");
        assert_eq!(spec.table.to_string(), "s.t");
        assert_eq!(spec.columns.iter().map(|c| c.value.as_str()).collect::<Vec<_>>(), ["a", "B"]);
        let query = spec.query(&[], |_| unreachable!()).unwrap().unwrap();
        // Beside a string literal every value of the column is read as text, of no length of its own.
        assert_eq!(query.to_string(), "VALUES (1, 'x'), (-2, slipher_concat(slipher_text(upper('y'))))");

        let spec = insert("insert into t values (1, default), (2, 3)");
        let query = spec.query(&[], |i| Ok(Expr::value(ast::Value::Number(format!("10{i}"), false)))).unwrap().unwrap();
        assert_eq!(query.to_string(), "VALUES (1, 101), (2, 3)");

        assert!(matches!(insert("insert into t default values").source, InsertSource::DefaultValues));
        assert!(matches!(insert("insert into t (select 1)").source, InsertSource::Query(_)));
        assert!(matches!(insert("insert into t (a) with x as (select 1) select * from x").source, InsertSource::Query(_)));
        assert!(matches!(insert("insert into t values (1), (2) limit 1").source, InsertSource::Query(_)));
    }

    #[test]
    fn mistakes_are_positioned() {
        let error = |sql: &str| parse_text(sql).unwrap_err();
        assert_eq!(error("insert into t values (1, 2), (3)").position, Some(30));
        assert_eq!(error("insert into t (a) values (1, 2)").position, Some(26));
        assert_eq!(error("insert into t (a, ) values (1)").position, Some(19));
        assert_eq!(error("insert into t").message, "syntax error at end of input");
    }
}
