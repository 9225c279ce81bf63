//! What CREATE USER and ALTER USER say.

use super::lex::Cursor;
use super::{Password, UserSpec};
use slipher_common::{Error, ErrorKind, Result};

/// `name [WITH] option ...`, behind CREATE USER or ALTER USER.
pub(super) fn parse(cursor: &mut Cursor<'_>, creating: bool) -> Result<UserSpec> {
    let name = cursor.name("a user's name")?;
    cursor.eat(&["WITH"]);
    let mut spec = UserSpec { name, password: None, superuser: None, can_create_database: None };
    while !cursor.at_end() {
        let position = cursor.position();
        let word = cursor.peek().and_then(|lexeme| lexeme.keyword()).unwrap_or_default();
        cursor.next += 1;
        match word.as_str() {
            "PASSWORD" if spec.password.is_none() => spec.password = Some(password(cursor, position)?),
            "CREATEUSER" | "NOCREATEUSER" if spec.superuser.is_none() => spec.superuser = Some(word == "CREATEUSER"),
            "CREATEDB" | "NOCREATEDB" if spec.can_create_database.is_none() => {
                spec.can_create_database = Some(word == "CREATEDB");
            }
            "SYSLOG" | "IN" | "VALID" | "CONNECTION" | "SESSION" | "EXTERNALID" | "RENAME" | "SET" | "RESET" => {
                return Err(Error::not_supported(
                    format_args!("{word} of a user"),
                    "PASSWORD, CREATEUSER, NOCREATEUSER, CREATEDB and NOCREATEDB are there",
                )
                .at(position));
            }
            _ => {
                cursor.next -= 1;
                return Err(cursor.error("expected an option of a user that was not given yet"));
            }
        }
    }
    if creating && spec.password.is_none() {
        return Err(cursor.error("expected PASSWORD '...' or PASSWORD DISABLE"));
    }
    Ok(spec)
}

fn password(cursor: &mut Cursor<'_>, position: usize) -> Result<Password> {
    if cursor.eat(&["DISABLE"]) {
        return Ok(Password::Disabled);
    }
    let text = cursor.string("a password in single quotes, or DISABLE")?;
    let hex = |digits: &str| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.strip_prefix("md5").is_some_and(hex) || text.starts_with("sha256|") {
        return Err(Error::not_supported(
            "a hashed password",
            "give the password itself; only its SCRAM-SHA-256 verifier is kept",
        )
        .at(position));
    }
    if text.is_empty() {
        return Err(Error::new(ErrorKind::InvalidParameter, "the password is empty").at(position));
    }
    Ok(Password::Plain(text))
}
