//! Parts under criterion: the distribution hash, segments, planning, commits. `cargo bench --bench micro`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use slipher_common::SqlType;
use slipher_common::catalog::{Column, Distribution, SortStyle, Table};
use slipher_common::distribution::hash_columns;
use slipher_common::ids::{ColumnId, SliceId, TableId, TransactionId};
use slipher_common::ledger::LedgerLimits;
use slipher_common::plan::{ComputeRuntime, LaneScan, SegmentRef};
use slipher_common::tpch::{TPCH_TABLES, tpch_batches, tpch_ddl, tpch_query, tpch_schema};
use slipher_compute::segment::{SegmentTarget, vortex_session, write_segment};
use slipher_compute::{ComputeConfig, ComputeNode, NodeOptions, NodeRuntime};
use slipher_leader::frontend::Outcome;
use slipher_leader::{Leader, LeaderConfig};
use slipher_meta::{Meta, MetaOptions};
use slipher_proto::meta as proto;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const HASH_ROWS: usize = 1 << 16;

fn hash(criterion: &mut Criterion) {
    let integers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..HASH_ROWS as i64));
    let strings: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..HASH_ROWS).map(|row| format!("customer#{row:09}"))));
    let mut group = criterion.benchmark_group("distribution hash");
    group.throughput(Throughput::Bytes(8 * HASH_ROWS as u64));
    group.bench_function("bigint", |bencher| bencher.iter(|| hash_columns(std::slice::from_ref(&integers), HASH_ROWS).unwrap()));
    group.throughput(Throughput::Bytes(18 * HASH_ROWS as u64));
    group.bench_function("varchar, 18 bytes", |bencher| {
        bencher.iter(|| hash_columns(std::slice::from_ref(&strings), HASH_ROWS).unwrap());
    });
    group.finish();
}

/// lineitem with its columns' types, sorted by its first column.
fn lineitem() -> Arc<Table> {
    let schema = tpch_schema("lineitem").unwrap();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| Column {
        id: ColumnId(index as u32 + 1),
        name: field.name().clone(),
        sql_type: SqlType::of_field(field).unwrap(),
        not_null: true,
        default_expression: None,
        encoding: None,
        identity: None,
        stored_name: None,
        missing_value: None,
    });
    Arc::new(Table {
        id: TableId(1),
        database: Default::default(),
        schema: "public".to_owned(),
        name: "lineitem".to_owned(),
        owner: "admin".to_owned(),
        columns: columns.collect(),
        distribution: Distribution::Even,
        distribution_auto: false,
        sort_style: SortStyle::Compound,
        sort_key: vec![ColumnId(1)],
        sort_auto: false,
        encode_auto: true,
        backup: true,
        constraints: Vec::new(),
        next_column_id: 0,
    })
}

