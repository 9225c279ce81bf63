//! The short way of a query that reads little. The engine's way takes a channel to each node for each task's plan, a call for its rows, and
//! waits until both have ended: longer than reading a few files does. Here each task that has something to read is one call, and what has
//! nothing to read is not asked.

use super::context::QueryContext;
use super::explain::inputs;
use super::planner::query_headers;
use super::write_rows::{WriteRowsExec, failed};
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedExec, DistributedLeafExec, NetworkBoundaryExt, NetworkCoalesceExec};
use futures::TryStreamExt;
use slipher_common::Error;
use slipher_common::channels::{MESSAGE_CHUNK_BYTES, NodeChannels};
use slipher_common::plan::{SliceScanExec, encode_fragment};
use slipher_proto::compute::compute_node_client::ComputeNodeClient;
use slipher_proto::compute::{ReadRowsRequest, ReadRowsResponse};
use std::fmt;
use std::sync::Arc;
use tonic::Streaming;
use tonic::metadata::MetadataMap;

/// Files of more bytes are worth the engine's way, whose lanes send side by side.
const SHORT_WAY_BYTES_MAX: u64 = 4 << 20;
/// What reads more rows, or bytes of files, leaves the usual threads to statements that need less.
const PROMPT_ROWS_MAX: u64 = 64 << 10;
const PROMPT_BYTES_MAX: u64 = 512 << 10;

type Plan = Arc<dyn ExecutionPlan>;

/// `plan` the short way, if there is one: all of it that runs on compute nodes is one stage, which reads little and writes nothing.
pub(crate) fn short_way(plan: Plan, config: &SessionConfig, channels: &NodeChannels) -> Result<Plan> {
    let Some(query) = config.get_extension::<QueryContext>() else { return Ok(plan) };
    let Some(distributed) = plan.downcast_ref::<DistributedExec>() else { return Ok(plan) };
    let [on_leader] = distributed.children()[..] else { return Ok(plan) };
    let Some(boundary) = only_boundary(on_leader) else { return Ok(plan) };
    let Some(fragment) = inputs(&boundary).pop() else { return Ok(plan) };
    let Some(Reading { tasks: reading, is_prompt }) = tasks_that_read(&fragment) else { return Ok(plan) };
    let tasks = boundary.as_network_boundary().map_or(0, |boundary| boundary.input_stage().task_count());
    let mut calls = Vec::with_capacity(reading.len());
    for task in reading {
        let own = in_one_partition(of_task(&fragment, task)?);
        let request = ReadRowsRequest { fragment: encode_fragment(&own, config)?, task: task as u32, tasks: tasks as u32 };
        let Some(address) = query.addresses.get(task).filter(|_| request.fragment.len() <= MESSAGE_CHUNK_BYTES) else {
            return Ok(plan);
        };
        calls.push((own, Call { address: address.as_str().trim_end_matches('/').to_owned(), request }));
    }
    let Some((own, _)) = calls.first() else { return Ok(plan) };
    let equivalences = own.equivalence_properties().clone();
    let calls = calls.into_iter().map(|(_, call)| call).collect();
    // Here, where the statement's span is the current one.
    let headers = MetadataMap::from_headers(query_headers(&query)?);
    let read = ReadRowsExec { is_prompt, ..ReadRowsExec::new(equivalences, calls, headers, channels.clone()) };
    let read: Plan = Arc::new(read);
    let replaced = |node: Plan| match Arc::ptr_eq(&node, &boundary) {
        true => Ok(Transformed::yes(Arc::clone(&read))),
        false => Ok(Transformed::no(node)),
    };
    Arc::clone(on_leader).transform_down(replaced).data()
}

/// Whether a plan is done about as soon as other threads would begin with it: constants, and few rows that nodes read or write the short way.
pub(crate) fn is_short(plan: &Plan) -> bool {
    let inputs = plan.children();
    plan.downcast_ref::<ReadRowsExec>().is_some_and(|read| read.is_prompt)
        || plan.is::<WriteRowsExec>()
        || plan.is::<PlaceholderRowExec>()
        || plan.is::<EmptyExec>()
        || !inputs.is_empty() && inputs.into_iter().all(is_short)
}

/// The boundary of a plan that has one and no more, at which rows are only gathered.
fn only_boundary(plan: &Plan) -> Option<Plan> {
    let mut found: Vec<Plan> = Vec::new();
    super::explain::visit(plan, &mut |node| {
        if node.as_network_boundary().is_some() {
            found.push(Arc::clone(node));
        }
    });
    match &found[..] {
        [only] if only.is::<NetworkCoalesceExec>() => found.pop(),
        _ => None,
    }
}

/// What a stage reads.
struct Reading {
    /// The tasks that have something to read, one at least.
    tasks: Vec<usize>,
    /// It is so little that it is done at once.
    is_prompt: bool,
}

