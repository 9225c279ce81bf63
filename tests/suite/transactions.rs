//! Transactions at once and through kill -9: invariants that hold in every snapshot, nothing lost, nothing half.
//!
//! `SLIPHER_KILLS=100` kills more processes than every run does; `SLIPHER_KILL_SEED` others.

use crate::harness::{Cluster, connect_as, rows};
use crate::ledger::{Ledger, TABLES, check, connect, number, write};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Accounts of the bank, and what each begins with.
const ACCOUNTS: i64 = 8;
const FIRST_BALANCE: i64 = 100;
/// Clients that transfer, and transfers of each that must come through.
const TRANSFERRERS: u64 = 3;
const TRANSFERS_EACH: usize = 12;
/// Processes that are killed in every run.
const KILLS_DEFAULT: u64 = 6;

fn is_conflict(error: &Error) -> bool {
    error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

async fn one_number(client: &Client, sql: &str) -> Result<i64, Error> {
    Ok(rows(client, sql).await?[0][0].parse().expect("a number"))
}

/// Takes from one account and gives to another, if there is enough.
async fn transfer(client: &Client, from: i64, to: i64, amount: i64) -> Result<(), Error> {
    client.batch_execute("BEGIN").await?;
    let balance = one_number(client, &format!("SELECT balance FROM accounts WHERE id = {from}")).await?;
    if balance >= amount {
        client.batch_execute(&format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}")).await?;
        client.batch_execute(&format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}")).await?;
        client.batch_execute(&format!("INSERT INTO transfers VALUES ({from}, {to}, {amount})")).await?;
    }
    client.batch_execute("COMMIT").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_transfers_keep_the_sum_in_every_snapshot() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE accounts (id int DISTKEY, balance int)").await.unwrap();
    client.batch_execute("CREATE TABLE transfers (sender int, receiver int, amount int)").await.unwrap();
    let first: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {FIRST_BALANCE})")).collect();
    client.batch_execute(&format!("INSERT INTO accounts VALUES {}", first.join(", "))).await.unwrap();
    let conflicts = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for seed in 0..TRANSFERRERS {
        let (client, conflicts) = (cluster.connect().await, Arc::clone(&conflicts));
        writers.push(tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut done = 0;
            while done < TRANSFERS_EACH {
                let (from, to) = (rng.random_range(0..ACCOUNTS), rng.random_range(0..ACCOUNTS));
                match transfer(&client, from, to, rng.random_range(1..50)).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        assert!(is_conflict(&error), "{error:?}");
                        conflicts.fetch_add(1, Ordering::SeqCst);
                        client.batch_execute("ROLLBACK").await.unwrap();
                    }
                }
            }
        }));
    }
    let reader = {
        let (client, is_over) = (cluster.connect().await, Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut looks = 0;
            while !is_over.load(Ordering::SeqCst) || looks == 0 {
                client.batch_execute("BEGIN").await.unwrap();
                let sum = one_number(&client, "SELECT sum(balance) FROM accounts").await.unwrap();
                let least = one_number(&client, "SELECT min(balance) FROM accounts").await.unwrap();
                let sent = "SELECT coalesce(sum(CASE WHEN receiver = 0 THEN amount ELSE 0 END), 0) - \
                            coalesce(sum(CASE WHEN sender = 0 THEN amount ELSE 0 END), 0) FROM transfers";
                let balance = one_number(&client, "SELECT balance FROM accounts WHERE id = 0").await.unwrap();
                let moved = one_number(&client, sent).await.unwrap();
                client.batch_execute("COMMIT").await.unwrap();
                assert_eq!(sum, ACCOUNTS * FIRST_BALANCE);
                assert!(least >= 0, "an account has {least}");
                assert_eq!(balance, FIRST_BALANCE + moved, "what the transfers of account 0 come to");
                looks += 1;
            }
            looks
        })
    };
    for writer in writers {
        writer.await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    let looks = reader.await.unwrap();
    println!(
        "{} transfers, {} conflicts, {looks} looks",
        TRANSFERRERS as usize * TRANSFERS_EACH,
        conflicts.load(Ordering::SeqCst)
    );
    assert_eq!(one_number(&client, "SELECT sum(balance) FROM accounts").await.unwrap(), ACCOUNTS * FIRST_BALANCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)").await.unwrap();
    let mut writers = Vec::new();
    for _ in 0..3 {
        let client = cluster.connect().await;
        writers.push(tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                // The read and the write stand in one block: the value that was read decides what is written.
                let block = async {
                    client.batch_execute("BEGIN").await?;
                    let n = one_number(&client, "SELECT n FROM counter").await?;
                    client.batch_execute(&format!("UPDATE counter SET n = {}", n + 1)).await?;
                    client.batch_execute("COMMIT").await
                };
                match block.await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        assert!(is_conflict(&error), "{error:?}");
                        client.batch_execute("ROLLBACK").await.unwrap();
                    }
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(one_number(&client, "SELECT n FROM counter").await.unwrap(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_one_text_are_one_transaction() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let numbers = async || rows(&client, "SELECT n FROM t ORDER BY n").await.unwrap().concat();
    client.batch_execute("INSERT INTO t VALUES (1); SELECT 1 / 0").await.unwrap_err();
    assert!(numbers().await.is_empty());
    client.batch_execute("INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); SELECT nothing FROM t").await.unwrap_err();
    assert_eq!(numbers().await, ["1"]);
    client.batch_execute("INSERT INTO t VALUES (3); ROLLBACK; INSERT INTO t VALUES (4)").await.unwrap();
    assert_eq!(numbers().await, ["1", "4"]);
    // BEGIN makes a block of it that stays open; what came before belongs to it.
    client.batch_execute("INSERT INTO t VALUES (5); BEGIN; INSERT INTO t VALUES (6)").await.unwrap();
    assert_eq!(numbers().await, ["1", "4", "5", "6"]);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(numbers().await, ["1", "4"]);
    let error = client.batch_execute("INSERT INTO t VALUES (7); VACUUM t").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::ACTIVE_SQL_TRANSACTION));
    client.batch_execute("VACUUM t").await.unwrap();
    assert_eq!(numbers().await, ["1", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_get_numbers_for_the_same_column_do_not_conflict() {
    let cluster = Cluster::start(2);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE numbered (id bigint IDENTITY(1, 1), writer int)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..3 {
        let client = cluster.connect().await;
        writers.push(tokio::spawn(async move {
            for _ in 0..5 {
                // The block's version is older than what others commit before its INSERT.
                client.batch_execute("BEGIN").await.unwrap();
                one_number(&client, "SELECT count(*) FROM numbered").await.unwrap();
                for _ in 0..2 {
                    let insert = format!("INSERT INTO numbered (writer) VALUES ({writer}), ({writer})");
                    client.batch_execute(&insert).await.unwrap();
                }
                client.batch_execute("COMMIT").await.unwrap();
                client.batch_execute(&format!("INSERT INTO numbered (writer) VALUES ({writer})")).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let counted = rows(&client, "SELECT count(*), count(DISTINCT id), min(id) FROM numbered").await.unwrap();
    assert_eq!(counted, [["75", "75", "1"]]);
}

/// What is written by a definition that has changed meanwhile is not added to the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_lose_against_another_layout_of_their_table() {
    let cluster = Cluster::start(2);
    let (one, two) = (cluster.connect().await, cluster.connect().await);
    one.batch_execute("CREATE TABLE t (a int DISTKEY, b int)").await.unwrap();
    one.batch_execute("INSERT INTO t SELECT l_orderkey, l_linenumber FROM tpchgen('lineitem', 0.001)").await.unwrap();
    let all = rows(&one, "SELECT count(*), sum(a) FROM t").await.unwrap();
    let changes = [
        "ALTER TABLE t ALTER DISTKEY b",
        "ALTER TABLE t ALTER DISTSTYLE ALL",
        "ALTER TABLE t ALTER DISTSTYLE EVEN",
        "ALTER TABLE t ALTER COLUMN b TYPE bigint",
    ];
    for change in changes {
        one.batch_execute("BEGIN").await.unwrap();
        one.batch_execute("INSERT INTO t VALUES (1000000, 1)").await.unwrap();
        two.batch_execute(change).await.unwrap();
        assert!(is_conflict(&one.batch_execute("COMMIT").await.unwrap_err()), "{change}");
        assert_eq!(rows(&one, "SELECT count(*), sum(a) FROM t").await.unwrap(), all, "{change}");
    }
    // What leaves segments as they are does no harm.
    one.batch_execute("BEGIN").await.unwrap();
    one.batch_execute("INSERT INTO t VALUES (1000000, 1)").await.unwrap();
    two.batch_execute("ALTER TABLE t RENAME COLUMN b TO c").await.unwrap();
    two.batch_execute("ALTER TABLE t ADD COLUMN d int DEFAULT 5").await.unwrap();
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&one, "SELECT a, c, d FROM t WHERE a = 1000000").await.unwrap(), [["1000000", "1", "5"]]);
}

/// A block that ends in the middle of a text, or whose session ends, leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_text_is_never_committed() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let count = async || one_number(&client, "SELECT count(*) FROM t").await.unwrap();
    let long = "SELECT count(*) FROM tpchgen('lineitem', 10) a JOIN tpchgen('lineitem', 10) b ON a.l_orderkey = b.l_partkey";

    let other = cluster.connect().await;
    let process = one_number(&other, "SELECT pg_backend_pid()").await.unwrap();
    let text = format!("INSERT INTO t VALUES (1); {long}");
    let running = tokio::spawn(async move { other.batch_execute(&text).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.batch_execute(&format!("SELECT pg_terminate_backend({process})")).await.unwrap();
    running.await.unwrap().unwrap_err();
    assert_eq!(count().await, 0);

    // The client goes away.
    let text = format!("INSERT INTO t VALUES (2); {long}");
    let other = cluster.connect().await;
    let _ = tokio::time::timeout(Duration::from_millis(700), other.batch_execute(&text)).await;
    drop(other);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(count().await, 0);

    // What fails after the statement itself did not.
    client.batch_execute("INSERT INTO t VALUES (3); DEALLOCATE nothing").await.unwrap_err();
    client.batch_execute("INSERT INTO t VALUES (4); SELECT 1 / (n - 4) FROM t").await.unwrap_err();
    assert_eq!(count().await, 0);
    client.batch_execute("BEGIN; INSERT INTO t VALUES (5)").await.unwrap();
    client.batch_execute("DEALLOCATE nothing").await.unwrap_err();
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serializable_blocks_read_what_they_make() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("ALTER DATABASE dev ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    client.batch_execute("CREATE TABLE t (n int); SELECT count(*) FROM t").await.unwrap();
    client.batch_execute("BEGIN; CREATE TEMP TABLE s AS SELECT 1 AS n; INSERT INTO t SELECT n FROM s; COMMIT").await.unwrap();
    assert_eq!(one_number(&client, "SELECT n FROM t").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_keeps_other_writers_waiting() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client
        .batch_execute("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0); CREATE TABLE free (n int)")
        .await
        .unwrap();
    let mut writers = Vec::new();
    for _ in 0..3 {
        let client = cluster.connect().await;
        writers.push(tokio::spawn(async move {
            // What loses without LOCK (see above) never does with it.
            for _ in 0..10 {
                client.batch_execute("BEGIN; LOCK counter").await.unwrap();
                let n = one_number(&client, "SELECT n FROM counter").await.unwrap();
                client.batch_execute(&format!("UPDATE counter SET n = {}; COMMIT", n + 1)).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(one_number(&client, "SELECT n FROM counter").await.unwrap(), 30);

    // Readers and writers of other tables do not wait; a writer does, up to its time limit.
    client.batch_execute("BEGIN; LOCK counter").await.unwrap();
    let other = cluster.connect().await;
    assert_eq!(one_number(&other, "SELECT n FROM counter").await.unwrap(), 30);
    other.batch_execute("INSERT INTO free VALUES (1); SET statement_timeout TO 300").await.unwrap();
    let error = other.batch_execute("INSERT INTO counter VALUES (1)").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    // Two that lock in different orders: one is told, the other goes on.
    other.batch_execute("RESET statement_timeout; BEGIN; LOCK free").await.unwrap();
    let waiting = tokio::spawn(async move {
        let locked = other.batch_execute("LOCK counter").await;
        (locked, other)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = client.batch_execute("LOCK free").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("40P01"));
    let (locked, _other) = waiting.await.unwrap();
    locked.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_cancelled_and_ended_by_others() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("CREATE USER low PASSWORD 'Passw0rd'; CREATE TABLE t (n int)").await.unwrap();
    let other = cluster.connect().await;
    let process = one_number(&other, "SELECT pg_backend_pid()").await.unwrap();
    let long = "SELECT count(*) FROM tpchgen('lineitem', 10) a JOIN tpchgen('lineitem', 10) b ON a.l_orderkey = b.l_partkey";
    let running = tokio::spawn(async move {
        let cancelled = other.batch_execute(long).await;
        (cancelled, other)
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rows(&client, &format!("SELECT pg_cancel_backend({process})")).await.unwrap(), [["t"]]);
    let (cancelled, other) = running.await.unwrap();
    assert_eq!(cancelled.unwrap_err().code().map(|code| code.code()), Some("57014"));

    // It goes on; then it ends, and what its block did with it.
    other.batch_execute("BEGIN; INSERT INTO t VALUES (1); CREATE TEMP TABLE mine (a int)").await.unwrap();
    assert_eq!(rows(&client, &format!("SELECT pg_terminate_backend({process})")).await.unwrap(), [["t"]]);
    let ended = other.batch_execute("SELECT 1").await.unwrap_err();
    assert!(ended.is_closed() || ended.code().map(|code| code.code()) == Some("57P01"), "{ended:?}");
    assert_eq!(one_number(&client, "SELECT count(*) FROM t").await.unwrap(), 0);

    // Not by those who are neither superusers nor the same user.
    let own = one_number(&client, "SELECT pg_backend_pid()").await.unwrap();
    let low = connect_as(cluster.pg_port, "low", "Passw0rd").await;
    let error = low.batch_execute(&format!("SELECT pg_terminate_backend({own})")).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_tables_are_the_sessions_own_and_go_with_it() {
    let mut cluster = Cluster::start(1);
    let (one, two) = (cluster.connect().await, cluster.connect().await);
    for (client, value) in [(&one, 1), (&two, 2)] {
        let tables = format!("CREATE TEMP TABLE stage (n int); INSERT INTO stage VALUES ({value}); CREATE TABLE #other (n int)");
        client.batch_execute(&tables).await.unwrap();
    }
    assert_eq!(one_number(&one, "SELECT n FROM stage").await.unwrap(), 1);
    assert_eq!(one_number(&two, "SELECT n FROM stage").await.unwrap(), 2);
    let schema = format!("pg_temp_{}", one_number(&one, "SELECT pg_backend_pid()").await.unwrap());
    assert_eq!(one_number(&one, &format!("SELECT n FROM {schema}.stage")).await.unwrap(), 1);
    for text in [
        "SELECT n FROM SCHEMA.stage",
        "BEGIN; LOCK TABLE SCHEMA.stage",
        "DROP TABLE SCHEMA.stage",
        "INSERT INTO SCHEMA.stage VALUES (3)",
    ] {
        two.batch_execute(&text.replace("SCHEMA", &schema)).await.unwrap_err();
        two.batch_execute("ROLLBACK").await.unwrap();
    }
    two.batch_execute(&format!("SET search_path TO {schema}")).await.unwrap();
    assert_eq!(one_number(&two, "SELECT n FROM stage").await.unwrap(), 2);
    two.batch_execute("DROP TABLE stage").await.unwrap();
    two.batch_execute("SELECT n FROM stage").await.unwrap_err();
    two.batch_execute("CREATE TABLE lost (n int)").await.unwrap_err();

    // A name that a session left is free for nobody else's eyes, also after a crash.
    drop(one);
    cluster.leader.kill();
    cluster.restart_leader();
    let three = connect(cluster.pg_port).await.expect("the leader");
    let error = three.batch_execute("SELECT n FROM stage").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"));
    three.batch_execute("CREATE TEMP TABLE stage (n int)").await.unwrap();
    assert_eq!(one_number(&three, "SELECT count(*) FROM stage").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_whole_after_kill_9() {
    let mut cluster = Cluster::start(3);
    let client = cluster.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    drop(client);
    let (kills, seed) = (number("SLIPHER_KILLS", KILLS_DEFAULT), number("SLIPHER_KILL_SEED", 11));
    let mut rng = StdRng::seed_from_u64(seed);
    let (ledger, is_over) = (Arc::new(Mutex::new(Ledger::default())), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn(write(cluster.pg_port, Arc::clone(&ledger), Arc::clone(&is_over)));
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(300..1_800))).await;
        match rng.random_range(0..2) {
            0 => {
                cluster.leader.kill();
                cluster.restart_leader();
            }
            _ => {
                let node = rng.random_range(0..3);
                cluster.nodes[node].kill();
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
                cluster.restart_node(node);
            }
        }
        let client = connect(cluster.pg_port).await.expect("the leader");
        check(&client, &ledger).await;
        println!("kill {} of {kills}: {} blocks", kill + 1, ledger.lock().unwrap().acknowledged.len());
    }
    is_over.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    let client = connect(cluster.pg_port).await.expect("the leader");
    check(&client, &ledger).await;
    let blocks = ledger.lock().unwrap().acknowledged.len();
    assert!(blocks > 0, "no block came through");
    println!("{kills} kills survived, {blocks} blocks, seed {seed}");
}
