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
use slipher_common::batch::compact;
use slipher_common::catalog::Distribution;
use slipher_common::channels::{MESSAGE_CHUNK_BYTES, NodeChannels, call_error};
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
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::Status;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;

/// More rows are worth a plan: the nodes check and sort them side by side. Their bytes are those of a statement's text, or of what a few
/// functions make of it.
const FEW_ROWS_MAX: usize = 1_000;

/// Whose turn it is to get rows that may be anywhere.
static NEXT_PLACE: AtomicUsize = AtomicUsize::new(0);

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
        let headers = query_headers(&query)?;
        let parts = rows_by_node(&self.target, &query, &rows)?.into_values();
        let calls = parts.map(|part| self.write_part(headers.clone(), &rows, part));
        SliceSinkExec::batch_of(&try_join_all(calls).await?.concat())
    }

    /// Has a node write its rows; answers their receipts.
    async fn write_part(
        &self,
        headers: HeaderMap,
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
        let sent = part.rows.len();
        let stored = match sent == rows.num_rows() {
            true => ipc_stream(rows)?,
            // Picked rows refer to the strings of all rows.
            false => ipc_stream(&compact(&take_record_batch(rows, &UInt32Array::from(part.rows))?)?)?,
        };
        let mut call = tonic::Request::new(futures::stream::iter(messages(lane, stored)));
        *call.metadata_mut() = MetadataMap::from_headers(headers);
        let failed = |status: Status| failed(&doing, &status);
        let mut client = ComputeNodeClient::new(self.channels.service(part.address)?);
        let mut answers = client.write_rows(call).await.map_err(failed)?.into_inner();
        let mut receipts = Vec::new();
        while let Some(answer) = answers.message().await.map_err(failed)? {
            receipts.push(SliceSinkExec::receipt(&answer.receipt)?);
        }
        let written = receipts.iter().map(|segment| segment.rows).sum::<u64>();
        match written == sent as u64 {
            true => Ok(receipts),
            false => Err(Error::internal(format!("{doing}: {sent} rows became {written}"))),
        }
    }
}

/// Why a call for rows failed. What the rows themselves are refused for is told as it is.
pub(super) fn failed(doing: &str, status: &Status) -> Error {
    Error::from_wire_text(status.message()).unwrap_or_else(|| call_error(doing, status))
}

/// A sink, and the bytes of its rows, cut when they are wanted.
fn messages(lane: LaneSink, stored: Vec<u8>) -> impl Iterator<Item = WriteRowsRequest> + Send {
    let chunks = (0..stored.len()).step_by(MESSAGE_CHUNK_BYTES).map(move |start| {
        let end = stored.len().min(start + MESSAGE_CHUNK_BYTES);
        Part::Chunk(stored[start..end].to_vec())
    });
    std::iter::once(Part::Sink(encode_lane(lane))).chain(chunks).map(|part| WriteRowsRequest { part: Some(part) })
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
    let table = &target.table;
    let place_of_row: Vec<(usize, &SinkSlice)> = match table.distribution {
        Distribution::Key(id) => {
            let column = table.index_of(id).ok_or_else(|| {
                Error::internal(format!("writing to table \"{table}\": its DISTKEY is column {id}, which it does not have"))
            })?;
            let place = |slice: u32| {
                let (task, lane) = query.layout.slots.get(slice as usize)?;
                let lane = target.tasks.get(*task)?.get(*lane)?;
                lane.iter().find(|placed| placed.slice.0 == slice).map(|placed| (*task, placed))
            };
            let missing = |slice| Error::internal(format!("writing to table \"{table}\": no node has slice {slice}"));
            let slices = slices_of(rows.column(column), target.slice_count)?.into_iter();
            slices.map(|slice| place(slice).ok_or_else(|| missing(slice))).collect::<Result<_, _>>()?
        }
        // They stay together: each slice with one of them would get a file. Any copy of an ALL table will do: its node hands them on.
        Distribution::Even | Distribution::All => {
            let tasks = target.tasks.iter().enumerate();
            let places: Vec<_> = tasks.flat_map(|(task, lanes)| lanes.iter().flatten().map(move |slice| (task, slice))).collect();
            let turn = NEXT_PLACE.fetch_add(1, Ordering::Relaxed).checked_rem(places.len());
            let turn = turn.ok_or_else(|| Error::internal(format!("writing to table \"{table}\": the cluster has no slices")))?;
            vec![places[turn]; rows.num_rows()]
        }
    };
    let mut by_node: BTreeMap<NodeId, RowsOfNode<'a>> = BTreeMap::new();
    for (row, (task, slice)) in (0..).zip(place_of_row) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn constants_are_told_from_what_reads_and_from_what_multiplies() {
        let context = SessionContext::new();
        context.sql("CREATE TABLE t AS VALUES (1)").await.unwrap();
        let plan = async |sql: &str| context.state().create_logical_plan(sql).await.unwrap();
        for sql in [
            "VALUES (1, 'a'), (2, NULL)",
            "SELECT random(), now()",
            "SELECT 1 UNION ALL SELECT 2",
            "SELECT a + 1 FROM (VALUES (1)) AS v (a)",
        ] {
            assert!(yields_few_constants(&plan(sql).await), "{sql}");
        }
        for sql in [
            "SELECT * FROM t",
            "SELECT 1 UNION ALL SELECT column1 FROM t",
            "SELECT (SELECT max(column1) FROM t)",
            "SELECT unnest([1, 2])",
            "SELECT * FROM generate_series(1, 5)",
            "SELECT 1 FROM (VALUES (1)) AS a (n), (VALUES (1), (2)) AS b (n)",
        ] {
            assert!(!yields_few_constants(&plan(sql).await), "{sql}");
        }
        let many = vec!["(1)"; FEW_ROWS_MAX + 1].join(", ");
        assert!(!yields_few_constants(&plan(&format!("VALUES {many}")).await));
    }
}
