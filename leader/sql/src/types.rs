//! Column types as users write them.

use super::lex::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::sql_type::{
    CHAR_LENGTH_MAX_BYTES, DECIMAL_PRECISION_MAX_DIGITS, DECIMAL_SCALE_MAX_DIGITS, VARBYTE_LENGTH_DEFAULT_BYTES,
    VARBYTE_LENGTH_MAX_BYTES, VARCHAR_LENGTH_DEFAULT_BYTES, VARCHAR_LENGTH_MAX_BYTES,
};
use slipher_common::{Error, ErrorKind, Result, SqlType};

/// Digits of a DECIMAL without any.
pub(super) const DECIMAL_PRECISION_DEFAULT_DIGITS: u8 = 18;
/// FLOAT(n) up to here is REAL, above it DOUBLE PRECISION.
const REAL_PRECISION_MAX_BITS: i64 = 24;
/// The largest n of FLOAT(n).
const DOUBLE_PRECISION_MAX_BITS: i64 = 53;

const TYPE_NAMES: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "decimal",
    "numeric",
    "real",
    "double precision",
    "boolean",
    "char",
    "character",
    "varchar",
    "nvarchar",
    "text",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "float",
    "super",
    "varbyte",
    "varbinary",
];

/// Reads a type; 42704 for one that does not exist, 0A000 for one of Redshift's that Slipher does not have.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    let position = cursor.position();
    let Some(word) = cursor.peek().and_then(|lexeme| lexeme.keyword()) else {
        return Err(cursor.error("expected a type"));
    };
    cursor.next += 1;
    let sql_type = match word.to_ascii_lowercase().as_str() {
        "smallint" | "int2" => SqlType::SmallInt,
        "integer" | "int" | "int4" => SqlType::Integer,
        "bigint" | "int8" => SqlType::BigInt,
        "decimal" | "numeric" | "dec" => decimal(cursor)?,
        "real" | "float4" => SqlType::Real,
        "float" => float(cursor)?,
        "float8" => SqlType::DoublePrecision,
        "double" => {
            cursor.expect(&["PRECISION"])?;
            SqlType::DoublePrecision
        }
        "boolean" | "bool" => SqlType::Boolean,
        "char" | "character" | "nchar" | "national" => character(cursor, &word)?,
        "bpchar" => SqlType::Char(length(cursor, CHAR_LENGTH_MAX_BYTES, "bpchar")?.unwrap_or(VARCHAR_LENGTH_DEFAULT_BYTES)),
        "varchar" | "nvarchar" => varying(cursor, &word)?,
        // Redshift makes VARCHAR(256) of it.
        "text" => SqlType::VarChar(VARCHAR_LENGTH_DEFAULT_BYTES),
        "date" => SqlType::Date,
        "time" => {
            if zone(cursor)? {
                SqlType::TimeTz
            } else {
                SqlType::Time
            }
        }
        "timetz" => SqlType::TimeTz,
        "timestamp" => {
            if zone(cursor)? {
                SqlType::TimestampTz
            } else {
                SqlType::Timestamp
            }
        }
        "datetime" => SqlType::Timestamp,
        "timestamptz" => SqlType::TimestampTz,
        "super" => SqlType::Super,
        "varbyte" | "varbinary" => varbyte(cursor)?,
        "binary" => {
            cursor.expect(&["VARYING"])?;
            varbyte(cursor)?
        }
        other => return Err(unknown(other, position)),
    };
    if cursor.looking_at_token(&Token::LParen) {
        return Err(Error::new(ErrorKind::Syntax, format!("type \"{sql_type}\" takes no length here")).at(cursor.position()));
    }
    if cursor.looking_at_token(&Token::LBracket) {
        return Err(Error::not_supported("an array column", "make one row per element").at(cursor.position()));
    }
    Ok(sql_type)
}

fn varbyte(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    Ok(SqlType::VarByte(length(cursor, VARBYTE_LENGTH_MAX_BYTES, "varbyte")?.unwrap_or(VARBYTE_LENGTH_DEFAULT_BYTES)))
}

