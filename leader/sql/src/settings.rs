//! SET, RESET and SHOW, and ALTER SYSTEM.

use super::Parsed;
use super::lex::Cursor;
use super::{show, transactions};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};

/// The setting of the whole cluster that can be changed while it runs.
const SLICES: &str = "slices";

/// `SET [SESSION | LOCAL] name { TO | = } value`, and the forms of it that SQL has for some settings.
pub(super) fn parse_set(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let position = cursor.position();
    cursor.expect(&["SET"])?;
    if cursor.eat(&["SESSION", "AUTHORIZATION"]) || cursor.eat(&["ROLE"]) {
        return Err(Error::not_supported("changing the user of a session", "connect as that user").at(position));
    }
    let session = cursor.eat(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]);
    if session || cursor.eat(&["TRANSACTION"]) {
        if cursor.at_end() {
            return Err(cursor.error("expected ISOLATION LEVEL, READ ONLY or READ WRITE"));
        }
        return Ok(Parsed::SetTransaction { session, modes: transactions::parse_modes(cursor)? });
    }
    let local = cursor.eat_one_of(&["SESSION", "LOCAL"]) == Some("LOCAL");
    let name = if cursor.eat(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else {
        let name = setting_name(cursor)?;
        if !cursor.eat(&["TO"]) {
            cursor.expect_token(&Token::Eq)?;
        }
        name
    };
    if cursor.eat(&["DEFAULT"]) || name == "timezone" && cursor.eat(&["LOCAL"]) {
        return Ok(Parsed::Reset { name: Some(name) });
    }
    let mut values = vec![setting_value(cursor)?];
    while cursor.eat_token(&Token::Comma) {
        values.push(setting_value(cursor)?);
    }
    Ok(Parsed::Set { name, value: values.join(", "), local })
}

/// A setting's name: dotted names are a session's context variables.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut name = String::new();
    loop {
        // Reserved words are no trouble here: app.user.
        let Some(Token::Word(word)) = cursor.peek().map(|lexeme| &lexeme.token) else {
            return Err(cursor.error("expected a setting"));
        };
        name.push_str(&word.value.to_lowercase());
        cursor.next += 1;
        if !cursor.eat_token(&Token::Period) {
            return Ok(name);
        }
        name.push('.');
    }
}

fn setting_value(cursor: &mut Cursor<'_>) -> Result<String> {
    let start = cursor.next;
    match cursor.peek().map(|lexeme| &lexeme.token) {
        Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_)) => {
            cursor.string("a value")
        }
        // Any word, reserved ones too (ON, FALSE), and what hangs on it without a blank: UTF-8, us-east-1, a.b
        Some(Token::Word(word)) if word.quote_style.is_some() => {
            cursor.next += 1;
            Ok(word.value.clone())
        }
        Some(Token::Word(_) | Token::Number(..) | Token::Minus | Token::Plus) => {
            cursor.next += 1;
            while let (Some(last), Some(next)) = (cursor.lexed.lexemes.get(cursor.next - 1), cursor.peek())
                && last.bytes.end == next.bytes.start
                && !matches!(next.token, Token::Comma)
            {
                cursor.next += 1;
            }
            let from = cursor.lexed.lexemes[start].bytes.start;
            let until = cursor.lexed.lexemes[cursor.next - 1].bytes.end;
            Ok(cursor.lexed.text[from..until].to_owned())
        }
        _ => Err(cursor.error("expected a value")),
    }
}

/// `ALTER SYSTEM SET slices { TO | = } number`.
pub(super) fn parse_alter_system(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let position = cursor.position();
    let refuse = |what: String| {
        let instead = "ALTER SYSTEM SET slices TO n changes the number of slices; other settings are flags of `slipher leader`";
        Err(Error::not_supported(what, instead).at(position))
    };
    if cursor.eat(&["RESET"]) {
        return refuse("ALTER SYSTEM RESET".to_owned());
    }
    cursor.expect(&["SET"])?;
    let name = setting_name(cursor)?;
    if !cursor.eat(&["TO"]) {
        cursor.expect_token(&Token::Eq)?;
    }
    if name != SLICES {
        return refuse(format!("ALTER SYSTEM SET {name}"));
    }
    let position = cursor.position();
    let value = setting_value(cursor)?;
    match value.parse() {
        Ok(slices) => Ok(Parsed::ChangeSlices { slices, position }),
        Err(_) => Err(Error::new(ErrorKind::InvalidParameter, format!("invalid value for parameter \"{SLICES}\": \"{value}\""))
            .with_hint("give a whole number: a multiple of what SHOW slices says")
            .at(position)),
    }
}

/// `RESET { name | ALL }`.
pub(super) fn parse_reset(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let position = cursor.position();
    cursor.expect(&["RESET"])?;
    if cursor.eat(&["ALL"]) {
        return Ok(Parsed::Reset { name: None });
    }
    if cursor.eat(&["USE"]) {
        return Ok(Parsed::Use { name: None });
    }
    if cursor.eat(&["SESSION", "AUTHORIZATION"]) {
        return Err(Error::not_supported("RESET SESSION AUTHORIZATION", "open a new connection").at(position));
    }
    let name = if cursor.eat(&["TIME", "ZONE"]) { "timezone".to_owned() } else { setting_name(cursor)? };
    Ok(Parsed::Reset { name: Some(name) })
}

/// SHOW of a setting, of ALL of them, or of objects.
pub(super) fn parse_show(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["SHOW"])?;
    if let Some(objects) = show::parse(cursor)? {
        return Ok(objects);
    }
    let name = if cursor.eat(&["ALL"]) {
        "all".to_owned()
    } else if cursor.eat(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else if cursor.eat(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        "transaction_isolation".to_owned()
    } else if cursor.eat(&["SESSION", "AUTHORIZATION"]) {
        "session_authorization".to_owned()
    } else {
        setting_name(cursor)?
    };
    Ok(Parsed::Show { name })
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;
    use std::sync::Arc;

    fn parsed(sql: &str) -> Parsed {
        Arc::into_inner(parse(sql).unwrap().remove(0).parsed).unwrap()
    }

    #[test]
    fn the_number_of_slices_is_all_that_alter_system_changes() {
        for sql in ["alter system set slices to 32", "ALTER SYSTEM SET Slices = 32", "alter system set slices = '32'"] {
            assert!(matches!(parsed(sql), Parsed::ChangeSlices { slices: 32, .. }), "{sql}");
        }
        let refused = |sql: &str| match parsed(sql) {
            Parsed::Refused(error) => (error.sqlstate(), error.position),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("alter system set work_mem to 5"), ("0A000", Some(14)));
        assert_eq!(refused("alter system reset slices"), ("0A000", Some(14)));
        for sql in ["alter system set slices to many", "alter system set slices to -8", "alter system set slices to 8.5"] {
            assert_eq!(refused(sql), ("22023", Some(28)), "{sql}");
        }
        assert!(parse("alter system set slices 5").is_err());
        assert!(parse("alter system set slices to 5 6").is_err());
    }
}
