//! What bad input gets: errors that say what is wrong, where, and what to do; and never half a load.

use super::harness::{Cluster, PASSWORD, Process, free_ports, refused, rows};
use std::time::Duration;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{AsyncMessage, Client, NoTls};

async fn error_of(client: &Client, sql: &str) -> DbError {
    match client.simple_query(sql).await {
        Ok(_) => panic!("no error for {sql}"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).clone(),
    }
}

/// Runs `sql`, which marks with `^` before a character where the error must point to.
async fn expect(client: &Client, sql: &str, state: &str, message: &str, hint: Option<&str>) {
    let error = error_of(client, &sql.replace('^', "")).await;
    assert_eq!((error.code().code(), error.message()), (state, message), "{sql}: {error:?}");
    if let Some(hint) = hint {
        assert_eq!(error.hint(), Some(hint), "{sql}");
    }
    if let Some(position) = sql.find('^') {
        let expected = sql[..position].chars().count() as u32 + 1;
        assert_eq!(error.position(), Some(&ErrorPosition::Original(expected)), "{sql}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_refused_with_position_and_hint() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    let setup = "CREATE TABLE customers (account_length int NOT NULL, state varchar(2), churn boolean) DISTKEY(account_length);
                 INSERT INTO customers VALUES (1, 'CA', true), (2, 'NY', false)";
    client.batch_execute(setup).await.expect("a table");
    names(&client).await;
    loads(&client).await;
    logins(&cluster).await;
    notices(&cluster).await;
}

async fn names(client: &Client) {
    let c = client;
    let table = "relation \"custmers\" does not exist";
    expect(c, "SELECT * FROM ^custmers", "42P01", table, Some("did you mean \"customers\"?")).await;
    expect(c, "SELECT 'é', * FROM ^custmers", "42P01", table, Some("did you mean \"customers\"?")).await;
    expect(c, "SELECT *\n  FROM customers c\n  JOIN ^custmers d ON true", "42P01", table, None).await;
    expect(c, "INSERT INTO ^custmers VALUES (1)", "42P01", table, Some("did you mean \"customers\"?")).await;
    let column = "column \"acount_length\" does not exist";
    let meant = Some("did you mean \"account_length\"?");
    expect(c, "SELECT ^acount_length FROM customers", "42703", column, meant).await;
    expect(c, "SELECT 1 FROM customers WHERE churn AND ^acount_length > 1", "42703", column, meant).await;
    expect(c, "SELECT 1 FROM customers GROUP BY ^acount_length", "42703", column, meant).await;
    // What stands in double quotes is a name.
    let quoted = "column \"test\" does not exist";
    expect(c, "SELECT * FROM customers WHERE state = ^\"Test\"", "42703", quoted, None).await;
    let of_relation = "column \"stat\" of relation \"customers\" does not exist";
    expect(
        c,
        "INSERT INTO customers (account_length, ^stat) VALUES (1, 'x')",
        "42703",
        of_relation,
        Some("did you mean \"state\"?"),
    )
    .await;
    let function = error_of(c, "SELECT uper(state) FROM customers").await;
    assert_eq!(function.code().code(), "42883", "{function:?}");
    assert!(function.message().contains("\"uper\""), "{function:?}");
    assert!(function.hint().is_some_and(|hint| hint.contains("\"upper\"")), "{function:?}");
    assert_eq!(function.position(), Some(&ErrorPosition::Original(8)));
    // A missing comma reads as an alias; the next word then is one too many.
    let comma = error_of(c, "SELECT account_length length state FROM customers").await;
    assert_eq!(comma.code().code(), "42601");
    assert!(comma.hint().is_some_and(|hint| hint.contains("comma")), "{comma:?}");
    assert_eq!(comma.position(), Some(&ErrorPosition::Original(30)));
    // The second statement's position counts from the start of the text.
    expect(c, "SELECT 1; SELECT 2; SELECT ^nope FROM customers", "42703", "column \"nope\" does not exist", None).await;
    let unsupported = error_of(c, "CREATE MATERIALIZED VIEW v AS SELECT state FROM customers").await;
    assert_eq!(unsupported.code().code(), "0A000");
    assert!(unsupported.hint().is_some_and(|hint| hint.contains("CREATE TABLE")), "{unsupported:?}");
}

/// Bad rows: the error names column and row, and the table is as it was.
async fn loads(client: &Client) {
    let before = rows(client, "SELECT * FROM customers ORDER BY 1").await.expect("rows");
    let cases = [
        ("VALUES (3, 'CA', true), (4, 'Cal', true)", "22001", "state", "row 2"),
        ("VALUES (3, 'CA', true), (NULL, 'CA', true)", "23502", "account_length", "row 2"),
        ("VALUES (2147483648, 'CA', true)", "22003", "account_length", "row 1"),
        ("VALUES (3, 'CA', true), (4, 'CA', 'perhaps')", "22P02", "churn", "row 2"),
        ("SELECT account_length, state || state, churn FROM customers", "22001", "state", "row"),
        ("SELECT nullif(account_length, 2), state, churn FROM customers", "23502", "account_length", "row"),
    ];
    for (source, state, column, row) in cases {
        let error = error_of(client, &format!("INSERT INTO customers {source}")).await;
        assert_eq!(error.code().code(), state, "{source}: {error:?}");
        let detail = error.detail().unwrap_or_default();
        assert!(detail.contains(&format!("\"{column}\"")) && detail.contains(row), "{source}: {error:?}");
        assert_eq!(rows(client, "SELECT * FROM customers ORDER BY 1").await.expect("rows"), before, "{source}");
    }
}

async fn logins(cluster: &Cluster) {
    let connect = async |user: &str, password: &str, database: &str| {
        let parameters = format!("host=127.0.0.1 port={} user={user} password={password} dbname={database}", cluster.pg_port);
        match tokio_postgres::connect(&parameters, NoTls).await {
            Ok(_) => "connected".to_owned(),
            Err(error) => error.as_db_error().map_or_else(|| error.to_string(), |error| error.code().code().to_owned()),
        }
    };
    assert_eq!(connect("admin", PASSWORD, "dev").await, "connected");
    assert_eq!(connect("admin", "wrong", "dev").await, "28P01");
    assert_eq!(connect("nobody", PASSWORD, "dev").await, "28P01");
    assert_eq!(connect("admin", PASSWORD, "prod").await, "3D000");
    let client = cluster.connect().await;
    client.batch_execute("CREATE USER ann PASSWORD 'Secret1'; CREATE USER bob PASSWORD DISABLE").await.expect("users");
    assert_eq!(connect("ann", "Secret1", "dev").await, "connected");
    assert_eq!(connect("bob", "''", "dev").await, "28P01");
    client.batch_execute("ALTER USER ann PASSWORD 'Secret2'").await.expect("a new password");
    assert_eq!(connect("ann", "Secret1", "dev").await, "28P01");
    assert_eq!(connect("ann", "Secret2", "dev").await, "connected");
    let parameters = format!("host=127.0.0.1 port={} user=ann password=Secret2 dbname=dev", cluster.pg_port);
    let (ann, connection) = tokio_postgres::connect(&parameters, NoTls).await.expect("ann");
    tokio::spawn(connection);
    assert_eq!(error_of(&ann, "CREATE USER carl PASSWORD 'x'").await.code().code(), "42501");
    assert_eq!(error_of(&ann, "ALTER USER admin PASSWORD 'x'").await.code().code(), "42501");
    ann.batch_execute("ALTER USER ann PASSWORD 'Secret3'").await.expect("one's own password");
    client.batch_execute("DROP USER ann, bob").await.expect("no users");
    assert_eq!(connect("ann", "Secret3", "dev").await, "28P01");
}

/// What the client is told beside the result.
async fn notices(cluster: &Cluster) {
    let parameters = format!("host=127.0.0.1 port={} user=admin password={PASSWORD} dbname=dev", cluster.pg_port);
    let (client, mut connection) = tokio_postgres::connect(&parameters, NoTls).await.expect("connecting");
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                drop(sender.send(notice.message().to_owned()));
            }
        }
    });
    client.batch_execute("BEGIN; CREATE TABLE noted (a int); INSERT INTO noted VALUES (1)").await.expect("a block");
    client.batch_execute("BEGIN; COMMIT; ROLLBACK; DROP TABLE IF EXISTS not_there").await.expect("notices");
    let mut texts = Vec::new();
    while let Ok(text) = receiver.try_recv() {
        texts.push(text);
    }
    let expected = [
        "there is already a transaction in progress",
        "there is no transaction in progress",
        "table \"not_there\" does not exist, skipping",
    ];
    assert_eq!(texts, expected);
    client.batch_execute("DROP TABLE noted").await.expect("cleaning up");
}

