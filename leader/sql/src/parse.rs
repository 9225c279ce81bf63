//! From the text a client sent to its statements.

use super::chains::check_chains;
use super::embedded::{position_of, read_query};
use super::lex::{Cursor, Lexed, offset_of};
use super::statement::Statement;
use super::{
    OWN_NAMES_PREFIX, Parsed, change_rows, copy, create_table, insert, merge, prepare, rewrite, statements, views, with,
};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Longest text of one request, in bytes (Redshift's limit of one statement).
pub(crate) const TEXT_LENGTH_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Splits `sql` at semicolons and parses each statement. Fails for syntax only, with the position in `sql`; whatever
/// else is wrong with a statement comes to light when it is executed ([`Parsed::Refused`]).
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    if sql.len() > TEXT_LENGTH_MAX_BYTES {
        return Err(Error::new(ErrorKind::ProgramLimit, format!("the text has {} bytes", sql.len()))
            .with_hint(format!("at most {TEXT_LENGTH_MAX_BYTES} bytes are allowed; load rows with COPY")));
    }
    let lexed = Lexed::new(sql)?;
    let pieces = split(&lexed);
    if let [piece] = pieces.as_slice()
        && piece.whole
    {
        let parsed = parse_statement(&lexed)?;
        return Ok(vec![Statement { text: Arc::from(sql.trim_end()), offset: 0, parsed: Arc::new(parsed) }]);
    }
    pieces.into_iter().map(|piece| parse_piece(&sql[piece.bytes], piece.offset)).collect()
}

fn parse_piece(text: &str, offset: usize) -> Result<Statement> {
    let shift = |mut error: Error| {
        error.position = error.position.map(|position| position + offset);
        error
    };
    let lexed = Lexed::new(text).map_err(shift)?;
    let parsed = parse_statement(&lexed).map_err(shift)?;
    Ok(Statement { text: Arc::from(text), offset, parsed: Arc::new(parsed) })
}

struct Piece {
    bytes: std::ops::Range<usize>,
    /// Characters before it.
    offset: usize,
    /// The text is this statement and nothing else before or after it.
    whole: bool,
}

fn split(lexed: &Lexed<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut empty = true;
    // Comments before a statement belong to it: they often carry what a tool says about the query.
    let (mut offset, mut byte) = lexed.first_not_blank.map_or((0, 0), |start| offset_of(lexed.text, start));
    for lexeme in &lexed.lexemes {
        if lexeme.token == Token::SemiColon {
            if !std::mem::replace(&mut empty, true) {
                let bytes = byte..byte + lexed.text[byte..lexeme.bytes.start].trim_end().len();
                pieces.push(Piece { bytes, offset, whole: false });
            }
            let rest = &lexed.text[lexeme.bytes.end..];
            let blank = rest.len() - rest.trim_start().len();
            byte = lexeme.bytes.end + blank;
            offset = lexeme.start + 1 + rest[..blank].chars().count();
        } else {
            empty = false;
        }
    }
    if !empty {
        let bytes = byte..byte + lexed.text[byte..].trim_end().len();
        pieces.push(Piece { whole: byte == 0, bytes, offset });
    }
    pieces
}

/// Parses the one statement of `lexed`.
fn parse_statement(lexed: &Lexed<'_>) -> Result<Parsed> {
    check_chains(lexed)?;
    check_names(lexed)?;
    match parse_cursor(&mut Cursor::new(lexed)) {
        Err(error) if !matches!(error.kind, ErrorKind::Syntax | ErrorKind::ProgramLimit | ErrorKind::TooComplex) => {
            Ok(Parsed::Refused(Box::new(error)))
        }
        other => other,
    }
}

/// What the rewriting of statements calls things is nobody else's name.
fn check_names(lexed: &Lexed<'_>) -> Result<()> {
    let own = |word: &str| word.get(..OWN_NAMES_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_NAMES_PREFIX));
    let reserved = lexed.lexemes.iter().find_map(|lexeme| match &lexeme.token {
        Token::Word(word) if own(&word.value) => Some((lexeme, &word.value)),
        _ => None,
    });
    match reserved {
        None => Ok(()),
        Some((lexeme, name)) => Err(Error::new(ErrorKind::ReservedName, format!("\"{name}\" is a name of the system's own"))
            .with_hint("choose another name")
            .at(lexeme.start + 1)),
    }
}

