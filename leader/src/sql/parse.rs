//! From the text a client sent to its statements.

use super::lex::{Cursor, DIALECT, Lexed, offset_of, syntax_error};
use super::{OWN_NAMES_PREFIX, Parsed, change_rows, copy, create_table, insert, merge, rewrite, statements, views};
use crate::session::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token};
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Longest text of one request, in bytes (Redshift's limit of one statement).
pub(crate) const TEXT_LENGTH_MAX_BYTES: usize = 16 * 1024 * 1024;
/// How deep expressions and subqueries may nest, in calls of the parser.
const NESTING_MAX_CALLS: usize = 160;
/// Operators that one expression may chain; a chain is a tree of that depth.
const OPERATORS_IN_CHAIN_MAX: usize = 1_200;
/// Conditions that AND and OR may chain; they are balanced after parsing.
const CONDITIONS_IN_CHAIN_MAX: usize = 2_000;
/// Joins and set operations that one query may chain.
const BRANCHES_MAX: usize = 300;
/// Columns that one SELECT may list, as many as a result may have. They are counted before the list is read: a tree of millions of
/// items takes gigabytes.
const SELECT_ITEMS_MAX: usize = 1_664;

/// Splits `sql` at semicolons and parses each statement. Fails for syntax only, with the position in `sql`; whatever
/// else is wrong with a statement comes to light when it is executed ([`Parsed::Refused`]).
pub(crate) fn parse(sql: &str) -> Result<Vec<Statement>> {
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
    let (mut offset, mut byte) = lexed.first_not_blank().map_or((0, 0), |start| offset_of(lexed.text, start));
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
        "SELECT" | "WITH" | "VALUES" => parse_query_statement(cursor),
        "EXPLAIN" => parse_explain(cursor),
        "INSERT" => Ok(Parsed::Insert(Box::new(insert::parse(cursor)?))),
        "COPY" => copy::parse(cursor),
        "CREATE" if create_table::starts_here(cursor) => create_table::parse(cursor),
        "CREATE" if cursor.looking_at(&["CREATE", "VIEW"]) || cursor.looking_at(&["CREATE", "OR", "REPLACE", "VIEW"]) => {
            views::parse_create(cursor)
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

/// Parses and rewrites the query that reaches from the cursor to the end.
pub(super) fn query_to_end(cursor: &mut Cursor<'_>) -> Result<Box<ast::Statement>> {
    let mut statement = read_query(cursor)?;
    rewrite::rewrite_statement(&mut statement, &|span| position_of(cursor.lexed, span))?;
    Ok(statement)
}

/// Parses and rewrites the text of a query.
pub(crate) fn query(text: &str) -> Result<Box<ast::Statement>> {
    let lexed = Lexed::new(text)?;
    check_chains(&lexed)?;
    query_to_end(&mut Cursor::new(&lexed))
}

fn read_query(cursor: &mut Cursor<'_>) -> Result<Box<ast::Statement>> {
    let query = with_sqlparser(cursor, |parser| parser.parse_query())?;
    if !cursor.at_end() {
        return Err(explain_syntax(cursor.lexed, cursor.next).with_detail("expected the end of the statement"));
    }
    Ok(Box::new(ast::Statement::Query(query)))
}

/// Parses one expression with `DEFAULT`-like texts in mind: the whole of `text` must be it.
pub(crate) fn parse_expression(text: &str) -> Result<ast::Expr> {
    let lexed = Lexed::new(text)?;
    check_chains(&lexed)?;
    let mut cursor = Cursor::new(&lexed);
    let mut expression = with_sqlparser(&mut cursor, |parser| parser.parse_expr())?;
    cursor.expect_end()?;
    rewrite::rewrite_expression(&mut expression, &|span| position_of(&lexed, span))?;
    Ok(expression)
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
    let index = |lexeme: usize| lexed.lexemes.get(lexeme).map_or(lexed.all.len(), |lexeme| lexeme.index);
    let from = index(cursor.next);
    let mut parser = Parser::new(&DIALECT)
        .with_recursion_limit(NESTING_MAX_CALLS)
        .with_tokens_with_locations(lexed.all[from..index(until)].to_vec());
    let answer = read(&mut parser);
    let reached = lexed.lexemes.partition_point(|lexeme| lexeme.index < from + parser.index());
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
        let hint = slipher_common::error::did_you_mean(
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
        Token::Word(word) => !super::names::is_reserved(&word.value) || word.quote_style.is_some(),
        Token::RParen | Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    };
    let starts_item = |token: &Token| match token {
        Token::Word(word) => !super::names::is_reserved(&word.value) || word.quote_style.is_some(),
        Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    };
    match (before, found) {
        (Some(before), Some(found)) if ends_item(&before.token) && starts_item(&found.token) => {
            error.with_hint(format!("is a comma missing before \"{}\"?", lexed.text_of(found)))
        }
        (Some(before), Some(found))
            if before.token == Token::Comma && found.keyword().is_some_and(|word| super::names::is_reserved(&word)) =>
        {
            error.with_hint(format!("is there a comma too many before \"{}\"?", lexed.text_of(found)))
        }
        _ => error,
    }
}

/// Position (characters from 1) of a span of the syntax tree; 1 for a span that stands nowhere.
pub(super) fn position_of(lexed: &Lexed<'_>, span: Span) -> usize {
    if span.start.line == 0 { 1 } else { offset_of(lexed.text, span.start).0 + 1 }
}

/// How many of each kind the innermost open parenthesis has chained so far.
#[derive(Default)]
struct Chains {
    operators: usize,
    conditions: usize,
    branches: usize,
    /// Items of the SELECT list that is open.
    items: Option<usize>,
    /// The parenthesis is that of one of [`SPECIAL_CALLS`].
    is_special: bool,
}

/// Words that end one expression and begin another.
const CLAUSES: &[&str] =
    &["select", "from", "where", "group", "order", "having", "on", "when", "then", "else", "end", "values", "limit", "set", "by"];

/// Words that end the list of a SELECT.
const BEHIND_SELECT_LIST: &[&str] = &["from", "where", "group", "having", "order", "limit", "values"];

/// Words that make one expression of what stands before them, as operators do.
const CHAINING: &[&str] = &[
    "not", "is", "isnull", "notnull", "like", "ilike", "similar", "regexp", "rlike", "glob", "match", "between", "in", "collate",
    "at", "overlaps", "xor", "div", "operator",
];

/// CASEs that may be open at a time: behind that many the parser takes the word for a name.
const CASES_OPEN_MAX: usize = 70;
/// Calls of [`SPECIAL_CALLS`] that may be open at a time. Where one of them is not what it should be, the parser reads it a second time, as
/// an ordinary call, and everything inside of it with it: its time doubles with each level.
const SPECIAL_CALLS_OPEN_MAX: usize = 16;
/// Words that the parser reads in two ways.
const SPECIAL_CALLS: &[&str] = &[
    "cast",
    "try_cast",
    "safe_cast",
    "convert",
    "try_convert",
    "exists",
    "extract",
    "ceil",
    "floor",
    "position",
    "substr",
    "substring",
    "overlay",
    "trim",
    "array",
    "struct",
    "map",
    "match",
    "interval",
];

/// Refuses chains so long that walking their tree could exhaust the stack, and nests that the parser takes too long for.
fn check_chains(lexed: &Lexed<'_>) -> Result<()> {
    let mut levels = vec![Chains::default()];
    let (mut cases, mut is_special) = (0_usize, false);
    for lexeme in &lexed.lexemes {
        let too_complex = |what: &str, most: usize| {
            Error::new(ErrorKind::TooComplex, "statement too complex")
                .with_detail(format!("it {what} more than {most} of them"))
                .with_hint("use IN (...), a join with a table of values, or steps in a WITH clause")
                .at(lexeme.start + 1)
        };
        let word = match &lexeme.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.as_str(),
            _ => "",
        };
        if word.eq_ignore_ascii_case("case") {
            cases += 1;
        } else if word.eq_ignore_ascii_case("end") {
            cases = cases.saturating_sub(1);
        }
        if cases > CASES_OPEN_MAX {
            return Err(too_complex("nests CASEs,", CASES_OPEN_MAX));
        }
        let closes = matches!(lexeme.token, Token::RParen | Token::RBracket);
        if closes && levels.len() > 1 {
            levels.pop();
        } else if lexeme.token != Token::LParen
            && let Some(level) = levels.last_mut()
            && let Some((what, most)) = level.count(&lexeme.token)
        {
            return Err(too_complex(&format!("{what},"), most));
        }
        // Subscripts and array types are counted as operators, and begin a level like parentheses.
        if matches!(lexeme.token, Token::LParen | Token::LBracket) {
            if is_special && levels.iter().filter(|level| level.is_special).count() >= SPECIAL_CALLS_OPEN_MAX {
                return Err(too_complex("nests calls such as CAST,", SPECIAL_CALLS_OPEN_MAX));
            }
            levels.push(Chains { is_special, ..Chains::default() });
        }
        is_special = SPECIAL_CALLS.iter().any(|special| word.eq_ignore_ascii_case(special));
    }
    Ok(())
}

impl Chains {
    /// Counts a token; answers what there are too many of, and how many may be.
    fn count(&mut self, token: &Token) -> Option<(&'static str, usize)> {
        let word = match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.as_str(),
            Token::Word(_) | Token::Number(..) | Token::Period | Token::Placeholder(_) => return None,
            Token::SingleQuotedString(_) | Token::DollarQuotedString(_) | Token::NationalStringLiteral(_) => return None,
            Token::Comma | Token::SemiColon => ",",
            _ => "+",
        };
        let is_one_of = |words: &[&str]| words.iter().any(|candidate| word.eq_ignore_ascii_case(candidate));
        if word.eq_ignore_ascii_case("select") {
            self.items = Some(1);
        } else if is_one_of(BEHIND_SELECT_LIST) {
            self.items = None;
        } else if matches!(token, Token::Comma) {
            self.items = self.items.map(|items| items + 1);
        }
        if word == "," || is_one_of(CLAUSES) {
            (self.operators, self.conditions) = (0, 0);
        } else if is_one_of(&["and", "or"]) {
            self.operators = 0;
            self.conditions += 1;
        } else if is_one_of(&["union", "except", "intersect", "minus", "join"]) {
            (self.operators, self.conditions) = (0, 0);
            self.branches += 1;
        } else if word == "+" || is_one_of(CHAINING) {
            self.operators += 1;
        }
        if self.operators > OPERATORS_IN_CHAIN_MAX {
            Some(("chains operators", OPERATORS_IN_CHAIN_MAX))
        } else if self.conditions > CONDITIONS_IN_CHAIN_MAX {
            Some(("chains conditions", CONDITIONS_IN_CHAIN_MAX))
        } else if self.branches > BRANCHES_MAX {
            Some(("chains joins and set operations", BRANCHES_MAX))
        } else if self.items.is_some_and(|items| items > SELECT_ITEMS_MAX) {
            Some(("lists columns of a SELECT", SELECT_ITEMS_MAX))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
