//! Isolation, judged by histories: transactions append to lists and read them; from what they read follows who came before whom.
//!
//! Method: K. Kingsbury, P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (VLDB 2020), list-append.
//! SNAPSHOT may only have cycles with two neighbouring anti-dependencies (A. Fekete et al., "Making Snapshot Isolation Serializable",
//! TODS 2005); SERIALIZABLE none at all.
//!
//! `SLIPHER_TRANSACTIONS=500` runs more than every run does; `SLIPHER_HISTORY_SEED` others.

use crate::harness::{Cluster, rows};
use crate::ledger::number;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const CLIENTS: u64 = 3;
/// Transactions of each client.
const TRANSACTIONS_DEFAULT: u64 = 25;
/// Lists, each in a table of its own: that is what SERIALIZABLE tells apart.
const LISTS: u64 = 3;

/// What one committed transaction did.
#[derive(Debug, Default)]
struct Committed {
    /// Values by list, in order.
    appended: Vec<(u64, u64)>,
    /// What lists held, apart from own values that were appended before.
    read: Vec<(u64, Vec<u64>)>,
}

async fn read_list(client: &Client, list: u64) -> Result<Vec<u64>, tokio_postgres::Error> {
    let found = rows(client, &format!("SELECT items FROM list_{list}")).await?;
    Ok(found[0][0].split(',').filter(|item| !item.is_empty()).map(|item| item.parse().expect("a number")).collect())
}

async fn transact(client: &Client, steps: &[(u64, Option<u64>)]) -> Result<Committed, tokio_postgres::Error> {
    let mut done = Committed::default();
    client.batch_execute("BEGIN").await?;
    for (list, append) in steps {
        let mut held = read_list(client, *list).await?;
        held.retain(|value| !done.appended.contains(&(*list, *value)));
        match append {
            Some(value) => {
                client.batch_execute(&format!("UPDATE list_{list} SET items = items || '{value},'")).await?;
                done.appended.push((*list, *value));
            }
            None => done.read.push((*list, held)),
        }
    }
    client.batch_execute("COMMIT").await?;
    Ok(done)
}

/// Runs transactions of several clients at once; answers those that were committed, and how many were not.
async fn run(cluster: &Cluster, level: &str, seed: u64, each: u64) -> (Vec<Committed>, u64) {
    let client = cluster.connect().await;
    for list in 0..LISTS {
        let made = format!("CREATE OR REPLACE TABLE list_{list} (items varchar(10000)); INSERT INTO list_{list} VALUES ('')");
        client.batch_execute(&made).await.unwrap();
    }
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = cluster.connect().await;
        client.batch_execute(&format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")).await.unwrap();
        clients.push(tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed * 100 + number);
            let (mut committed, mut aborted) = (Vec::new(), 0);
            for transaction in 0..each {
                let steps: Vec<_> = (0..rng.random_range(2..4u64))
                    .map(|step| {
                        let value = number + CLIENTS * (transaction * 10 + step);
                        (rng.random_range(0..LISTS), rng.random_bool(0.5).then_some(value))
                    })
                    .collect();
                match transact(&client, &steps).await {
                    Ok(done) => committed.push(done),
                    Err(error) => {
                        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}");
                        client.batch_execute("ROLLBACK").await.unwrap();
                        aborted += 1;
                    }
                }
            }
            (committed, aborted)
        }));
    }
    let (mut committed, mut aborted) = (Vec::new(), 0);
    for client in clients {
        let (done, failed) = client.await.unwrap();
        committed.extend(done);
        aborted += failed;
    }
    let last = Committed { read: read_all(&client).await, ..Committed::default() };
    committed.push(last);
    (committed, aborted)
}

async fn read_all(client: &Client) -> Vec<(u64, Vec<u64>)> {
    let mut read = Vec::new();
    for list in 0..LISTS {
        read.push((list, read_list(client, list).await.unwrap()));
    }
    read
}

/// Who must come before whom: by writes and reads of them, and by reads of what was not yet written.
#[derive(Default)]
struct Order {
    seen: BTreeMap<usize, BTreeSet<usize>>,
    overtaken: BTreeMap<usize, BTreeSet<usize>>,
}

