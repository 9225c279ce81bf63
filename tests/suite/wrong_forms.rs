//! No text of the engine reaches a client: runs statements that are wrong in all ways that can be made here, and looks at what is said.
//!
//! Each function with arguments of wrong types and numbers, each operator with each pair of types, each clause with each kind of value, and
//! `tests/wrong_forms.sql`. One of several forms is run, each time the same; `SLIPHER_ALL_FORMS=1` runs all, in some minutes.

use super::harness::{Cluster, in_project};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Forms that are run when not all are.
const FORMS_RUN: usize = 6_000;

const TABLE: &str =
    "create table t(i int, s smallint, l bigint, n decimal(8,2), r real, f float8, b boolean, c char(5), v varchar(20),
    d date, ts timestamp, tz timestamptz, tm time, tt timetz)";
const ROWS: &str = "insert into t values (1,2,3,4.50,5.5,6.25,true,'abc','16','2024-02-29','2024-02-29 01:02:03',
    '2024-02-29 01:02:03+00','01:02:03','01:02:03+00'),
    (null,null,null,null,null,null,null,null,null,null,null,null,null,null)";

const VALUES: &[&str] = &[
    "null",
    "1",
    "1.5",
    "'x'",
    "'2020-01-01'",
    "true",
    "i",
    "s",
    "l",
    "n",
    "r",
    "f",
    "b",
    "c",
    "v",
    "d",
    "ts",
    "tz",
    "tm",
    "tt",
    "interval '1 day'",
];

const FUNCTIONS: &str = "abs acos asin atan atan2 cbrt ceil ceiling cos cot degrees dexp dlog1 dlog10 exp floor ln log mod pi power radians
    random round sign sin sqrt tan trunc to_hex ascii bpcharcmp btrim bttext_pattern_cmp char_length charindex chr concat crc32 func_sha1
    initcap left len lower lpad ltrim md5 octet_length quote_ident quote_literal regexp_count regexp_instr regexp_replace regexp_substr
    repeat replace replicate reverse right rpad rtrim sha1 sha2 split_part strpos strtol substring translate trim upper soundex
    difference add_months date_cmp date_part_year dateadd datediff date_part date_trunc getdate interval_cmp last_day months_between
    next_day timeofday timestamp_cmp to_timestamp to_date to_char to_number convert_timezone timezone coalesce nvl nvl2 nullif greatest
    least decode sum avg min max count stddev stddev_pop variance var_pop median bool_and bool_or listagg any_value percentile_cont
    percentile_disc rank dense_rank row_number ntile lag lead first_value last_value nth_value cume_dist percent_rank ratio_to_report
    json_extract_path_text json_array_length is_valid_json current_database version width_bucket fnv_hash farmfingerprint64
    isfinite generate_series nosuchfunction grouping grouping_id";

const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "||",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "|",
    "&",
    "#",
    "<<",
    ">>",
    "~",
    "~*",
    "!~",
    "and",
    "or",
    "like",
    "ilike",
    "not like",
    "similar to",
    "is distinct from",
];

const TYPES: &str =
    "smallint int bigint decimal(5,2) real float boolean char(3) varchar(3) date time timetz timestamp timestamptz interval
    nosuch";

const CLAUSES: &[&str] = &[
    "where _",
    "having _",
    "order by _",
    "group by _",
    "limit _",
    "offset _",
    "group by i having _",
    "qualify _",
    "where not _",
    "group by rollup(_)",
    "group by cube(_), ()",
    "group by grouping sets((_),())",
    "where _ is true",
    "where _ is not unknown",
    "where i in (select _ from t)",
    "where i = any (select _ from t)",
    "where exists (select _ from t group by i)",
    "where i = (select max(_) from t)",
];

/// What only the engine says.
const ENGINE_WORDS: &[&str] = &[
    "Utf8",
    "Date32",
    "Date64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt",
    "Float32",
    "Float64",
    "Decimal128",
    "Decimal256",
    "Timestamp(",
    "Time64",
    "Interval(",
    "MonthDayNano",
    "Candidate functions",
    "UserDefined",
    "TypeSignature",
    "Coercible",
    "coerc",
    "LogicalPlan",
    "TableScan",
    "atafusion",
    "DataFusion",
    "slipher_",
    "slipher$",
    "Some(",
    "PhysicalExpr",
    "Literal(",
    "Field {",
    "Inconsistent",
    "backtrace",
    ".rs:",
    "Arrow",
    "Uniform",
    "AggregateUDF",
    "ScalarUDF",
    "WindowUDF",
    "SetComparison",
    " { ",
    "sqltorel",
    "physical expr",
    "logical expr",
];

