#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]
//! Metadata that grow: memory, restart, commits and snapshots with many tables and segments, made directly through the metadata service.
//!
//! `SLIPHER_SCALE=TABLESxSEGMENTS cargo bench --bench scale`, 100x1000 by default. Each segment has bounds and sketches of 20
//! columns; those of the catalog have sketches that lie in side files, those that are committed while the clock runs are of one row.

use slipher_common::ids::TableId;
use slipher_common::manifest::{ReadsDetails, set_aside};
use slipher_common::statistics::DistinctSketch;
use slipher_leader::side_files::SideFiles;
use slipher_meta::{Meta, MetaOptions};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const COLUMNS: u32 = 20;
const SLICES: u32 = 8;
/// Different values of a column in the segments that fill the catalog.
const SKETCHED_VALUES: u64 = 40;
/// Segments of one record while the catalog is filled.
const RECORD_SEGMENTS: u64 = 500;
/// Commits whose latencies are looked at.
const COMMITS: usize = 300;
/// Commits after which a snapshot is made, so that the measured ones meet some.
const SNAPSHOT_COMMITS: u64 = 100;

fn record(kinds: Vec<Kind>) -> proto::Record {
    let operations = kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect();
    proto::Record { operations, ..proto::Record::default() }
}

/// Spread, as random ids and hashes are.
fn spread(number: u64) -> u128 {
    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn id(number: u64) -> Vec<u8> {
    spread(number).to_be_bytes().to_vec()
}

/// A segment with `values` different values in each column.
fn segment(table_id: u64, number: u64, values: u64) -> proto::Segment {
    let sketch = |column_id: u32| {
        let mut sketch = DistinctSketch::default();
        (0..values).for_each(|value| sketch.insert(spread(number * values + value + u64::from(column_id)) as u64));
        sketch.to_bytes()
    };
    let columns = (1..=COLUMNS).map(|column_id| proto::ColumnStatistics {
        column_id,
        nulls: 0,
        min: number.to_le_bytes().to_vec(),
        max: (number + 1).to_le_bytes().to_vec(),
        distinct_sketch: sketch(column_id),
        ..proto::ColumnStatistics::default()
    });
    proto::Segment {
        segment_id: id(number),
        table_id,
        slice: (number % u64::from(SLICES)) as u32,
        rows: 1_000_000,
        bytes: 32 << 20,
        checksum: number,
        nodes: vec![id(1), id(2)],
        columns: columns.collect(),
        placement_epoch: 1,
        ..proto::Segment::default()
    }
}

fn table(number: u64) -> proto::Table {
    let column = |column_id| proto::Column {
        column_id,
        name: format!("c{column_id}"),
        r#type: Some(slipher_common::SqlType::BigInt.to_proto()),
        ..proto::Column::default()
    };
    proto::Table {
        schema: "public".to_owned(),
        name: format!("t{number}"),
        owner: "admin".to_owned(),
        columns: (1..=COLUMNS).map(column).collect(),
        dist_style: proto::DistStyle::Even.into(),
        ..proto::Table::default()
    }
}

fn first_record() -> proto::Record {
    let node = |number: u64| proto::RegisterNode {
        node_id: id(number),
        address: format!("http://127.0.0.1:{number}"),
        name: format!("n{number}"),
        ..proto::RegisterNode::default()
    };
    let placed = |slice| proto::SlicePlacement { slice, owner: id(1), replicas: vec![id(2)], epoch: 1 };
    let init = proto::InitCluster {
        cluster_id: id(7),
        slice_count: SLICES,
        replication_factor: 2,
        hash_version: 1,
        slices_by_lanes: false,
    };
    record(vec![
        Kind::InitCluster(init),
        Kind::RegisterNode(node(1)),
        Kind::RegisterNode(node(2)),
        Kind::SetPlacement(proto::SetPlacement { slices: (0..SLICES).map(placed).collect() }),
    ])
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// A record that adds segments, whose details are aside before it is proposed.
fn add(side_files: &SideFiles, table_id: u64, segments: std::ops::Range<u64>, values: u64) -> proto::Record {
    let add = segments.map(|number| segment(table_id, number, values)).collect();
    let mut kinds = [Kind::ReplaceSegments(proto::ReplaceSegments { table_id, add, ..proto::ReplaceSegments::default() })];
    for (file, bytes) in set_aside(&mut kinds) {
        side_files.keep(file, &bytes).unwrap();
    }
    record(kinds.into())
}

/// How long it takes to know a table's statistics at first.
fn tell_statistics(meta: &Meta, side_files: SideFiles, table_id: u64) {
    let details: Arc<dyn ReadsDetails> = Arc::new(side_files);
    let state = meta.state();
    let table = state.table_by_id(TableId(table_id)).unwrap();
    let started = Instant::now();
    let known = slipher_leader::table_statistics(table, &details).unwrap();
    let distinct = known.engine.column_statistics[0].distinct_count;
    println!("statistics of a table at first: {:.1} ms, {distinct:?} values", started.elapsed().as_secs_f64() * 1e3);
}

/// Latencies of commits of one segment each, sorted.
async fn commits(meta: &Meta, side_files: &SideFiles, table_id: u64, next: &mut u64) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        *next += 1;
        let one = add(side_files, table_id, *next - 1..*next, 1);
        let started = Instant::now();
        meta.propose(one).await.unwrap();
        latencies.push(started.elapsed());
    }
    latencies.sort();
    latencies
}

