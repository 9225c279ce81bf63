//! The small statements: schemas, settings, transactions, users, and what is refused with advice.

use super::embedded::explain_syntax;
use super::lex::Cursor;
use super::names::{Name, SchemaName};
use super::{Parsed, VacuumKind, settings, transactions, users};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};

/// First words of every statement Redshift has.
const STATEMENT_KEYWORDS: &[&str] = &[
    "ABORT",
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "CALL",
    "CANCEL",
    "CLOSE",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DESC",
    "DETACH",
    "DISCARD",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "GRANT",
    "INSERT",
    "LOCK",
    "MERGE",
    "PREPARE",
    "REFRESH",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TRUNCATE",
    "UNLOAD",
    "UPDATE",
    "USE",
    "VACUUM",
    "VALUES",
    "WITH",
];

/// A table that is sorted to this share is left as it is, unless VACUUM ... TO n PERCENT says otherwise.
const VACUUM_SORTED_PERCENT_DEFAULT: u64 = 95;

/// What is not there, by first words (longest first), and what to use.
const REFUSED: &[(&[&str], &str)] = &[
    (&["CREATE", "MATERIALIZED", "VIEW"], "create a table with CREATE TABLE ... AS"),
    (&["CREATE", "EXTERNAL", "SCHEMA"], "load the files with COPY"),
    (&["CREATE", "EXTERNAL", "TABLE"], "load the files with COPY"),
    (&["CREATE", "EXTERNAL", "FUNCTION"], "use the built-in functions"),
    (&["CREATE", "EXTERNAL"], "load the files with COPY"),
    (&["CREATE", "MODEL"], "export the rows and train outside"),
    (&["CREATE", "FUNCTION"], "use the built-in functions"),
    (&["CREATE", "OR", "REPLACE"], "use the built-in functions and plain SQL statements"),
    (&["CREATE", "PROCEDURE"], "send the statements one after another"),
    (&["CREATE", "GROUP"], "create users with CREATE USER"),
    (&["CREATE", "ROLE"], "create users with CREATE USER"),
    (&["CREATE"], "CREATE DATABASE, SCHEMA, TABLE, TABLE ... AS, VIEW and USER are there"),
    (&["DROP"], "DROP DATABASE, DROP SCHEMA, DROP TABLE, DROP VIEW and DROP USER are there"),
    (&["ALTER"], "ALTER TABLE, VIEW, SCHEMA, USER, DATABASE and SYSTEM SET slices are there"),
    (&["GRANT"], "users see every schema; make separate users with CREATE USER"),
    (&["REVOKE"], "users see every schema; make separate users with CREATE USER"),
    (&["UNLOAD"], "read the rows with a query, over PostgreSQL or Flight SQL"),
    (&["CALL"], "send the procedure's statements one after another"),
    (&["SAVEPOINT"], "end the transaction with ROLLBACK, and begin another one"),
    (&["RELEASE"], "end the transaction with COMMIT or ROLLBACK"),
    (&["REFRESH"], "create the table anew with CREATE TABLE ... AS"),
    (&["ATTACH"], "make separate tables for what not everybody may see"),
    (&["DETACH"], "make separate tables for what not everybody may see"),
    (&["DESC"], "ask over Flight SQL (GetTables), or read no rows: SELECT * FROM ... LIMIT 0"),
];

