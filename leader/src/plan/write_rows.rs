//! The short way of rows that the leader has itself: INSERT ... VALUES. A distributed plan costs more than writing them.

use super::context::QueryContext;
use super::planner::query_headers;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::ipc::writer::StreamWriter;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, collect};
use futures::future::try_join_all;
use slipher_common::Error;
use slipher_common::catalog::Distribution;
use slipher_common::channels::{NodeChannels, call_error};
use slipher_common::distribution::slices_of;
use slipher_common::ids::{NodeId, SliceId};
use slipher_common::manifest::Segment;
use slipher_common::plan::{LaneSink, RECEIPT_SCHEMA, SinkSlice, SinkTarget, SliceSinkExec, encode_lane, one_child};
use slipher_proto::compute::WriteRowsRequest;
use slipher_proto::compute::compute_node_client::ComputeNodeClient;
use slipher_proto::compute::write_rows_request::Part;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tonic::metadata::MetadataMap;

/// More rows are worth a plan: the nodes check and sort them side by side.
const FEW_ROWS_MAX: usize = 1_000;
/// Bytes of one message (gRPC's default limit is 4 MiB).
const CHUNK_BYTES: usize = 1 << 20;

/// Whether `source` reads nothing, and yields few rows.
pub(crate) fn yields_few_constants(source: &LogicalPlan) -> bool {
    let mut rows = 0;
    let visited = source.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Values(values) => rows += values.values.len(),
            LogicalPlan::EmptyRelation(_) => rows += 1,
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => {}
            // It reads something, or yields more rows than it gets.
            _ => rows = usize::MAX,
        }
        Ok(if rows > FEW_ROWS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.is_ok() && rows <= FEW_ROWS_MAX
}

/// Computes its child's rows on the leader, sends each to the node of its slice, and yields the receipts as [`SliceSinkExec`] does.
#[derive(Clone, Debug)]
pub(crate) struct WriteRowsExec {
    rows: Arc<dyn ExecutionPlan>,
    target: Arc<SinkTarget>,
    channels: NodeChannels,
    properties: Arc<PlanProperties>,
}

impl WriteRowsExec {
    pub(crate) fn new(rows: Arc<dyn ExecutionPlan>, target: Arc<SinkTarget>, channels: NodeChannels) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&RECEIPT_SCHEMA)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { rows, target, channels, properties: Arc::new(properties) }
    }

    async fn write(self, context: Arc<TaskContext>) -> Result<RecordBatch> {
        let query = context.session_config().get_extension::<QueryContext>();
        let query = query.ok_or_else(|| Error::internal("rows were to be written without a layout of nodes"))?;
        let batches = collect(Arc::clone(&self.rows), context).await?;
        let rows = concat_batches(&self.target.table.arrow_schema(), &batches)?;
        let calls = rows_by_node(&self.target, &query, &rows)?.into_values().map(|part| self.write_part(&query, &rows, part));
        SliceSinkExec::batch_of(&try_join_all(calls).await?.concat())
    }

    /// Has a node write its rows; answers their receipts.
    async fn write_part(
        &self,
        query: &QueryContext,
        rows: &RecordBatch,
        part: RowsOfNode<'_>,
    ) -> slipher_common::Result<Vec<Segment>> {
        let doing = format!("writing rows of table \"{}\" on compute node \"{}\"", self.target.table, part.address);
        let lane = LaneSink {
            table: Arc::clone(&self.target.table),
            slice_count: self.target.slice_count,
            slices: part.slices.into_values().cloned().collect(),
            transaction_id: self.target.transaction_id,
        };
        let rows = take_record_batch(rows, &UInt32Array::from(part.rows))?;
        let stored = ipc_stream(&rows)?;
        let chunks = stored.chunks(CHUNK_BYTES).map(|chunk| Part::Chunk(chunk.to_vec()));
        let parts: Vec<_> = std::iter::once(Part::Sink(encode_lane(lane))).chain(chunks).collect();
        let messages = parts.into_iter().map(|part| WriteRowsRequest { part: Some(part) });
        let mut call = tonic::Request::new(futures::stream::iter(messages));
        *call.metadata_mut() = MetadataMap::from_headers(query_headers(query)?);
        let mut client = ComputeNodeClient::new(self.channels.channel(part.address)?);
        let answer = client.write_rows(call).await.map_err(|status| {
            // What the rows themselves are refused for is told as it is.
            Error::from_wire_text(status.message()).unwrap_or_else(|| call_error(&doing, &status))
        })?;
        let receipts = answer.into_inner().receipts;
        let receipts = receipts.iter().map(|bytes| SliceSinkExec::receipt(bytes)).collect::<slipher_common::Result<Vec<_>>>()?;
        let (sent, written) = (rows.num_rows() as u64, receipts.iter().map(|segment| segment.rows).sum::<u64>());
        match written == sent {
            true => Ok(receipts),
            false => Err(Error::internal(format!("{doing}: {sent} rows became {written}"))),
        }
    }
}