fn tell(what: &str, latencies: &[Duration]) {
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: median {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(0.5), at(0.99), at(1.0));
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(path.join("side")).or_else(|_| std::fs::read_dir(path)).unwrap().map(|entry| entry.unwrap().path())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let asked = std::env::var("SLIPHER_SCALE").unwrap_or_else(|_| "100x1000".to_owned());
    let (tables, segments) = asked.split_once('x').expect("TABLESxSEGMENTS");
    let (tables, segments): (u64, u64) = (tables.parse().unwrap(), segments.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let never = MetaOptions { snapshot_after_records: u64::MAX, ..MetaOptions::default() };
    let side = tempfile::tempdir().unwrap();
    let side_files = SideFiles::open(side.path()).unwrap();
    let meta = Meta::open(dir.path(), never).await.unwrap();
    meta.propose(first_record()).await.unwrap();
    let mut next = 1_000;
    let create =
        |number| record(vec![Kind::CreateTable(proto::CreateTable { table: Some(table(number)), ..Default::default() })]);
    let first = meta.propose(create(0)).await.unwrap().created_table.unwrap().0;
    tell("commits, empty catalog", &commits(&meta, &side_files, first, &mut next).await);

    let (started, mut last) = (Instant::now(), first);
    for number in 1..=tables {
        let table_id = meta.propose(create(number)).await.unwrap().created_table.unwrap().0;
        last = table_id;
        let mut left = segments;
        while left > 0 {
            let now = left.min(RECORD_SEGMENTS);
            meta.propose(add(&side_files, table_id, next..next + now, SKETCHED_VALUES)).await.unwrap();
            (next, left) = (next + now, left - now);
        }
    }
    println!(
        "{tables} tables of {segments} segments: filled in {:.1} s, {} MiB resident",
        started.elapsed().as_secs_f64(),
        resident_mib()
    );
    tell("commits, full catalog", &commits(&meta, &side_files, first, &mut next).await);
    meta.shutdown().await;
    drop(meta);
    let often = MetaOptions { snapshot_after_records: SNAPSHOT_COMMITS, ..MetaOptions::default() };
    let started = Instant::now();
    let meta = Meta::open(dir.path(), often).await.unwrap();
    println!("restart: {:.2} s, {} MiB resident", started.elapsed().as_secs_f64(), resident_mib());
    for round in 1..=3 {
        tell(&format!("commits beside snapshots, {round}"), &commits(&meta, &side_files, first, &mut next).await);
    }
    meta.shutdown().await;
    let bytes: u64 = std::fs::read_dir(dir.path()).unwrap().flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    println!("on disk: {} MiB", bytes >> 20);
    let files: u64 = folders(side.path()).flat_map(|folder| folders(&folder)).map(|file| file.metadata().unwrap().len()).sum();
    println!("side files: {} MiB", files >> 20);
    let started = Instant::now();
    let meta = Meta::open(dir.path(), MetaOptions::default()).await.unwrap();
    println!("restart from a snapshot: {:.2} s, {} MiB resident", started.elapsed().as_secs_f64(), resident_mib());
    tell_statistics(&meta, SideFiles::open(side.path()).unwrap(), last);
    meta.shutdown().await;
}
