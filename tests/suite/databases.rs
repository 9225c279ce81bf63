//! Databases: names of their own, an isolation level of their own, sessions that use them.

use crate::harness::{Cluster, PASSWORD, connect_as, connect_to, rows};
use std::time::Duration;
use tokio_postgres::{Client, Error};

/// Sessions of clients that went away end within this time.
const SESSIONS_END_MAX_MS: u64 = 5_000;

fn code(error: &Error) -> &str {
    error.code().map_or("", |code| code.code())
}

async fn in_database(cluster: &Cluster, name: &str) -> Client {
    connect_to(cluster.pg_port, "admin", PASSWORD, name).await.unwrap()
}

async fn fails_with(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.unwrap_err();
    format!("{} {}", code(&error), error.as_db_error().map_or("", |error| error.message()))
}

async fn value(client: &Client, sql: &str) -> String {
    rows(client, sql).await.unwrap().remove(0).remove(0)
}

/// Two blocks that each read what the other one writes. Answers whether both could commit.
async fn write_skew(one: &Client, other: &Client) -> bool {
    one.batch_execute("CREATE TABLE a (n int); CREATE TABLE b (n int)").await.unwrap();
    for client in [one, other] {
        client.batch_execute("BEGIN; SELECT count(*) FROM a; SELECT count(*) FROM b").await.unwrap();
    }
    one.batch_execute("INSERT INTO a VALUES (1); COMMIT").await.unwrap();
    match other.batch_execute("INSERT INTO b VALUES (1); COMMIT").await {
        Ok(()) => true,
        Err(error) => {
            let message = error.as_db_error().map_or("", |error| error.message());
            assert!(message.starts_with("1023 Serializable isolation violation on table - "), "{message}");
            other.batch_execute("ROLLBACK").await.unwrap();
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_has_names_of_its_own_through_a_restart() {
    let mut cluster = Cluster::start(2);
    let dev = cluster.connect().await;
    // Several statements in one text are a block.
    assert!(fails_with(&dev, "CREATE DATABASE lager; CREATE SCHEMA s").await.starts_with("25001"));
    dev.batch_execute("CREATE DATABASE lager").await.unwrap();
    dev.batch_execute("CREATE TABLE t AS SELECT 1 AS n; CREATE SCHEMA s; CREATE VIEW v AS SELECT n FROM t").await.unwrap();
    let lager = in_database(&cluster, "lager").await;
    assert!(fails_with(&lager, "SELECT * FROM t").await.starts_with("42P01"));
    assert!(fails_with(&lager, "CREATE TABLE s.t (n int)").await.starts_with("3F000"));
    lager
        .batch_execute("CREATE SCHEMA s; CREATE TABLE t (k int DISTKEY, n int); INSERT INTO t VALUES (1, 20), (2, 22)")
        .await
        .unwrap();
    lager.batch_execute("CREATE VIEW v AS SELECT sum(n) AS n FROM lager.public.t; CREATE TEMP TABLE mine (n int)").await.unwrap();
    lager.batch_execute("UPDATE t SET n = n + 1 WHERE k = 1; INSERT INTO t VALUES (3, 1)").await.unwrap();
    lager.batch_execute("VACUUM").await.unwrap();
    lager.batch_execute("CREATE TABLE s.copy AS SELECT * FROM t; ALTER TABLE s.copy RENAME TO other").await.unwrap();
    assert_eq!((value(&dev, "SELECT n FROM v").await, value(&lager, "SELECT n FROM v").await), ("1".into(), "44".into()));

    for _ in 0..2 {
        let dev = cluster.connect().await;
        let lager = in_database(&cluster, "lager").await;
        assert_eq!((value(&dev, "SELECT n FROM v").await, value(&lager, "SELECT n FROM v").await), ("1".into(), "44".into()));
        assert_eq!(value(&lager, "SELECT count(*) FROM lager.s.other").await, "3");
        cluster.leader.kill();
        cluster.restart_leader();
    }

    // One session changes one database.
    let (dev, lager) = (cluster.connect().await, in_database(&cluster, "lager").await);
    let refused = "a reference to database \"dev\" from database \"lager\"";
    for sql in [
        "SELECT 1 AS n INTO dev.public.x",
        "INSERT INTO dev.public.t VALUES (1)",
        "UPDATE dev.public.t SET n = 3",
        "DELETE FROM dev.public.t",
        "MERGE INTO dev.public.t USING s.other ON t.n = other.n WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
        "TRUNCATE dev.public.t",
        "VACUUM dev.public.t",
        "ANALYZE dev.public.t",
        "COPY dev.public.t FROM 'x.csv' CSV",
        "CREATE TABLE dev.public.x (n int)",
        "CREATE TABLE x (LIKE dev.public.t)",
        "CREATE TABLE x (n int REFERENCES dev.public.t (n))",
        "CREATE TABLE dev.public.x AS SELECT 1 AS n",
        "CREATE TEMP TABLE x (LIKE dev.public.t)",
        "CREATE VIEW dev.public.x AS SELECT 1 AS n",
        "CREATE SCHEMA dev.x",
        "SHOW VIEW dev.public.v",
        "ALTER VIEW dev.public.v RENAME TO w",
        "ALTER TABLE dev.public.t RENAME TO u",
        "ALTER TABLE dev.public.t ALTER DISTSTYLE ALL",
        "ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES dev.public.t (n)",
        "ALTER TABLE t SWAP WITH dev.public.t",
        "ALTER TABLE t APPEND FROM dev.public.t",
        "DROP VIEW dev.public.v",
        "DROP TABLE IF EXISTS dev.public.t",
        "DROP SCHEMA IF EXISTS dev.s",
        "BEGIN; LOCK dev.public.t",
    ] {
        let error = lager.batch_execute(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.code().code() == "0A000" && error.message().starts_with(refused), "{sql}: {error}");
        let place = sql.find("dev").unwrap() as u32 + 1;
        assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(place)), "{sql}");
        if sql.starts_with("BEGIN") {
            lager.batch_execute("ROLLBACK").await.unwrap();
        }
    }
    reads_other_databases(&dev, &lager).await;
    lager.batch_execute("CREATE TABLE own (n int REFERENCES lager.public.t (n))").await.unwrap();
    dev.batch_execute("DROP TABLE t CASCADE").await.unwrap();
    assert_eq!(value(&lager, "SELECT n FROM v").await, "44");
}

/// Three-part names read what is in other databases, whatever is called like it in one's own.
async fn reads_other_databases(dev: &Client, lager: &Client) {
    dev.batch_execute("CREATE TABLE far (n int); INSERT INTO far VALUES (7), (8); CREATE VIEW far_view AS SELECT n FROM far")
        .await
        .unwrap();
    dev.batch_execute("CREATE VIEW far_late AS SELECT n FROM public.far WITH NO SCHEMA BINDING").await.unwrap();
    lager.batch_execute("CREATE TABLE far (n int); INSERT INTO far VALUES (1)").await.unwrap();
    for (sql, expected) in [
        ("SELECT sum(n) FROM dev.public.far", "15"),
        ("SELECT sum(n) FROM dev.public.far_view", "15"),
        ("SELECT sum(a.n * b.n) FROM dev.public.far a CROSS JOIN lager.public.far b", "15"),
        ("SELECT count(*) FROM far WHERE n < ALL (SELECT n FROM dev.public.far)", "1"),
        ("SELECT public.far.n FROM dev.public.far WHERE far.n = 8", "8"),
    ] {
        assert_eq!(value(lager, sql).await, expected, "{sql}");
    }
    lager.batch_execute("CREATE VIEW late AS SELECT n FROM dev.public.far WITH NO SCHEMA BINDING").await.unwrap();
    lager
        .batch_execute("CREATE TABLE near AS SELECT n FROM dev.public.far; INSERT INTO near SELECT n FROM dev.public.far_view")
        .await
        .unwrap();
    assert_eq!(value(lager, "SELECT count(*) FROM late, near").await, "8");
    lager
        .batch_execute("UPDATE near SET n = 0 FROM dev.public.far AS other WHERE near.n = other.n AND other.n = 7")
        .await
        .unwrap();
    lager.batch_execute("DELETE FROM near USING dev.public.far AS other WHERE near.n = other.n").await.unwrap();
    assert_eq!(value(lager, "SELECT count(*) FROM near WHERE n = 0").await, "2");
    for (sql, state) in [
        ("CREATE VIEW x AS SELECT * FROM dev.public.far", "0A000"),
        ("SELECT 1 FROM dev.public.far_late", "0A000"),
        ("SELECT 1 FROM dev.public.nothing", "42P01"),
        ("SELECT 1 FROM dev.nothing.far", "42P01"),
        ("SELECT 1 FROM nowhere.public.far", "3D000"),
        ("SELECT public.far.n FROM dev.public.far, lager.public.far", "42P09"),
        ("SELECT 1 FROM dev.pg_temp_1.far", "42P01"),
    ] {
        assert!(fails_with(lager, sql).await.starts_with(state), "{sql}");
    }
    lager.batch_execute("USE dev").await.unwrap();
    assert_eq!(value(lager, "SELECT sum(n) FROM far").await, "15");
    assert_eq!(value(lager, "SELECT sum(n) FROM public.far_late").await, "15");
    assert_eq!(value(lager, "SELECT sum(n) FROM lager.public.far").await, "1");
    for (sql, state) in [
        ("INSERT INTO far VALUES (1)", "0A000"),
        ("CREATE TABLE x (n int)", "0A000"),
        ("CREATE TEMP TABLE x (n int)", "0A000"),
        ("EXPLAIN ANALYZE DELETE FROM far", "0A000"),
        ("USE nowhere", "3D000"),
        ("BEGIN; USE lager", "25001"),
    ] {
        assert!(fails_with(lager, sql).await.starts_with(state), "{sql}");
    }
    lager.batch_execute("ROLLBACK; BEGIN").await.unwrap();
    assert_eq!(value(lager, "SELECT sum(n) FROM far").await, "15");
    // Statements that come together are one block.
    lager.batch_execute("COMMIT").await.unwrap();
    lager.batch_execute("RESET USE").await.unwrap();
    assert_eq!(value(lager, "SELECT sum(n) FROM far").await, "1");
    dev.batch_execute("DROP VIEW far_late; DROP TABLE far CASCADE").await.unwrap();
    assert!(fails_with(lager, "SELECT 1 FROM late").await.starts_with("42P01"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_database_has_its_isolation_level() {
    let cluster = Cluster::start(1);
    let dev = cluster.connect().await;
    dev.batch_execute("CREATE DATABASE strict ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    assert!(write_skew(&dev, &cluster.connect().await).await);
    let strict = || in_database(&cluster, "strict");
    assert!(!write_skew(&strict().await, &strict().await).await);
    dev.batch_execute("ALTER DATABASE strict ISOLATION LEVEL SNAPSHOT").await.unwrap();
    dev.batch_execute("ALTER DATABASE dev ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    dev.batch_execute("DROP TABLE a, b").await.unwrap();
    strict().await.batch_execute("DROP TABLE a, b").await.unwrap();
    assert!(write_skew(&strict().await, &strict().await).await);
    assert!(!write_skew(&dev, &cluster.connect().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_their_owners_and_stay_while_they_are_used() {
    let cluster = Cluster::start(1);
    let admin = cluster.connect().await;
    admin.batch_execute("CREATE USER eva PASSWORD 'Secret123'").await.unwrap();
    let eva = connect_as(cluster.pg_port, "eva", "Secret123").await;
    assert_eq!(fails_with(&eva, "CREATE DATABASE hers").await, "42501 permission denied to create database");
    admin.batch_execute("ALTER USER eva CREATEDB").await.unwrap();
    eva.batch_execute("CREATE DATABASE hers WITH OWNER = eva CONNECTION LIMIT UNLIMITED").await.unwrap();
    assert_eq!(fails_with(&eva, "CREATE DATABASE hers").await, "42P04 database \"hers\" already exists");
    assert_eq!(fails_with(&eva, "ALTER DATABASE dev ISOLATION LEVEL SNAPSHOT").await, "42501 must be owner of database \"dev\"");
    assert_eq!(fails_with(&admin, "CREATE DATABASE x OWNER nobody").await, "42704 user \"nobody\" does not exist");
    assert!(fails_with(&admin, "DROP USER eva").await.starts_with("2BP01"));
    assert_eq!(fails_with(&admin, "DROP DATABASE dev").await, "42501 database \"dev\" cannot be dropped: every cluster has it");
    assert_eq!(fails_with(&admin, "DROP DATABASE her").await, "3D000 database \"her\" does not exist");
    admin.batch_execute("DROP DATABASE IF EXISTS her").await.unwrap();
    assert!(fails_with(&admin, "BEGIN; CREATE DATABASE x").await.starts_with("25001"));
    admin.batch_execute("ROLLBACK").await.unwrap();

    let inside = connect_to(cluster.pg_port, "eva", "Secret123", "hers").await.unwrap();
    inside.batch_execute("CREATE TABLE t AS SELECT 1 AS n; CREATE VIEW v AS SELECT n FROM hers.public.t").await.unwrap();
    assert_eq!(fails_with(&inside, "DROP DATABASE hers").await, "55006 the current database cannot be dropped");
    for sql in ["DROP DATABASE hers", "ALTER DATABASE hers RENAME TO his"] {
        assert_eq!(fails_with(&admin, sql).await, "55006 database \"hers\" is being accessed by other users");
    }
    drop(inside);
    let began = std::time::Instant::now();
    while let Err(error) = eva.batch_execute("ALTER DATABASE hers RENAME TO his").await {
        assert!(code(&error) == "55006" && began.elapsed() < Duration::from_millis(SESSIONS_END_MAX_MS), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = connect_to(cluster.pg_port, "admin", PASSWORD, "hers").await.map(|_| ()).unwrap_err();
    assert_eq!(code(&error), "3D000");
    let renamed = in_database(&cluster, "his").await;
    assert_eq!(value(&renamed, "SELECT n FROM his.public.t").await, "1");
    // A bound view reads what it was made for.
    assert_eq!(value(&renamed, "SELECT n FROM v").await, "1");
    drop(renamed);
    admin.batch_execute("ALTER DATABASE his OWNER TO admin").await.unwrap();
    admin.batch_execute("ALTER DATABASE dev CONNECTION LIMIT UNLIMITED").await.unwrap();
    assert!(fails_with(&admin, "ALTER DATABASE dev OWNER TO eva").await.starts_with("42501"));
    while admin.batch_execute("DROP DATABASE his").await.is_err() {
        assert!(began.elapsed() < Duration::from_millis(2 * SESSIONS_END_MAX_MS));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admin.batch_execute("DROP USER eva").await.unwrap();
    admin.batch_execute("CREATE DATABASE his").await.unwrap();
    assert!(fails_with(&in_database(&cluster, "his").await, "SELECT * FROM t").await.starts_with("42P01"));
}