fn forms() -> Vec<String> {
    let mut forms = Vec::new();
    for function in FUNCTIONS.split_whitespace() {
        calls(function, &mut forms);
    }
    for one in VALUES {
        for other in VALUES {
            forms.extend(OPERATORS.iter().map(|op| format!("select {one} {op} {other} from t")));
            forms.push(format!("select case {one} when {other} then 1 end from t"));
            forms.push(format!("select case when i = 1 then {one} else {other} end from t"));
            forms.push(format!("select {one} between {other} and {other} from t"));
            forms.push(format!("select {one} in ({other}, {one}) from t"));
            forms.push(format!("select {one} from t union select {other} from t"));
            forms.push(format!("select {one} from t intersect select {other} from t"));
            forms.push(format!("select {one} in (select {other} from t) from t"));
            forms.push(format!("select q.x from (select {one} x from t) q join (select {other} y from t) p on q.x = p.y"));
            if [one, other].iter().all(|value| !value.starts_with(|c: char| c.is_ascii_lowercase()) || value.len() > 3) {
                forms.push(format!("select * from (values ({one}), ({other})) q"));
            }
        }
        forms.extend(TYPES.split_whitespace().map(|name| format!("select cast({one} as {name}) from t")));
        forms.extend(CLAUSES.iter().map(|clause| format!("select 1 from t {}", clause.replace('_', one))));
        forms.extend(["-", "+", "~", "@", "|/", "||/", "not "].iter().map(|op| format!("select {op}{one} from t")));
        forms.push(format!("select sum({one}) over (partition by {one} order by {one} rows {one} preceding) from t"));
        forms.push(format!("select sum(i) over (order by {one} range between 1 preceding and 1 following) from t"));
        forms.push(format!("select extract(year from {one}), extract(nosuch from {one}) from t"));
        forms.push(format!("select {one} at time zone {one} from t"));
        forms.push(format!("select ({one}, {one}) = ({one}, 1) from t"));
    }
    forms
}

fn calls(function: &str, forms: &mut Vec<String>) {
    forms.push(format!("select {function}() from t"));
    for one in VALUES {
        forms.push(format!("select {function}({one}) from t"));
        let second = ["1", "'x'", "v", "d", "b", "null", "1.5"].iter();
        forms.extend(second.map(|other| format!("select {function}({one}, {other}) from t")));
    }
    for one in ["1", "'x'", "d", "b", "v"] {
        for two in ["1", "'x'", "ts"] {
            forms.extend(["1", "'x'", "n"].iter().map(|three| format!("select {function}({one}, {two}, {three}) from t")));
        }
        forms.push(format!("select {function}({one}) over (order by i) from t"));
        forms.push(format!("select {function}({one}, 1) over (partition by i) from t"));
        forms.push(format!("select {function}(distinct {one}) from t"));
        forms.push(format!("select {function}({one}) within group (order by i) from t"));
        forms.push(format!("select {function}({one}) filter (where true) from t"));
    }
    forms.push(format!("select {function}(*) from t"));
    forms.push(format!("select {function}(1, 2, 3, 4, 5, 6, 7) from t"));
    forms.push(format!("select * from {function}(1)"));
    forms.push(format!("select i from t where {function}(i) group by {function}(d) having {function}(v)"));
}

/// What is wrong with the answer, if something is.
async fn fault(client: &Client, sql: &str) -> Option<String> {
    let error = client.simple_query(sql).await.err()?;
    let Some(error) = error.as_db_error() else { return Some(format!("{sql}: the connection is lost: {error}")) };
    let said = [Some(error.message()), error.detail(), error.hint()].into_iter().flatten().collect::<Vec<_>>().join(" | ");
    // Names and values are the user's.
    let own: String = said.split('"').step_by(2).collect();
    let word = ENGINE_WORDS.iter().find(|word| own.contains(**word));
    (word.is_some() || error.code().code() == "XX000").then(|| format!("{sql}\n    {}: {said}", error.code().code()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_statements_are_told_in_sql() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    for sql in [TABLE, ROWS] {
        client.batch_execute(sql).await.expect(sql);
    }
    let listed = std::fs::read_to_string(in_project("tests/wrong_forms.sql")).expect("wrong_forms.sql");
    let listed = listed.lines().filter(|line| !line.starts_with("--") && !line.is_empty()).map(str::to_owned);
    let made = forms();
    let step = if std::env::var("SLIPHER_ALL_FORMS").is_ok() { 1 } else { made.len().div_ceil(FORMS_RUN) };
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    let mut run = 0_usize;
    for sql in listed.chain(made.into_iter().step_by(step)) {
        run += 1;
        if let Some(fault) = fault(&client, &sql).await {
            *faults.entry(fault).or_default() += 1;
        }
        let _ = client.simple_query("rollback").await;
    }
    println!("{run} forms were run");
    let shown: Vec<&String> = faults.keys().take(50).collect();
    assert!(faults.is_empty(), "{} of {run} forms: {shown:#?}", faults.len());
}