/// Parses one small statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let start = cursor.next;
    let first = cursor.peek().and_then(|lexeme| lexeme.keyword()).unwrap_or_default();
    let parsed = match first.as_str() {
        "CREATE" if cursor.eat(&["CREATE", "SCHEMA"]) => create_schema(cursor)?,
        "DROP" if cursor.eat(&["DROP", "SCHEMA"]) => drop_schema(cursor)?,
        "DROP" if cursor.eat(&["DROP", "TABLE"]) => drop_table(cursor)?,
        "DROP" if cursor.eat(&["DROP", "VIEW"]) => super::views::parse_drop(cursor)?,
        "ALTER" if cursor.eat(&["ALTER", "SCHEMA"]) => super::schemas::parse_alter(cursor)?,
        "COMMENT" => super::comments::parse(cursor)?,
        "ALTER" if cursor.eat(&["ALTER", "VIEW"]) => super::views::parse_alter(cursor)?,
        "CREATE" if cursor.eat(&["CREATE", "USER"]) => Parsed::CreateUser(users::parse(cursor, true)?),
        "ALTER" if cursor.eat(&["ALTER", "USER"]) => Parsed::AlterUser(users::parse(cursor, false)?),
        "ALTER" if cursor.eat(&["ALTER", "TABLE"]) => super::alter_table::parse(cursor)?,
        "CREATE" if cursor.eat(&["CREATE", "DATABASE"]) => super::databases::parse_create(cursor)?,
        "ALTER" if cursor.eat(&["ALTER", "DATABASE"]) => super::databases::parse_alter(cursor)?,
        "ALTER" if cursor.eat(&["ALTER", "SYSTEM"]) => settings::parse_alter_system(cursor)?,
        "DROP" if cursor.eat(&["DROP", "DATABASE"]) => super::databases::parse_drop(cursor)?,
        "DROP" if cursor.eat(&["DROP", "USER"]) => {
            let if_exists = cursor.eat(&["IF", "EXISTS"]);
            Parsed::DropUser { names: names(cursor, "a user's name")?, if_exists }
        }
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => transactions::parse(cursor)?,
        "SET" => settings::parse_set(cursor)?,
        "RESET" => settings::parse_reset(cursor)?,
        "SHOW" => settings::parse_show(cursor)?,
        "LOCK" => {
            cursor.next += 1;
            cursor.eat(&["TABLE"]);
            Parsed::Lock { tables: cursor.qualified_names("a table")? }
        }
        "CANCEL" => cancel(cursor)?,
        "TRUNCATE" => {
            cursor.next += 1;
            cursor.eat(&["TABLE"]);
            Parsed::Truncate { table: cursor.qualified_name("a table")? }
        }
        "ANALYZE" | "ANALYSE" => analyze(cursor)?,
        "VACUUM" => vacuum(cursor)?,
        "DECLARE" => declare(cursor)?,
        "FETCH" => fetch(cursor)?,
        "CLOSE" => {
            cursor.next += 1;
            let name = if cursor.eat(&["ALL"]) { None } else { Some(cursor.name("a cursor")?) };
            Parsed::Close { name }
        }
        "USE" => {
            cursor.next += 1;
            Parsed::Use { name: Some(cursor.name("a database")?) }
        }
        "EXECUTE" => super::prepare::parse_execute(cursor)?,
        "DEALLOCATE" => {
            cursor.next += 1;
            cursor.eat(&["PREPARE"]);
            let name = if cursor.eat(&["ALL"]) { None } else { Some(cursor.name("a prepared statement")?) };
            Parsed::Deallocate { name }
        }
        "DISCARD" => {
            cursor.next += 1;
            let kinds = ["ALL", "PLANS", "TEMP", "TEMPORARY", "SEQUENCES"];
            let kind = cursor.eat_one_of(&kinds).ok_or_else(|| cursor.error("expected ALL, PLANS, TEMP or SEQUENCES"))?;
            Parsed::Discard { all: kind == "ALL", temporary: matches!(kind, "ALL" | "TEMP" | "TEMPORARY") }
        }
        _ => return Err(refuse(cursor, &first)),
    };
    debug_assert!(cursor.next > start);
    cursor.expect_end()?;
    Ok(parsed)
}

/// `CANCEL process_id ['message']`.
fn cancel(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["CANCEL"])?;
    let position = cursor.position();
    let number = cursor.integer("a session's process id")?;
    let out_of_range = |_| Error::new(ErrorKind::InvalidParameter, format!("{number} is no process id")).at(position);
    let process_id = i32::try_from(number).map_err(out_of_range)?;
    if !cursor.at_end() {
        cursor.string("a message")?;
    }
    Ok(Parsed::Cancel { process_id })
}

/// `DECLARE name [NO SCROLL] CURSOR [WITHOUT HOLD] FOR query`.
fn declare(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["DECLARE"])?;
    let name = cursor.name("a cursor's name")?;
    let position = cursor.position();
    let refuse =
        |what: &str| Err(Error::not_supported(what, "leave it out; a cursor goes forward, within its transaction").at(position));
    loop {
        if cursor.eat(&["NO", "SCROLL"]) || cursor.eat(&["INSENSITIVE"]) {
            continue;
        }
        match cursor.eat_one_of(&["BINARY", "SCROLL"]) {
            Some(word) => return refuse(&format!("DECLARE ... {word} CURSOR")),
            None => break,
        }
    }
    cursor.expect(&["CURSOR"])?;
    if cursor.eat(&["WITH", "HOLD"]) {
        return refuse("DECLARE ... WITH HOLD");
    }
    cursor.eat(&["WITHOUT", "HOLD"]);
    cursor.expect(&["FOR"])?;
    Ok(Parsed::Declare { name, query: super::embedded::query_to_end(cursor)? })
}

/// `FETCH [NEXT | ALL | FORWARD [count | ALL] | count] [FROM | IN] name`.
fn fetch(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["FETCH"])?;
    let position = cursor.position();
    if cursor.eat_one_of(&["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"]).is_some() {
        return Err(Error::not_supported("FETCH that does not go forward", "use FETCH FORWARD").at(position));
    }
    let forward = cursor.eat(&["FORWARD"]);
    let is_number = matches!(cursor.peek().map(|lexeme| &lexeme.token), Some(Token::Number(..) | Token::Minus));
    let count = if cursor.eat(&["ALL"]) {
        None
    } else if is_number {
        let count = cursor.integer("a number of rows")?;
        let count = u64::try_from(count);
        Some(count.map_err(|_| Error::not_supported("FETCH that does not go forward", "use FETCH FORWARD").at(position))?)
    } else {
        let _ = !forward && cursor.eat(&["NEXT"]);
        Some(1)
    };
    cursor.eat_one_of(&["FROM", "IN"]);
    Ok(Parsed::Fetch { name: cursor.name("a cursor")?, count })
}

