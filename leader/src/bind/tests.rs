use super::*;
use slipher_common::ErrorKind;

/// Tables `ra.t(id, v)` and `rb.t(id, v)`, `u(id, w)` in `ra`, and a late-binding view `late`; `ra` is on the search path.
struct Fake;

impl Relations for Fake {
    fn named(&self, name: &QualifiedName) -> Result<Known> {
        let known = |id: u64, schema: &str, columns: Option<&[&str]>| Known {
            id: TableId(id),
            schema: schema.to_owned(),
            name: name.name.value.clone(),
            columns: columns.map(|columns| columns.iter().map(|column| (*column).to_owned()).collect()),
        };
        Ok(match (name.schema_name(), name.name.value.as_str()) {
            (None | Some("ra"), "t") => known(1, "ra", Some(&["id", "v"])),
            (Some("rb"), "t") => known(2, "rb", Some(&["id", "v"])),
            (None | Some("ra"), "u") => known(3, "ra", Some(&["id", "w"])),
            (None, "late") => known(4, "ra", None),
            _ => return Err(Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))),
        })
    }

    fn check_database(&self, name: &str) -> Result<()> {
        if name == "dev" { Ok(()) } else { Err(Error::not_supported("another database", "connect to it")) }
    }

    fn target(&self, id: TableId) -> Result<Known> {
        Ok(Known { id, schema: "ra".to_owned(), name: "t".to_owned(), columns: Some(vec!["id".to_owned(), "v".to_owned()]) })
    }
}

fn bound(sql: &str) -> Result<String> {
    let statement = slipher_sql::embedded::query(sql)?;
    match bind(&statement, &Fake, &Aliases::default())? {
        Binding::Bound(bound) => Ok(bound.statement.to_string().replace("\"slipher$relation\".", "#").replace('"', "")),
        Binding::Wants(id) => Ok(format!("wants {id}")),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        let found = bound(sql).unwrap_or_else(|error| format!("{}: {error}", error.sqlstate()));
        assert_eq!(found, *expected, "{sql}");
    }
}

#[test]
fn relations_of_one_name_are_told_apart() {
    check(&[
        (
            "select ra.t.v, rb.t.v from t join rb.t on ra.t.id = rb.t.id",
            "SELECT t.v, t_1.v AS v\u{2063}1 FROM #1 AS t JOIN #2 AS t_1 ON t.id = t_1.id",
        ),
        ("select rb.t.* from ra.t, rb.t", "SELECT t_1.id, t_1.v FROM #1 AS t, #2 AS t_1"),
        (
            "select t.id from t where exists (select 1 from rb.t where t.id = ra.t.id)",
            "SELECT t.id FROM #1 AS t WHERE EXISTS (SELECT 1 FROM #2 AS t_1 WHERE t_1.id = t.id)",
        ),
        ("select dev.ra.t.id from ra.t", "SELECT t.id FROM #1 AS t"),
        ("select t.id from t, rb.t", "42P09: table reference \"t\" is ambiguous"),
        ("select 1 from t, ra.t", "42712: table name \"t\" specified more than once"),
        ("select t.id from ra.t as x", "42P01: missing FROM-clause entry for table \"t\""),
        ("select other.ra.t.id from ra.t", "0A000: another database is not supported"),
    ]);
}

#[test]
fn with_queries_hide_tables_where_they_can_be_seen() {
    check(&[
        ("with t as (select 1 as id) select t.id from t", "WITH t AS (SELECT 1 AS id) SELECT t.id FROM t AS t"),
        (
            "with t as (select id from t) select t.id from t as x join t on x.id = t.id",
            "WITH t AS (SELECT t.id FROM #1 AS t) SELECT t_1.id FROM t AS x JOIN t AS t_1 ON x.id = t_1.id",
        ),
        (
            "with t as (select 1 as id) select q.id from (with t as (select 2 as id) select * from t) q, t",
            "WITH t AS (SELECT 1 AS id) SELECT q.id FROM (WITH t_1 AS (SELECT 2 AS id) SELECT t.id FROM t_1 AS t) q, t AS t_1",
        ),
        ("with t as (select 1 as id) select ra.t.id from ra.t", "WITH t AS (SELECT 1 AS id) SELECT t.id FROM #1 AS t"),
        ("with a as (select 1), a as (select 2) select 1", "42712: WITH query name \"a\" specified more than once"),
    ]);
}

