//! Points the engine's errors, which know names but no places, back into the statement.

use super::lex::{Lexed, Lexeme};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind};

/// What kind of name an error is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Column,
    Table,
    /// What stands before a column's name.
    Qualifier,
    Function,
}

/// Functions that `rewrite` puts in place of Redshift's: the engine's name and what the user wrote.
const REWRITTEN: &[(&str, &[&str])] = &[
    ("character_length", &["len", "textlen"]),
    ("strpos", &["charindex"]),
    ("coalesce", &["nvl", "isnull"]),
    ("listagg", &["string_agg"]),
    ("arrow_typeof", &[]),
];

/// How errors begin that are about a qualifier which no table of FROM has.
pub const NO_FACTOR: &str = "missing FROM-clause entry for table ";

/// How errors begin that are about a database which the session is not connected to; the database follows in quotes.
pub const REFERENCE_TO_DATABASE: &str = "a reference to database ";

/// The error with the position (characters from 1, within `text`) of the name it is about, and in the words of SQL where
/// the engine has its own. An error that has a position, or is about no name, or about one that `text` does not show,
/// comes back as it is.
pub fn locate(text: &str, error: Error) -> Error {
    let mut error = in_words_of_sql(error);
    if error.position.is_some() {
        return error;
    }
    let wanted = match error.kind {
        ErrorKind::UndefinedColumn | ErrorKind::AmbiguousColumn | ErrorKind::Grouping | ErrorKind::DuplicateColumn => {
            Wanted::Column
        }
        ErrorKind::AmbiguousAlias => Wanted::Qualifier,
        ErrorKind::UndefinedTable if error.message.starts_with(NO_FACTOR) => Wanted::Qualifier,
        ErrorKind::UndefinedTable | ErrorKind::UndefinedSchema => Wanted::Table,
        ErrorKind::UndefinedFunction => Wanted::Function,
        ErrorKind::NotSupported if error.message.starts_with(REFERENCE_TO_DATABASE) => Wanted::Table,
        _ => return error,
    };
    let Some(name) = quoted(&error.message) else { return error };
    if let Ok(lexed) = Lexed::new(text) {
        error.position = find(&lexed, name, wanted);
    }
    error
}

/// The engine's "Invalid function" and "table ... not found" as PostgreSQL says them.
fn in_words_of_sql(mut error: Error) -> Error {
    if let Some(rest) = error.message.strip_prefix("Invalid function '") {
        let (name, more) = rest.split_once('\'').unwrap_or((rest, ""));
        let near = more.split_once("Did you mean '").and_then(|(_, near)| near.split_once('\'')).map(|(near, _)| near);
        // The engine proposes the nearest name however far away it is.
        let hint = near.map(|near| slipher_common::error::did_you_mean(name, [near])).unwrap_or_default();
        let message = format!("function \"{name}\" does not exist");
        error = Error { message, kind: ErrorKind::UndefinedFunction, ..error }.with_hint(hint);
    } else if let Some(name) = error.message.strip_prefix("table function '").and_then(|rest| rest.strip_suffix("' not found")) {
        let message = format!("function \"{name}\" does not exist");
        error = Error { message, kind: ErrorKind::UndefinedFunction, ..error };
    } else if let Some(name) = error.message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
        // The first of three names is the session's database: others are refused in other words.
        let own = name.split_once('.').filter(|(_, rest)| rest.contains('.')).map(|(_, rest)| rest);
        let message = format!("relation \"{}\" does not exist", own.unwrap_or(name));
        error = Error { message, kind: ErrorKind::UndefinedTable, ..error };
    }
    error
}

/// The first name in quotes.
fn quoted(message: &str) -> Option<&str> {
    let (quote, start) =
        ['"', '\''].into_iter().filter_map(|quote| message.find(quote).map(|at| (quote, at))).min_by_key(|(_, at)| *at)?;
    let rest = &message[start + 1..];
    Some(&rest[..rest.find(quote)?])
}

