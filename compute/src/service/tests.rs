use super::*;
use crate::testing::*;
use arrow::array::Int64Array;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use slipher_common::SqlType;
use slipher_common::catalog::Distribution;
use slipher_common::plan::ComputeRuntime;
use slipher_common::trace::Span;
use uuid::Uuid;

#[tokio::test]
async fn ping_tells_who_the_node_is_and_refuses_another_cluster() {
    let node = TestNode::new();
    let address = node.serve().await;
    let mine = ClusterId(Uuid::from_u128(1));
    node.runtime.store().join_cluster(mine).unwrap();
    let mut client = node.runtime.peers().client(&address).unwrap();
    let answer = client.ping(proto::PingRequest { cluster_id: mine.to_vec() }).await.unwrap().into_inner();
    assert_eq!(answer.node_id, node.runtime.store().node_id().to_vec());
    assert_eq!((answer.cluster_id, answer.version.as_str()), (mine.to_vec(), VERSION));
    let other = ClusterId(Uuid::from_u128(2)).to_vec();
    assert_eq!(client.ping(proto::PingRequest { cluster_id: other }).await.unwrap_err().code(), Code::FailedPrecondition);
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
