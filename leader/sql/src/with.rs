//! WITH before INSERT, UPDATE, DELETE and MERGE: its queries can be read wherever the statement reads tables.

use super::embedded::{position_of, with_sqlparser};
use super::insert::{InsertSource, InsertSpec};
use super::lex::Cursor;
use super::made::parse_made;
use super::merge::MergeSpec;
use super::names::folded;
use super::{Parsed, parse, rewrite};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, With};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, Result};

/// Whether WITH stands here before a statement that changes rows.
pub(super) fn changes_rows(cursor: &Cursor<'_>) -> bool {
    let (mut depth, mut ahead) = (0_usize, 0);
    while let Some(lexeme) = cursor.peek_at(ahead) {
        match &lexeme.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(_) if depth == 0 => match lexeme.keyword().as_deref() {
                Some("SELECT" | "VALUES") => return false,
                Some("INSERT" | "UPDATE" | "DELETE" | "MERGE") => return true,
                _ => {}
            },
            _ => {}
        }
        ahead += 1;
    }
    false
}

/// Reads WITH and the statement behind it.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let with = with_sqlparser(cursor, |parser| {
        parser.expect_keyword(Keyword::WITH)?;
        Ok(With {
            with_token: parser.get_current_token().clone().into(),
            recursive: parser.parse_keyword(Keyword::RECURSIVE),
            cte_tables: parser.parse_comma_separated(Parser::parse_cte)?,
        })
    })?;
    let with = rewritten(cursor, with)?;
    let mut parsed = parse::parse_cursor(cursor)?;
    match &mut parsed {
        Parsed::Insert(spec) => before_insert(spec, with)?,
        Parsed::Change(spec) => attach(spec.query_mut(), with)?,
        Parsed::Merge(spec) => before_merge(spec, &with)?,
        _ => {}
    }
    Ok(parsed)
}

/// The queries of WITH, rewritten: nothing else of the statement is looked at for it.
fn rewritten(cursor: &Cursor<'_>, with: With) -> Result<With> {
    let mut query = parse_made("SELECT 1")?;
    query.with = Some(with);
    let mut statement = Statement::Query(query);
    rewrite::rewrite_statement(&mut statement, &|span| position_of(cursor.lexed, span))?;
    match statement {
        Statement::Query(query) => query.with,
        _ => None,
    }
    .ok_or_else(|| Error::internal("the queries of WITH are gone"))
}

fn before_insert(spec: &mut InsertSpec, with: With) -> Result<()> {
    match &mut spec.source {
        InsertSource::Query(statement) => attach(statement, with),
        // They are values: nothing can read the queries.
        InsertSource::DefaultValues | InsertSource::Literals(_) => Ok(()),
        InsertSource::ValuesWithDefaults(_) => {
            Err(Error::not_supported("WITH before INSERT of VALUES with DEFAULT", "write WITH ... SELECT behind INSERT INTO"))
        }
    }
}

fn before_merge(spec: &mut MergeSpec, with: &With) -> Result<()> {
    let target = &spec.target;
    if target.schema.is_none() && with.cte_tables.iter().any(|table| folded(&table.alias.name) == target.name.value) {
        let what = format!("a WITH query that is called like the target of MERGE, \"{target}\",");
        return Err(Error::not_supported(&what, "give it another name").at(target.name.position));
    }
    for change in &mut spec.matched {
        attach(change.query_mut(), with.clone())?;
    }
    for insert in &mut spec.inserts {
        attach(&mut insert.query, with.clone())?;
    }
    Ok(())
}

fn attach(statement: &mut Statement, with: With) -> Result<()> {
    let Statement::Query(query) = statement else { return Err(Error::internal("WITH before a statement without a query")) };
    if query.with.is_some() {
        // Its own queries hide those of the same name.
        let inner = std::mem::replace(query.as_mut(), rewrite::query_of(SetExpr::Query(parse_made("SELECT 1")?)));
        *query.as_mut() = rewrite::query_of(SetExpr::Query(Box::new(inner)));
    }
    let query: &mut Query = query;
    query.with = Some(with);
    Ok(())
}
