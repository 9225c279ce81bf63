use super::*;
use datafusion::prelude::SessionContext;

/// The one value of a query as the engine prints it.
async fn value(sql: &str) -> Result<String> {
    let mut context = SessionContext::new();
    register(&mut context).unwrap();
    let batches = context.sql(sql).await?.collect().await?;
    Ok(arrow::util::display::array_value_to_string(batches[0].column(0), 0)?)
}

async fn check(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        let answer = value(&format!("select {expression}")).await;
        assert_eq!(answer.as_deref(), Ok(*expected), "{expression}");
    }
}

async fn state_of(expression: &str) -> &'static str {
    value(&format!("select {expression}")).await.expect_err(expression).sqlstate()
}

#[tokio::test]
async fn dateadd_moves_by_every_part() {
    check(&[
        ("dateadd('month', 1, timestamp '2005-01-31 10:00:00')", "2005-02-28T10:00:00"),
        ("dateadd('yr', -1, date '2024-02-29')", "2023-03-01T00:00:00"),
        ("dateadd('qtr', 2, '2024-01-15')", "2024-07-15T00:00:00"),
        ("dateadd('week', 1, date '2024-12-30')", "2025-01-06T00:00:00"),
        ("dateadd('d', 30, date '2024-02-01')", "2024-03-02T00:00:00"),
        ("dateadd('ms', 1500, timestamp '2024-01-01 00:00:00')", "2024-01-01T00:00:01.500"),
        ("dateadd('day', NULL, date '2024-02-01')", ""),
    ])
    .await;
    assert_eq!(state_of("dateadd('fortnight', 1, date '2024-01-01')").await, "22023");
    assert_eq!(state_of("dateadd('dow', 1, date '2024-01-01')").await, "22023");
    assert_eq!(state_of("dateadd('year', 1000000, date '2024-01-01')").await, "22008");
    assert_eq!(state_of("dateadd('day', 1, 5)").await, "42883");
}

#[tokio::test]
async fn datediff_counts_boundaries_not_durations() {
    check(&[
        ("datediff('month', date '2024-01-31', date '2024-02-01')", "1"),
        ("datediff('year', timestamp '2008-12-31 23:59:59', timestamp '2009-01-01 00:00:00')", "1"),
        ("datediff('qtr', '1998-07-01', '2024-10-15')", "105"),
        ("datediff('week', date '2024-06-01', date '2024-06-02')", "1"),
        ("datediff('week', date '2024-06-02', date '2024-06-08')", "0"),
        ("datediff('week', date '2009-01-01', date '2009-12-31')", "52"),
        ("datediff('day', timestamp '1969-12-31 23:00:00', timestamp '1970-01-01 01:00:00')", "1"),
        ("datediff('hour', timestamp '2024-01-01 03:00:00', timestamp '2024-01-01 01:59:59')", "-2"),
        ("datediff('century', date '1999-12-31', date '2001-01-01')", "1"),
        ("datediff('minute', time '10:00:00', time '11:30:00')", "90"),
        ("datediff('day', date '2024-01-01', NULL)", ""),
    ])
    .await;
}

#[tokio::test]
async fn months_and_days_follow_the_calendar() {
    check(&[
        ("add_months(date '2008-02-29', 1)", "2008-03-31T00:00:00"),
        ("add_months(date '2008-03-31', -1)", "2008-02-29T00:00:00"),
        ("add_months(date '2008-03-15', 12)", "2009-03-15T00:00:00"),
        ("months_between(date '1969-01-18', date '1969-03-18')", "-2.0"),
        ("months_between(date '2024-03-31', date '2024-02-29')", "1.0"),
        ("months_between(date '2024-03-17', date '2024-02-01') * 31", "47.0"),
        ("last_day(date '2024-02-10')", "2024-02-29"),
        ("last_day('2023-12-31')", "2023-12-31"),
        ("next_day(date '2024-06-05', 'tue')", "2024-06-11"),
        ("next_day(date '2024-06-04', 'Tuesday')", "2024-06-11"),
    ])
    .await;
}

#[tokio::test]
async fn zones_know_summer_time_and_its_gaps() {
    check(&[
        ("convert_timezone('Asia/Seoul', timestamp '2024-01-01 00:00:00')", "2024-01-01T09:00:00"),
        ("convert_timezone('America/New_York', 'UTC', timestamp '2024-07-01 12:00:00')", "2024-07-01T16:00:00"),
        // 02:30 does not exist on this day.
        ("convert_timezone('America/New_York', 'UTC', timestamp '2024-03-10 02:30:00')", "2024-03-10T07:30:00"),
        // 01:30 comes twice: when it comes again, clocks are at standard time.
        ("convert_timezone('America/New_York', 'UTC', timestamp '2024-11-03 01:30:00')", "2024-11-03T06:30:00"),
        ("convert_timezone('PST', 'UTC', timestamp '2024-07-01 01:30:00')", "2024-07-01T09:30:00"),
        ("convert_timezone('+09:00', 'UTC', timestamp '2024-01-01 09:00:00')", "2024-01-01T00:00:00"),
    ])
    .await;
    assert_eq!(state_of("convert_timezone('Mars/Base', timestamp '2024-01-01 00:00:00')").await, "22023");
}