fn refuse(cursor: &Cursor<'_>, first: &str) -> Error {
    let position = cursor.position();
    if let Some((words, hint)) = REFUSED.iter().find(|(words, _)| cursor.looking_at(words)) {
        let mut what = words.join(" ");
        // One word more says what kind of object it is.
        if words.len() == 1
            && matches!(first, "CREATE" | "DROP" | "ALTER" | "REFRESH")
            && let Some(next) = cursor.peek_at(1).and_then(|lexeme| lexeme.keyword())
        {
            what = format!("{what} {next}");
        }
        return Error::not_supported(what, *hint).at(position);
    }
    let hint = did_you_mean(first, STATEMENT_KEYWORDS.iter().copied());
    explain_syntax(cursor.lexed, cursor.next).with_hint(hint)
}

fn names(cursor: &mut Cursor<'_>, what: &str) -> Result<Vec<Name>> {
    let mut names = vec![cursor.name(what)?];
    while cursor.eat_token(&Token::Comma) {
        names.push(cursor.name(what)?);
    }
    Ok(names)
}

fn create_schema(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
    let name = if cursor.looking_at(&["AUTHORIZATION"]) { None } else { Some(cursor.schema_name()?) };
    let owner = if cursor.eat(&["AUTHORIZATION"]) { Some(cursor.name("a user's name")?) } else { None };
    let position = cursor.position();
    if cursor.eat(&["QUOTA"]) {
        return Err(Error::not_supported("QUOTA of a schema", "leave QUOTA out and watch the sizes of tables").at(position));
    }
    if cursor.looking_at(&["CREATE"]) || cursor.looking_at(&["GRANT"]) {
        return Err(
            Error::not_supported("CREATE SCHEMA with schema elements", "send them as statements of their own").at(position)
        );
    }
    // Without a name the schema is called like its owner.
    let of_owner = || owner.clone().map(|name| SchemaName { database: None, name });
    let name = name.or_else(of_owner).ok_or_else(|| cursor.error("expected a schema's name"))?;
    Ok(Parsed::CreateSchema { name, if_not_exists, owner })
}

fn drop_schema(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let if_exists = cursor.eat(&["IF", "EXISTS"]);
    let mut names = vec![cursor.schema_name()?];
    while cursor.eat_token(&Token::Comma) {
        names.push(cursor.schema_name()?);
    }
    let cascade = cursor.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
    Ok(Parsed::DropSchema { names, if_exists, cascade })
}

fn drop_table(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let if_exists = cursor.eat(&["IF", "EXISTS"]);
    let tables = cursor.qualified_names("a table")?;
    let cascade = cursor.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
    Ok(Parsed::DropTable { tables, if_exists, cascade })
}

fn analyze(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let position = cursor.position();
    cursor.next += 1;
    if cursor.eat(&["COMPRESSION"]) {
        return Err(
            Error::not_supported("ANALYZE COMPRESSION", "leave ENCODE out; every segment chooses its encodings").at(position)
        );
    }
    cursor.eat(&["VERBOSE"]);
    let named = !cursor.at_end() && !cursor.looking_at(&["PREDICATE"]) && !cursor.looking_at(&["ALL"]);
    let table = if named { Some(cursor.qualified_name("a table")?) } else { None };
    if table.is_some() && cursor.looking_at_token(&Token::LParen) {
        // Statistics of every column are kept with the segments, those asked for too.
        cursor.names_in_parentheses("a column")?;
    }
    let _ = cursor.eat(&["PREDICATE", "COLUMNS"]) || cursor.eat(&["ALL", "COLUMNS"]);
    Ok(Parsed::Analyze { table })
}

fn vacuum(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["VACUUM"])?;
    let kind = if cursor.eat(&["DELETE", "ONLY"]) { VacuumKind::DeleteOnly } else { VacuumKind::Full };
    let _ = cursor.eat(&["SORT", "ONLY"]) || cursor.eat_one_of(&["FULL", "REINDEX", "RECLUSTER"]).is_some();
    let mut sorted_percent = VACUUM_SORTED_PERCENT_DEFAULT;
    let named = !cursor.at_end() && !cursor.looking_at(&["TO"]) && !cursor.looking_at(&["BOOST"]);
    let table = if named { Some(cursor.qualified_name("a table")?) } else { None };
    if cursor.eat(&["TO"]) {
        let position = cursor.position();
        let percent = cursor.integer("a percentage")?;
        if !(0..=100).contains(&percent) {
            return Err(Error::new(ErrorKind::InvalidParameter, format!("VACUUM TO {percent} PERCENT: not between 0 and 100"))
                .at(position));
        }
        sorted_percent = percent.unsigned_abs();
        cursor.expect(&["PERCENT"])?;
    }
    let boost = cursor.eat(&["BOOST"]);
    Ok(Parsed::Vacuum { table, kind, sorted_percent, boost })
}