/// Servers that must not start say why, and end with a code other than zero.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_refuse_to_start_with_the_reason() {
    let mut cluster = Cluster::start(1);
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let ports: Vec<String> = free_ports(4).iter().map(u16::to_string).collect();
    let leader = |data_dir: &str, pg_port: &str| {
        let fixed = ["--flight-port", &ports[1], "--internal-port", &ports[2], "--http-port", "0", "--admin-password", "x"];
        let own = ["leader", "--data-dir", data_dir, "--pg-port", pg_port];
        own.iter().chain(&fixed).map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let compute = |data_dir: &str, listen: &str, leader: u16| {
        let leader = format!("127.0.0.1:{leader}");
        let own = ["compute", "--data-dir", data_dir, "--listen", listen, "--flight-listen", "127.0.0.1:0", "--leader", &leader];
        own.map(str::to_owned).to_vec()
    };
    let used_dir = cluster.leader_dir().to_string_lossy().into_owned();
    let node_dir = cluster.node_dir(0).to_string_lossy().into_owned();
    let free_listen = format!("127.0.0.1:{}", ports[3]);

    // A directory that another process uses.
    assert_reason(&leader(&used_dir, &ports[0]), &[&used_dir, "another process"]);
    assert_reason(&compute(&node_dir, &free_listen, cluster.internal_port()), &[&node_dir, "another process"]);

    // A port that another process uses.
    let used_port = cluster.pg_port.to_string();
    assert_reason(&leader(&path("a"), &used_port), &[&used_port, "--pg-port", "in use"]);
    let used_listen = format!("127.0.0.1:{used_port}");
    assert_reason(&compute(&path("b"), &used_listen, cluster.internal_port()), &[&used_listen, "--listen", "in use"]);

    // A configuration with a key that does not exist, with a bad value, or that is not there.
    let config = path("slipher.toml");
    let with_config = |text: &str| {
        std::fs::write(&config, text).expect("a configuration");
        ["--config", &config, "leader", "--data-dir", &path("c")].map(str::to_owned)
    };
    assert_reason(&with_config("pg_port = 1\npg_prot = 2\n"), &["slipher.toml", "pg_prot"]);
    assert_reason(&with_config("pg_port = \"many\"\n"), &["slipher.toml", "pg_port"]);
    assert_reason(&with_config("slices = 0\n"), &["--slices"]);
    let missing = path("missing.toml");
    assert_reason(&["--config", &missing, "leader"].map(str::to_owned), &["missing.toml"]);
    assert_reason(&["leader", "--no-such-flag"].map(str::to_owned), &["--no-such-flag"]);
    assert_reason(&compute(&path("d"), "nowhere", cluster.internal_port()), &["nowhere", "--listen"]);

    // A compute node's directory of another cluster.
    cluster.nodes[0].stop();
    let other = Process::start(&leader(&path("e"), &ports[0]), "Compute nodes join with");
    let other_port = ports[2].parse().expect("a port");
    assert_reason(&compute(&node_dir, &free_listen, other_port), &["another cluster"]);
    drop(other);
    // It still belongs to its own.
    cluster.restart_node(0);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.expect("the first cluster works");
}

