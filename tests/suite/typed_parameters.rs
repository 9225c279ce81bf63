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
