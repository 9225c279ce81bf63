//! `slipher demo`: an embedded cluster, TPC-H data, the 22 queries and what their joins moved.

use crate::cli::DemoOptions;
use crate::local::LocalCluster;
use arrow::array::{Array, AsArray, RecordBatch};
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use slipher_common::tpch::{TPCH_TABLES, tpch_ddl, tpch_query, tpch_rows};
use slipher_common::{Error, ErrorKind, Result};
use slipher_leader::frontend::{Outcome, Session};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Queries whose plans are shown in full: between them, every way a join can move its rows.
const SHOWN_QUERIES: [usize; 3] = [3, 5, 12];
/// Rows of a result that are shown.
const SHOWN_ROWS_MAX: usize = 5;
const QUERIES: usize = 22;
const PROGRESS_INTERVAL_MS: u64 = 100;

/// Runs the demo.
pub async fn run(options: DemoOptions, shutdown: CancellationToken) -> Result<()> {
    let scale = options.scale;
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(Error::new(ErrorKind::Config, format!("--scale is {scale}: it must be a positive number, as 0.1 or 1")));
    }
    let mut local = options.local;
    // Without a directory of the user's the demo leaves nothing behind.
    let temporary = match local.leader.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| Error::io("making a directory for the demo's data", &error))?),
    };
    if let Some(dir) = &temporary {
        local.leader.data_dir = Some(dir.path().to_owned());
        // Another warehouse may be running on the usual ports.
        local.leader.pg_port = local.leader.pg_port.or_else(|| free_or_any(5439));
        local.leader.flight_port = local.leader.flight_port.or_else(|| free_or_any(5440));
    }
    let cluster = LocalCluster::start(&local, shutdown.clone()).await?;
    println!("Slipher {}: one leader, {} compute nodes.\n", slipher_common::VERSION, cluster.nodes().len());
    let session = cluster.leader().admin_session("demo")?;
    let shown = tokio::select! {
        shown = show(&cluster, &session, scale) => shown,
        () = shutdown.cancelled() => Ok(()),
    };
    if shown.is_ok() && !options.exit && !shutdown.is_cancelled() {
        println!("\nConnect while the demo runs (Ctrl-C ends it):\n\n{}", cluster.how_to_connect());
        shutdown.cancelled().await;
    }
    shutdown.cancel();
    cluster.join().await.and(shown)
}

fn free_or_any(port: u16) -> Option<u16> {
    match std::net::TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Some(port),
        Err(_) => Some(0),
    }
}

async fn show(cluster: &LocalCluster, session: &Arc<dyn Session>, scale: f64) -> Result<()> {
    println!("Loading TPC-H at scale {scale}:");
    for table in TPCH_TABLES {
        load(cluster, session, table, scale).await?;
    }
    println!("\nThree of the 22 queries, with what each join moved over the network:");
    for number in SHOWN_QUERIES {
        show_query(session, number).await?;
    }
    println!("\nAll {QUERIES} queries (run once, milliseconds):");
    let mut total = Duration::ZERO;
    for number in 1..=QUERIES {
        let started = Instant::now();
        let rows: usize = query(session, tpch_query(number)).await?.iter().map(RecordBatch::num_rows).sum();
        let elapsed = started.elapsed();
        total += elapsed;
        let moved = moves(session, number).await?;
        println!("  q{number:<2} {:>8.1}  {rows:>6} rows  {moved}", elapsed.as_secs_f64() * 1000.0);
    }
    println!("  sum {:>7.1}", total.as_secs_f64() * 1000.0);
    Ok(())
}

async fn load(cluster: &LocalCluster, session: &Arc<dyn Session>, table: &str, scale: f64) -> Result<()> {
    statement(session, tpch_ddl(table)).await?;
    let expected = tpch_rows(table, scale);
    let style = ProgressStyle::with_template("  {msg:<9} [{bar:30}] {human_pos:>12} of {human_len} rows, {per_sec}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = ProgressBar::new(expected).with_style(style).with_message(table.to_owned());
    let before = rows_received(cluster);
    let insert = format!("INSERT INTO {table} SELECT * FROM tpchgen('{table}', {scale})");
    let loading = statement(session, &insert);
    tokio::pin!(loading);
    let mut tick = tokio::time::interval(Duration::from_millis(PROGRESS_INTERVAL_MS));
    let rows = loop {
        tokio::select! {
            loaded = &mut loading => break loaded?,
            _ = tick.tick() => bar.set_position((rows_received(cluster) - before).min(expected)),
        }
    };
    bar.set_position(rows);
    bar.finish();
    if bar.is_hidden() {
        println!("  {table:<9} {rows} rows");
    }
    Ok(())
}

fn rows_received(cluster: &LocalCluster) -> u64 {
    cluster.nodes().iter().map(|node| node.runtime().rows_received()).sum()
}

async fn show_query(session: &Arc<dyn Session>, number: usize) -> Result<()> {
    println!("\n-- TPC-H query {number}");
    for line in plan(session, number).await? {
        println!("   {line}");
    }
    let started = Instant::now();
    let batches = query(session, tpch_query(number)).await?;
    let elapsed = started.elapsed();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let first: Vec<RecordBatch> =
        batches.iter().take(1).map(|batch| batch.slice(0, batch.num_rows().min(SHOWN_ROWS_MAX))).collect();
    let table = arrow::util::pretty::pretty_format_batches(&first)?;
    println!("{table}\n{rows} rows in {:.1} ms", elapsed.as_secs_f64() * 1000.0);
    Ok(())
}

/// The lines of EXPLAIN.
async fn plan(session: &Arc<dyn Session>, number: usize) -> Result<Vec<String>> {
    let batches = query(session, &format!("EXPLAIN {}", tpch_query(number))).await?;
    let mut lines = Vec::new();
    for batch in &batches {
        if let Some(column) = batch.column(0).as_string_opt::<i32>() {
            lines.extend((0..column.len()).map(|row| column.value(row).to_owned()));
        }
    }
    Ok(lines)
}

/// The labels of a plan's joins, in order.
async fn moves(session: &Arc<dyn Session>, number: usize) -> Result<String> {
    let lines = plan(session, number).await?;
    let labels = lines.iter().filter_map(|line| line.split_whitespace().find(|word| word.starts_with("DS_")));
    Ok(labels.collect::<Vec<_>>().join(" "))
}

/// The rows of the last statement in `sql`.
async fn query(session: &Arc<dyn Session>, sql: &str) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for statement in session.parse(sql)? {
        if let Outcome::Rows { stream, .. } = session.execute(&statement, Vec::new()).await? {
            batches = stream.try_collect().await?;
        }
    }
    Ok(batches)
}

/// Runs one statement; answers how many rows it changed.
async fn statement(session: &Arc<dyn Session>, sql: &str) -> Result<u64> {
    let mut changed = 0;
    for statement in session.parse(sql)? {
        if let Outcome::Done { rows: Some(rows), .. } = session.execute(&statement, Vec::new()).await? {
            changed += rows;
        }
    }
    Ok(changed)
}
