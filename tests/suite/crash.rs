//! Processes that die or stop answering at any moment, files that go bad, statements that are cancelled or too big.

use crate::bad_files::{files_below, segment_files};
use crate::harness::{Cluster, Process, rows};
use crate::oracle::{Oracle, ask_slipher, difference};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slipher_common::tpch::{tpch_batches, tpch_ddl, tpch_schema};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// Rows of `src`.
const SOURCE_ROWS: u64 = 20_000;
/// Rows of each load: ten for each of `src`.
const LOAD_ROWS: u64 = 10 * SOURCE_ROWS;
/// A statement that is still under way after this hangs.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long a cluster may take to answer again after its processes were restarted.
pub const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// How long something that comes to pass by itself may take.
const EVENTUALLY_MAX: Duration = Duration::from_secs(20);

/// The sum of the numbers below `rows`.
fn sum_below(rows: u64) -> u64 {
    rows * (rows - 1) / 2
}

/// What [`loads_in`] says of a whole load.
const WHOLE_LOAD: (u64, u64) = (LOAD_ROWS, LOAD_ROWS * (LOAD_ROWS - 1) / 2);
/// The rows of a load, but for its number.
const LOAD_SOURCE: &str = "SELECT src.n * 10 + digits.n AS n, t FROM src CROSS JOIN digits";