fn segments(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let node = Arc::new(NodeRuntime::open(dir.path(), &NodeOptions::default()).unwrap());
    let table = lineitem();
    let schema = table.arrow_schema();
    let batches: Vec<RecordBatch> = tpch_batches("lineitem", 0.05, 0, 1)
        .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap())
        .collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let target = SegmentTarget {
        table: Arc::clone(&table),
        slice: SliceId(0),
        slice_count: 8,
        placement_epoch: 1,
        transaction: TransactionId(uuid::Uuid::nil()),
    };
    let session = vortex_session();
    let mut group = criterion.benchmark_group("segment of lineitem");
    group.throughput(Throughput::Elements(rows as u64)).sample_size(10);
    group.bench_function("sort and write", |bencher| {
        bencher.iter_batched(
            || batches.clone(),
            |batches| runtime.block_on(write_segment(&session, node.store(), &target, batches)).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let segment = runtime.block_on(write_segment(&session, node.store(), &target, batches.clone())).unwrap();
    let lane = LaneScan {
        table_id: table.id,
        table_name: "lineitem".to_owned(),
        schema,
        projection: (0..table.columns.len()).collect(),
        predicates: Vec::new(),
        segments: vec![SegmentRef {
            id: segment.id,
            slice: segment.slice,
            rows: segment.rows,
            bytes: segment.bytes,
            checksum: segment.checksum,
            other_copies: Arc::default(),
            delete_vector: None,
            number: 0,
            part: None,
        }],
        limit: None,
    };
    let context = SessionContext::new_with_config(SessionConfig::new()).task_ctx();
    group.bench_function("scan, all columns", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let rows = node.scan(lane.clone(), Arc::clone(&context)).unwrap();
                rows.try_fold(0, |count, batch| async move { Ok(count + batch.num_rows()) }).await.unwrap()
            })
        });
    });
    group.finish();
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let meta = runtime.block_on(Meta::open(dir.path(), MetaOptions::default())).unwrap();
    let init = proto::InitCluster {
        cluster_id: vec![1; 16],
        slice_count: 8,
        replication_factor: 1,
        hash_version: 1,
        slices_by_lanes: false,
    };
    let record = |kind: proto::operation::Kind| proto::Record {
        operations: vec![proto::Operation { kind: Some(kind) }],
        ..proto::Record::default()
    };
    runtime.block_on(meta.propose(record(proto::operation::Kind::InitCluster(init)))).unwrap();
    let mut number = 0u64;
    let mut group = criterion.benchmark_group("metadata");
    group.sample_size(50);
    group.bench_function("commit (propose, fsync, apply)", |bencher| {
        bencher.iter(|| {
            number += 1;
            let schema = proto::CreateSchema { name: format!("s{number}"), owner: "admin".to_owned(), ..Default::default() };
            runtime.block_on(meta.propose(record(proto::operation::Kind::CreateSchema(schema)))).unwrap()
        });
    });
    group.finish();
    runtime.block_on(meta.shutdown());
}

fn planning(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = LeaderConfig {
        data_dir: dir.path().to_owned(),
        pg_listen: any,
        flight_listen: any,
        http_listen: any,
        internal_listen: any,
        admin_password: None,
        slice_count: 8,
        slices_by_lanes: false,
        replication_factor: 1,
        lanes: 2,
        node_lanes: Some(2),
        load_dir: None,
        memory_bytes: 1 << 30,
        broadcast_rows_max: usize::MAX,
        direct_rows_min: usize::MAX,
        sweep_interval: std::time::Duration::from_secs(60),
        compact_interval: None,
        node_silence_max: std::time::Duration::from_secs(10),
        connections_max: 500,
        results: LedgerLimits { owner_bytes: 256 << 20, all_bytes: 512 << 20 },
        tls: None,
        queries: runtime.handle().clone(),
    };
    let (leader, _node) = runtime.block_on(async {
        let leader = Leader::start(config, shutdown.clone()).await.unwrap();
        let node = ComputeConfig {
            data_dir: dir.path().join("node"),
            listen: any,
            advertise: None,
            flight_listen: any,
            flight_advertise: None,
            tls: None,
            leader: format!("http://{}", leader.addresses().internal),
            name: "bench".to_owned(),
            options: NodeOptions::default(),
            queries: runtime.handle().clone(),
        };
        std::fs::create_dir_all(&node.data_dir).unwrap();
        let node = ComputeNode::start(node, shutdown.clone()).await.unwrap();
        (leader, node)
    });
    let session = leader.admin_session("bench").unwrap();
    let run = |sql: &str| {
        runtime.block_on(async {
            for statement in session.parse(sql).unwrap() {
                if let Outcome::Rows { stream, .. } = session.execute(&statement, Vec::new()).await.unwrap() {
                    stream.try_collect::<Vec<_>>().await.unwrap();
                }
            }
        });
    };
    TPCH_TABLES.iter().for_each(|table| run(tpch_ddl(table)));
    let mut group = criterion.benchmark_group("planning");
    for number in [1, 5, 21] {
        let explain = format!("EXPLAIN {}", tpch_query(number));
        group.bench_function(format!("EXPLAIN TPC-H query {number}"), |bencher| bencher.iter(|| run(&explain)));
    }
    group.bench_function("SELECT 1, executed", |bencher| bencher.iter(|| run("SELECT 1")));
    group.finish();
    shutdown.cancel();
}

criterion_group!(benches, hash, segments, commits, planning);
criterion_main!(benches);
