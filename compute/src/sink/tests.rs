use crate::sink::Sink;
use crate::testing::*;
use arrow::array::*;
use arrow::datatypes::Int64Type;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::distribution::slices_of;
use slipher_common::ids::{ColumnId, SliceId, TransactionId};
use slipher_common::manifest::Segment;
use slipher_common::plan::{LaneSink, SinkSlice};
use slipher_common::{ErrorKind, SqlType};
use std::sync::Arc;
use uuid::Uuid;

const SLICES: u32 = 6;

fn keyed() -> Arc<Table> {
    let types = [(SqlType::BigInt, false), (SqlType::VarChar(40), true)];
    table(&types, Distribution::Key(ColumnId(0)), &[1])
}

fn rows(table: &Table, count: i64) -> RecordBatch {
    let keys = Int64Array::from_iter((0..count).map(|row| (row % 17 != 0).then_some(row)));
    let texts =
        StringViewArray::from_iter_values((0..count).map(|row| format!("a text that is not inlined {}", row * 7919 % 10_007)));
    batch(table, vec![Arc::new(keys), Arc::new(texts)])
}

/// The part of `all` that belongs to `slices`: what a shuffle would send to their lane.
fn part_of(all: &RecordBatch, slices: &[u32]) -> RecordBatch {
    let of_row = slices_of(all.column(0), SLICES).unwrap();
    let mask = BooleanArray::from_iter(of_row.iter().map(|slice| Some(slices.contains(slice))));
    arrow::compute::filter_record_batch(all, &mask).unwrap()
}

fn owned(slices: &[u32]) -> Vec<SinkSlice> {
    slices.iter().map(|slice| SinkSlice { slice: SliceId(*slice), epoch: 1, replica_addresses: vec![] }).collect()
}

fn sorted_rows(batch: &RecordBatch) -> Vec<(Option<i64>, String)> {
    let texts = batch.column(1).as_string_view();
    let keys = batch.column(0).as_primitive::<Int64Type>();
    let mut rows: Vec<_> = keys.iter().zip(texts.iter()).map(|(key, text)| (key, text.unwrap().to_owned())).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_rows_of_several_lanes_land_in_their_slices_and_all_come_back() {
    let (node, table) = (TestNode::new(), keyed());
    let all = rows(&table, 50_000);
    let mut segments: Vec<Segment> = Vec::new();
    for lane in [&[0u32, 4][..], &[5, 1, 3], &[2]] {
        let part = part_of(&all, lane);
        let pieces = (0..part.num_rows()).step_by(999).map(|start| part.slice(start, 999.min(part.num_rows() - start))).collect();
        segments.extend(node.sink(&table, SLICES, owned(lane), pieces, context()).await.unwrap());
    }
    for segment in &segments {
        let read = node.scan(scan_of(&table, std::slice::from_ref(segment))).await.unwrap();
        assert_eq!(slices_of(read.column(0), SLICES).unwrap(), vec![segment.slice.0; segment.rows as usize]);
    }
    assert_eq!(segments.len(), SLICES as usize);
    let read = node.scan(scan_of(&table, &segments)).await.unwrap();
    assert_eq!(sorted_rows(&read), sorted_rows(&all));
}

#[tokio::test]
async fn a_row_of_another_lane_is_refused() {
    let (node, table) = (TestNode::new(), keyed());
    let error = node.sink(&table, SLICES, owned(&[0, 1]), vec![rows(&table, 1000)], context()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("of slice"), "{error}");
}

#[tokio::test]
async fn null_in_a_not_null_column_is_refused() {
    let (node, table) = (TestNode::new(), keyed());
    let nullable =
        super::super::testing::table(&[(SqlType::BigInt, false), (SqlType::VarChar(40), false)], Distribution::Even, &[]);
    let texts = StringViewArray::from(vec![Some("a"), None]);
    let bad = batch(&nullable, vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(texts)]);
    let error = node.sink(&table, 1, owned(&[0]), vec![bad], context()).await.unwrap_err();
    assert_eq!((error.kind, error.message.contains("\"c1\"")), (ErrorKind::NotNullViolation, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_memory_makes_more_segments_each_of_them_sorted() {
    let (node, table) = (TestNode::new(), keyed());
    let all = rows(&table, 200_000);
    let pieces: Vec<RecordBatch> = (0..200).map(|piece| all.slice(piece * 1000, 1000)).collect();
    // Once by the lane's own limit, once by the query's memory.
    let runtime = &node.runtime;
    let mut sink = Sink::new(Arc::clone(runtime.store()), Arc::default(), crate::segment::vortex_session(), 0);
    sink.buffer_bytes_max = 6 << 20;
    let input = RecordBatchStreamAdapter::new(table.arrow_schema(), futures::stream::iter(pieces.clone().into_iter().map(Ok)));
    let lane = LaneSink {
        table: Arc::clone(&table),
        slice_count: SLICES,
        slices: owned(&[0, 1, 2, 3, 4, 5]),
        transaction_id: TransactionId(Uuid::from_u128(1)),
    };
    let by_limit = sink.run(lane, Box::pin(input), context()).await.unwrap();
    let pool = Arc::new(FairSpillPool::new(12 << 20));
    let environment = RuntimeEnvBuilder::new().with_memory_pool(pool.clone()).build_arc().unwrap();
    let context = context_with_memory(environment);
    let by_memory = node.sink(&table, SLICES, owned(&[0, 1, 2, 3, 4, 5]), pieces, context).await.unwrap();
    assert_eq!(datafusion::execution::memory_pool::MemoryPool::reserved(pool.as_ref()), 0);
    for segments in [by_limit, by_memory] {
        assert!((9..50).contains(&segments.len()), "{}", segments.len());
        for segment in &segments {
            let read = node.scan(scan_of(&table, std::slice::from_ref(segment))).await.unwrap();
            let texts: Vec<&str> = read.column(1).as_string_view().iter().flatten().collect();
            assert!(texts.is_sorted());
        }
        let read = node.scan(scan_of(&table, &segments)).await.unwrap();
        assert_eq!(sorted_rows(&read), sorted_rows(&all));
    }
}

#[tokio::test]
async fn even_tables_are_dealt_in_turn_and_all_tables_have_one_slice() {
    let node = TestNode::new();
    let types = [(SqlType::BigInt, false), (SqlType::VarChar(40), true)];
    let even = table(&types, Distribution::Even, &[]);
    let pieces: Vec<RecordBatch> = (0..9).map(|_| rows(&even, 100)).collect();
    let segments = node.sink(&even, 3, owned(&[0, 1, 2]), pieces.clone(), context()).await.unwrap();
    assert_eq!(
        segments.iter().map(|segment| (segment.slice.0, segment.rows)).collect::<Vec<_>>(),
        [(0, 300), (1, 300), (2, 300)]
    );
    let all = table(&types, Distribution::All, &[]);
    let segments = node.sink(&all, 3, owned(&[SliceId::ALL.0]), pieces.clone(), context()).await.unwrap();
    assert_eq!(segments.iter().map(|segment| (segment.slice, segment.rows)).collect::<Vec<_>>(), [(SliceId::ALL, 900)]);
    assert!(node.sink(&all, 3, owned(&[0, 1]), pieces, context()).await.is_err());
}
