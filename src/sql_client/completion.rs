//! What Tab completes: commands, keywords, schemas, tables, columns.

use super::connection::TableListing;
use std::collections::BTreeSet;

/// Words of SQL that are long enough to be worth completing.
const KEYWORDS: [&str; 96] = [
    "ALTER",
    "ANALYZE",
    "AND",
    "BEGIN",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "CANCEL",
    "CASCADE",
    "CASE",
    "CAST",
    "COALESCE",
    "COLUMN",
    "COMMIT",
    "COMPROWS",
    "COPY",
    "COUNT",
    "CREATE",
    "CROSS",
    "CSV",
    "CURRENT_DATE",
    "DATE",
    "DATEADD",
    "DATEDIFF",
    "DECIMAL",
    "DEFAULT",
    "DELETE",
    "DELIMITER",
    "DESC",
    "DISTINCT",
    "DISTKEY",
    "DISTSTYLE",
    "DOUBLE PRECISION",
    "DROP",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FETCH",
    "FORMAT",
    "FROM",
    "FULL",
    "GRANT",
    "GROUP BY",
    "GZIP",
    "HAVING",
    "IGNOREHEADER",
    "INNER",
    "INSERT INTO",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LATERAL",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "MERGE",
    "NULL",
    "NUMERIC",
    "OFFSET",
    "ORDER BY",
    "OUTER",
    "OVER",
    "PARQUET",
    "PARTITION BY",
    "PREPARE",
    "PRIMARY KEY",
    "RENAME TO",
    "REVOKE",
    "RIGHT JOIN",
    "ROLLBACK",
    "ROW_NUMBER",
    "SELECT",
    "SCHEMA",
    "SET",
    "SHOW",
    "SMALLINT",
    "SORTKEY",
    "SUBSTRING",
    "TABLE",
    "THEN",
    "TIMESTAMP",
    "TRUNCATE",
    "UNION ALL",
    "UPDATE",
    "VALUES",
    "VACUUM",
    "VARCHAR",
    "WHERE",
];
/// The commands that begin with a backslash.
const COMMANDS: [&str; 9] = ["\\?", "\\d", "\\dn", "\\dt", "\\q", "\\set", "\\timing", "\\unset", "\\x"];
/// Candidates shown at most.
const CANDIDATES_MAX_COUNT: usize = 200;

/// The names that the session sees.
#[derive(Debug, Default)]
pub(super) struct Names {
    tables: Vec<TableListing>,
}

impl Names {
    /// Those of `tables`.
    pub(super) fn new(tables: Vec<TableListing>) -> Self {
        Self { tables }
    }

    /// Where the word before `position` begins, and what it may become.
    pub(super) fn complete(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = line.get(..position).unwrap_or(line);
        if before.trim_start().starts_with('\\') && !before.trim().contains(char::is_whitespace) {
            let start = before.len() - before.trim_start().len();
            return (
                start,
                COMMANDS.iter().filter(|name| name.starts_with(&before[start..])).map(|name| (*name).into()).collect(),
            );
        }
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"');
        let start = before.rfind(|c| !is_name(c)).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let word = &before[start..];
        match word.rsplit_once('.') {
            Some((parent, prefix)) => (start + parent.len() + 1, self.below(parent, prefix)),
            None => (start, self.words(word)),
        }
    }

    /// Keywords in the case that the word has, and names.
    fn words(&self, word: &str) -> Vec<String> {
        if word.is_empty() {
            return Vec::new();
        }
        let upper = word.chars().all(|c| !c.is_lowercase());
        let keywords = KEYWORDS.iter().filter(|keyword| is_prefix(word, keyword));
        let keywords = keywords.map(|keyword| if upper { (*keyword).to_owned() } else { keyword.to_lowercase() });
        let mut found: BTreeSet<String> = keywords.collect();
        for table in &self.tables {
            let columns = table.columns.iter().map(|(name, _, _)| name);
            let names = [&table.schema, &table.name].into_iter().chain(columns);
            found.extend(names.filter(|name| is_prefix(word, name)).map(|name| quoted(name)));
        }
        found.into_iter().take(CANDIDATES_MAX_COUNT).collect()
    }

    /// Tables of a schema, or columns of a table.
    fn below(&self, parent: &str, prefix: &str) -> Vec<String> {
        let parent = parent.rsplit('.').next().unwrap_or(parent).trim_matches('"');
        let mut found = BTreeSet::new();
        for table in &self.tables {
            if table.schema.eq_ignore_ascii_case(parent) && is_prefix(prefix, &table.name) {
                found.insert(quoted(&table.name));
            }
            if table.name.eq_ignore_ascii_case(parent) {
                found
                    .extend(table.columns.iter().filter(|(name, _, _)| is_prefix(prefix, name)).map(|(name, _, _)| quoted(name)));
            }
        }
        found.into_iter().take(CANDIDATES_MAX_COUNT).collect()
    }
}

fn is_prefix(prefix: &str, name: &str) -> bool {
    let prefix = prefix.trim_start_matches('"');
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A name as SQL reads it.
fn quoted(name: &str) -> String {
    let is_plain = name
        .chars()
        .enumerate()
        .all(|(place, c)| c.is_ascii_lowercase() || c == '_' || (place > 0 && (c.is_ascii_digit() || c == '$')));
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let column = |name: &str| (name.to_owned(), "bigint".to_owned(), true);
        let table = |schema: &str, name: &str, columns: &[&str]| TableListing {
            schema: schema.to_owned(),
            name: name.to_owned(),
            columns: columns.iter().map(|name| column(name)).collect(),
        };
        Names::new(vec![table("public", "lineitem", &["l_orderkey", "l_tax"]), table("sales", "Odd Name", &["x"])])
    }

    fn complete(line: &str) -> (usize, Vec<String>) {
        names().complete(line, line.len())
    }

    #[test]
    fn words_become_keywords_and_names() {
        assert_eq!(complete("sel"), (0, vec!["select".to_owned()]));
        assert_eq!(complete("SEL"), (0, vec!["SELECT".to_owned()]));
        assert_eq!(complete("select * from line"), (14, vec!["lineitem".to_owned()]));
        assert_eq!(complete("select l_o"), (7, vec!["l_orderkey".to_owned()]));
        assert_eq!(complete("select * from odd"), (14, vec!["\"Odd Name\"".to_owned()]));
        assert_eq!(complete("select ("), (8, Vec::new()));
        assert_eq!(complete("zzz"), (0, Vec::new()));
    }

    #[test]
    fn behind_a_point_stand_tables_of_a_schema_and_columns_of_a_table() {
        assert_eq!(complete("select * from public."), (21, vec!["lineitem".to_owned()]));
        assert_eq!(complete("select lineitem.l_t"), (16, vec!["l_tax".to_owned()]));
        assert_eq!(complete("select public.lineitem."), (23, vec!["l_orderkey".to_owned(), "l_tax".to_owned()]));
    }

    #[test]
    fn a_backslash_begins_a_command() {
        assert_eq!(complete("\\ti"), (0, vec!["\\timing".to_owned()]));
        assert_eq!(complete("\\d line"), (3, vec!["lineitem".to_owned()]));
        // Multi-byte characters are whole.
        assert_eq!(complete("select 'é' fro"), (12, vec!["from".to_owned()]));
    }
}
