//! What the tests of several modules need.

use crate::connections::sorted;
use crate::service::ComputeNodeService;
use crate::{NodeOptions, NodeRuntime};
use arrow::array::*;
use arrow::compute::concat_batches;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};
use slipher_common::catalog::{Column, Distribution, SortStyle, Table};
use slipher_common::ids::{ColumnId, SliceId, TableId, TransactionId};
use slipher_common::manifest::Segment;
use slipher_common::plan::{ComputeRuntime, LaneScan, LaneSink, SegmentRef, SinkSlice};
use slipher_common::{Result, SqlType};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

/// A node in a directory of its own.
pub(crate) struct TestNode {
    pub(crate) runtime: Arc<NodeRuntime>,
    pub(crate) directory: TempDir,
}

impl TestNode {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Arc::new(NodeRuntime::open(directory.path(), &NodeOptions::default()).unwrap());
        Self { runtime, directory }
    }

    /// The node after a restart.
    pub(crate) fn reopen(self) -> Self {
        let Self { runtime, directory } = self;
        drop(runtime);
        let runtime = Arc::new(NodeRuntime::open(directory.path(), &NodeOptions::default()).unwrap());
        Self { runtime, directory }
    }

    /// Serves the node on a free port of the loopback interface until the test's runtime ends.
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (accepting, ready) = sorted(listener.into_std().unwrap());
        tokio::spawn(accepting);
        for connections in [ready.service, ready.tasks] {
            let server = tonic::transport::Server::builder().add_service(ComputeNodeService::of(&self.runtime).into_server());
            tokio::spawn(server.serve_with_incoming(ReceiverStream::new(connections).map(TcpStream::from_std)));
        }
        address
    }

    /// Writes `batches` as the only slice of a lane.
    pub(crate) async fn write(
        &self,
        table: &Arc<Table>,
        batches: Vec<RecordBatch>,
        replicas: Vec<String>,
    ) -> Result<Vec<Segment>> {
        let slices = vec![SinkSlice { slice: SliceId(0), epoch: 7, replica_addresses: replicas }];
        self.sink(table, 1, slices, batches, context()).await
    }

    pub(crate) async fn sink(
        &self,
        table: &Arc<Table>,
        slice_count: u32,
        slices: Vec<SinkSlice>,
        batches: Vec<RecordBatch>,
        context: Arc<TaskContext>,
    ) -> Result<Vec<Segment>> {
        let transaction_id = TransactionId(Uuid::from_u128(1));
        let lane = LaneSink { table: Arc::clone(table), slice_count, slices, transaction_id };
        let schema = table.arrow_schema();
        let input = RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok)));
        self.runtime.sink(lane, Box::pin(input), context).await
    }

    pub(crate) async fn scan(&self, lane: LaneScan) -> Result<RecordBatch> {
        let stream = self.runtime.scan(lane, context())?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        for batch in &batches {
            assert_eq!(batch.schema(), schema);
        }
        Ok(concat_batches(&schema, &batches)?)
    }
}

pub(crate) fn context() -> Arc<TaskContext> {
    SessionContext::new().task_ctx()
}

/// A task whose query has `bytes` of memory.
pub(crate) fn context_with_memory(environment: Arc<RuntimeEnv>) -> Arc<TaskContext> {
    SessionContext::new_with_config_rt(Default::default(), environment).task_ctx()
}

/// A scan of all columns.
pub(crate) fn scan_of(table: &Table, segments: &[Segment]) -> LaneScan {
    let schema = table.arrow_schema();
    LaneScan {
        table_id: table.id,
        table_name: table.to_string(),
        projection: (0..schema.fields().len()).collect(),
        schema,
        predicates: Vec::new(),
        segments: segments.iter().map(reference).collect(),
        limit: None,
    }
}

pub(crate) fn reference(segment: &Segment) -> SegmentRef {
    SegmentRef {
        id: segment.id,
        slice: segment.slice,
        rows: segment.rows,
        bytes: segment.bytes,
        checksum: segment.checksum,
        other_copies: Arc::default(),
        delete_vector: segment.delete_vector.clone(),
        number: 0,
        part: None,
    }
}

/// A table with columns `c0`, `c1`, … of the given types.
pub(crate) fn table(types: &[(SqlType, bool)], distribution: Distribution, sort_key: &[u32]) -> Arc<Table> {
    let column = |(index, (sql_type, not_null)): (usize, &(SqlType, bool))| Column {
        id: ColumnId(index as u32),
        name: format!("c{index}"),
        sql_type: *sql_type,
        not_null: *not_null,
        default_expression: None,
        encoding: None,
        identity: None,
        stored_name: None,
        missing_value: None,
    };
    Arc::new(Table {
        id: TableId(42),
        database: Default::default(),
        schema: "public".into(),
        name: "t".into(),
        owner: "admin".into(),
        columns: types.iter().enumerate().map(column).collect(),
        distribution,
        distribution_auto: false,
        sort_style: SortStyle::Compound,
        sort_key: sort_key.iter().map(|id| ColumnId(*id)).collect(),
        sort_auto: false,
        encode_auto: false,
        backup: true,
        constraints: Vec::new(),
        next_column_id: 0,
    })
}

/// A batch in the table's schema.
pub(crate) fn batch(table: &Table, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(table.arrow_schema(), columns).unwrap()
}

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
