//! CREATE VIEW, DROP VIEW.

use super::Parsed;
use super::embedded::{explain_syntax, position_of, with_sqlparser_until};
use super::lex::Cursor;
use super::names::{Name, QualifiedName};
use super::rewrite;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};

/// What ends a late-binding view.
const LATE_BINDING: [&str; 4] = ["WITH", "NO", "SCHEMA", "BINDING"];

/// CREATE VIEW as it was written.
#[derive(Debug)]
pub struct CreateViewSpec {
    /// Its name.
    pub name: QualifiedName,
    /// OR REPLACE.
    pub or_replace: bool,
    /// Names for the first columns; the others keep those of the query.
    pub columns: Vec<Name>,
    /// The query's text.
    pub text: String,
    /// The query, rewritten; always `ast::Statement::Query`.
    pub query: Box<ast::Statement>,
    /// WITH NO SCHEMA BINDING.
    pub late_binding: bool,
}

/// Parses CREATE [OR REPLACE] VIEW.
pub(super) fn parse_create(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["CREATE"])?;
    let or_replace = cursor.eat(&["OR", "REPLACE"]);
    cursor.expect(&["VIEW"])?;
    let name = cursor.qualified_name("a view's name")?;
    let columns =
        if cursor.looking_at_token(&Token::LParen) { cursor.names_in_parentheses("a column's name")? } else { Vec::new() };
    cursor.expect(&["AS"])?;
    let lexemes = &cursor.lexed.lexemes;
    let before = lexemes.len().saturating_sub(LATE_BINDING.len());
    let late_binding =
        before > cursor.next && lexemes[before..].iter().zip(LATE_BINDING).all(|(lexeme, word)| lexeme.is_keyword(word));
    let until = if late_binding { before } else { lexemes.len() };
    let text = match (lexemes.get(cursor.next), lexemes.get(until - 1)) {
        (Some(first), Some(last)) if cursor.next < until => cursor.lexed.text[first.bytes.start..last.bytes.end].to_owned(),
        _ => return Err(cursor.error("expected a query")),
    };
    let parameter = lexemes[cursor.next..until].iter().find(|lexeme| matches!(lexeme.token, Token::Placeholder(_)));
    if let Some(parameter) = parameter {
        let message = format!("there is no parameter {}", cursor.lexed.text_of(parameter));
        return Err(Error::new(ErrorKind::UndefinedParameter, message)
            .with_detail("a view has no parameters")
            .at(parameter.start + 1));
    }
    let query = with_sqlparser_until(cursor, until, |parser| parser.parse_query())?;
    if cursor.next != until {
        return Err(explain_syntax(cursor.lexed, cursor.next).with_detail("expected the end of the query"));
    }
    cursor.next = lexemes.len();
    let mut query = Box::new(ast::Statement::Query(query));
    rewrite::rewrite_statement(&mut query, &|span| position_of(cursor.lexed, span))?;
    Ok(Parsed::CreateView(Box::new(CreateViewSpec { name, or_replace, columns, text, query, late_binding })))
}

/// Reads what follows DROP VIEW.
pub(super) fn parse_drop(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let if_exists = cursor.eat(&["IF", "EXISTS"]);
    let views = cursor.qualified_names("a view")?;
    let cascade = cursor.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
    Ok(Parsed::DropView { views, if_exists, cascade })
}

/// Reads what follows ALTER VIEW: what ALTER TABLE can do with a view.
pub(super) fn parse_alter(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let position = cursor.position();
    match super::alter_table::parse(cursor)? {
        altered @ Parsed::AlterTable {
            change: super::TableChange::Rename(_) | super::TableChange::SetSchema(_) | super::TableChange::Owner(_),
            ..
        } => Ok(altered),
        _ => Err(Error::not_supported("this change of a view", "CREATE OR REPLACE VIEW gives it another query").at(position)),
    }
}
