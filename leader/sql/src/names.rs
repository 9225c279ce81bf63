//! Names as users write them: folding, limits, qualification, quoting.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use slipher_common::{Error, ErrorKind, Result};
use std::fmt;

/// Longest identifier, in bytes.
pub(crate) const NAME_LENGTH_MAX_BYTES: usize = 127;

/// Words that cannot be names unless they are quoted; sorted.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "as",
    "asc",
    "between",
    "both",
    "case",
    "cast",
    "check",
    "column",
    "constraint",
    "create",
    "cross",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "join",
    "leading",
    "left",
    "like",
    "limit",
    "minus",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "placing",
    "primary",
    "references",
    "right",
    "select",
    "some",
    "table",
    "then",
    "to",
    "top",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "when",
    "where",
    "with",
];

/// One identifier and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Folded to lower case unless quoted.
    pub value: String,
    /// It stood in quotes.
    pub(crate) quoted: bool,
    /// In the statement's text, in characters from 1.
    pub position: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

/// `[database.]schema` and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName {
    /// The database, if one was given; it must be the session's.
    pub database: Option<Name>,
    /// The schema.
    pub name: Name,
}

/// `[[database.]schema.]name` and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualifiedName {
    /// The database, if one was given; it must be the session's.
    pub database: Option<Name>,
    /// The schema, if one was given.
    pub schema: Option<Name>,
    /// The object's own name.
    pub name: Name,
}

impl QualifiedName {
    /// From one, two or three parts.
    pub(crate) fn from_parts(mut parts: Vec<Name>) -> Result<Self> {
        let position = parts.first().map_or(1, |part| part.position);
        let Some(name) = parts.pop() else {
            return Err(Error::new(ErrorKind::InvalidName, "a name has no parts").at(position));
        };
        let (schema, database) = (parts.pop(), parts.pop());
        match parts.is_empty() {
            true => Ok(Self { database, schema, name }),
            false => Err(Error::new(ErrorKind::InvalidName, "improper qualified name (too many dotted names)").at(position)),
        }
    }

    /// From sqlparser's form; `position` where its first part has none.
    pub fn from_object_name(name: &ObjectName, position: impl Fn(&Ident) -> usize) -> Result<Self> {
        let parts = name.0.iter().map(|part| match part {
            ObjectNamePart::Identifier(ident) => {
                Ok(Name { value: folded(ident), quoted: ident.quote_style.is_some(), position: position(ident) })
            }
            ObjectNamePart::Function(_) => Err(Error::not_supported("a computed name", "write the name itself")),
        });
        Self::from_parts(parts.collect::<Result<_>>()?)
    }

    /// The schema's name, if one was given.
    pub fn schema_name(&self) -> Option<&str> {
        self.schema.as_ref().map(|schema| schema.value.as_str())
    }

    /// The schema's name, or `default` where none was given.
    pub(crate) fn schema_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.schema.as_ref().map_or(default, |schema| schema.value.as_str())
    }

    /// Where the whole name starts, in characters from 1.
    pub(crate) fn position(&self) -> usize {
        self.database.as_ref().or(self.schema.as_ref()).unwrap_or(&self.name).position
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for qualifier in self.database.iter().chain(&self.schema) {
            write!(f, "{qualifier}.")?;
        }
        write!(f, "{}", self.name)
    }
}

/// What the catalog calls an identifier: unquoted ones in lower case.
pub(crate) fn fold(value: &str, quoted: bool) -> String {
    if quoted { value.to_owned() } else { value.to_lowercase() }
}

/// The same for an identifier of the syntax tree.
pub fn folded(ident: &Ident) -> String {
    fold(&ident.value, ident.quote_style.is_some())
}

/// 42602 for an empty name or one that is too long.
pub(crate) fn check_length(name: &Name) -> Result<()> {
    if name.value.is_empty() {
        return Err(Error::new(ErrorKind::InvalidName, "zero-length delimited identifier").at(name.position));
    }
    if name.value.len() > NAME_LENGTH_MAX_BYTES {
        let shown: String = name.value.chars().take(30).collect();
        return Err(Error::new(ErrorKind::InvalidName, format!("identifier \"{shown}...\" is too long"))
            .with_detail(format!("it has {} bytes, {NAME_LENGTH_MAX_BYTES} are allowed", name.value.len()))
            .at(name.position));
    }
    Ok(())
}

/// Whether a word needs quotes to be a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word.to_ascii_lowercase().as_str()).is_ok()
}

/// A name as it must be written to mean itself.
pub fn quoted_where_needed(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    match starts && name.chars().all(plain) && !is_reserved(name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted_and_found() {
        assert!(RESERVED.is_sorted());
        assert!(is_reserved("Select") && !is_reserved("month"));
    }

    #[test]
    fn long_names_and_names_of_many_parts_are_refused() {
        let name = |value: &str| Name { value: value.to_owned(), quoted: false, position: 3 };
        let long = check_length(&name(&"é".repeat(64))).unwrap_err();
        assert_eq!((long.sqlstate(), long.position), ("42602", Some(3)));
        assert!(check_length(&name(&"x".repeat(127))).is_ok());
        let own = QualifiedName::from_parts(vec![name("dev"), name("s"), name("t")]).unwrap();
        assert_eq!(own.to_string(), "dev.s.t");
        assert_eq!(own.schema_or("public"), "s");
        assert_eq!(own.database.unwrap().value, "dev");
        let long = QualifiedName::from_parts(vec![name("x"), name("dev"), name("s"), name("t")]).unwrap_err();
        assert_eq!((long.sqlstate(), long.position), ("42602", Some(3)));
    }
}