/// `src` with the numbers 0 to [`SOURCE_ROWS`], and tables of every style to load them into.
pub async fn prepare(client: &Client) {
    let statements = [
        "CREATE TABLE digits (n bigint) DISTSTYLE ALL",
        "INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
        "CREATE TABLE src (n bigint, t varchar(40)) DISTKEY(n)",
        "INSERT INTO src SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n AS n, 'row of a table' AS t \
         FROM digits a, digits b, digits c, digits d, digits e WHERE e.n < 2",
        "CREATE TABLE by_key (n bigint, load int, t varchar(40)) DISTKEY(n) SORTKEY(n)",
        "CREATE TABLE evenly (n bigint, load int, t varchar(40)) DISTSTYLE EVEN",
        "CREATE TABLE everywhere (n bigint, load int, t varchar(40)) DISTSTYLE ALL",
    ];
    for statement in statements {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    assert_eq!(
        loads_in(client, "src", "n - n").await.expect("src"),
        BTreeMap::from([(0, (SOURCE_ROWS, sum_below(SOURCE_ROWS)))])
    );
}

/// Rows and sum of each load in a table.
async fn loads_in(client: &Client, table: &str, load: &str) -> Result<BTreeMap<u64, (u64, u64)>, tokio_postgres::Error> {
    let found = rows(client, &format!("SELECT {load} AS load, count(*), sum(n) FROM {table} GROUP BY {load}")).await?;
    let number = |text: &String| text.parse::<u64>().expect("a number");
    Ok(found.iter().map(|row| (number(&row[0]), (number(&row[1]), number(&row[2])))).collect())
}

/// Asks again until the answer is there: right after a restart the leader does not know yet who is alive.
pub async fn after_recovery<T, F: Future<Output = Result<T, tokio_postgres::Error>>>(mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + RECOVERY_MAX;
    loop {
        match tokio::time::timeout(ANSWER_MAX, ask()).await.expect("an answer in time") {
            Ok(answer) => return answer,
            Err(error) => {
                let code = error.code().cloned();
                let passing = [SqlState::SYSTEM_ERROR, SqlState::CANNOT_CONNECT_NOW];
                assert!(code.is_some_and(|code| passing.contains(&code)), "{error:?}");
                assert!(Instant::now() < deadline, "the cluster does not recover: {error:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn load_select(number: u64) -> String {
    format!("SELECT n, {number} AS load, t FROM ({LOAD_SOURCE}) AS x")
}

/// The statement of load `number`, and the table that it fills.
fn load_statement(cluster: &Cluster, kind: usize, number: u64) -> (String, String) {
    let select = load_select(number);
    let insert = |table: &str| (format!("INSERT INTO {table} {select}"), table.to_owned());
    match kind {
        0 => insert("by_key"),
        1 => insert("evenly"),
        2 => insert("everywhere"),
        3 => (format!("CREATE TABLE made_{number} DISTKEY(n) AS {select}"), format!("made_{number}")),
        _ => {
            let path = cluster.load_dir().join(format!("{number}.csv"));
            let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
            (0..LOAD_ROWS).for_each(|n| writeln!(file, "{n},{number},from a file").expect("writing"));
            (format!("COPY by_key FROM '{}' CSV", path.display()), "by_key".to_owned())
        }
    }
}

/// What is known of a load's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Acknowledged,
    Failed,
    Unknown,
}

/// Kills a process at a random moment of a load, again and again; a load is there in full or not at all.
async fn loads_survive_kills(seed: u64, rounds: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start_with(3, &["--sweep-seconds", "1"]);
    prepare(&cluster.connect().await).await;
    // How long a load takes that nobody disturbs.
    let started = Instant::now();
    let client = cluster.connect().await;
    client.batch_execute(&load_statement(&cluster, 0, 0).0).await.expect("a load");
    let undisturbed = started.elapsed();
    let mut ends = BTreeMap::from([(("by_key".to_owned(), 0), Ended::Acknowledged)]);
    for number in 1..=rounds {
        let (statement, table) = load_statement(&cluster, rng.random_range(0..5), number);
        let client = cluster.connect().await;
        let running = tokio::spawn(async move { client.batch_execute(&statement).await });
        tokio::time::sleep(undisturbed.mul_f64(rng.random_range(0.0..1.3))).await;
        // The leader commits: it dies as often as all nodes together.
        let victim = rng.random_range(0..6);
        match cluster.nodes.get_mut(victim) {
            Some(node) => node.kill(),
            None => cluster.leader.kill(),
        }
        let outcome = tokio::time::timeout(ANSWER_MAX, running).await;
        let outcome =
            outcome.unwrap_or_else(|_| panic!("seed {seed}, load {number} hangs after kill of {victim}")).expect("a task");
        let end = match &outcome {
            Ok(()) => Ended::Acknowledged,
            Err(error) if error.code().is_some() => Ended::Failed,
            Err(_) => Ended::Unknown,
        };
        ends.insert((table, number), end);
        match victim < cluster.nodes.len() {
            true => cluster.restart_node(victim),
            false => cluster.restart_leader(),
        }
        check_loads(&cluster, &ends, &format!("seed {seed}, load {number}, killed {victim}, {outcome:?}")).await;
    }
    println!("seed {seed}: {ends:?}");
    assert!(ends.values().any(|end| *end != Ended::Acknowledged), "no kill came in time");
}

async fn check_loads(cluster: &Cluster, ends: &BTreeMap<(String, u64), Ended>, context: &str) {
    let client = cluster.connect().await;
    let known = after_recovery(|| rows(&client, "SELECT n FROM digits")).await;
    assert_eq!(known.len(), 10);
    let tables: BTreeSet<&String> = ends.keys().map(|(table, _)| table).collect();
    for table in tables {
        let found = match loads_in(&client, table, "load").await {
            Ok(found) => found,
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => BTreeMap::new(),
            Err(error) => panic!("{context}: reading {table}: {error:?}"),
        };
        for (load, counted) in &found {
            assert_eq!(*counted, WHOLE_LOAD, "{context}: load {load} of {table} is there in part");
            assert_ne!(ends.get(&(table.clone(), *load)), Some(&Ended::Failed), "{context}: failed load {load} is in {table}");
        }
        for ((_, load), end) in ends.iter().filter(|((of, _), _)| of == table) {
            assert!(*end != Ended::Acknowledged || found.contains_key(load), "{context}: load {load} of {table} is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_are_all_or_nothing_whoever_is_killed() {
    let seeds = std::env::var("SLIPHER_CRASH_SEEDS").unwrap_or_else(|_| "1".to_owned());
    for seed in seeds.split(',') {
        loads_survive_kills(seed.parse().expect("a seed"), 12).await;
    }
}

/// Small commits one after another, the leader killed among them.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_outlive_the_leader() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut cluster = Cluster::start(2);
    cluster.connect().await.batch_execute("CREATE TABLE log (n bigint) DISTKEY(n)").await.expect("create");
    let (mut next, mut acknowledged, mut unknown) = (0u64, BTreeSet::new(), BTreeSet::new());
    for _ in 0..5 {
        let client = cluster.connect().await;
        let from = next;
        let writer = tokio::spawn(async move {
            let mut done = Vec::new();
            for n in from.. {
                match client.batch_execute(&format!("INSERT INTO log VALUES ({n})")).await {
                    Ok(()) => done.push(n),
                    Err(error) => return (done, n, error),
                }
            }
            unreachable!("the leader is killed")
        });
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..500))).await;
        cluster.leader.kill();
        let (done, failed, error) = tokio::time::timeout(ANSWER_MAX, writer).await.expect("an error in time").expect("a task");
        assert_eq!(error.code(), None, "a dead leader cannot say: {error:?}");
        acknowledged.extend(done);
        unknown.insert(failed);
        next = failed + 1;
        cluster.restart_leader();
        let client = cluster.connect().await;
        let found = after_recovery(|| rows(&client, "SELECT n FROM log")).await;
        let found: Vec<u64> = found.iter().map(|row| row[0].parse().expect("a number")).collect();
        let distinct: BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(found.len(), distinct.len(), "a row is there twice");
        assert!(acknowledged.is_subset(&distinct), "lost: {:?}", acknowledged.difference(&distinct).collect::<Vec<_>>());
        assert!(distinct.iter().all(|n| acknowledged.contains(n) || unknown.contains(n)), "rows from nowhere");
    }
    assert!(acknowledged.len() > 5, "{acknowledged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_everything_loses_nothing() {
    let mut cluster = Cluster::start(2);
    let client = cluster.connect().await;
    prepare(&client).await;
    for table in ["by_key", "evenly", "everywhere"] {
        client.batch_execute(&format!("INSERT INTO {table} {}", load_select(1))).await.expect("insert");
    }
    client
        .batch_execute("CREATE SCHEMA kept; CREATE TABLE kept.t (a int NOT NULL, b varchar(3) DEFAULT 'x')")
        .await
        .expect("create");
    client.batch_execute("DROP TABLE digits").await.expect("drop");
    cluster.leader.kill();
    cluster.nodes.iter_mut().for_each(Process::kill);
    cluster.restart_leader();
    (0..2).for_each(|index| cluster.restart_node(index));
    let client = cluster.connect().await;
    for table in ["by_key", "evenly", "everywhere"] {
        let found = after_recovery(|| loads_in(&client, table, "load")).await;
        assert_eq!(found, BTreeMap::from([(1, WHOLE_LOAD)]), "{table}");
    }
    client.batch_execute("INSERT INTO kept.t (a) VALUES (1)").await.expect("insert");
    assert_eq!(rows(&client, "SELECT a, b FROM kept.t").await.expect("select"), [["1", "x"]]);
    let error = rows(&client, "SELECT * FROM digits").await.expect_err("dropped");
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE), "{error:?}");
}

// Dead nodes

/// What `sql` answers, or its error; panics when it hangs.
pub async fn in_time(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    tokio::time::timeout(ANSWER_MAX, rows(client, sql)).await.unwrap_or_else(|_| panic!("\"{sql}\" hangs"))
}

pub const COUNT: &str = "SELECT count(*), sum(a.n) FROM src a JOIN src b ON a.n = b.n + 1";
/// Runs for some seconds.
const LONG: &str = "SELECT count(*), sum(a.n) FROM src a JOIN src b ON a.n < b.n AND a.n % 7 < 6";

pub fn all_counted() -> Vec<Vec<String>> {
    vec![vec![(SOURCE_ROWS - 1).to_string(), sum_below(SOURCE_ROWS).to_string()]]
}

fn assert_names_a_node(error: &tokio_postgres::Error) {
    assert_eq!(error.code(), Some(&SqlState::SYSTEM_ERROR), "{error:?}");
    let message = error.as_db_error().expect("an error of the server").message();
    assert!(message.contains("compute node"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_answer_for_a_dead_node() {
    for stopped in [false, true] {
        let mut cluster = Cluster::start(3);
        let client = cluster.connect().await;
        prepare(&client).await;
        assert_eq!(in_time(&client, COUNT).await.expect("before"), all_counted());
        match stopped {
            true => cluster.nodes[1].signal("STOP"),
            false => cluster.nodes[1].kill(),
        }
        // The leader has not noticed yet; then it has.
        for _ in 0..3 {
            assert_eq!(
                in_time(&client, COUNT).await.unwrap_or_else(|error| panic!("stopped {stopped}: {error:?}")),
                all_counted()
            );
        }
        in_time(&client, &format!("INSERT INTO by_key {}", load_select(1))).await.expect("a load without the dead node");
        assert_eq!(loads_in(&client, "by_key", "load").await.expect("its rows"), BTreeMap::from([(1, WHOLE_LOAD)]));
        match stopped {
            true => cluster.nodes[1].signal("CONT"),
            false => cluster.restart_node(1),
        }
        // What it missed it fetches.
        for _ in 0..3 {
            assert_eq!(loads_in(&client, "by_key", "load").await.expect("its rows"), BTreeMap::from([(1, WHOLE_LOAD)]));
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_answer_for_a_node_that_dies_during_a_query() {
    for stopped in [false, true] {
        let mut cluster = Cluster::start(3);
        let client = cluster.connect().await;
        prepare(&client).await;
        let expected = rows(&client, LONG).await.expect("before");
        let running = tokio::spawn(async move { rows(&client, LONG).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        match stopped {
            true => cluster.nodes[2].signal("STOP"),
            false => cluster.nodes[2].kill(),
        }
        let answer = tokio::time::timeout(3 * ANSWER_MAX, running).await.expect("no hang").expect("a task");
        assert_eq!(answer.unwrap_or_else(|error| panic!("stopped {stopped}: {error:?}")), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_a_dead_node_is_an_error_that_names_it() {
    for stopped in [false, true] {
        let mut cluster = Cluster::start_with(2, &["--replication-factor", "1"]);
        let client = cluster.connect().await;
        prepare(&client).await;
        let other = cluster.connect().await;
        let running = tokio::spawn(async move { rows(&other, LONG).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        match stopped {
            true => cluster.nodes[0].signal("STOP"),
            false => cluster.nodes[0].kill(),
        }
        let during = tokio::time::timeout(ANSWER_MAX, running).await.expect("no hang").expect("a task");
        assert_names_a_node(&during.expect_err("half of the rows are gone"));
        for _ in 0..3 {
            assert_names_a_node(&in_time(&client, COUNT).await.expect_err("half of the rows are gone"));
        }
        let error =
            in_time(&client, &format!("INSERT INTO by_key {}", load_select(1))).await.expect_err("half of the slices are gone");
        assert_names_a_node(&error);
        match stopped {
            true => cluster.nodes[0].signal("CONT"),
            false => cluster.restart_node(0),
        }
        assert_eq!(after_recovery(|| rows(&client, COUNT)).await, all_counted());
    }
}

// Cancelling, sweeping, memory

/// Clock ticks of the processors that a process has used.
fn ticks_used(process: &Process) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("a process's times");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("user time") + fields[12].parse::<u64>().expect("system time")
}

/// Waits until `is_so`; panics when it does not come to pass.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + EVENTUALLY_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not so after {EVENTUALLY_MAX:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until no node works: less than a tenth of one processor.
pub async fn eventually_idle(cluster: &Cluster) {
    let mut before: Vec<u64> = cluster.nodes.iter().map(ticks_used).collect();
    let mut since = Instant::now();
    eventually("the nodes are idle", || {
        let now: Vec<u64> = cluster.nodes.iter().map(ticks_used).collect();
        let used: u64 = now.iter().zip(&before).map(|(now, before)| now - before).sum();
        let hundredths = since.elapsed().as_millis() as u64 / 10;
        (before, since) = (now, Instant::now());
        hundredths >= 10 && used * 10 < hundredths
    })
    .await;
}

/// Statements that nobody waits for: joins that yield much, joins that keep no row, a sort, a load.
const ENDLESS: [&str; 5] = [
    "SELECT count(*) FROM many a JOIN many b ON a.n % 20 = b.n % 20",
    "SELECT count(*) FROM many a, many b WHERE a.n + b.n < 0",
    "SELECT count(*) FROM many a JOIN many b ON a.n % 20 = b.n % 20 AND a.n + b.n < 0",
    "SELECT a.n + b.n AS s FROM many a, many b ORDER BY s LIMIT 5",
    "INSERT INTO evenly SELECT a.n, 1, 't' FROM many a JOIN many b ON a.n % 20 = b.n % 20",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_statement_ends_on_every_node() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    prepare(&client).await;
    let many = "CREATE TABLE many AS SELECT a.n + 20000 * b.n AS n FROM src a, digits b";
    client.batch_execute(many).await.expect("many rows");
    for endless in ENDLESS {
        let other = cluster.connect().await;
        let cancel = other.cancel_token();
        let running = tokio::spawn(async move { other.batch_execute(endless).await });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cancel.cancel_query(NoTls).await.expect("cancelling");
        let ended =
            tokio::time::timeout(ANSWER_MAX, running).await.unwrap_or_else(|_| panic!("{endless} hangs")).expect("a task");
        let Err(error) = ended else { panic!("{endless} was not cancelled") };
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{endless}: {error:?}");
        eventually_idle(&cluster).await;
    }
    assert_eq!(in_time(&client, COUNT).await.expect("the cluster works on"), all_counted());
    // A client that goes away cancels, too.
    let leaver = cluster.connect().await;
    let gone = tokio::spawn(async move { leaver.batch_execute(ENDLESS[0]).await });
    tokio::time::sleep(Duration::from_millis(1000)).await;
    gone.abort();
    eventually_idle(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_failed_loads_are_swept() {
    let mut cluster = Cluster::start_with(2, &["--sweep-seconds", "1"]);
    let client = cluster.connect().await;
    prepare(&client).await;
    let files = |cluster: &Cluster| (0..2).map(|node| segment_files(&cluster.node_dir(node)).len()).sum::<usize>();
    let before = files(&cluster);
    client.batch_execute("CREATE TABLE strict (n bigint NOT NULL, t varchar(40)) DISTKEY(n)").await.expect("create");
    let error = client
        .batch_execute("INSERT INTO strict SELECT CASE WHEN n = 19999 THEN NULL ELSE n END, t FROM src")
        .await
        .expect_err("a NULL");
    assert_eq!(error.code(), Some(&SqlState::NOT_NULL_VIOLATION), "{error:?}");
    eventually("the failed load left no file", || files(&cluster) == before).await;
    // The leader dies during loads: nobody remembers them.
    for _ in 0..3 {
        let client = cluster.connect().await;
        let running = tokio::spawn(async move { client.batch_execute(&format!("INSERT INTO evenly {}", load_select(1))).await });
        tokio::time::sleep(Duration::from_millis(120)).await;
        cluster.leader.kill();
        drop(running.await);
        cluster.restart_leader();
    }
    let client = cluster.connect().await;
    let kept = after_recovery(|| rows(&client, "SELECT count(*) FROM evenly")).await[0][0].parse::<u64>().expect("a count");
    assert_eq!(kept % LOAD_ROWS, 0);
    client.batch_execute("DROP TABLE evenly").await.expect("drop");
    eventually("dropped tables and dead loads left no file", || files(&cluster) == before).await;
    assert_eq!(in_time(&client, COUNT).await.expect("what is needed is kept"), all_counted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_its_memory_spills_or_says_so() {
    const SCALE: f64 = 0.03;
    let mut cluster = Cluster::start_with_all(2, &[], &["--query-memory-mib", "24"]);
    let client = cluster.connect().await;
    client.batch_execute(tpch_ddl("lineitem")).await.expect("create");
    client
        .batch_execute(&format!("INSERT INTO lineitem SELECT * FROM tpchgen('lineitem', {SCALE})"))
        .await
        .expect("a sort that spills");
    let oracle = Oracle::new();
    oracle.add("lineitem", tpch_schema("lineitem").expect("its schema"), tpch_batches("lineitem", SCALE, 0, 1).collect());
    let queries = [
        // Sorts everything in one task. The oracle's comparisons see trailing blanks, ours do not.
        "SELECT count(*), sum(rn * l_linenumber), min(l_comment) FROM (SELECT l_linenumber, l_comment, row_number() OVER \
         (ORDER BY rtrim(l_comment), l_shipinstruct, l_orderkey, l_linenumber) AS rn FROM lineitem) AS x WHERE rn % 10 = 0",
        // As many groups as rows.
        "SELECT count(*), sum(c), max(m) FROM (SELECT l_comment, l_partkey, l_suppkey, count(*) AS c, max(l_extendedprice) AS m \
         FROM lineitem GROUP BY l_comment, l_partkey, l_suppkey) AS x",
        "SELECT count(DISTINCT rtrim(l_comment)) FROM lineitem",
        // Builds on all rows.
        "SELECT count(*), max(a.l_comment) FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey AND rtrim(a.l_comment) = rtrim(b.l_comment)",
    ];
    let mut answered = 0;
    for sql in queries {
        let expected = oracle.ask(sql).await.expect("the oracle's answer");
        match ask_slipher(&client, sql, &expected.floats).await {
            Ok(found) => {
                assert_eq!(difference(&expected, &found), None, "{sql}");
                answered += 1;
            }
            Err(error) => assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY), "{sql}: {error:?}"),
        }
        assert!(cluster.nodes.iter_mut().all(Process::is_running), "{sql} killed a node");
        eventually("spill files are gone", || (0..2).all(|node| files_below(&cluster.node_dir(node).join("tmp")).is_empty()))
            .await;
    }
    assert!(answered >= 2, "only {answered} of the queries were answered");
}