fn unknown(name: &str, position: usize) -> Error {
    let instead = match name {
        "json" | "jsonb" => "use SUPER, and JSON_PARSE for the values",
        "bytea" | "blob" => "use VARBYTE(n)",
        "geometry" | "geography" => "keep coordinates in DOUBLE PRECISION columns, or WKT in VARCHAR",
        "hllsketch" => "keep the values and use COUNT(DISTINCT ...)",
        "interval" => "keep a number of seconds or months in BIGINT",
        "uuid" => "keep it in CHAR(36)",
        "money" => "use DECIMAL(19,4)",
        "serial" | "bigserial" | "smallserial" => "use BIGINT IDENTITY(1,1)",
        "tinyint" => "use SMALLINT",
        "xml" | "clob" | "string" => "use VARCHAR(65535)",
        "oid" | "name" | "regclass" => "use BIGINT or VARCHAR",
        _ => {
            let hint = slipher_common::error::did_you_mean(name, TYPE_NAMES.iter().copied());
            return Error::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist"))
                .with_hint(hint)
                .at(position);
        }
    };
    Error::not_supported(format_args!("a column of type {}", name.to_uppercase()), instead).at(position)
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    if !cursor.eat_token(&Token::LParen) {
        return Ok(SqlType::Decimal { precision: DECIMAL_PRECISION_DEFAULT_DIGITS, scale: 0 });
    }
    let position = cursor.position();
    let precision = cursor.integer("a number of digits")?;
    decimal_digits(precision, 0).map_err(|error| error.at(position))?;
    let (position, scale) = match cursor.eat_token(&Token::Comma) {
        true => (cursor.position(), cursor.integer("digits behind the point")?),
        false => (position, 0),
    };
    let (precision, scale) = decimal_digits(precision, scale).map_err(|error| error.at(position))?;
    cursor.expect_token(&Token::RParen)?;
    Ok(SqlType::Decimal { precision, scale })
}

/// The digits of a NUMERIC, and how many of them are behind the point, if there is such a type.
pub(super) fn decimal_digits(precision: i64, scale: i64) -> Result<(u8, u8)> {
    let wrong = |message| Err(Error::new(ErrorKind::InvalidParameter, message));
    if !(1..=i64::from(DECIMAL_PRECISION_MAX_DIGITS)).contains(&precision) {
        return wrong(format!("NUMERIC precision {precision} must be between 1 and {DECIMAL_PRECISION_MAX_DIGITS}"));
    }
    let most = precision.min(i64::from(DECIMAL_SCALE_MAX_DIGITS));
    if !(0..=most).contains(&scale) {
        return wrong(format!("NUMERIC scale {scale} must be between 0 and {most}, the precision being {precision}"));
    }
    // Both are within limits that fit into a byte.
    Ok((precision as u8, scale as u8))
}

fn float(cursor: &mut Cursor<'_>) -> Result<SqlType> {
    if !cursor.eat_token(&Token::LParen) {
        return Ok(SqlType::DoublePrecision);
    }
    let position = cursor.position();
    let bits = cursor.integer("a number of bits")?;
    cursor.expect_token(&Token::RParen)?;
    match bits {
        1..=REAL_PRECISION_MAX_BITS => Ok(SqlType::Real),
        _ if (1..=DOUBLE_PRECISION_MAX_BITS).contains(&bits) => Ok(SqlType::DoublePrecision),
        _ => Err(Error::new(
            ErrorKind::InvalidParameter,
            format!("precision {bits} of FLOAT must be between 1 and {DOUBLE_PRECISION_MAX_BITS} bits"),
        )
        .at(position)),
    }
}

fn character(cursor: &mut Cursor<'_>, word: &str) -> Result<SqlType> {
    if word == "NATIONAL" {
        cursor.eat_one_of(&["CHARACTER", "CHAR"]).ok_or_else(|| cursor.error("expected CHARACTER"))?;
    }
    if cursor.eat(&["VARYING"]) {
        return varying(cursor, "CHARACTER VARYING");
    }
    // One byte is what the standard gives a bare CHAR.
    Ok(SqlType::Char(length(cursor, CHAR_LENGTH_MAX_BYTES, "char")?.unwrap_or(1)))
}

fn varying(cursor: &mut Cursor<'_>, word: &str) -> Result<SqlType> {
    let given = length(cursor, VARCHAR_LENGTH_MAX_BYTES, &word.to_lowercase())?;
    Ok(SqlType::VarChar(given.unwrap_or(VARCHAR_LENGTH_DEFAULT_BYTES)))
}