#[test]
fn joins_say_which_column_they_merge() {
    check(&[
        ("select * from t join u using (id)", "SELECT t.id, t.v, u.w FROM #1 AS t JOIN #3 AS u ON t.id = u.id"),
        (
            "select id from t full join u using (id) where id > 1 order by id",
            "SELECT coalesce(t.id, u.id) AS id FROM #1 AS t FULL JOIN #3 AS u ON t.id = u.id WHERE coalesce(t.id, u.id) > 1 ORDER BY 1",
        ),
        ("select * from t natural right join u", "SELECT u.id, t.v, u.w FROM #1 AS t RIGHT JOIN #3 AS u ON t.id = u.id"),
        (
            "select * from t a join t b using (v) join u using (id)",
            "42702: common column name \"id\" appears more than once in left table",
        ),
        (
            "select * exclude (v) from t join u using (id) where (select max(w) from u as i where i.w = id) > 0",
            "SELECT t.id, u.w FROM #1 AS t JOIN #3 AS u ON t.id = u.id WHERE \
             (SELECT max(i.w) FROM #3 AS i WHERE i.w = i.id) > 0",
        ),
        ("select 1 from t join u using (nope)", "42703: column \"nope\" specified in USING clause does not exist in left table"),
        ("select * from late join t using (id)", "wants 4"),
    ]);
}

#[test]
fn aliases_are_not_called_like_columns_and_equal_subqueries_stay_equal() {
    check(&[
        ("select id.v from t as id", "SELECT id_1.v FROM #1 AS id_1"),
        (
            "select v in (select w from u) from t group by v in (select w from u)",
            "SELECT t.v IN (SELECT u.w FROM #3 AS u) AS ?column?\u{2063}0 FROM #1 AS t GROUP BY t.v IN (SELECT u.w FROM #3 AS u)",
        ),
    ]);
}

#[test]
fn a_name_means_one_column_before_the_engine_sees_it() {
    check(&[
        ("select id as v, v as x from t order by -v, v", "SELECT t.id AS v\u{2063}0, t.v AS x FROM #1 AS t ORDER BY -t.v, 1"),
        ("select -v as v from t order by t.v", "SELECT -t.v AS v\u{2063}0 FROM #1 AS t ORDER BY t.v"),
        ("select distinct v % 2 from t order by (v % 2)", "SELECT DISTINCT t.v % 2 AS ?column?\u{2063}0 FROM #1 AS t ORDER BY 1"),
        ("select sum(id) as v from t group by v", "SELECT sum(t.id) AS v FROM #1 AS t GROUP BY t.v"),
        (
            "select v as x from t group by x having x > 1 order by x + 1",
            "SELECT t.v AS x FROM #1 AS t GROUP BY t.v HAVING t.v > 1 ORDER BY x + 1",
        ),
        ("select 2 as x, v from t group by x, v", "SELECT 2 AS x, t.v FROM #1 AS t GROUP BY 2 IS NULL, t.v"),
        ("select id as x, v as x from t order by x", "42702: ORDER BY \"x\" is ambiguous"),
        ("select id from t, u", "42702: column reference \"id\" is ambiguous"),
        ("select distinct id from t order by v", "42P10: for SELECT DISTINCT, ORDER BY expressions must appear in select list"),
        ("select id from t order by 0", "42P10: ORDER BY position 0 is not in select list"),
        ("select id from t group by 2", "42P10: GROUP BY position 2 is not in select list"),
        (
            "select x.v from (select id, id from t) as x(v)",
            "SELECT x.v FROM (SELECT t.id, t.id AS id\u{2063}1 FROM #1 AS t) AS x (v, id\u{2063}1)",
        ),
        ("select x.id from (select id, id from t) as x", "42702: column reference \"id\" is ambiguous"),
        ("select 1 from t as x(a, b, c)", "42P10: table \"x\" has 2 columns available but 3 columns specified"),
        (
            "select x.id, w from (t full join u using (id)) as x",
            "SELECT x.id, x.w FROM (SELECT coalesce(t.id, u.id) AS id, t.v, u.w FROM #1 AS t FULL JOIN #3 AS u ON t.id = u.id) AS x",
        ),
        ("select (select w from u where w = v) from t", "SELECT (SELECT u.w FROM #3 AS u WHERE u.w = t.v) AS w FROM #1 AS t"),
    ]);
}

