//! Redshift's spelling, rewritten, answers in the engine as the leader sets it up.

use super::clock_functions;
use crate::plan::semantics::{self, CastsAreOurs, type_planner};
use crate::transaction::Clock;
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as EngineStatement;
use slipher_common::Result;
use slipher_sql::Parsed;
use slipher_sql::parse::parse;
use std::sync::Arc;

fn query(sql: &str) -> Box<datafusion::sql::sqlparser::ast::Statement> {
    let statement = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    match std::sync::Arc::into_inner(statement.parsed).unwrap() {
        Parsed::Query(query) => query,
        other => panic!("{sql}: {other:?}"),
    }
}

fn context() -> SessionContext {
    let config = SessionConfig::new()
        .set_str("datafusion.execution.time_zone", "UTC")
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    // As the leader's sessions have it.
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_analyzer_rule(Arc::new(CastsAreOurs))
        .with_type_planner(type_planner())
        .build();
    let mut context = SessionContext::new_with_state(state);
    slipher_common::functions::register(&mut context).unwrap();
    semantics::register(&mut context).unwrap();
    clock_functions::register(&mut context, Clock::start(None), None).unwrap();
    context
}

async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let plan = context.state().statement_to_plan(EngineStatement::Statement(query(sql))).await?;
    Ok(context.execute_logical_plan(plan).await?.collect().await?)
}

/// The rows of a query: values joined by `|`, rows by `;`.
async fn rows(context: &SessionContext, sql: &str) -> String {
    let batches = run(context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut lines = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let values: Vec<String> = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect();
            lines.push(values.join("|"));
        }
    }
    lines.join(";")
}

async fn check(cases: &[(&str, &str)]) {
    let context = context();
    let tables = "create table t as select * from (values (1, 'north  ', timestamp '2024-01-31 10:20:30'), \
                  (2, 'south', timestamp '2024-02-29 00:00:00'), (3, null, null)) as v(id, name, ts)";
    context.sql(tables).await.unwrap().collect().await.unwrap();
    for (sql, expected) in cases {
        assert_eq!(rows(&context, sql).await, *expected, "{sql}\n{}", query(sql));
    }
}

#[tokio::test]
async fn functions_of_redshift_run() {
    check(&[
        ("select len('abc'), nvl(null, null, 3), nvl2(name, 'y', 'n') from t where id = 3", "3|3|n"),
        ("select decode(id, 1, 'one', 2, 'two', 'many') from t order by id", "one;two;many"),
        ("select decode(name, null, 'none', 'south', 'S') from t order by id", ";S;none"),
        ("select isnull(name, 'gone') from t where id = 3", "gone"),
        ("select charindex('rt', name) from t where id = 1", "3"),
        ("select concat(name, 'x') from t where id = 3", ""),
        ("select concat('a', 1)", "a1"),
        ("select mod(7 + 1, 3), replicate('ab', 2), sign(-5.0::float), ceiling(1.2::float)", "2|abab|-1.0|2.0"),
        ("select dateadd(month, 1, ts) from t where id = 1", "2024-02-29T10:20:30"),
        ("select datediff(days, ts, '2024-03-01') from t where id = 2", "1"),
        ("select datediff(mon, min(ts), max(ts)) from t", "1"),
        ("select date_part(dow, ts), date_part('yr', ts), extract(qtr from ts) from t where id = 1", "3.0|2024.0|1"),
        ("select date_trunc('mon', ts) from t where id = 1", "2024-01-01T00:00:00"),
        ("select listagg(name, '/') within group (order by id desc) from t where id < 3", "south/north  "),
        ("select trunc(ts), trunc(1.99), date(ts) from t where id = 1", "2024-01-31|1.00|2024-01-31"),
        ("select any_value(id) from t where id = 2", "2"),
        ("select to_char(ts, 'YYYY-MM'), last_day(ts) from t where id = 2", "2024-02|2024-02-29"),
    ])
    .await;
}

#[tokio::test]
async fn now_has_no_zone() {
    let context = context();
    let types =
        "select arrow_typeof(getdate()), arrow_typeof(sysdate), getdate() <= sysdate, sysdate - getdate() < interval '1 second'";
    assert_eq!(rows(&context, types).await, "Timestamp(µs)|Timestamp(µs)|true|true");
}