impl Order {
    fn of(history: &[Committed]) -> Self {
        let writer: BTreeMap<(u64, u64), usize> = history
            .iter()
            .enumerate()
            .flat_map(|(number, done)| done.appended.iter().map(move |appended| (*appended, number)))
            .collect();
        let mut order = Self::default();
        for list in 0..LISTS {
            let reads = || history.iter().enumerate().flat_map(|(number, done)| done.read.iter().map(move |read| (number, read)));
            let reads = || reads().filter(|(_, (read, _))| *read == list).map(|(number, (_, held))| (number, held));
            let longest = reads().map(|(_, held)| held).max_by_key(|held| held.len()).cloned().unwrap_or_default();
            let appended = history.iter().flat_map(|done| &done.appended).filter(|(to, _)| *to == list).count();
            assert_eq!(longest.len(), appended, "list {list}: an append is lost, or one is there that was not committed");
            let writers: Vec<usize> =
                longest.iter().map(|value| *writer.get(&(list, *value)).expect("a committed append")).collect();
            for (number, held) in reads() {
                assert_eq!(held[..], longest[..held.len()], "list {list}: transaction {number} read what never was");
                order.note(true, writers[..held.len()].last().copied(), Some(number));
                order.note(false, Some(number), writers.get(held.len()).copied());
            }
            writers.windows(2).for_each(|pair| order.note(true, Some(pair[0]), Some(pair[1])));
        }
        order
    }

    fn note(&mut self, seen: bool, before: Option<usize>, after: Option<usize>) {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            let edges = if seen { &mut self.seen } else { &mut self.overtaken };
            edges.entry(before).or_default().insert(after);
        }
    }

    /// Whether one leads to another; by what was seen alone, or also by what was overtaken.
    fn leads(&self, from: usize, to: usize, also_overtaken: bool) -> bool {
        let next = |number: usize| {
            let overtaken = self.overtaken.get(&number).filter(|_| also_overtaken);
            self.seen.get(&number).into_iter().chain(overtaken).flatten().copied()
        };
        let mut pending: Vec<usize> = next(from).collect();
        let mut known = BTreeSet::new();
        while let Some(number) = pending.pop() {
            if number == to {
                return true;
            }
            if known.insert(number) {
                pending.extend(next(number));
            }
        }
        false
    }

    fn check(&self, count: usize, serializable: bool) {
        for number in 0..count {
            assert!(!self.leads(number, number, serializable), "transaction {number} comes before itself");
        }
        // One anti-dependency in a cycle: a snapshot that is none (a lost update, a skewed read).
        for (before, overtakers) in &self.overtaken {
            for after in overtakers {
                assert!(!self.leads(*after, *before, false), "transaction {before} saw {after} in part");
            }
        }
    }

    /// Cycles that snapshot isolation allows.
    fn write_skews(&self, count: usize) -> usize {
        (0..count).filter(|number| self.leads(*number, *number, true)).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_what_their_isolation_level_allows() {
    let cluster = Cluster::start(2);
    let (each, seed) = (number("SLIPHER_TRANSACTIONS", TRANSACTIONS_DEFAULT), number("SLIPHER_HISTORY_SEED", 3));
    for level in ["SNAPSHOT", "SERIALIZABLE"] {
        let (history, aborted) = run(&cluster, level, seed, each).await;
        let order = Order::of(&history);
        order.check(history.len(), level == "SERIALIZABLE");
        let skews = order.write_skews(history.len());
        println!("{level}: {} committed, {aborted} aborted, {skews} in write skews, seed {seed}", history.len() - 1);
        assert!(history.len() > 10, "too few came through");
    }
}

#[test]
fn the_checker_sees_anomalies() {
    let done = |appended: &[(u64, u64)], read: &[(u64, &[u64])]| Committed {
        appended: appended.to_vec(),
        read: read.iter().map(|(list, held)| (*list, held.to_vec())).collect(),
    };
    let last = |lists: [&[u64]; 3]| Committed {
        read: lists.iter().zip(0..).map(|(held, list)| (list, held.to_vec())).collect(),
        ..Committed::default()
    };
    let fails = |history: Vec<Committed>, serializable: bool| {
        std::panic::catch_unwind(|| Order::of(&history).check(history.len(), serializable)).is_err()
    };
    // Write skew: each reads what the other one writes. SNAPSHOT allows it.
    let skew = || vec![done(&[(0, 1)], &[(1, &[])]), done(&[(1, 2)], &[(0, &[])]), last([&[1], &[2], &[]])];
    assert!(fails(skew(), true) && !fails(skew(), false));
    // A read of one of two values that were written together.
    let torn = || vec![done(&[(0, 1), (1, 2)], &[]), done(&[], &[(0, &[1]), (1, &[])]), last([&[1], &[2], &[]])];
    assert!(fails(torn(), false));
    // A lost update.
    let lost = || vec![done(&[(0, 1)], &[(0, &[])]), done(&[(0, 2)], &[(0, &[])]), last([&[1, 2], &[], &[]])];
    assert!(fails(lost(), false));
    // What was read and never committed.
    assert!(fails(vec![done(&[], &[(0, &[7])]), last([&[], &[], &[]])], false));
    // One after the other.
    let serial = || vec![done(&[(0, 1)], &[(0, &[])]), done(&[(0, 2)], &[(0, &[1])]), last([&[1, 2], &[], &[]])];
    assert!(!fails(serial(), true));
}
