//! BEGIN, COMMIT, ROLLBACK and the modes of transactions.

use super::Parsed;
use super::lex::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, Result};

/// A statement that begins or ends a block.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let verb = cursor.eat_one_of(&["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"]).unwrap_or_default();
    if verb == "START" {
        cursor.expect(&["TRANSACTION"])?;
    } else {
        cursor.eat_one_of(&["WORK", "TRANSACTION"]);
    }
    match verb {
        "COMMIT" | "END" => Ok(Parsed::Commit),
        "ROLLBACK" if cursor.looking_at(&["TO"]) => {
            Err(Error::not_supported("ROLLBACK TO SAVEPOINT", "roll the whole transaction back").at(cursor.position()))
        }
        "ROLLBACK" | "ABORT" => Ok(Parsed::Rollback),
        _ => Ok(Parsed::Begin { modes: parse_modes(cursor)? }),
    }
}

/// What BEGIN and SET TRANSACTION say; None where they say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// READ ONLY, or READ WRITE.
    pub read_only: Option<bool>,
    /// SERIALIZABLE; the levels below are met by snapshot isolation, which is at least as strict.
    pub serializable: Option<bool>,
}

pub(super) fn parse_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes> {
    let mut modes = TransactionModes::default();
    while !cursor.at_end() {
        if cursor.eat(&["ISOLATION", "LEVEL"]) {
            modes.serializable = Some(isolation_level(cursor)? == "serializable");
        } else if cursor.eat(&["READ", "ONLY"]) {
            modes.read_only = Some(true);
        } else if cursor.eat(&["READ", "WRITE"]) {
            modes.read_only = Some(false);
        } else {
            return Err(cursor.error("expected ISOLATION LEVEL, READ ONLY or READ WRITE"));
        }
        cursor.eat_token(&Token::Comma);
    }
    Ok(modes)
}

fn isolation_level(cursor: &mut Cursor<'_>) -> Result<&'static str> {
    let levels: [(&[&str], &'static str); 5] = [
        (&["SERIALIZABLE"], "serializable"),
        (&["SNAPSHOT"], "snapshot"),
        (&["REPEATABLE", "READ"], "repeatable read"),
        (&["READ", "COMMITTED"], "read committed"),
        (&["READ", "UNCOMMITTED"], "read uncommitted"),
    ];
    let found = levels.into_iter().find(|(words, _)| cursor.eat(words));
    found.map(|(_, name)| name).ok_or_else(|| cursor.error("expected an isolation level, for example SERIALIZABLE"))
}
