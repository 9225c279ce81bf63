//! TPC-H from end to end: Slipher (`local`, two compute nodes) beside single-process DataFusion on the same segments and DuckDB with
//! native tables, in one run. `cargo bench --bench tpch -- --scale 1` prints Markdown for docs/benchmarks.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use clap::Parser;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use slipher_common::manifest::ReadsDetails;
use slipher_common::plan::{LaneSegments, ScanSource, SegmentRef, SliceScanExec};
use slipher_common::tpch::{TPCH_TABLES, tpch_batches, tpch_ddl, tpch_query, tpch_rows, tpch_schema};
use slipher_compute::{NodeOptions, NodeRuntime};
use slipher_leader::side_files::SideFiles;
use slipher_meta::{Meta, MetaOptions, TableState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const QUERIES: usize = 22;
const SELECT_ONE_RUNS: usize = 2000;
/// Threads of the systems that run in one process; Slipher has two nodes with two lanes on the same cores.
const THREADS: usize = 2;

/// TPC-H: Slipher, single-process DataFusion on the same segments, DuckDB.
#[derive(Debug, Parser)]
struct Options {
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Runs of each query; the best counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// A Python with the package duckdb; without it that column stays empty.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Keeps generated Parquet files here from run to run.
    #[arg(long)]
    parquet_dir: Option<PathBuf>,
    /// Ignored: `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Best time and rows as text of each query.
struct Measured {
    ms: Vec<f64>,
    rows: Vec<Vec<Vec<Option<String>>>>,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let work = tempfile::tempdir().unwrap();
    let parquet = options.parquet_dir.clone().unwrap_or_else(|| work.path().join("parquet"));
    write_parquet(&parquet, options.scale);
    let data = work.path().join("data");
    let mut server = Server::start(&data, &parquet);
    let client = server.connect().await;
    let load = load(&client, &server).await;
    let select_one_ms = select_one(&client).await;
    let slipher = slipher(&client, options.runs).await;
    let peak_mib = server.peak_mib();
    server.stop();
    let stored = directory_bytes(&data.join("node-1/segments")) + directory_bytes(&data.join("node-2/segments"));
    merge_nodes(&data);
    let single = single_process(&data, options.runs).await;
    let duckdb = duckdb(&options, &parquet);
    report(&options, &load, select_one_ms, peak_mib, stored, directory_bytes(&parquet), &slipher, &single, duckdb.as_ref());
}

fn write_parquet(dir: &Path, scale: f64) {
    for table in TPCH_TABLES {
        let path = dir.join(table).join(format!("{table}-{scale}.parquet"));
        if path.exists() {
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer = ArrowWriter::try_new(file, tpch_schema(table).unwrap(), Some(properties)).unwrap();
        for batch in tpch_batches(table, scale, 0, 1) {
            writer.write(&batch).unwrap();
        }
        writer.close().unwrap();
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(data: &Path, load_dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_slipher"))
            .args(["local", "--compute-nodes", "2", "--replication-factor", "1", "--admin-password", "bench"])
            .args(["--flight-port", "0", "--http-port", "0", "--pg-port", &port.to_string()])
            .arg("--data-dir")
            .arg(data)
            .arg("--load-dir")
            .arg(load_dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("PostgreSQL"), "{line}");
        Self { child, port }
    }

    async fn connect(&self) -> Client {
        let parameters = format!("host=127.0.0.1 port={} user=admin password=bench dbname=dev", self.port);
        let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    fn stop(&mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap();
    }
}

/// Seconds per table, and the peak memory after the last.
struct Load {
    seconds: Vec<f64>,
    peak_mib: f64,
}

async fn load(client: &Client, server: &Server) -> Load {
    let mut seconds = Vec::new();
    for table in TPCH_TABLES {
        client.batch_execute(tpch_ddl(table)).await.unwrap();
        let started = Instant::now();
        client.batch_execute(&format!("COPY {table} FROM '{table}' FORMAT AS PARQUET")).await.unwrap();
        seconds.push(started.elapsed().as_secs_f64());
    }
    Load { seconds, peak_mib: server.peak_mib() }
}

async fn select_one(client: &Client) -> f64 {
    let mut times = Vec::new();
    for _ in 0..SELECT_ONE_RUNS {
        let started = Instant::now();
        client.simple_query("SELECT 1").await.unwrap();
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn slipher(client: &Client, runs: usize) -> Measured {
    let mut measured = Measured { ms: Vec::new(), rows: Vec::new() };
    for number in 1..=QUERIES {
        let (mut best, mut rows) = (f64::INFINITY, Vec::new());
        for _ in 0..runs {
            let started = Instant::now();
            let messages = client.simple_query(tpch_query(number)).await.unwrap_or_else(|error| panic!("q{number}: {error:?}"));
            best = best.min(started.elapsed().as_secs_f64() * 1000.0);
            rows = messages
                .into_iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                    }
                    _ => None,
                })
                .collect();
        }
        measured.ms.push(best);
        measured.rows.push(rows);
    }
    measured
}

/// Puts the second node's files beside the first's, for one process to read.
fn merge_nodes(data: &Path) {
    for table in std::fs::read_dir(data.join("node-2/segments")).unwrap().flatten() {
        let target = data.join("node-1/segments").join(table.file_name());
        std::fs::create_dir_all(&target).unwrap();
        for file in std::fs::read_dir(table.path()).unwrap().flatten() {
            let target = target.join(file.file_name());
            if !target.exists() {
                std::fs::copy(file.path(), target).unwrap();
            }
        }
    }
}

/// The engine alone: one process, standard planner, the same leaf over the same files.
async fn single_process(data: &Path, runs: usize) -> Measured {
    let meta = Meta::open(&data.join("meta"), MetaOptions::default()).await.unwrap();
    let state = meta.state();
    let details: Arc<dyn ReadsDetails> = Arc::new(SideFiles::open(data).unwrap());
    let runtime = Arc::new(NodeRuntime::open(data.join("node-1"), &NodeOptions::default()).unwrap());
    let config = SessionConfig::new().with_target_partitions(THREADS).with_extension(Arc::new(runtime.handle()));
    let rules = slipher_leader::with_filters_in_scans(PhysicalOptimizer::default().rules, false);
    let engine =
        SessionStateBuilder::new().with_config(config).with_default_features().with_physical_optimizer_rules(rules).build();
    let session = SessionContext::new_with_state(engine);
    for table in TPCH_TABLES {
        let known = state.table("public", table).unwrap();
        session.register_table(table, Arc::new(SegmentTable::new(known, &details))).unwrap();
    }
    let mut measured = Measured { ms: Vec::new(), rows: Vec::new() };
    for number in 1..=QUERIES {
        let (mut best, mut rows) = (f64::INFINITY, Vec::new());
        for _ in 0..runs {
            let started = Instant::now();
            let batches = session.sql(tpch_query(number)).await.unwrap().collect().await.unwrap();
            best = best.min(started.elapsed().as_secs_f64() * 1000.0);
            rows = text_rows(&batches);
        }
        measured.ms.push(best);
        measured.rows.push(rows);
    }
    meta.shutdown().await;
    measured
}

fn text_rows(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let options = arrow::util::display::FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let value = |(index, column): (usize, &arrow::util::display::ArrayFormatter<'_>)| {
                (!batch.column(index).is_null(row)).then(|| column.value(row).to_string())
            };
            rows.push(columns.iter().enumerate().map(value).collect());
        }
    }
    rows
}

/// A table's segments, dealt to the threads of one process; nothing is declared about where rows lie.
#[derive(Debug)]
struct SegmentTable {
    schema: SchemaRef,
    source: Arc<ScanSource>,
    lanes: LaneSegments,
}

impl SegmentTable {
    fn new(known: &TableState, details: &Arc<dyn ReadsDetails>) -> Self {
        let mut lanes = vec![Vec::new(); THREADS];
        for (index, segment) in known.segments.values().enumerate() {
            lanes[index % THREADS].push(SegmentRef {
                id: segment.id,
                slice: segment.slice,
                rows: segment.rows,
                bytes: segment.bytes,
                checksum: segment.checksum,
                other_copies: Arc::default(),
                delete_vector: None,
                number: 0,
                part: None,
            });
        }
        let schema = known.table.arrow_schema();
        let statistics = slipher_leader::table_statistics(known, details).unwrap();
        let source = ScanSource {
            table_id: known.table.id,
            table_name: known.table.to_string(),
            schema: Arc::clone(&schema),
            hash_column: None,
            blanks_in_key: None,
            slice_count: 0,
            replicated: false,
            segments: None,
            statistics: Arc::new(statistics),
        };
        Self { schema, source: Arc::new(source), lanes: Arc::new(lanes) }
    }
}

#[async_trait]
impl TableProvider for SegmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = self.source.statistics.engine.clone();
        statistics.total_byte_size = Precision::Absent;
        Some(statistics)
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let lanes = Some(Arc::clone(&self.lanes));
        let scan = SliceScanExec::try_new(Arc::clone(&self.source), THREADS, projection, Vec::new(), limit, lanes)?;
        Ok(Arc::new(scan))
    }
}