/// The tasks that have something to read; None where the fragment reads much, or something else than slices. What reads nothing
/// yields nothing, or what a sum of nothing is, which adds nothing.
fn tasks_that_read(fragment: &Plan) -> Option<Reading> {
    let (mut reading, mut bytes, mut rows, mut only_scans) = (Vec::new(), 0, 0, true);
    super::explain::visit(fragment, &mut |node| {
        let Some(leaf) = node.downcast_ref::<DistributedLeafExec>() else {
            only_scans &= !inputs(node).is_empty();
            return;
        };
        for (task, variant) in leaf.variants().iter().enumerate() {
            match variant.downcast_ref::<SliceScanExec>() {
                Some(scan) => {
                    let segments = scan.reads().iter().flatten();
                    let before = rows;
                    for segment in segments {
                        (bytes, rows) = (bytes + segment.bytes, rows + segment.rows_read());
                    }
                    reading.extend((rows > before).then_some(task));
                }
                None => only_scans = false,
            }
        }
    });
    if !only_scans || bytes > SHORT_WAY_BYTES_MAX {
        return None;
    }
    if reading.is_empty() {
        reading.push(0);
    }
    reading.sort_unstable();
    reading.dedup();
    Some(Reading { tasks: reading, is_prompt: rows <= PROMPT_ROWS_MAX && bytes <= PROMPT_BYTES_MAX })
}

/// What a task runs of a fragment.
fn of_task(fragment: &Plan, task: usize) -> Result<Plan> {
    let own = |node: Plan| match node.downcast_ref::<DistributedLeafExec>().map(|leaf| leaf.variants().get(task)) {
        Some(Some(variant)) => Ok(Transformed::yes(Arc::clone(variant))),
        Some(None) => Err(Error::internal(format!("task {task} has no part in what is read")).into()),
        None => Ok(Transformed::no(node)),
    };
    Arc::clone(fragment).transform_up(own).data()
}

/// `plan` with one partition, in its order where it has one.
fn in_one_partition(plan: Plan) -> Plan {
    match (plan.output_partitioning().partition_count(), plan.output_ordering().cloned()) {
        (1, _) => plan,
        (_, Some(order)) => Arc::new(SortPreservingMergeExec::new(order, plan)),
        (_, None) => Arc::new(CoalescePartitionsExec::new(plan)),
    }
}

/// A task.
struct Call {
    /// Its node's internal address.
    address: String,
    request: ReadRowsRequest,
}

/// Yields the rows of some tasks, each in a partition.
#[derive(Clone)]
struct ReadRowsExec {
    calls: Arc<Vec<Call>>,
    headers: MetadataMap,
    channels: NodeChannels,
    properties: Arc<PlanProperties>,
    /// It is done at once, by nodes' usual threads; otherwise by those that run queries.
    is_prompt: bool,
}

impl ReadRowsExec {
    fn new(equivalences: EquivalenceProperties, calls: Vec<Call>, headers: MetadataMap, channels: NodeChannels) -> Self {
        let partitioning = Partitioning::UnknownPartitioning(calls.len());
        let properties = PlanProperties::new(equivalences, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        Self { calls: Arc::new(calls), headers, channels, properties: Arc::new(properties), is_prompt: true }
    }

    /// Calls the node of a task.
    async fn call(self, partition: usize) -> Result<SendableRecordBatchStream> {
        let task = self.calls.get(partition).ok_or_else(|| Error::internal(format!("there is no call {partition}")))?;
        let doing = format!("reading rows on compute node \"{}\"", task.address);
        let mut call = tonic::Request::new(task.request.clone());
        *call.metadata_mut() = self.headers.clone();
        let channel = match self.is_prompt {
            true => self.channels.service(&task.address)?,
            false => self.channels.tasks(&task.address)?,
        };
        let mut client = ComputeNodeClient::new(channel);
        let answer = client.read_rows(call).await.map_err(|status| failed(&doing, &status))?.into_inner();
        let arriving = Arriving { answer, doing, decoder: StreamDecoder::new(), chunk: Buffer::default() };
        let batches = futures::stream::try_unfold(arriving, |mut arriving| async move {
            let batch = arriving.next().await?;
            Ok(batch.map(|batch| (batch, arriving)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// An Arrow IPC stream whose bytes come in messages.
struct Arriving {
    answer: Streaming<ReadRowsResponse>,
    doing: String,
    decoder: StreamDecoder,
    /// What is not decoded yet of the last message.
    chunk: Buffer,
}

impl Arriving {
    /// The next batch; None after the last one, if the stream ends where it may.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.chunk)? {
                return Ok(Some(batch));
            }
            match self.answer.message().await.map_err(|status| failed(&self.doing, &status))? {
                Some(message) => self.chunk = Buffer::from_vec(message.chunk),
                None => return self.decoder.finish().map(|()| None).map_err(DataFusionError::from),
            }
        }
    }
}

impl fmt::Debug for ReadRowsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadRowsExec").field("tasks", &self.calls.len()).finish_non_exhaustive()
    }
}

impl DisplayAs for ReadRowsExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadRowsExec: tasks={}", self.calls.len())
    }
}

impl ExecutionPlan for ReadRowsExec {
    fn name(&self) -> &str {
        "ReadRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Plan>) -> Result<Plan> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let rows = futures::stream::once(self.clone().call(partition)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