/// What one node writes.
struct RowsOfNode<'a> {
    /// Its internal address.
    address: &'a str,
    /// The slices of its rows.
    slices: BTreeMap<SliceId, &'a SinkSlice>,
    /// Their numbers in the batch.
    rows: Vec<u32>,
}

/// Where the rows of one statement go.
fn rows_by_node<'a>(
    target: &'a SinkTarget,
    query: &'a QueryContext,
    rows: &RecordBatch,
) -> slipher_common::Result<BTreeMap<NodeId, RowsOfNode<'a>>> {
    let slices: Vec<(usize, &SinkSlice)> = target
        .tasks
        .iter()
        .enumerate()
        .flat_map(|(task, lanes)| lanes.iter().flatten().map(move |slice| (task, slice)))
        .collect();
    let slice_of_row: Vec<usize> = match (target.table.distribution, slices.len()) {
        (_, 0) => return Err(Error::internal(format!("writing to table \"{}\": the cluster has no slices", target.table))),
        (Distribution::Key(column), _) => {
            let column = target.table.index_of(column).ok_or_else(|| {
                Error::internal(format!(
                    "writing to table \"{}\": its DISTKEY is column {column}, which it does not have",
                    target.table
                ))
            })?;
            let place: BTreeMap<u32, usize> =
                slices.iter().enumerate().map(|(place, (_, slice))| (slice.slice.0, place)).collect();
            let of_row = slices_of(rows.column(column), target.slice_count)?;
            let missing = |slice| Error::internal(format!("writing to table \"{}\": no node has slice {slice}", target.table));
            of_row.into_iter().map(|slice| place.get(&slice).copied().ok_or_else(|| missing(slice))).collect::<Result<_, _>>()?
        }
        // Few rows stay together: each slice with one of them would get a file.
        (Distribution::Even, count) => vec![rand::random_range(0..count); rows.num_rows()],
        // The first node's copy; that node hands it on.
        (Distribution::All, _) => vec![0; rows.num_rows()],
    };
    let mut by_node: BTreeMap<NodeId, RowsOfNode<'a>> = BTreeMap::new();
    for (row, place) in (0..).zip(slice_of_row) {
        let (task, slice) = slices[place];
        let address = query.addresses[task].as_str().trim_end_matches('/');
        let empty = || RowsOfNode { address, slices: BTreeMap::new(), rows: Vec::new() };
        let part = by_node.entry(query.layout.nodes[task]).or_insert_with(empty);
        part.slices.insert(slice.slice, slice);
        part.rows.push(row);
    }
    Ok(by_node)
}

/// An Arrow IPC stream of one batch.
fn ipc_stream(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(rows)?;
    Ok(writer.into_inner()?)
}

impl DisplayAs for WriteRowsExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteRowsExec: table={}", self.target.table)
    }
}

impl ExecutionPlan for WriteRowsExec {
    fn name(&self) -> &str {
        "WriteRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { rows: one_child(children, "WriteRowsExec")?, ..Self::clone(&self) }))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let receipts = futures::stream::once(self.clone().write(context));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&RECEIPT_SCHEMA), receipts)))
    }
}