fn duckdb(options: &Options, parquet: &Path) -> Option<Measured> {
    let queries: Vec<&str> = (1..=QUERIES).map(tpch_query).collect();
    let job = serde_json::json!({
        "parquet": parquet, "threads": THREADS, "runs": options.runs, "tables": TPCH_TABLES, "queries": queries,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/duckdb_tpch.py");
    let mut child = Command::new(&options.python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take()?.write_all(job.to_string().as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let mut measured = Measured { ms: Vec::new(), rows: Vec::new() };
    for query in answer["queries"].as_array()? {
        measured.ms.push(query["ms"].as_f64()?);
        let rows = query["rows"]
            .as_array()?
            .iter()
            .map(|row| row.as_array().into_iter().flatten().map(|value| value.as_str().map(str::to_owned)).collect());
        measured.rows.push(rows.collect());
    }
    eprintln!("DuckDB {} loaded in {:.2} s", answer["version"], answer["load_s"].as_f64()?);
    Some(measured)
}

/// Whether two answers are equal; numbers as numbers, since systems differ in the digits they keep of a quotient.
fn equal(left: &[Vec<Option<String>>], right: &[Vec<Option<String>>]) -> bool {
    let same = |left: &Option<String>, right: &Option<String>| match (left, right) {
        (Some(left), Some(right)) => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => (left - right).abs() <= 1e-6 * left.abs().max(right.abs()).max(1.0),
            _ => left.trim_end() == right.trim_end(),
        },
        (left, right) => left == right,
    };
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r)))
}

fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(information) if information.is_dir() => directory_bytes(&entry.path()),
        Ok(information) => information.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[expect(clippy::too_many_arguments, reason = "one report of one run")]
fn report(
    options: &Options,
    load: &Load,
    select_one_ms: f64,
    peak_mib: f64,
    stored: u64,
    parquet: u64,
    slipher: &Measured,
    single: &Measured,
    duckdb: Option<&Measured>,
) {
    println!("TPC-H scale {}, best of {} (ms)\n", options.scale, options.runs);
    println!("| query | Slipher, 2 nodes | DataFusion, same segments | DuckDB, native | answers |\n|---|---:|---:|---:|---|");
    for index in 0..QUERIES {
        let other = duckdb.map_or_else(String::new, |duckdb| format!("{:.1}", duckdb.ms[index]));
        let mut answers = vec![("DataFusion", equal(&slipher.rows[index], &single.rows[index]))];
        answers.extend(duckdb.map(|duckdb| ("DuckDB", equal(&slipher.rows[index], &duckdb.rows[index]))));
        let wrong: Vec<&str> = answers.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect();
        let verdict = if wrong.is_empty() { "equal".to_owned() } else { format!("DIFFERENT from {}", wrong.join(", ")) };
        println!("| {} | {:.1} | {:.1} | {other} | {verdict} |", index + 1, slipher.ms[index], single.ms[index]);
    }
    let total = |measured: &Measured| measured.ms.iter().sum::<f64>();
    let duckdb_total = duckdb.map(total);
    let shown = duckdb_total.map_or_else(String::new, |ms| format!("{ms:.0}"));
    println!("| total | {:.0} | {:.0} | {shown} | |\n", total(slipher), total(single));
    println!("- Slipher / DataFusion: {:.3}", total(slipher) / total(single));
    if let Some(ms) = duckdb_total {
        println!("- Slipher / DuckDB: {:.3}", total(slipher) / ms);
    }
    let lineitem = TPCH_TABLES.iter().position(|table| *table == "lineitem").unwrap();
    let rows = tpch_rows("lineitem", options.scale) as f64;
    println!("- lineitem from Parquet: {:.0} rows/s ({:.2} s)", rows / load.seconds[lineitem], load.seconds[lineitem]);
    println!(
        "- all tables from Parquet: {:.2} s; peak memory of the process {:.0} MiB",
        load.seconds.iter().sum::<f64>(),
        load.peak_mib
    );
    println!("- peak memory after the queries: {peak_mib:.0} MiB");
    println!(
        "- stored: {:.1} MB, Parquet (snappy): {:.1} MB, ratio {:.3}",
        stored as f64 / 1e6,
        parquet as f64 / 1e6,
        stored as f64 / parquet as f64
    );
    println!("- SELECT 1 on an open PostgreSQL connection, median of {SELECT_ONE_RUNS}: {select_one_ms:.2} ms");
}