/// `(n)` or `(MAX)`, in bytes.
fn length(cursor: &mut Cursor<'_>, most: u32, type_name: &str) -> Result<Option<u32>> {
    if !cursor.eat_token(&Token::LParen) {
        return Ok(None);
    }
    let position = cursor.position();
    if cursor.eat(&["MAX"]) {
        cursor.expect_token(&Token::RParen)?;
        return Ok(Some(most));
    }
    let bytes = cursor.integer("a length in bytes, or MAX")?;
    let fits = u32::try_from(bytes).ok().filter(|bytes| (1..=most).contains(bytes));
    let Some(bytes) = fits else {
        let message = if bytes < 1 {
            format!("length for type {type_name} must be at least 1")
        } else {
            format!("length for type {type_name} cannot exceed {most}")
        };
        let kind = if bytes < 1 { ErrorKind::InvalidParameter } else { ErrorKind::InvalidColumnDefinition };
        return Err(Error::new(kind, message).with_detail(format!("{bytes} bytes were asked for")).at(position));
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(Some(bytes))
}

/// `[(n)] [WITH | WITHOUT TIME ZONE]`: whether there is a zone. Microseconds are kept whatever n says.
fn zone(cursor: &mut Cursor<'_>) -> Result<bool> {
    if cursor.eat_token(&Token::LParen) {
        let position = cursor.position();
        let digits = cursor.integer("a number of digits")?;
        if digits != 6 {
            return Err(Error::not_supported(
                format_args!("a precision of {digits} digits"),
                "microseconds are kept; leave it out",
            )
            .at(position));
        }
        cursor.expect_token(&Token::RParen)?;
    }
    if cursor.eat(&["WITH", "TIME", "ZONE"]) {
        return Ok(true);
    }
    cursor.eat(&["WITHOUT", "TIME", "ZONE"]);
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::lex::Lexed;
    use super::*;

    fn read(text: &str) -> Result<SqlType> {
        let lexed = Lexed::new(text)?;
        let mut cursor = Cursor::new(&lexed);
        let sql_type = parse(&mut cursor)?;
        cursor.expect_end()?;
        Ok(sql_type)
    }

    #[test]
    fn every_spelling_has_its_type() {
        let cases = [
            ("int2", "smallint"),
            ("INT", "integer"),
            ("int8", "bigint"),
            ("decimal", "numeric(18,0)"),
            ("numeric(38, 37)", "numeric(38,37)"),
            ("dec(5)", "numeric(5,0)"),
            ("float", "double precision"),
            ("float(24)", "real"),
            ("FLOAT(25)", "double precision"),
            ("double precision", "double precision"),
            ("bool", "boolean"),
            ("char", "character(1)"),
            ("nchar(3)", "character(3)"),
            ("bpchar", "character(256)"),
            ("char(max)", "character(4096)"),
            ("varchar", "character varying(256)"),
            ("text", "character varying(256)"),
            ("nvarchar(10)", "character varying(10)"),
            ("character varying(65535)", "character varying(65535)"),
            ("varchar(MAX)", "character varying(65535)"),
            ("time with time zone", "time with time zone"),
            ("timestamp without time zone", "timestamp without time zone"),
            ("timestamp(6) with time zone", "timestamp with time zone"),
            ("timestamptz", "timestamp with time zone"),
        ];
        for (text, name) in cases {
            assert_eq!(read(text).map(|t| t.to_string()).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn limits_and_unknown_types_are_positioned() {
        let cases = [
            ("varchar(65536)", "42611", 9),
            ("char(4097)", "42611", 6),
            ("varchar(0)", "22023", 9),
            ("numeric(39,2)", "22023", 9),
            ("numeric(5,6)", "22023", 11),
            ("numeric(38,38)", "22023", 12),
            ("float(54)", "22023", 7),
            ("geometry", "0A000", 1),
            ("varbyte(16777217)", "42611", 9),
            ("intger", "42704", 1),
            ("int(11)", "42601", 4),
        ];
        for (text, state, position) in cases {
            let error = read(text).unwrap_err();
            assert_eq!((error.sqlstate(), error.position), (state, Some(position)), "{text}: {error}");
        }
        assert_eq!(read("intger").unwrap_err().hint.as_deref(), Some("did you mean \"integer\"?"));
    }
}