#[tokio::test]
async fn casts_round_cut_and_write_as_redshift_does() {
    check(&[
        ("select 2.5::float::int, cast(3.5::float as bigint), 2.5::int, (-1.5)::smallint", "2|4|3|-2"),
        ("select '12'::int, true::int, 7::int", "12|1|7"),
        ("select cast(random() * 2 as int) in (0, 1, 2)", "true"),
        ("select 'abcdef'::varchar(3), cast('añb' as char(2)), 12345::varchar(3)", "abc|a|123"),
        ("select left(ts, 7), substring(ts, 1, 10), right(id, 1), len(id) from t where id = 1", "2024-01|2024-01-31|1|1"),
        ("select ts::varchar, ts::date::text, id::varchar || '!' from t where id = 1", "2024-01-31 10:20:30|2024-01-31|1!"),
        ("select arrow_typeof(1::float), arrow_typeof(1::float(10)), arrow_typeof('1'::decimal), arrow_typeof(1::dec(5))",
         "Float64|Float32|Decimal128(18, 0)|Decimal128(5, 0)"),
        ("select arrow_typeof('2024-01-01'::timestamp), arrow_typeof(timestamp '2024-01-01'), arrow_typeof('2024-01-01'::timestamptz)",
         "Timestamp(µs)|Timestamp(µs)|Timestamp(µs, \"UTC\")"),
        ("select convert(integer, 2.5), convert(varchar(2), 'xyz')", "3|xy"),
        ("select round((count(case when id >= 2 then 1 end) - count(case when id < 2 then 1 end))::float/count(1) * 100, 2) from t",
         "33.33"),
    ])
    .await;
}

#[tokio::test]
async fn queries_of_redshift_run() {
    check(&[
        ("select top 2 id from t order by id desc", "3;2"),
        ("select id from t minus select 2 order by 1", "1;3"),
        ("select id from t order by id fetch first 1 row only", "1"),
        ("(select top 1 id from t order by id) union all select 9 order by 1", "1;9"),
        ("select count(*) from (select distinct id from t)", "3"),
        ("select month from (select datediff(month, '2024-01-01', ts) month from t where id = 2)", "1"),
        ("select LEFT(ts, 7) \"month\", count(distinct id) mau from t group by 1 order by 1", "2024-01|1;2024-02|1;|1"),
        ("select * exclude id from t where id = 2", "south|2024-02-29T00:00:00"),
        ("select gender, count(1) from (select case when cast(random() * 0 as int) = 0 then 'male' else 'female' end gender from t) group by 1",
         "male|3"),
        ("select max from (select max(id), min(id) from t)", "3"),
        ("with m as (select count(*) from t) select count + 1 from m", "4"),
        ("select upper(name) from t where id = 2 group by upper(name) order by upper(name)", "SOUTH"),
        ("select sum(id) from t group by name having sum(id) > 1 order by sum(id)", "2;3"),
        ("select 1, 1, id, id, max(id), max(id), id as x, 2 as x from t where id = 1 group by id", "1|1|1|1|1|1|1|2"),
        ("select *, 1, 1, count(*) over () from (select 5 a)", "5|1|1|1"),
        ("select date '1998-12-01' - interval '90' day, substring('13-x' from 1 for 2), extract(year from ts) from t where id = 1",
         "1998-09-02T00:00:00|13|2024"),
        ("select 'it''s', E'a\\tb', 'x\\'y'", "it's|a\tb|x'y"),
    ])
    .await;
}

#[tokio::test]
async fn parameters_without_a_type_can_be_cast_and_cut() {
    let context = context();
    let sql = "select $1::int + 1, $2::varchar(3), $2::varchar, left($2, 2)";
    let plan = context.state().statement_to_plan(EngineStatement::Statement(query(sql))).await.unwrap();
    let values = vec![ScalarValue::from("41"), ScalarValue::from("abcd")];
    let plan = plan.with_param_values(values).unwrap();
    let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
    let answer: Vec<String> = batches[0].columns().iter().map(|column| array_value_to_string(column, 0).unwrap()).collect();
    assert_eq!(answer, ["42", "abc", "abcd", "ab"]);
}

#[test]
fn the_longest_chains_allowed_run_on_a_small_stack() {
    let chain = |first: &str, terms: usize, each: &dyn Fn(usize) -> String| -> String {
        std::iter::once(first.to_owned()).chain((0..terms).map(each)).collect::<Vec<_>>().join(" ")
    };
    let texts = [
        chain("select count(*) from t where id = 1", 1_990, &|i| format!("or b > {i}")),
        chain("select count(*) from t where id = 1", 1_990, &|i| format!("and b <> {}", i + 5)),
        chain("select 1 from t where id", 1_990, &|i| format!("= 1 or id + {i}")) + " > 0",
        chain("select 1 + length('a'", 390, &|_| "|| b".to_owned()) + ") - 390 - 1 from t",
        chain("select sum(x) from (select 1 x", 290, &|_| "union all select 0".to_owned()) + ")",
    ];
    // The stack that tokio gives its workers.
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let context = context();
            context.sql("create table t as select 1 id, 2 b").await.unwrap().collect().await.unwrap();
            for text in &texts {
                assert_eq!(rows(&context, text).await, "1", "{}", &text[..60]);
            }
        });
    };
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
}
