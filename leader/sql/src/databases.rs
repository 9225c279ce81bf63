//! CREATE, ALTER and DROP DATABASE.

use super::lex::Cursor;
use super::names::Name;
use super::{DatabaseChange, Parsed};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, Result};

/// `CREATE DATABASE name [WITH] [OWNER [=] user] [CONNECTION LIMIT UNLIMITED] [COLLATE CASE_SENSITIVE] [ISOLATION LEVEL level]`.
pub(super) fn parse_create(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let name = cursor.name("a database's name")?;
    cursor.eat(&["WITH"]);
    let (mut owner, mut serializable) = (None, None);
    while !cursor.at_end() {
        let position = cursor.position();
        if owner.is_none() && cursor.eat(&["OWNER"]) {
            cursor.eat_token(&Token::Eq);
            owner = Some(cursor.name("a user's name")?);
        } else if serializable.is_none() && cursor.eat(&["ISOLATION", "LEVEL"]) {
            serializable = Some(is_serializable(cursor)?);
        } else if !defaults(cursor)? {
            if cursor.eat(&["FROM"]) {
                let instead = "CREATE DATABASE without FROM makes an empty one; load rows with COPY";
                return Err(Error::not_supported("a database of a datashare, integration or catalog", instead).at(position));
            }
            return Err(cursor.error("expected OWNER or ISOLATION LEVEL, once each, CONNECTION LIMIT or COLLATE"));
        }
    }
    Ok(Parsed::CreateDatabase { name, owner, serializable: serializable.unwrap_or(false) })
}

/// `ALTER DATABASE name { RENAME TO name | OWNER TO user | ISOLATION LEVEL level | CONNECTION LIMIT UNLIMITED | COLLATE CASE_SENSITIVE }`.
pub(super) fn parse_alter(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let name = cursor.name("a database")?;
    let change = if cursor.eat(&["RENAME", "TO"]) {
        DatabaseChange::Rename(cursor.name("a database's name")?)
    } else if cursor.eat(&["OWNER", "TO"]) {
        DatabaseChange::Owner(cursor.name("a user's name")?)
    } else if cursor.eat(&["ISOLATION", "LEVEL"]) {
        DatabaseChange::Isolation { serializable: is_serializable(cursor)? }
    } else if defaults(cursor)? {
        DatabaseChange::None
    } else {
        return Err(cursor.error("expected RENAME TO, OWNER TO, CONNECTION LIMIT, COLLATE or ISOLATION LEVEL"));
    };
    Ok(Parsed::AlterDatabase { name, change })
}

/// `DROP DATABASE [IF EXISTS] name`.
pub(super) fn parse_drop(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let if_exists = cursor.eat(&["IF", "EXISTS"]);
    let name: Name = cursor.name("a database")?;
    let position = cursor.position();
    if cursor.eat(&["FORCE"]) || cursor.eat(&["WITH"]) {
        let instead = "end the sessions in it with pg_terminate_backend first";
        return Err(Error::not_supported("DROP DATABASE ... FORCE", instead).at(position));
    }
    Ok(Parsed::DropDatabase { name, if_exists })
}

fn is_serializable(cursor: &mut Cursor<'_>) -> Result<bool> {
    let level = cursor.eat_one_of(&["SNAPSHOT", "SERIALIZABLE"]);
    level.map(|level| level == "SERIALIZABLE").ok_or_else(|| cursor.error("expected SNAPSHOT or SERIALIZABLE"))
}

/// Options that say what is so anyway; their other values are refused.
fn defaults(cursor: &mut Cursor<'_>) -> Result<bool> {
    let position = cursor.position();
    if cursor.eat(&["CONNECTION", "LIMIT"]) {
        return match cursor.eat(&["UNLIMITED"]) {
            true => Ok(true),
            false => Err(Error::not_supported("a limit of connections to a database", "say UNLIMITED, or nothing").at(position)),
        };
    }
    if cursor.eat(&["COLLATE"]) {
        return match cursor.eat_one_of(&["CASE_SENSITIVE", "CS"]) {
            Some(_) => Ok(true),
            None => {
                Err(Error::not_supported("a collation other than CASE_SENSITIVE", "compare lower(...) of both sides")
                    .at(position))
            }
        };
    }
    Ok(false)
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
    fn options_come_in_any_order_and_once() {
        assert!(matches!(parsed("CREATE DATABASE a"), Parsed::CreateDatabase { owner: None, serializable: false, .. }));
        let all = "create database \"A b\" with isolation level serializable connection limit unlimited collate cs owner = eva";
        assert!(matches!(parsed(all), Parsed::CreateDatabase { name, owner: Some(owner), serializable: true }
            if name.value == "A b" && owner.value == "eva"));
        assert_eq!(parse("create database a isolation level snapshot isolation level snapshot").unwrap_err().position, Some(44));
        assert!(matches!(parsed("create database a connection limit 3"), Parsed::Refused(error) if error.position == Some(19)));
        assert!(matches!(parsed("create database a from arn 'x'"), Parsed::Refused(error) if error.sqlstate() == "0A000"));
    }

    #[test]
    fn changes_are_told_apart() {
        let change = |sql: &str| match parsed(sql) {
            Parsed::AlterDatabase { change, .. } => change,
            other => panic!("{other:?}"),
        };
        assert!(matches!(change("alter database a rename to b"), DatabaseChange::Rename(name) if name.value == "b"));
        assert!(matches!(change("alter database a owner to b"), DatabaseChange::Owner(name) if name.value == "b"));
        assert!(matches!(change("alter database a isolation level snapshot"), DatabaseChange::Isolation { serializable: false }));
        assert!(matches!(change("alter database a connection limit unlimited"), DatabaseChange::None));
        assert!(matches!(parsed("drop database if exists a"), Parsed::DropDatabase { if_exists: true, .. }));
        assert!(matches!(parsed("drop database a force"), Parsed::Refused(_)));
        assert!(parse("alter database a").is_err());
    }
}
