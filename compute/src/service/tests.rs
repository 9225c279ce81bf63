use super::*;
use crate::queries::QueryHandle;
use crate::testing::*;
use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::DistributedExt;
use futures::TryStreamExt;
use slipher_common::catalog::Distribution;
use slipher_common::fence::Fence;
use slipher_common::ids::{ClusterId, ColumnId};
use slipher_common::manifest::Segment;
use slipher_common::plan::{ComputeRuntime, LaneSink, QUERY_ID_HEADER, SinkSlice, SlipherCodec, encode_fragment, encode_lane};
use slipher_common::sweep::Needed;
use slipher_common::trace::Span;
use slipher_common::{SqlType, VERSION};
use slipher_proto::compute::compute_node_client::ComputeNodeClient;
use slipher_proto::compute::write_rows_request::Part as RowsPart;
use tonic::transport::Channel;
use uuid::Uuid;

#[tokio::test]
async fn ping_tells_who_the_node_is_and_refuses_another_cluster() {
    let node = TestNode::new();
    let address = node.serve().await;
    let mine = ClusterId(Uuid::from_u128(1));
    node.runtime.store().join_cluster(mine).unwrap();
    let mut client = node.runtime.peers().client(&address).unwrap();
    let answer = client.ping(proto::PingRequest { cluster_id: mine.to_vec(), fence: None }).await.unwrap().into_inner();
    assert_eq!(answer.node_id, node.runtime.store().node_id().to_vec());
    assert_eq!((answer.cluster_id, answer.version.as_str()), (mine.to_vec(), VERSION));
    let other = ClusterId(Uuid::from_u128(2)).to_vec();
    assert_eq!(
        client.ping(proto::PingRequest { cluster_id: other, fence: None }).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
}

#[tokio::test]
async fn a_cancelled_query_ends_with_an_error_on_every_task() {
    let node = TestNode::new();
    let address = node.serve().await;
    let table = table(&[(SqlType::BigInt, true)], Distribution::Even, &[]);
    let rows = batch(&table, vec![Arc::new(Int64Array::from_iter_values(0..1000))]);
    let segments = node.write(&table, vec![rows], vec![]).await.unwrap();
    let task = || {
        let running = QueryHandle(Arc::new(node.runtime.queries().start("q1", Span::default(), None)));
        SessionContext::new_with_config(SessionConfig::new().with_extension(Arc::new(running))).task_ctx()
    };
    let stream = node.runtime.scan(scan_of(&table, &segments), task()).unwrap();
    let mut client = node.runtime.peers().client(&address).unwrap();
    let request = || proto::CancelQueryRequest { query_id: "q1".into() };
    assert!(client.cancel_query(request()).await.unwrap().into_inner().found);
    let late = node.runtime.scan(scan_of(&table, &segments), task()).unwrap();
    for stream in [stream, late] {
        let error: Error = stream.try_collect::<Vec<_>>().await.unwrap_err().into();
        assert_eq!(error.kind, ErrorKind::QueryCanceled);
    }
    assert!(node.runtime.queries().running().is_empty());
    assert!(!client.cancel_query(request()).await.unwrap().into_inner().found);
}

/// Sends a sink and the bytes of rows in small messages; answers the receipts.
async fn write_rows(client: &mut ComputeNodeClient<Channel>, sink: Option<Vec<u8>>, stored: &[u8]) -> Result<Vec<Segment>> {
    let chunks = stored.chunks(100).map(|chunk| RowsPart::Chunk(chunk.to_vec()));
    let parts: Vec<RowsPart> = sink.map(RowsPart::Sink).into_iter().chain(chunks).collect();
    let messages = parts.into_iter().map(|part| proto::WriteRowsRequest { part: Some(part) });
    let mut call = Request::new(futures::stream::iter(messages));
    call.metadata_mut().insert(QUERY_ID_HEADER, "q1".parse().unwrap());
    let own = |status: Status| Error::from_wire_text(status.message()).unwrap();
    let mut answers = client.write_rows(call).await.map_err(own)?.into_inner();
    let mut receipts = Vec::new();
    while let Some(answer) = answers.message().await.map_err(own)? {
        receipts.push(slipher_common::plan::SliceSinkExec::receipt(&answer.receipt)?);
    }
    Ok(receipts)
}

#[tokio::test]
async fn rows_without_a_plan_come_in_messages_and_part_of_them_is_refused() {
    let node = TestNode::new();
    let address = node.serve().await;
    let table = table(&[(SqlType::BigInt, true), (SqlType::VarChar(20), false)], Distribution::Key(ColumnId(0)), &[0]);
    let texts = StringViewArray::from_iter((0..300).map(|row| (row % 3 > 0).then(|| format!("row {row}"))));
    let rows = batch(&table, vec![Arc::new(Int64Array::from_iter_values((0..300).rev())), Arc::new(texts)]);
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    [rows.slice(0, 1), rows.slice(1, 299)].iter().for_each(|part| writer.write(part).unwrap());
    let stored = writer.into_inner().unwrap();
    let slice = |slice| SinkSlice { slice: SliceId(slice), epoch: 7, replica_addresses: Vec::new() };
    let lane = |slices: &[u32]| {
        let slices = slices.iter().copied().map(slice).collect();
        let transaction_id = TransactionId(Uuid::from_u128(1));
        Some(encode_lane(LaneSink { table: Arc::clone(&table), slice_count: 2, slices, transaction_id }))
    };
    let mut client = node.runtime.peers().client(&address).unwrap();

    let receipts = write_rows(&mut client, lane(&[0, 1]), &stored).await.unwrap();
    assert_eq!(receipts.iter().map(|segment| segment.slice.0).collect::<Vec<_>>(), [0, 1]);
    let mut written: Vec<RecordBatch> = Vec::new();
    for receipt in receipts {
        written.push(node.scan(scan_of(&table, &[receipt])).await.unwrap());
    }
    let written = concat_batches(&table.arrow_schema(), &written).unwrap();
    let sorted = |rows: &RecordBatch| {
        let order = arrow::compute::sort_to_indices(rows.column(0), None, None).unwrap();
        arrow::compute::take_record_batch(rows, &order).unwrap()
    };
    assert_eq!(sorted(&written), sorted(&rows));
    // The query has ended here, and was counted.
    assert!(node.runtime.queries().running().is_empty());
    assert_eq!(node.runtime.activity().tasks.load(Ordering::Relaxed), 1);

    // A row of a slice that is not there, a stream that ends too early, and none at all.
    assert_eq!(write_rows(&mut client, lane(&[0]), &stored).await.unwrap_err().kind, ErrorKind::Internal);
    assert!(write_rows(&mut client, lane(&[0, 1]), &stored[..stored.len() / 2]).await.is_err());
    assert_eq!(write_rows(&mut client, None, &stored).await.unwrap_err().kind, ErrorKind::ProtocolViolation);
    assert!(node.runtime.queries().running().is_empty());
}

/// Calls for the rows of a fragment; answers the bytes of its messages.
async fn read_rows(client: &mut ComputeNodeClient<Channel>, query: &str, fragment: Vec<u8>) -> Result<Vec<Vec<u8>>, Status> {
    let mut call = Request::new(proto::ReadRowsRequest { fragment, task: 0, tasks: 1 });
    call.metadata_mut().insert(QUERY_ID_HEADER, query.parse().unwrap());
    client.read_rows(call).await?.into_inner().map_ok(|message| message.chunk).try_collect().await
}

#[tokio::test]
async fn rows_of_a_fragment_come_in_one_answer_and_not_after_the_query_was_cancelled() {
    let node = TestNode::new();
    let address = node.serve().await;
    let mut client = node.runtime.peers().client(&address).unwrap();
    let context = SessionContext::new();
    let config = context.copied_config().with_distributed_user_codec(SlipherCodec);
    // More than one message is long: strings of 3 MiB.
    let sql = "SELECT n, repeat('x', 3000) AS s FROM unnest(range(0, 1000)) AS t (n)";
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(plan));
    let fragment = encode_fragment(&plan, &config).unwrap();

    let messages = read_rows(&mut client, "q1", fragment.clone()).await.unwrap();
    assert!(messages.len() > 2 && messages.iter().all(|message| message.len() <= MESSAGE_CHUNK_BYTES));
    let stream = messages.concat();
    let rows: Vec<RecordBatch> = StreamReader::try_new(&stream[..], None).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);
    assert!(node.runtime.queries().running().is_empty());
    assert_eq!(node.runtime.activity().tasks.load(Ordering::Relaxed), 1);

    client.cancel_query(proto::CancelQueryRequest { query_id: "q2".into() }).await.unwrap();
    let error = read_rows(&mut client, "q2", fragment).await.unwrap_err();
    assert_eq!(Error::from_wire_text(error.message()).map(|error| error.kind), Some(ErrorKind::QueryCanceled));
    let error = read_rows(&mut client, "q3", b"no plan".to_vec()).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(node.runtime.queries().running().is_empty());
}