/// `slipher` with `arguments` must fail and name each part on standard error.
fn assert_reason(arguments: &[String], parts: &[&str]) {
    let said = refused(arguments);
    for part in parts {
        assert!(said.contains(part), "slipher {arguments:?} does not say \"{part}\":\n{said}");
    }
}

/// No statement may take so long, on the slowest machine that runs this: it would be a hang.
const HANG_MAX: Duration = Duration::from_secs(240);

async fn in_time(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, DbError> {
    let start: String = sql.chars().take(80).collect();
    let answer = tokio::time::timeout(HANG_MAX, rows(client, sql)).await.unwrap_or_else(|_| panic!("{start} ... hangs"));
    answer.map_err(|error| error.as_db_error().unwrap_or_else(|| panic!("{start} ...: {error}")).clone())
}

async fn answers(client: &Client, sql: &str, expected: &str) {
    let start: String = sql.chars().take(80).collect();
    let found = in_time(client, sql).await.unwrap_or_else(|error| panic!("{start} ...: {error:?}"));
    assert_eq!(found.iter().map(|row| row.join("|")).collect::<Vec<_>>().join(";"), expected, "{start} ...");
}

async fn fails(client: &Client, sql: &str, state: &str) -> DbError {
    let start: String = sql.chars().take(80).collect();
    let Err(error) = in_time(client, sql).await else { panic!("no error for {start} ...") };
    assert_eq!(error.code().code(), state, "{start} ...: {error:?}");
    error
}

/// What is long or deep is answered, or refused in words of SQL; nothing of it ends a connection or a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn big_statements_are_answered_or_refused() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    let setup = "CREATE TABLE big (n int, s varchar(100), m int) DISTKEY(n);
                 INSERT INTO big VALUES (1, 'a', NULL), (0, 'b', 7), (5, 'aa', 2)";
    client.batch_execute(setup).await.expect("a table");
    chains(&client).await;
    nests(&client).await;
    lists(&client).await;
    literals(&client).await;
    strings(&client).await;
    timeouts(&client).await;
    answers(&client, "SELECT count(*) FROM big", "3").await;
}

