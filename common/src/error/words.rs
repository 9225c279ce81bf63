//! The engine's names of types, as SQL's.

/// The engine's names and SQL's. What stands behind a name in parentheses belongs to it.
const TYPES: &[(&str, &str)] = &[
    ("Boolean", "boolean"),
    ("Int8", "smallint"),
    ("Int16", "smallint"),
    ("Int32", "integer"),
    ("Int64", "bigint"),
    ("UInt8", "smallint"),
    ("UInt16", "integer"),
    ("UInt32", "bigint"),
    ("UInt64", "bigint"),
    ("Float16", "real"),
    ("Float32", "real"),
    ("Float64", "double precision"),
    ("Decimal32", "numeric"),
    ("Decimal64", "numeric"),
    ("Decimal128", "numeric"),
    ("Decimal256", "numeric"),
    ("Utf8", "character varying"),
    ("LargeUtf8", "character varying"),
    ("Utf8View", "character varying"),
    ("Date32", "date"),
    ("Date64", "date"),
    ("Time32", "time"),
    ("Time64", "time"),
    ("Timestamp", "timestamp"),
    ("Interval", "interval"),
    ("Duration", "interval"),
    ("Binary", "varbyte"),
    ("LargeBinary", "varbyte"),
    ("BinaryView", "super"),
    ("Null", "unknown"),
    ("List", "array"),
    ("LargeList", "array"),
    ("FixedSizeList", "array"),
    ("Struct", "record"),
];

/// Operators that the engine calls otherwise.
const OPERATORS: &[(&str, &str)] =
    &[("BIT_XOR", "#"), ("IS DISTINCT FROM", "IS DISTINCT FROM"), ("NLIKE", "NOT LIKE"), ("NILIKE", "NOT ILIKE")];

/// The SQL name of a type, as the engine prints that; other words as they are.
pub(super) fn sql_name(engine_type: &str) -> String {
    let base = engine_type.split_once('(').map_or(engine_type, |(base, _)| base);
    TYPES.iter().chain(OPERATORS).find(|(engine, _)| *engine == base).map_or(engine_type, |(_, sql)| sql).to_owned()
}

/// A message with SQL's names of types in it.
pub(super) fn in_sql(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let word = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        let (name, behind) = rest.split_at(word);
        match TYPES.iter().chain(OPERATORS).find(|(engine, _)| *engine == name) {
            Some((_, sql)) => {
                text.push_str(sql);
                rest = behind_arguments(behind);
            }
            None => {
                let end = word + behind.chars().next().map_or(0, char::len_utf8);
                text.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }
    text
}

/// What stands behind the parentheses that a text begins with, if it does.
fn behind_arguments(text: &str) -> &str {
    if !text.starts_with('(') {
        return text;
    }
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    text
}

/// Whether the engine speaks of its own parts.
pub(super) fn is_inward(text: &str) -> bool {
    const MARKS: &[&str] = &[
        "UserDefined",
        "Candidate",
        "TypeSignature",
        "Coercible",
        "Signature",
        "expr",
        "Uniform",
        "NullAry",
        "Any(",
        "You might need",
        " { ",
        "Some(",
    ];
    MARKS.iter().any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_their_names_in_sql() {
        assert_eq!(in_sql("from Int64 to Interval(MonthDayNano)"), "from bigint to interval");
        assert_eq!(in_sql("x(Timestamp(µs, \"UTC\"), Utf8View)é"), "x(timestamp, character varying)é");
        assert_eq!(in_sql("Nullable Decimal128(2, 1) BIT_XOR Int32"), "Nullable numeric # integer");
        assert_eq!(in_sql("my_Int32 (Int8"), "my_Int32 (smallint");
    }
}
