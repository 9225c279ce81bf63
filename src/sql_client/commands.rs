//! What begins with a backslash, and variables.

use super::report::Failure;
use super::{Format, Runner};
use std::collections::BTreeMap;

const HELP: &str = "\\d          tables\n\\d NAME     columns of a table\n\\dn         schemas\n\\set N V    :N in statements becomes V; \\unset N\n\
    \\timing     says how long statements take, or no longer\n\\x          a line per column, or no longer\n\\q          leaves";

impl Runner<'_> {
    /// Does a command that is no SQL.
    pub(super) async fn command(&mut self, command: &str) -> Result<(), Failure> {
        let mut words = command.split_whitespace();
        match (words.next().unwrap_or_default(), words.next()) {
            ("\\?", _) => writeln!(self.out, "{HELP}")?,
            ("\\timing", _) => {
                self.timing = !self.timing;
                writeln!(self.out, "Timing is {}.", if self.timing { "on" } else { "off" })?;
            }
            ("\\x", _) => {
                self.format = if self.format == Format::Expanded { Format::Aligned } else { Format::Expanded };
                writeln!(self.out, "Expanded display is {}.", if self.format == Format::Expanded { "on" } else { "off" })?;
            }
            ("\\set", Some(name)) => self.variables.set(name, words.collect::<Vec<_>>().join(" "))?,
            ("\\unset", Some(name)) => self.variables.unset(name),
            ("\\d" | "\\dt", None) => self.list_tables().await?,
            ("\\d", Some(name)) => self.list_columns(name).await?,
            ("\\dn", None) => self.list_schemas().await?,
            _ => return Err(Failure::Usage(format!("{command}: there is no such command; \\? lists them"))),
        }
        Ok(self.out.flush()?)
    }

    async fn list_schemas(&mut self) -> Result<(), Failure> {
        for schema in self.connection.schemas().await? {
            writeln!(self.out, "{schema}")?;
        }
        Ok(())
    }

    async fn list_tables(&mut self) -> Result<(), Failure> {
        let tables = self.connection.tables(None).await?;
        if tables.is_empty() {
            writeln!(self.out, "There are no tables.")?;
        }
        for table in tables {
            writeln!(self.out, "{}.{}", table.schema, table.name)?;
        }
        Ok(())
    }

    async fn list_columns(&mut self, name: &str) -> Result<(), Failure> {
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, name),
        };
        let mut found = false;
        for known in self.connection.tables(Some(table)).await? {
            if schema.is_some_and(|schema| schema != known.schema) {
                continue;
            }
            found = true;
            writeln!(self.out, "{}.{}", known.schema, known.name)?;
            let width = known.columns.iter().map(|(name, _, _)| name.chars().count()).max().unwrap_or(0);
            for (column, sql_type, nullable) in known.columns {
                writeln!(self.out, "  {column:<width$}  {sql_type}{}", if nullable { "" } else { " not null" })?;
            }
        }
        if found { Ok(()) } else { Err(Failure::Usage(format!("there is no table \"{name}\""))) }
    }
}

/// Values for `:name`, `:'name'` and `:"name"`.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Reads `NAME=VALUE`s.
    pub(super) fn parse(given: &[String]) -> Result<Self, Failure> {
        let mut variables = Self::default();
        for assignment in given {
            let (name, value) = assignment
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("-v {assignment}: a variable is given as NAME=VALUE")))?;
            variables.set(name, value.to_owned())?;
        }
        Ok(variables)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Failure> {
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(Failure::Usage(format!("\"{name}\" is no name of a variable: letters, digits and _ are")));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// `sql` with the values of its variables. Strings, names in quotes, comments and `::` stay as they are; so does a `:name` that
    /// is no variable.
    pub(super) fn fill_in(&self, sql: &str) -> Result<String, Failure> {
        if self.0.is_empty() {
            return Ok(sql.to_owned());
        }
        let mut filled = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let plain = skipped(rest);
            if plain > 0 {
                filled.push_str(&rest[..plain]);
                rest = &rest[plain..];
            } else if let Some((value, length)) = self.reference(rest) {
                filled.push_str(&value);
                rest = &rest[length..];
            } else {
                filled.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        Ok(filled)
    }

    /// The value of the reference that `text` begins with, and the reference's length in bytes.
    fn reference(&self, text: &str) -> Option<(String, usize)> {
        let after = text.strip_prefix(':')?;
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let name: String = after[quote.map_or(0, char::len_utf8)..].chars().take_while(|c| is_name(*c)).collect();
        let value = self.0.get(&name)?;
        let Some(quote) = quote else { return Some((value.clone(), 1 + name.len())) };
        after[1 + name.len()..].starts_with(quote).then(|| {
            let doubled = value.replace(quote, &format!("{quote}{quote}"));
            // In a string a backslash escapes.
            let escaped = if quote == '\'' { doubled.replace('\\', "\\\\") } else { doubled };
            (format!("{quote}{escaped}{quote}"), name.len() + 3)
        })
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes at the beginning of `text` that hold no reference: a string, a quoted name, a comment, a cast.
fn skipped(text: &str) -> usize {
    let until = |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("::") {
        2
    } else if text.starts_with("--") {
        until(2, "\n")
    } else if text.starts_with("/*") {
        until(2, "*/")
    } else if text.starts_with('"') {
        until(1, "\"")
    } else if text.starts_with('\'') {
        let mut escaped = false;
        let end = text.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '\'' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        end.map_or(text.len(), |(at, _)| at + 1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sql: &str) -> String {
        let given = ["n=5", "who=O'Brien \\ \"x\""].map(str::to_owned);
        Variables::parse(&given).ok().unwrap().fill_in(sql).ok().unwrap()
    }

    #[test]
    fn variables_are_filled_in_where_they_are_meant() {
        assert_eq!(filled("select :n, x::int, :nobody"), "select 5, x::int, :nobody");
        assert_eq!(filled("select :'who', :\"who\""), "select 'O''Brien \\\\ \"x\"', \"O'Brien \\ \"\"x\"\"\"");
        for plain in ["select ':n'", "select 'it\\':n'", "select \":n\"", "-- :n\n", "/* :n */", "a::n", "x:", "'open :n"] {
            assert_eq!(filled(plain), plain);
        }
        assert_eq!(filled("-- :n\n:n"), "-- :n\n5");
        assert!(Variables::parse(&["a b=1".to_owned()]).is_err() && Variables::parse(&["a".to_owned()]).is_err());
    }
}
