use crate::Parsed;
use crate::parse::parse;
use slipher_common::Error;

fn query(sql: &str) -> Box<datafusion::sql::sqlparser::ast::Statement> {
    let statement = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    match std::sync::Arc::into_inner(statement.parsed).unwrap() {
        Parsed::Query(query) => query,
        other => panic!("{sql}: {other:?}"),
    }
}

fn refused(sql: &str) -> Error {
    let statement = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    match std::sync::Arc::into_inner(statement.parsed).unwrap() {
        Parsed::Refused(error) => *error,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn what_the_planner_would_pass_over_is_refused() {
    let cases = [
        ("select * from t for update", "0A000"),
        ("select * from t tablesample bernoulli (10)", "0A000"),
        ("select top 10 percent id from t", "0A000"),
        ("select top 1 id from t limit 2", "0A000"),
        ("select 1::hllsketch", "0A000"),
        ("select 1::nosuchtype", "42704"),
        ("select 'a'::varchar(70000)", "22023"),
        ("select datediff(mnth, a, b) from t", "22023"),
    ];
    for (sql, state) in cases {
        assert_eq!(refused(sql).sqlstate(), state, "{sql}");
    }
    let error = refused("select 1, datediff(mnth, a, b) from t");
    assert_eq!((error.position, error.hint.as_deref()), (Some(20), Some("did you mean \"month\"?")));
}

#[test]
fn result_columns_have_the_names_of_postgresql() {
    let named = |sql: &str, count: usize| -> Vec<String> {
        crate::output::names(&query(sql), count).into_iter().map(|name| name.unwrap_or_else(|| "-".to_owned())).collect()
    };
    let sql = "select count(*), max(a), max(b), a::int, 1, t.B, \"C\", extract(year from d), case when a then 1 end, len(x), (select max(z) from u) from t";
    assert_eq!(named(sql, 11), ["count", "max", "max", "a", "?column?", "b", "C", "date_part", "case", "len", "max"]);
    assert_eq!(named("select 1, a as x, 2 as x, a, a from t", 5), ["?column?", "x", "x", "a", "a"]);
    assert_eq!(named("select 1, *, sum(a) from t", 5), ["?column?", "-", "-", "-", "sum"]);
    assert_eq!(named("values (1, 2)", 2), ["-", "-"]);
    assert_eq!(named("select getdate(), 'x'::varchar(3), now()::date union select 1, 2, 3", 3), ["getdate", "varchar", "now"]);
}