/// Parses from the cursor to the end.
pub(super) fn parse_cursor(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let first = cursor.peek().and_then(|lexeme| lexeme.keyword()).unwrap_or_default();
    match first.as_str() {
        "WITH" if with::changes_rows(cursor) => with::parse(cursor),
        "SELECT" | "WITH" | "VALUES" => parse_query_statement(cursor),
        "EXPLAIN" => parse_explain(cursor),
        "INSERT" => Ok(Parsed::Insert(Box::new(insert::parse(cursor)?))),
        "COPY" => copy::parse(cursor),
        "CREATE" if create_table::starts_here(cursor) => create_table::parse(cursor),
        "CREATE" if cursor.looking_at(&["CREATE", "VIEW"]) || cursor.looking_at(&["CREATE", "OR", "REPLACE", "VIEW"]) => {
            views::parse_create(cursor)
        }
        "PREPARE" => {
            let prepared = prepare::parse_prepare(cursor, parse_cursor)?;
            cursor.expect_end()?;
            Ok(prepared)
        }
        "DELETE" => change_rows::parse_delete(cursor),
        "UPDATE" => change_rows::parse_update(cursor),
        "MERGE" => merge::parse(cursor),
        _ if cursor.looking_at_token(&Token::LParen) => parse_query_statement(cursor),
        _ => statements::parse(cursor),
    }
}

fn parse_query_statement(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let position = cursor.position();
    let mut query = read_query(cursor)?;
    let into = take_into(&mut query);
    rewrite::rewrite_statement(&mut query, &|span| position_of(cursor.lexed, span))?;
    match into {
        None => Ok(Parsed::Query(query)),
        Some(into) if into.unlogged => Err(Error::not_supported("an unlogged table", "leave UNLOGGED out").at(position)),
        Some(into) => {
            let spec = create_table::CreateTableAsSpec::into_table(&into.name, into.temporary, |ident| {
                position_of(cursor.lexed, ident.span)
            })?;
            Ok(Parsed::CreateTableAs { spec: Box::new(spec), query })
        }
    }
}

/// The target of SELECT ... INTO, taken out of the query.
fn take_into(statement: &mut ast::Statement) -> Option<ast::SelectInto> {
    let ast::Statement::Query(query) = statement else { return None };
    let mut body = query.body.as_mut();
    loop {
        match body {
            ast::SetExpr::Select(select) => return select.into.take(),
            ast::SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            _ => return None,
        }
    }
}

fn parse_explain(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["EXPLAIN"])?;
    let (mut analyze, mut verbose) = (false, false);
    let in_parentheses = cursor.looking_at_token(&Token::LParen)
        && cursor.peek_at(1).and_then(|lexeme| lexeme.keyword()).is_some_and(|word| matches!(&*word, "ANALYZE" | "VERBOSE"));
    if in_parentheses {
        cursor.expect_token(&Token::LParen)?;
        loop {
            let option = cursor.eat_one_of(&["ANALYZE", "VERBOSE"]).ok_or_else(|| cursor.error("expected ANALYZE or VERBOSE"))?;
            let on = cursor.eat_one_of(&["TRUE", "FALSE", "ON", "OFF"]).is_none_or(|word| matches!(word, "TRUE" | "ON"));
            *(if option == "ANALYZE" { &mut analyze } else { &mut verbose }) = on;
            if !cursor.eat_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        while let Some(option) = cursor.eat_one_of(&["ANALYZE", "VERBOSE"]) {
            *(if option == "ANALYZE" { &mut analyze } else { &mut verbose }) = true;
        }
    }
    let position = cursor.position();
    if cursor.at_end() {
        return Err(cursor.error("expected a statement after EXPLAIN"));
    }
    match parse_cursor(cursor)? {
        inner @ (Parsed::Query(_)
        | Parsed::CreateTableAs { .. }
        | Parsed::Insert(_)
        | Parsed::Change(_)
        | Parsed::Merge(_)
        | Parsed::Copy(_)) => Ok(Parsed::Explain { analyze, verbose, inner: Box::new(inner) }),
        refused @ Parsed::Refused(_) => Ok(refused),
        _ => Err(Error::not_supported(
            "EXPLAIN of this kind of statement",
            "explain a query, INSERT, UPDATE, DELETE, MERGE or CREATE TABLE AS",
        )
        .at(position)),
    }
}

#[cfg(test)]
mod tests;