async fn chains(c: &Client) {
    answers(c, &format!("SELECT 1{}", " + 1".repeat(999)), "1000").await;
    answers(c, &format!("SELECT n{} FROM big ORDER BY n", " + 1".repeat(999)), "999;1000;1004").await;
    answers(c, &format!("SELECT sum(n{}) FROM big", " + 1 - 2".repeat(400)), "-1194").await;
    answers(c, &format!("SELECT len(s{}) FROM big WHERE n = 1", " || 'xy'".repeat(999)), "1999").await;
    answers(c, &format!("SELECT count(*) FROM big WHERE n >= 0{}", " AND n <> 7".repeat(999)), "3").await;
    let either: String = (0..999).map(|value| format!(" OR n = {value} AND m = {value}")).collect();
    answers(c, &format!("SELECT count(*) FROM big WHERE n = 1{either}"), "1").await;
    answers(c, &format!("SELECT count(*) FROM big GROUP BY n{}", " + 1".repeat(300)), "1;1;1").await;
    fails(c, &format!("SELECT 1{}", " + 1".repeat(20_000)), "54001").await;
}

async fn nests(c: &Client) {
    let nest =
        |open: &str, inner: &str, close: &str, levels: usize| format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
    let replaced = nest("replace(", "s", ", 'a', 'b')", 25);
    answers(c, &format!("SELECT {replaced} FROM big ORDER BY 1"), "b;b;bb").await;
    let cases = nest("CASE WHEN n = 0 THEN 0 ELSE 1 + ", "n", " END", 40);
    answers(c, &format!("SELECT {cases} FROM big ORDER BY 1"), "0;41;45").await;
    let first = nest("coalesce(m, ", "n", ")", 30);
    answers(c, &format!("SELECT {first} FROM big ORDER BY n"), "7;1;2").await;
    let first = nest("coalesce(", "m", " + 1, 0)", 25);
    answers(c, &format!("SELECT {first} FROM big ORDER BY n"), "32;24;27").await;
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("(SELECT ", "1", ")"),
        ("CASE WHEN true THEN ", "1", " END"),
        ("upper(", "'a'", ")"),
        ("NOT ", "true", ""),
        ("- ", "1", ""),
        ("CAST(", "1", " AS int)"),
    ] {
        fails(c, &format!("SELECT {}", nest(open, inner, close, 10_000)), "54001").await;
    }
    answers(c, &format!("SELECT {}true", "NOT ".repeat(99)), "f").await;
    fails(c, &format!("SELECT {}true", "NOT ".repeat(300)), "54001").await;
    fails(c, &format!("SELECT 1{}", "::int".repeat(10_000)), "54001").await;
    fails(c, &format!("SELECT 1{}", " UNION SELECT 1".repeat(10_000)), "54001").await;
    fails(c, &format!("SELECT 1 FROM big{}", " JOIN big b ON true".repeat(10_000)), "54001").await;
    let doubled: String = (1..24).map(|n| format!(", w{n} AS (SELECT a.x FROM w{0} a, w{0} b)", n - 1)).collect();
    fails(c, &format!("WITH w0 AS (SELECT 1 AS x){doubled} SELECT count(*) FROM w23"), "54001").await;
}