#[tokio::test]
async fn text_is_what_redshift_writes() {
    check(&[
        ("slipher_text(timestamp '2024-01-02 03:04:05.600')", "2024-01-02 03:04:05.6"),
        ("slipher_text(timestamp '2024-01-02 03:04:05', 7)", "2024-01"),
        ("slipher_text(date '2024-01-02')", "2024-01-02"),
        ("slipher_text(1.0::double)", "1"),
        ("slipher_text(0.1::double + 0.2::double)", "0.3"),
        ("slipher_text(-1.5e300::double)", "-1.5e+300"),
        ("slipher_text(0.00001::double)", "1e-05"),
        ("slipher_text(0.1::real)", "0.1"),
        ("slipher_text(123456789012345680::double)", "1.23456789012346e+17"),
        ("slipher_text(1.50::decimal(5,2))", "1.50"),
        ("slipher_text(true)", "true"),
        ("slipher_text(42)", "42"),
        ("slipher_text('日本語', 7)", "日本"),
        ("slipher_text('abc')", "abc"),
        ("slipher_text(NULL)", ""),
        ("strtol('-ff', 16)", "-255"),
        ("strtol('0x1F', 16)", "31"),
        ("strtol('101', 2)", "5"),
    ])
    .await;
    assert_eq!(state_of("strtol('12', 2)").await, "22P02");
    assert_eq!(state_of("strtol('ffffffffffffffffff', 16)").await, "22003");
    assert_eq!(state_of("strtol('1', 37)").await, "22023");
}

#[tokio::test]
async fn rounding_is_half_even_for_floats_and_half_up_for_decimals() {
    check(&[
        ("slipher_round(0.5::double)", "0.0"),
        ("slipher_round(1.5::double)", "2.0"),
        ("slipher_round(-2.5::double)", "-2.0"),
        ("slipher_round(2.5::decimal(2,1))::int", "3"),
        ("slipher_round(-2.5::decimal(2,1))::int", "-3"),
        ("slipher_round(9.99::decimal(3,2))", "10.00"),
        ("slipher_round(7)", "7"),
        ("slipher_round('x')", "x"),
        ("slipher_trunc(-1.79::double, 1)", "-1.7"),
        ("slipher_trunc(1.99::decimal(3,2))", "1.00"),
        ("slipher_trunc(1299, -2)", "1200"),
        ("slipher_trunc(timestamp '2024-01-02 03:04:05')", "2024-01-02"),
    ])
    .await;
}

#[tokio::test]
async fn patterns_write_and_read_dates() {
    check(&[
        ("to_char(timestamp '2024-01-02 15:04:05.678', 'YYYY-MM-DD HH24:MI:SS.MS')", "2024-01-02 15:04:05.678"),
        ("to_char(date '2024-06-09', 'FMMonth DD, YY \"at\" Dy DDD Q')", "June 09, 24 at Sun 161 2"),
        ("to_char(date '2024-06-09', 'MONTH|day|D')", "JUNE     |sunday   |1"),
        ("to_char(timestamp '2024-01-02 00:04:05', 'HH12:MI am US')", "12:04 am 000000"),
        ("to_char(date '2024-12-30', 'IYYY-IW WW')", "2025-01 53"),
        ("to_date('02 Oct 2001', 'DD Mon YYYY')", "2001-10-02"),
        ("to_date('99-1-5', 'YY-MM-DD')", "1999-01-05"),
        ("to_date('20010631', 'YYYYMMDD')", "2001-07-01"),
        ("to_char(5, '999')", "   5"),
        ("to_timestamp('2011-12-18 11:38:15 PM', 'YYYY-MM-DD HH:MI:SS PM')", "2011-12-18T23:38:15Z"),
        ("to_timestamp('2024.01.02 03:04:05.5', 'YYYY-MM-DD HH24:MI:SS.MS')", "2024-01-02T03:04:05.500Z"),
    ])
    .await;
    assert_eq!(state_of("to_date('20010631', 'YYYYMMDD', true)").await, "22008");
    assert_eq!(state_of("to_date('x', 'YYYY')").await, "22007");
    assert_eq!(state_of("to_date('2024-01-01 and more', 'YYYY-MM-DD')").await, "22007");
    assert_eq!(state_of("to_char(date '2024-01-01', 'YYYY Zz')").await, "22023");
    assert_eq!(state_of("to_char(5, '9.9.9')").await, "22023");
}

#[tokio::test]
async fn columns_and_constants_give_the_same() {
    let sql = "select sum(datediff('day', d, dateadd('day', n, d))) from (values (date '2024-01-01', 1), (date '2024-02-29', 2), \
               (null, 3)) as t(d, n)";
    assert_eq!(value(sql).await.as_deref(), Ok("3"));
    let sql = "select string_agg(to_char(d, p), ',' order by p) from (values (date '2024-03-04', 'DD'), (date '2024-03-04', 'MM'), \
               (null, 'YY')) as t(d, p)";
    assert_eq!(value(sql).await.as_deref(), Ok("04,03"));
}

#[tokio::test]
async fn text_of_a_string_column_costs_nothing() {
    let mut context = SessionContext::new();
    register(&mut context).unwrap();
    context.sql("create table t (s varchar)").await.unwrap();
    let plan = context.sql("select left(slipher_text(s), 2) a, slipher_round(1) b from t").await.unwrap();
    let plan = plan.into_optimized_plan().unwrap().to_string();
    assert!(!plan.contains("slipher_"), "{plan}");
}

#[test]
fn casts_to_a_length_remember_it() {
    use arrow::datatypes::Field;
    let function = all().into_iter().find(|function| function.name() == TO_TEXT).unwrap();
    let fields = [Arc::new(Field::new("x", DataType::Utf8View, true)), Arc::new(Field::new("n", DataType::Int64, false))];
    let length = ScalarValue::Int64(Some(7));
    let arguments = ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &[None, Some(&length)] };
    let field = function.return_field_from_args(arguments).unwrap();
    assert_eq!(crate::SqlType::of_field(&field), Ok(crate::SqlType::VarChar(7)));
}
