//! What the readers of statements share: the parser of queries and expressions, run on a part of the text, and its errors with a position
//! and a hint.

use super::chains::check_chains;
use super::lex::{Cursor, DIALECT, Lexed, offset_of, syntax_error};
use super::names::is_reserved;
use super::rewrite;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};

/// How deep expressions and subqueries may nest, in calls of the parser.
const NESTING_MAX_CALLS: usize = 160;

/// Parses and rewrites the query that reaches from the cursor to the end.
pub(super) fn query_to_end(cursor: &mut Cursor<'_>) -> Result<Box<ast::Statement>> {
    let mut statement = read_query(cursor)?;
    rewrite::rewrite_statement(&mut statement, &|span| position_of(cursor.lexed, span))?;
    Ok(statement)
}

/// Parses and rewrites the text of a query.
pub fn query(text: &str) -> Result<Box<ast::Statement>> {
    let lexed = Lexed::new(text)?;
    check_chains(&lexed)?;
    query_to_end(&mut Cursor::new(&lexed))
}

pub(super) fn read_query(cursor: &mut Cursor<'_>) -> Result<Box<ast::Statement>> {
    let query = with_sqlparser(cursor, |parser| parser.parse_query())?;
    if !cursor.at_end() {
        return Err(explain_syntax(cursor.lexed, cursor.next).with_detail("expected the end of the statement"));
    }
    Ok(Box::new(ast::Statement::Query(query)))
}

/// Parses one expression with `DEFAULT`-like texts in mind: the whole of `text` must be it.
pub fn parse_expression(text: &str) -> Result<ast::Expr> {
    let lexed = Lexed::new(text)?;
    check_chains(&lexed)?;
    let mut cursor = Cursor::new(&lexed);
    let mut expression = with_sqlparser(&mut cursor, |parser| parser.parse_expr())?;
    cursor.expect_end()?;
    rewrite::rewrite_expression(&mut expression, &|span| position_of(&lexed, span))?;
    Ok(expression)
}

/// Runs sqlparser from the cursor on, and moves the cursor behind what it read.
pub(super) fn with_sqlparser<T>(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&mut Parser<'_>) -> std::result::Result<T, ParserError>,
) -> Result<T> {
    with_sqlparser_until(cursor, cursor.lexed.lexemes.len(), read)
}

/// The same, but sqlparser does not see lexemes from `until` on.
pub(super) fn with_sqlparser_until<T>(
    cursor: &mut Cursor<'_>,
    until: usize,
    read: impl FnOnce(&mut Parser<'_>) -> std::result::Result<T, ParserError>,
) -> Result<T> {
    let lexed = cursor.lexed;
    let tokens = lexed.lexemes.get(cursor.next..until).unwrap_or_default();
    let mut tokens: Vec<TokenWithSpan> =
        tokens.iter().map(|lexeme| TokenWithSpan::new(lexeme.token.clone(), lexeme.span)).collect();
    super::unpivot::mark(&mut tokens);
    let mut parser = Parser::new(&DIALECT).with_recursion_limit(NESTING_MAX_CALLS).with_tokens_with_locations(tokens);
    let answer = read(&mut parser);
    let reached = (cursor.next + parser.index()).min(lexed.lexemes.len());
    match answer {
        Ok(value) => {
            cursor.next = reached;
            Ok(value)
        }
        Err(error) => Err(from_parser_error(lexed, &error, reached)),
    }
}

fn from_parser_error(lexed: &Lexed<'_>, error: &ParserError, reached: usize) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::new(ErrorKind::TooComplex, "statement too complex")
                .with_detail("it nests too deeply")
                .with_hint("name parts of it in a WITH clause, or use IN (...) in place of many conditions")
                .at(lexed.lexemes.get(reached).map_or(lexed.characters, |lexeme| lexeme.start) + 1);
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (text, location) = match message.rsplit_once(" at Line: ") {
        Some((text, place)) => (text, read_location(place)),
        None => (message.as_str(), None),
    };
    let index = match location {
        Some(location) if location.line > 0 => {
            let (start, _) = offset_of(lexed.text, location);
            lexed.lexemes.partition_point(|lexeme| lexeme.start < start)
        }
        Some(_) => lexed.lexemes.len(),
        None if text.ends_with("found: EOF") => lexed.lexemes.len(),
        None => reached.min(lexed.lexemes.len()),
    };
    // Some messages give the place of the token behind the one they name.
    let names = |index: usize| {
        let found = text.rsplit_once("found: ").map(|(_, found)| found.trim());
        found.is_some() && found == lexed.lexemes.get(index).map(|lexeme| lexed.text_of(lexeme))
    };
    let index = if index > 0 && !names(index) && names(index - 1) { index - 1 } else { index };
    let mut error = explain_syntax(lexed, index);
    let expected = text.strip_prefix("Expected").map(|rest| rest.trim_start_matches(':').trim_start());
    let expected = expected.map(|rest| rest.rsplit_once(", found: ").map_or(rest, |(what, _)| what));
    error.detail = Some(match expected {
        Some("end of statement") => "expected the end of the statement".to_owned(),
        Some(what) => format!("expected {}", what.trim_end_matches(':')),
        None => text.to_owned(),
    });
    error
}

fn read_location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

/// Keywords that a word of a query may have been meant to be.
const QUERY_KEYWORDS: &[&str] =
    &["SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "JOIN", "LEFT", "INNER", "VALUES", "DISTINCT"];

/// A syntax error at a lexeme with the hint that helps most often.
pub(super) fn explain_syntax(lexed: &Lexed<'_>, index: usize) -> Error {
    let error = syntax_error(lexed, index);
    let found = lexed.lexemes.get(index);
    let before = index.checked_sub(1).and_then(|i| lexed.lexemes.get(i));
    let misspelled = [found, before].into_iter().flatten().find_map(|lexeme| {
        let word = lexeme.keyword()?;
        let hint = did_you_mean(
            &word,
            QUERY_KEYWORDS
                .iter()
                .copied()
                .filter(|keyword| *keyword != word && word.len() >= 3 && word.len().abs_diff(keyword.len()) <= 1),
        );
        Some(hint).filter(|hint| !hint.is_empty() && !QUERY_KEYWORDS.contains(&word.as_str()))
    });
    if let Some(hint) = misspelled {
        return error.with_hint(hint);
    }
    let ends_item = |token: &Token| match token {
        Token::Word(word) => !is_reserved(&word.value) || word.quote_style.is_some(),
        Token::RParen | Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    };
    let starts_item = |token: &Token| match token {
        Token::Word(word) => !is_reserved(&word.value) || word.quote_style.is_some(),
        Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    };
    match (before, found) {
        (Some(before), Some(found)) if ends_item(&before.token) && starts_item(&found.token) => {
            error.with_hint(format!("is a comma missing before \"{}\"?", lexed.text_of(found)))
        }
        (Some(before), Some(found)) if before.token == Token::Comma && found.keyword().is_some_and(|word| is_reserved(&word)) => {
            error.with_hint(format!("is there a comma too many before \"{}\"?", lexed.text_of(found)))
        }
        _ => error,
    }
}

/// Position (characters from 1) of a span of the syntax tree; 1 for a span that stands nowhere.
pub(super) fn position_of(lexed: &Lexed<'_>, span: Span) -> usize {
    if span.start.line == 0 { 1 } else { offset_of(lexed.text, span.start).0 + 1 }
}