async fn lists(c: &Client) {
    let numbers = |range: std::ops::Range<usize>| range.map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    answers(c, &format!("SELECT count(*) FROM big WHERE n IN ({})", numbers(5..100_000)), "1").await;
    answers(c, &format!("SELECT count(*) FROM big WHERE n NOT IN ({})", numbers(5..100_000)), "2").await;
    let texts = (0..10_000).map(|value| format!("'v{value}'")).collect::<Vec<_>>().join(", ");
    answers(c, &format!("SELECT n FROM big WHERE s IN ({texts}, 'aa')"), "5").await;
    // Lists in which the rules for expressions find something to do, and others, at any place.
    answers(c, &format!("SELECT n FROM big WHERE s || '  ' IN ({texts}, 'aa ')"), "5").await;
    answers(c, &format!("SELECT n FROM big WHERE s NOT IN ('a ', {texts}, 'b')"), "5").await;
    answers(c, &format!("SELECT n FROM big WHERE n * 0.5 IN (2.5, {})", numbers(10..1_000)), "5").await;
    answers(c, &format!("SELECT n FROM big WHERE n + m IN ({}, '7') ORDER BY n", numbers(20..1_000)), "0;5").await;
    answers(c, &format!("SELECT n FROM big WHERE n NOT IN ({}, NULL)", numbers(5..1_000)), "").await;
    let columns: String = (1..1_600).map(|value| format!(", n + {value}")).collect();
    let found = in_time(c, &format!("SELECT n{columns} FROM big WHERE n = 1")).await.expect("a wide row");
    assert_eq!((found[0].len(), found[0][1_599].as_str()), (1_600, "1600"));
    let long = "x".repeat(16 * 1024 * 1024);
    fails(c, &format!("SELECT '{long}'"), "54000").await;
}