#[tokio::test]
async fn a_sweep_of_a_million_live_segments_finds_the_one_that_is_not() {
    let node = TestNode::new();
    let address = node.serve().await;
    let table = table(&[(SqlType::BigInt, true)], Distribution::Even, &[]);
    let rows = batch(&table, vec![Arc::new(Int64Array::from_iter_values(0..1000))]);
    let kept = node.write(&table, vec![rows.clone()], vec![]).await.unwrap().remove(0);
    let orphan = node.write(&table, vec![rows], vec![]).await.unwrap().remove(0);
    let others = (1..1_000_000).map(|id| SegmentId(Uuid::from_u128(id)));
    let needed = Needed { live: others.chain([kept.id]).collect(), running: Arc::new([]) };
    let leads = |leader, since_version| Fence {
        cluster: ClusterId(Uuid::from_u128(1)),
        term: 1,
        version: since_version,
        leader: Uuid::from_u128(leader),
        since_version,
        boot: 0,
    };
    let by = |fence: Option<Fence>| proto::SweepRequest {
        written_before_ms: u64::MAX / 4,
        fence: fence.map(|fence| fence.to_proto()),
        ..Default::default()
    };
    let first = by(Some(leads(1, 10)));
    let mut client = node.runtime.peers().client(&address).unwrap();
    // Nobody gives the order, or somebody who is behind.
    node.runtime.store().obey(leads(1, 10)).await.unwrap();
    for (fence, code) in [(None, Code::InvalidArgument), (Some(leads(2, 9)), Code::DataLoss)] {
        let refused = client.sweep(futures::stream::iter(needed.messages(by(fence)))).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    // A part is missing: nothing is removed.
    let parts = needed.messages(first.clone()).take(3).collect::<Vec<_>>();
    let refused = client.sweep(futures::stream::iter(parts)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert_eq!(node.runtime.store().usage().segments, 2);
    let swept = client.sweep(futures::stream::iter(needed.messages(first))).await.unwrap().into_inner();
    assert_eq!((swept.files_removed, swept.bytes_removed), (1, orphan.bytes));
    assert!(node.runtime.store().contains(kept.table, kept.id));
}
