//! Transactions at once and through kill -9: invariants that hold in every snapshot, nothing lost, nothing half.
//!
//! `SLIPHER_KILLS=100` kills more processes than every run does; `SLIPHER_KILL_SEED` others.

use crate::crash::after_recovery;
use crate::harness::{Cluster, PASSWORD, rows};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

/// Accounts of the bank, and what each begins with.
const ACCOUNTS: i64 = 8;
const FIRST_BALANCE: i64 = 100;
/// Clients that transfer, and transfers of each that must come through.
const TRANSFERRERS: u64 = 3;
const TRANSFERS_EACH: usize = 12;
/// Processes that are killed in every run.
const KILLS_DEFAULT: u64 = 6;
/// A writer that cannot connect for so long gives up.
const CONNECT_TRIES_MAX: usize = 300;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

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

/// What the writers know of their blocks.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<i64>,
    /// COMMIT was sent and not answered.
    in_doubt: BTreeSet<i64>,
}

async fn connect(port: u16) -> Option<Client> {
    let parameters = format!("host=127.0.0.1 port={port} user=admin password={PASSWORD} dbname=dev connect_timeout=5");
    for _ in 0..CONNECT_TRIES_MAX {
        if let Ok((client, connection)) = tokio_postgres::connect(&parameters, NoTls).await {
            tokio::spawn(connection);
            return Some(client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// One block over three tables: every one has the mark of it, or none.
async fn write_block(client: &Client, id: i64, ledger: &Mutex<Ledger>) -> Result<(), Error> {
    client.batch_execute("BEGIN").await?;
    client.batch_execute(&format!("INSERT INTO one VALUES ({id}, 0)")).await?;
    client.batch_execute(&format!("UPDATE one SET touched = touched + 1 WHERE id = {id} OR id = {}", id - 1)).await?;
    client.batch_execute(&format!("INSERT INTO two SELECT id, 'block' FROM one WHERE id = {id}")).await?;
    client.batch_execute(&format!("DELETE FROM last; INSERT INTO last VALUES ({id})")).await?;
    ledger.lock().unwrap().in_doubt.insert(id);
    client.batch_execute("COMMIT").await?;
    let mut ledger = ledger.lock().unwrap();
    ledger.in_doubt.remove(&id);
    ledger.acknowledged.insert(id);
    Ok(())
}

async fn write(port: u16, ledger: Arc<Mutex<Ledger>>, is_over: Arc<AtomicBool>) {
    let mut client = connect(port).await.expect("the cluster");
    let mut id = 0;
    while !is_over.load(Ordering::SeqCst) {
        id += 1;
        let Err(error) = write_block(&client, id, &ledger).await else { continue };
        let answered = error.as_db_error().is_some();
        if answered {
            // It is known to have failed.
            ledger.lock().unwrap().in_doubt.remove(&id);
        }
        if client.is_closed() || client.batch_execute("ROLLBACK").await.is_err() {
            client = connect(port).await.expect("the leader comes back");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that was acknowledged is there, and every block is there whole or not at all.
async fn check(client: &Client, ledger: &Mutex<Ledger>) {
    // Before the look: what comes after it may not be in it.
    let acknowledged = ledger.lock().unwrap().acknowledged.clone();
    let ids = |text: Vec<Vec<String>>| text.iter().map(|row| row[0].parse().unwrap()).collect::<BTreeSet<i64>>();
    // One snapshot of all three tables.
    let (one, two, last, touched) = after_recovery(|| async {
        client.batch_execute("ROLLBACK; BEGIN").await?;
        let one = rows(client, "SELECT id FROM one").await?;
        let two = rows(client, "SELECT id FROM two").await?;
        let last = rows(client, "SELECT id FROM last").await?;
        let wrong = "SELECT o.id FROM one AS o LEFT JOIN one AS n ON n.id = o.id + 1 \
                     WHERE o.touched <> 1 + CASE WHEN n.id IS NULL THEN 0 ELSE 1 END";
        let touched = rows(client, wrong).await?;
        client.batch_execute("COMMIT").await?;
        Ok((one, two, last, touched))
    })
    .await;
    let (one, two, last) = (ids(one), ids(two), ids(last));
    assert_eq!(one, two, "half a block");
    assert_eq!(last.first(), one.last(), "the last block");
    assert!(touched.is_empty(), "rows that were touched too often or too seldom: {touched:?}");
    let ledger = ledger.lock().unwrap();
    let lost: Vec<_> = acknowledged.difference(&one).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let allowed: BTreeSet<i64> = ledger.acknowledged.union(&ledger.in_doubt).copied().collect();
    let unknown: Vec<_> = one.difference(&allowed).collect();
    assert!(unknown.is_empty(), "rolled back or failed, and there: {unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_whole_after_kill_9() {
    let mut cluster = Cluster::start(3);
    let client = cluster.connect().await;
    let tables = "CREATE TABLE one (id int DISTKEY, touched int); CREATE TABLE two (id int, mark varchar(10)) DISTSTYLE EVEN; \
                  CREATE TABLE last (id int) DISTSTYLE ALL";
    client.batch_execute(tables).await.unwrap();
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