/// Many rows of literals have a way of their own: what they are worth, and what is wrong with them, is the same as with few.
async fn literals(c: &Client) {
    let columns = "a bigint, b decimal(38,10), s varchar(20), t boolean, d date, x double precision";
    c.batch_execute(&format!("CREATE TABLE few ({columns}); CREATE TABLE many ({columns})")).await.expect("tables");
    let rows = "(-1, 1.50, 'it''s', true, '2020-02-29', 5), (3000000000, 007, '', NULL, NULL, -.5),
                (NULL, 1234567890123456789012, 12, FALSE, '2024-01-01', 1)";
    let times = |times: usize| vec![rows; times].join(", ");
    for _ in 0..5 {
        in_time(c, &format!("INSERT INTO few VALUES {}", times(100))).await.expect("300 rows");
    }
    in_time(c, &format!("INSERT INTO many VALUES {}", times(500))).await.expect("1,500 rows");
    let counted = "count(*), count(a), sum(a), sum(b), sum(len(s)), count(t), min(d), sum(x)";
    let all = "1500|1000|1499999999500|617283945061728394510250.0000000000|3000|1000|2020-02-29|2750";
    answers(c, &format!("SELECT {counted} FROM few"), all).await;
    answers(c, &format!("SELECT {counted} FROM many"), all).await;
    answers(c, "SELECT count(*) FROM (SELECT * FROM few EXCEPT SELECT * FROM many)", "0").await;
    for (row, state) in
        [("('x')", "22P02"), ("(1), (1, 2)", "42601"), ("(99999999999999999999)", "22003"), ("(1, 2, 3, 4, 5, 6, 7)", "42601")]
    {
        let of = |rows: usize| format!("INSERT INTO many VALUES {}", vec![row; rows].join(", "));
        let (few, many) = (fails(c, &of(3), state).await, fails(c, &of(3_000), state).await);
        assert_eq!((few.message(), few.detail(), few.position()), (many.message(), many.detail(), many.position()), "{row}");
    }
    in_time(c, &format!("INSERT INTO many (s, a) VALUES {}", vec!["('7', 7)"; 100_000].join(","))).await.expect("100,000 rows");
    answers(c, "SELECT count(*), sum(a) FROM many WHERE s = '7'", "100000|700000").await;
    answers(c, &format!("SELECT 1{}", " \n\t".repeat(1_000_000)), "1").await;
}

async fn strings(c: &Client) {
    for made in [
        "repeat('x', 300000000)",
        "repeat(s, 2000000)",
        "lpad(s, 70000)",
        "rpad(s, 70000, 'é')",
        "rpad(s, 40000, 'é')",
        "repeat(s, 40000) || repeat('b', 40000)",
        "concat(repeat(s, 40000), repeat('b', 40000))",
        "replace(repeat(s, 40000), s, 'long')",
    ] {
        let error = fails(c, &format!("SELECT max(len({made})) FROM big WHERE n < 2"), "22001").await;
        assert!(error.message().contains("65535"), "{error:?}");
    }
    answers(c, "SELECT max(len(repeat(s, 32767))) FROM big", "65534").await;
    answers(c, "SELECT repeat('x', 0) || lpad('a', 3, '') || repeat(NULL::varchar, 100000) IS NULL", "t").await;
    listed(c).await;
}

async fn listed(c: &Client) {
    let listed = "SELECT listagg(s, ',') WITHIN GROUP (ORDER BY n DESC) FROM big";
    answers(c, listed, "aa,a,b").await;
    let by_two = "SELECT m IS NULL, listagg(DISTINCT left(s, 1), '/') WITHIN GROUP (ORDER BY s) FROM big GROUP BY 1 ORDER BY 1";
    answers(c, by_two, "f|a/b;t|a").await;
    let error = fails(c, "SELECT listagg(repeat(s, 30000), '') FROM big", "22001").await;
    assert_eq!(error.message(), "Result size exceeds LISTAGG limit");
}

/// A statement that takes long to plan ends when it may not take longer, and so does what is described only.
async fn timeouts(c: &Client) {
    let joins: String = (0..250).map(|number| format!(" JOIN big b{number} ON b.n = b{number}.n")).collect();
    c.batch_execute("SET statement_timeout TO 200").await.expect("a setting");
    let error = fails(c, &format!("SELECT count(*) FROM big b{joins}"), "57014").await;
    assert_eq!(error.message(), "canceling statement due to statement timeout");
    c.batch_execute("SET statement_timeout TO 0").await.expect("a setting");
}