#[test]
fn an_aggregate_belongs_to_the_query_whose_columns_it_reads() {
    check(&[
        (
            "select v, (select sum(t.id) + w from u where w = v) as s from t group by 1 having min(id) > 0 order by v",
            "SELECT slipher$groups.key_0 AS v, (SELECT slipher$groups.aggregate_0 + u.w FROM #3 AS u WHERE u.w = slipher$groups.key_0) AS s \
             FROM (SELECT t.v AS key_0, sum(t.id) AS aggregate_0, min(t.id) AS aggregate_1 FROM #1 AS t GROUP BY t.v) AS slipher$groups \
             WHERE slipher$groups.aggregate_1 > 0 ORDER BY 1",
        ),
        (
            "select id, (select sum(t.v)) from t",
            "42803: column \"t.id\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        ("select 1 from t where (select sum(t.v)) > 1", "42803: aggregates are not allowed in WHERE"),
        ("select (select sum(w + t.v) from u) from t", "SELECT (SELECT sum(u.w + t.v) FROM #3 AS u) AS sum FROM #1 AS t"),
    ]);
}

#[test]
fn what_is_volatile_can_be_told_where_it_may_run_first() {
    let refused = "0A000: reading WITH query \"q\", which calls a volatile function, more than once is not supported";
    check(&[
        (
            "with q as (select random() as r) select q.r from q, q as p",
            "WITH slipher$once_q AS (SELECT random() AS r) SELECT q.r FROM slipher$once_q AS q, slipher$once_q AS p",
        ),
        (
            "with p as (select random() as r), q as (select r from p) select q.r from q",
            "WITH slipher$once_p AS (SELECT random() AS r), slipher$once_q AS (SELECT p.r FROM slipher$once_p AS p) SELECT q.r FROM slipher$once_q AS q",
        ),
        ("select (with q as (select random() + t.v as r) select 1 from q, q as p) from t", refused),
    ]);
}

#[test]
fn the_target_of_a_change_is_told_from_what_decides_about_it() {
    let sql = "delete from ra.t using rb.t where ra.t.id = rb.t.id";
    let statements = slipher_sql::parse::parse(sql).unwrap();
    let slipher_sql::Parsed::Change(spec) = statements[0].parsed.as_ref() else { panic!("no change") };
    let Binding::Bound(bound) = bind(&spec.query(TableId(1)), &Fake, &Aliases::default()).unwrap() else { panic!("not bound") };
    let text = bound.statement.to_string().replace('"', "");
    assert!(text.ends_with("FROM slipher$row_ids.1 AS t, slipher$relation.2 AS t_1 WHERE t.id = t_1.id"), "{text}");
    assert!(text.starts_with("SELECT t."), "{text}");
}

#[test]
fn names_of_relations_say_their_ids() {
    assert_eq!(relation_of("17"), Some(TableId(17)));
    assert_eq!(relation_of("t"), None);
}
