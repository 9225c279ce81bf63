use super::*;
use crate::embedded::parse_expression;
use crate::{CommentOn, ListedObjects, Password, SchemaChange, TransactionModes, UserSpec, VacuumKind};

fn only(sql: &str) -> Parsed {
    let mut statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert_eq!(statements.len(), 1, "{sql}");
    Arc::into_inner(statements.remove(0).parsed).unwrap()
}

fn syntax(sql: &str) -> Error {
    let error = parse(sql).expect_err(sql);
    assert_eq!(error.sqlstate(), "42601", "{error:?}");
    error
}

fn refused(sql: &str) -> Error {
    match only(sql) {
        Parsed::Refused(error) => *error,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn texts_are_split_at_semicolons_that_end_statements() {
    let sql = "/* dbt: é */ select ';' ;; -- last; one\n  set a to 'x;y' ; \n select $$a;b$$, \";\" from t  ";
    let statements = parse(sql).unwrap();
    let texts: Vec<&str> = statements.iter().map(|statement| &*statement.text).collect();
    assert_eq!(texts, ["/* dbt: é */ select ';'", "-- last; one\n  set a to 'x;y'", "select $$a;b$$, \";\" from t"]);
    for statement in &statements {
        let there: String = sql.chars().skip(statement.offset).take(statement.text.chars().count()).collect();
        assert_eq!(there, *statement.text);
    }
    for empty in ["", "  ;; ", "-- nothing", "/* nothing */ ;"] {
        assert!(parse(empty).unwrap().is_empty(), "{empty}");
    }
}

#[test]
fn syntax_errors_count_from_the_start_of_the_whole_text() {
    let cases = [
        // A statement's text ends before its semicolon.
        ("select 1; select 'é' from t where;", "syntax error at end of input", 34),
        ("select 1; select 'é', , 2", "syntax error at or near \",\"", 23),
        ("select\n  a b c from t", "syntax error at or near \"c\"", 14),
        ("select (1 + 2", "syntax error at end of input", 14),
        ("select 1 as from t", "syntax error at or near \"t\"", 18),
        ("select 1; selct 2", "syntax error at or near \"selct\"", 11),
        ("drop table", "syntax error at end of input", 11),
        ("42", "syntax error at or near \"42\"", 1),
    ];
    for (sql, message, position) in cases {
        let error = syntax(sql);
        assert_eq!((error.message.as_str(), error.position), (message, Some(position)), "{sql}: {error:?}");
    }
    let open = syntax("select 'abc");
    assert_eq!(open.position, Some(8), "{open:?}");
    assert!(open.message.starts_with("unterminated string literal"), "{open:?}");
}

#[test]
fn hints_name_the_usual_slip() {
    // The missing comma of the source notes.
    let sql = "SELECT DATEDIFF(month, cohort_month, visited_month) month cohort_month, COUNT(userid) users \
               FROM analytics.cohort_summary GROUP BY 1, 2 ORDER BY 1, 2";
    let error = syntax(sql);
    assert_eq!(error.position, Some(1 + sql.find(" cohort_month, COUNT").unwrap() + 1));
    assert_eq!(error.hint.as_deref(), Some("is a comma missing before \"cohort_month\"?"));
    assert_eq!(syntax("selct 1").hint.as_deref(), Some("did you mean \"SELECT\"?"));
    assert_eq!(syntax("select a form t").hint.as_deref(), Some("did you mean \"FROM\"?"));
    assert_eq!(syntax("select a, from t where b").hint.as_deref(), Some("is there a comma too many before \"from\"?"));
}

#[test]
fn deep_and_long_statements_are_refused_not_fatal() {
    let nest = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("select {}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    assert!(parse(&nest("(", "1", ")", 60)).is_ok());
    let nests = [
        ("(", "1", ")"),
        ("(select ", "1", ")"),
        ("case when a then ", "1", " end"),
        ("case when a then b else ", "1", " end"),
        ("upper(", "a", ")"),
        ("coalesce(a, ", "b", ")"),
        ("cast(", "1", " as int)"),
        ("not ", "a", ""),
        ("- ", "1", ""),
        ("a + (", "1", ")"),
        ("a in (", "1", ")"),
        ("exists (select ", "1", ")"),
        ("1 from (select ", "1", ") x"),
        ("1 union (select ", "1", ")"),
    ];
    for (open, inner, close) in nests {
        let error = parse(&nest(open, inner, close, 10_000)).unwrap_err();
        assert_eq!((error.sqlstate(), error.message.as_str()), ("54001", "statement too complex"), "{open}");
    }
    let chains = [
        "::int",
        " + 1",
        " || 'a'",
        " is null",
        " and a",
        " or a",
        " at time zone 'utc'",
        " collate c",
        " union select 1",
        " = 1",
        "[1]",
        " between 1 and 2",
        " like 'x'",
        " from t join u on true join v on true",
        " from a, b",
    ];
    for link in chains {
        let sql = format!("select a{}", link.repeat(20_000));
        let Err(error) = parse(&sql) else { panic!("{link}") };
        assert!(matches!(error.sqlstate(), "54001" | "42601"), "{link}: {error:?}");
    }
    let chain = |terms: usize| format!("select * from t where {}", vec!["a = 1"; terms].join(" or "));
    assert!(parse(&chain(1_990)).is_ok());
    assert!(parse(&format!("select 1{}", " + 1".repeat(1_000))).is_ok());
    assert_eq!(parse(&format!("select 1{}", " + 1".repeat(1_201))).unwrap_err().sqlstate(), "54001");
    assert_eq!(parse(&format!("select 1{}", " union select 1".repeat(301))).unwrap_err().sqlstate(), "54001");
    assert!(parse(&format!("insert into t values {}", vec!["(-1, 'x')"; 20_000].join(", "))).is_ok());
    let doubled: String = (1..24).map(|n| format!(", w{n} as (select a.x from w{0} a, w{0} b)", n - 1)).collect();
    assert_eq!(parse(&format!("with w0 as (select 1 as x){doubled} select 1 from w23")).unwrap_err().sqlstate(), "54001");
    // A syntax error inside of what the parser reads twice.
    let wrong = format!("select {}1 2{}", "cast(".repeat(12), " as int)".repeat(12));
    assert_eq!(parse(&wrong).unwrap_err().sqlstate(), "42601");
    let froms = format!("select 1 from {}", vec!["t"; 301].join(", "));
    assert_eq!(parse(&froms).unwrap_err().sqlstate(), "54001");
    let list = |items: usize| format!("select {} from t group by 1, 2", vec!["case when f(a, b) then 1 end"; items].join(", "));
    assert!(parse(&list(1_664)).is_ok());
    assert_eq!(parse(&list(1_665)).unwrap_err().sqlstate(), "54001");
    assert_eq!(parse(&format!("select 1 in (select {})", vec!["1"; 1_665].join(","))).unwrap_err().sqlstate(), "54001");
    assert!(parse(&format!("select a in ({0}), b from t where a in ({0})", vec!["1"; 3_000].join(","))).is_ok());
}

#[test]
fn small_statements_become_plain_data() {
    assert!(matches!(
        only("begin transaction isolation level serializable read only"),
        Parsed::Begin { modes: TransactionModes { read_only: Some(true), serializable: Some(true) } }
    ));
    assert!(matches!(
        only("START TRANSACTION"),
        Parsed::Begin { modes: TransactionModes { read_only: None, serializable: None } }
    ));
    assert!(matches!(only("END work"), Parsed::Commit));
    assert!(matches!(only("abort"), Parsed::Rollback));
    assert!(matches!(only("create schema if not exists a authorization b"),
        Parsed::CreateSchema { name, if_not_exists: true, owner: Some(owner) } if name.name.value == "a" && owner.value == "b"));
    assert!(matches!(only("drop schema a, dev.\"B\" cascade"),
        Parsed::DropSchema { names, cascade: true, if_exists: false } if names[1].name.value == "B" && names[1].name.position == 20));
    assert!(
        matches!(only("drop table if exists a.b, c"), Parsed::DropTable { tables, if_exists: true, .. } if tables.len() == 2)
    );
    assert!(matches!(only("truncate s.t"), Parsed::Truncate { table } if table.to_string() == "s.t"));
    assert!(matches!(
        only("vacuum delete only s.t to 75 percent boost"),
        Parsed::Vacuum { table: Some(_), kind: VacuumKind::DeleteOnly, sorted_percent: 75, boost: true }
    ));
    assert!(matches!(only("VACUUM"), Parsed::Vacuum { table: None, kind: VacuumKind::Full, .. }));
    assert!(matches!(only("analyze t (a, b)"), Parsed::Analyze { table: Some(_) }));
    assert!(matches!(only("deallocate all"), Parsed::Deallocate { name: None }));
}

#[test]
fn settings_keep_their_values() {
    let cases = [
        ("set search_path to a, \"B\", 'c'", "search_path", "a, B, c"),
        ("SET SESSION statement_timeout = 5000", "statement_timeout", "5000"),
        ("set client_encoding to 'UTF8'", "client_encoding", "UTF8"),
        ("set client_encoding to utf-8", "client_encoding", "utf-8"),
        ("set datestyle to ISO, MDY", "datestyle", "ISO, MDY"),
        ("set enable_result_cache_for_session to off", "enable_result_cache_for_session", "off"),
        ("set time zone 'UTC'", "timezone", "UTC"),
        ("SET extra_float_digits = -3", "extra_float_digits", "-3"),
        ("set app.user to 'x'", "app.user", "x"),
    ];
    for (sql, name, value) in cases {
        match only(sql) {
            Parsed::Set { name: n, value: v, .. } => assert_eq!((n.as_str(), v.as_str()), (name, value), "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert!(matches!(only("set a to default"), Parsed::Reset { name: Some(name) } if name == "a"));
    assert!(matches!(only("reset all"), Parsed::Reset { name: None }));
    assert!(matches!(only("show Search_Path"), Parsed::Show { name } if name == "search_path"));
    assert!(matches!(only("show transaction isolation level"), Parsed::Show { name } if name == "transaction_isolation"));
}

#[test]
fn users_have_passwords_that_nobody_prints() {
    let parsed = only("create user u with password 'Secret1' createuser nocreatedb");
    assert!(!format!("{parsed:?}").contains("Secret1"));
    let Parsed::CreateUser(spec) = parsed else { panic!() };
    assert_eq!(spec.password, Some(Password::Plain("Secret1".to_owned())));
    assert_eq!((spec.superuser, spec.can_create_database), (Some(true), Some(false)));
    assert!(matches!(
        only("alter user u password disable"),
        Parsed::AlterUser(UserSpec { password: Some(Password::Disabled), .. })
    ));
    assert_eq!(syntax("create user u").position, Some(14));
    assert_eq!(refused("create user u password 'x' valid until 'infinity'").position, Some(28));
}

#[test]
fn explain_takes_what_has_a_plan() {
    assert!(matches!(only("explain select 1"), Parsed::Explain { analyze: false, verbose: false, .. }));
    assert!(matches!(
        only("EXPLAIN ANALYZE VERBOSE insert into t select 1"),
        Parsed::Explain { analyze: true, verbose: true, .. }
    ));
    assert!(matches!(only("explain (analyze, verbose off) select 1"), Parsed::Explain { analyze: true, verbose: false, .. }));
    assert!(matches!(only("explain (select 1)"), Parsed::Explain { analyze: false, .. }));
    assert_eq!(refused("explain drop table t").sqlstate(), "0A000");
    assert_eq!(syntax("explain").position, Some(8));
}

#[test]
fn what_is_not_there_is_named_with_advice() {
    let cases = [
        ("create materialized view v as select 1", "CREATE MATERIALIZED VIEW is not supported"),
        ("create external schema s from data catalog database 'd' iam_role 'x'", "CREATE EXTERNAL SCHEMA is not supported"),
        ("GRANT ALL ON SCHEMA analytics TO ROLE analytics_authors", "GRANT is not supported"),
        ("unload ('select 1') to 's3://b/k' iam_role 'x'", "UNLOAD is not supported"),
        ("show grants on table t", "SHOW GRANTS is not supported"),
        (
            "create model m from (select 1) target a function f iam_role 'r' settings (s3_bucket 'b')",
            "CREATE MODEL is not supported",
        ),
    ];
    for (sql, message) in cases {
        let error = refused(sql);
        assert_eq!((error.sqlstate(), error.message.as_str()), ("0A000", message), "{sql}");
        assert!(error.hint.is_some() && error.position.is_some(), "{sql}: {error:?}");
    }
    assert_eq!(syntax("update t sett a = 1").position, Some(15));
}

#[test]
fn select_into_creates_a_table() {
    let Parsed::CreateTableAs { spec, query } = only("select a into s.new from t") else { panic!() };
    assert_eq!(spec.name.to_string(), "s.new");
    assert_eq!(spec.name.position(), 15);
    assert_eq!(query.to_string(), "SELECT a FROM t");
    let Parsed::CreateTableAs { spec, .. } = only("select a into temp x from t") else { panic!() };
    assert!(spec.temporary);
}

#[test]
fn default_expressions_stand_alone() {
    assert_eq!(parse_expression("1 + 2").unwrap().to_string(), "1 + 2");
    assert!(parse_expression("1 2").is_err());
}

#[test]
fn prepared_statements_keep_their_text_and_types() {
    let Parsed::Prepare(spec) = only("prepare p (int, unknown) as select a from t where b = $2") else { panic!() };
    assert_eq!((spec.name.value.as_str(), spec.types.len(), spec.types[1]), ("p", 2, None));
    assert!(matches!(&*spec.statement.parsed, Parsed::Query(_)));
    let Parsed::Execute { name, values } = only("execute p (1 + 1, 'x', null)") else { panic!() };
    assert_eq!((name.position, values.len()), (9, 3));
    assert!(matches!(only("execute p"), Parsed::Execute { values, .. } if values.is_empty()));
    for (sql, position) in [("prepare p as drop table t", 14), ("prepare p as execute q", 14), ("prepare as select 1", 9)] {
        assert_eq!(syntax(sql).position, Some(position), "{sql}");
    }
    assert_eq!(refused("execute p ((select 1))").position, Some(12));
    assert_eq!(refused("execute p ($1)").position, Some(12));
}

#[test]
fn objects_are_shown_and_commented_on() {
    let shown = only("show columns from table d.s.t like 'a%' limit 5");
    assert!(matches!(shown, Parsed::ShowObjects { objects: ListedObjects::Columns(name), like: Some(like), limit: Some(5) }
        if name.to_string() == "d.s.t" && like == "a%"));
    assert!(matches!(
        only("show tables from schema s"),
        Parsed::ShowObjects { objects: ListedObjects::Tables(_), limit: None, .. }
    ));
    assert!(matches!(only("show table t"), Parsed::ShowTable { .. }));
    assert!(
        matches!(only("comment on column s.t.c is null"), Parsed::Comment { on: CommentOn::Column { relation, column }, text: None }
        if relation.to_string() == "s.t" && column.value == "c")
    );
    assert!(matches!(only("comment on table t is ''"), Parsed::Comment { text: None, .. }));
    assert!(matches!(only("alter schema s rename to r"), Parsed::AlterSchema { change: SchemaChange::Rename(_), .. }));
    assert!(matches!((only("use d"), only("reset use")), (Parsed::Use { name: Some(_) }, Parsed::Use { name: None })));
}

#[test]
fn words_of_the_session_are_calls() {
    let shown = |sql: &str| match only(sql) {
        Parsed::Query(query) => query.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown("select user, t.user, \"user\""), "SELECT current_user() AS \"current_user\", t.user, \"user\"");
    assert!(shown("select current_user_id + 1").starts_with("SELECT current_user_id() + 1"));
    assert_eq!(shown("select /* a /* b */ c */ t.a"), "SELECT t.a");
}
