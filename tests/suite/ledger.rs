//! Blocks over three tables, and who remembers which of them were acknowledged: whatever dies, each must be there whole or not at all.

use crate::crash::after_recovery;
use crate::harness::{PASSWORD, rows};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::{Client, Error, NoTls};

/// A writer that cannot connect for so long gives up.
const CONNECT_TRIES_MAX: usize = 300;
/// The tables of the blocks, one of each distribution.
pub const TABLES: &str = "CREATE TABLE one (id int DISTKEY, touched int); \
                          CREATE TABLE two (id int, mark varchar(10)) DISTSTYLE EVEN; CREATE TABLE last (id int) DISTSTYLE ALL";

/// A number from the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the writers know of their blocks.
#[derive(Default)]
pub struct Ledger {
    pub acknowledged: BTreeSet<i64>,
    /// COMMIT was sent and not answered.
    pub in_doubt: BTreeSet<i64>,
}

/// A connection, as soon as there is one.
pub async fn connect(port: u16) -> Option<Client> {
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

/// Writes block after block until it is over.
pub async fn write(port: u16, ledger: Arc<Mutex<Ledger>>, is_over: Arc<AtomicBool>) {
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
pub async fn check(client: &Client, ledger: &Mutex<Ledger>) {
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