fn find(lexed: &Lexed<'_>, name: &str, wanted: Wanted) -> Option<usize> {
    // Names of tables may be qualified; so may those of columns in some messages.
    let parts: Vec<&str> = name.split('.').filter(|part| !part.is_empty()).collect();
    let last = *parts.last()?;
    let mut candidates: Vec<&str> = vec![name, last];
    if wanted == Wanted::Function {
        candidates.extend(REWRITTEN.iter().filter(|(engine, _)| *engine == last).flat_map(|(_, own)| own.iter()));
    }
    let mut best: Option<(u8, usize)> = None;
    for (index, lexeme) in lexed.lexemes.iter().enumerate() {
        if !candidates.iter().any(|candidate| is_name(lexeme, candidate)) {
            continue;
        }
        let rank = rank(lexed, index, &parts, wanted);
        if best.is_none_or(|(best_rank, _)| rank < best_rank) {
            best = Some((rank, lexeme.start + 1));
        }
    }
    best.map(|(_, position)| position)
}

fn is_name(lexeme: &Lexeme, name: &str) -> bool {
    match &lexeme.token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        _ => false,
    }
}

/// How little the place at `index` looks like what is wanted; 0 is a perfect place.
fn rank(lexed: &Lexed<'_>, index: usize, parts: &[&str], wanted: Wanted) -> u8 {
    let token = |at: Option<usize>| at.and_then(|at| lexed.lexemes.get(at)).map(|lexeme| &lexeme.token);
    let next = token(Some(index + 1));
    let before = token(index.checked_sub(1));
    let call = next == Some(&Token::LParen);
    let qualifier = next == Some(&Token::Period);
    let alias = matches!(before, Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("as"));
    let qualified = before == Some(&Token::Period)
        && parts.len() > 1
        && index.checked_sub(2).is_some_and(|at| lexed.lexemes.get(at).is_some_and(|own| is_name(own, parts[parts.len() - 2])));
    let after_from = matches!(before, Some(Token::Word(word))
        if ["from", "join", "into", "table", "update", "copy", "exists"].iter().any(|keyword| word.value.eq_ignore_ascii_case(keyword)));
    match wanted {
        Wanted::Function => u8::from(!call),
        Wanted::Qualifier => u8::from(!qualifier) + u8::from(after_from),
        Wanted::Table if qualified || after_from => 0,
        Wanted::Table => 1 + u8::from(alias || call),
        Wanted::Column if qualified && !alias => 0,
        Wanted::Column if !call && !qualifier && !alias => 1,
        Wanted::Column => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str, kind: ErrorKind, message: &str) -> Option<usize> {
        locate(text, Error::new(kind, message)).position
    }

    #[test]
    fn the_name_itself_is_found_not_its_look_alikes() {
        let text = "SELECT 'acount' AS a, t.account -- acount\n FROM t AS acount WHERE Acount = 1";
        let found = position(text, ErrorKind::UndefinedColumn, "column \"acount\" does not exist");
        assert_eq!(found, Some(1 + text.find("Acount").unwrap()));
        let text = "select left(left, 1) from x";
        assert_eq!(position(text, ErrorKind::UndefinedColumn, "column \"left\" does not exist"), Some(13));
        let text = "select count(foo.id), foo(1), \"Foo\" from bar foo";
        assert_eq!(position(text, ErrorKind::UndefinedFunction, "function \"foo\" does not exist"), Some(23));
        assert_eq!(position(text, ErrorKind::UndefinedColumn, "column \"Foo\" does not exist"), Some(31));
        assert_eq!(position(text, ErrorKind::UndefinedColumn, "column \"gone\" does not exist"), None);
        assert_eq!(position(text, ErrorKind::OutOfMemory, "out of memory: \"foo\""), None);
    }

    #[test]
    fn positions_count_characters() {
        let text = "select 'äöü', naem from t";
        assert_eq!(position(text, ErrorKind::UndefinedColumn, "column \"naem\" does not exist"), Some(15));
        let text = "select 1 from s.t join r.t on true";
        assert_eq!(position(text, ErrorKind::UndefinedTable, "relation \"r.t\" does not exist"), Some(26));
    }

    #[test]
    fn the_engines_words_become_those_of_sql() {
        let error = Error::new(ErrorKind::UndefinedFunction, "Invalid function 'dat_trunc'.\nDid you mean 'date_trunc'?");
        let error = locate("select dat_trunc('month', ts) from t", error);
        assert_eq!(error.message, "function \"dat_trunc\" does not exist");
        assert_eq!(error.hint.as_deref(), Some("did you mean \"date_trunc\"?"));
        assert_eq!(error.position, Some(8));
        let error = locate("select * from dev.s.gone", Error::internal("table 'dev.s.gone' not found"));
        assert_eq!((error.sqlstate(), error.position), ("42P01", Some(21)));
    }
}
