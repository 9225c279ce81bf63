//! Parameters have the types that a client declares, wherever they stand.

use crate::harness::Cluster;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// The one value of a query's first column, with its type.
async fn answer(client: &Client, sql: &str, types: &[Type], values: &[&(dyn ToSql + Sync)]) -> String {
    let statement = client.prepare_typed(sql, types).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let told = statement.columns()[0].type_().clone();
    let rows = client.query(&statement, values).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let cells = rows.iter().map(|row| match told {
        Type::INT2 => row.get::<_, i16>(0).to_string(),
        Type::INT4 => row.get::<_, i32>(0).to_string(),
        Type::INT8 => row.get::<_, i64>(0).to_string(),
        Type::FLOAT8 => row.get::<_, f64>(0).to_string(),
        Type::BOOL => row.get::<_, bool>(0).to_string(),
        _ => row.get::<_, String>(0),
    });
    format!("{} {}", cells.collect::<Vec<_>>().join(","), told.name())
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_types_hold_everywhere() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("create table t(i int, b bigint); insert into t values (1, 10), (2, 20)").await.expect("a table");
    let (small, int): (&(dyn ToSql + Sync), &(dyn ToSql + Sync)) = (&5i16, &7i32);
    for (sql, expected) in [
        ("select $1", "5 int2"),
        ("select -$1", "-5 int2"),
        ("select greatest($1, 3::smallint)", "5 int2"),
        ("select coalesce(null, $1)", "5 int2"),
        ("select max(x) from (select $1 as x) t", "5 int2"),
        ("select x from (values ($1)) v(x)", "5 int2"),
        ("with q as (select $1 as d) select d from q", "5 int2"),
        ("select case when true then $1 end", "5 int2"),
        ("select $1 + 1", "6 int4"),
        ("select $1 * 2.5::float", "12.5 float8"),
        ("select (select $1)", "5 int2"),
        ("select $1 union all select $1", "5,5 int2"),
        ("select count(*) from t where i < $1", "2 int8"),
        ("select i from t order by i limit $1", "1,2 int4"),
        ("select $1 > 4", "true bool"),
        ("select $1::varchar", "5 varchar"),
        ("select $1 || 'a'", "5a varchar"),
    ] {
        assert_eq!(answer(&client, sql, &[Type::INT2], &[small]).await, expected, "{sql}");
    }
    let both = [Type::INT2, Type::INT4];
    assert_eq!(answer(&client, "select greatest($1, $2)", &both, &[small, int]).await, "7 int4");
    assert_eq!(answer(&client, "select x from (values ($1), ($2)) v(x)", &both, &[small, int]).await, "5,7 int4");
    // What is left open has the type of what it meets, else it is text.
    assert_eq!(answer(&client, "select $1 + 1", &[], &[int]).await, "8 int4");
    assert_eq!(answer(&client, "select b from t where i = $1", &[], &[&2i32]).await, "20 int8");
    assert_eq!(answer(&client, "select $1", &[], &[&"x"]).await, "x varchar");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_parameters_have_the_type_of_what_they_meet() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    let table = "create table t(i int, b bigint, n decimal(8,2), f float8, bo boolean, v varchar(20), d date, ts timestamp);
        insert into t values (1, 10, 1.5, 2.5, true, 'x', '2024-02-29', '2024-02-29 01:02:03')";
    client.batch_execute(table).await.expect("a table");
    let cases: [(&str, &[Type]); 20] = [
        ("select i from t limit $1", &[Type::INT8]),
        ("select i from t order by 1 limit $1 offset $2", &[Type::INT8, Type::INT8]),
        ("select i from t where i = $1", &[Type::INT4]),
        ("select i from t where $1 < b", &[Type::INT8]),
        ("select i from t where n = $1", &[Type::NUMERIC]),
        ("select i from t where bo = $1", &[Type::BOOL]),
        ("select i from t where $1", &[Type::BOOL]),
        ("select i from t where bo and not $1", &[Type::BOOL]),
        ("select i from t where d between $1 and $2", &[Type::DATE, Type::DATE]),
        ("select i from t where ts >= $1", &[Type::TIMESTAMP]),
        ("select i from t where i in ($1, 5)", &[Type::INT4]),
        ("select i from t where v = $1", &[Type::VARCHAR]),
        ("select i from t where v like $1", &[Type::VARCHAR]),
        ("select i from t where d like $1", &[Type::VARCHAR]),
        ("select coalesce(d, $1) from t", &[Type::DATE]),
        ("select case when bo then d else $1 end from t", &[Type::DATE]),
        ("select nullif(i, $1) from t", &[Type::INT4]),
        ("select $1 + i from t", &[Type::INT4]),
        ("select f * $1 from t", &[Type::FLOAT8]),
        ("select i from t where b in (select $1 + b from t)", &[Type::INT8]),
    ];
    for (sql, expected) in cases {
        let statement = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(statement.params(), expected, "{sql}");
    }
    let day: &(dyn ToSql + Sync) = &"x";
    assert_eq!(answer(&client, "select v from t where v = $1", &[], &[day]).await, "x varchar");
    assert_eq!(answer(&client, "select i from t where bo = $1", &[], &[&true]).await, "1 int4");
    assert_eq!(answer(&client, "select i from t limit $1", &[], &[&1i64]).await, "1 int4");
    assert_eq!(answer(&client, "select i from t where $1", &[], &[&true]).await, "1 int4");
}
