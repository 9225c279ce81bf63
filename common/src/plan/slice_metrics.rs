//! What EXPLAIN ANALYZE says of each slice that a scan reads.

use crate::ids::SliceId;
use crate::plan::{LaneScan, RuntimeHandle};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_distributed::DistributedConfig;
use futures::{Stream, StreamExt, TryStreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Whether somebody asked what the statement does (EXPLAIN ANALYZE).
pub fn is_analyzed(options: &ConfigOptions) -> bool {
    DistributedConfig::from_config_options(options).is_ok_and(|config| config.collect_metrics)
}

/// The rows of a lane, one slice after the other, counted and timed for each. Otherwise a lane is read as one, which is a little
/// faster: the next segment is opened while the last one is read.
pub(super) fn slice_by_slice(
    lane: LaneScan,
    context: Arc<TaskContext>,
    metrics: &ExecutionPlanMetricsSet,
    partition: usize,
) -> Result<SendableRecordBatchStream> {
    let schema: SchemaRef = Arc::new(lane.schema.project(&lane.projection)?);
    let runtime = RuntimeHandle::of(&context)?;
    let parts: Vec<(LaneScan, SliceMetrics)> = by_slice(&lane)
        .into_iter()
        .map(|(slice, part)| {
            let metrics = SliceMetrics::new(metrics, partition, slice, &part);
            (part, metrics)
        })
        .collect();
    let streams = futures::stream::iter(parts).map(move |(part, metrics)| -> Result<Timed> {
        let rows = runtime.scan(part, Arc::clone(&context))?;
        Ok(Timed { rows, metrics, since: None })
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, streams.try_flatten())))
}

/// `lane` as one scan per slice, in the order of their first segments.
fn by_slice(lane: &LaneScan) -> Vec<(SliceId, LaneScan)> {
    let mut parts: Vec<(SliceId, LaneScan)> = Vec::new();
    for segment in &lane.segments {
        match parts.iter_mut().find(|(slice, _)| *slice == segment.slice) {
            Some((_, part)) => part.segments.push(segment.clone()),
            None => parts.push((segment.slice, LaneScan { segments: vec![segment.clone()], ..lane.clone() })),
        }
    }
    parts
}

/// Rows that a slice gave, bytes of its segments, and how long the scan waited for them.
struct SliceMetrics {
    rows: Count,
    time: Time,
}

impl SliceMetrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize, slice: SliceId, part: &LaneScan) -> Self {
        let name = if slice == SliceId::ALL { "all".to_owned() } else { slice.0.to_string() };
        let count = |what: &str| MetricBuilder::new(metrics).counter(format!("slice_{name}_{what}"), partition);
        let bytes = part.segments.iter().map(|segment| segment.bytes_read() as usize).sum();
        count("bytes").add(bytes);
        // How many lanes read of it.
        count("lanes").add(1);
        Self { rows: count("rows"), time: MetricBuilder::new(metrics).subset_time(format!("slice_{name}_time"), partition) }
    }
}

/// A slice's rows; counts the time from being asked for a batch until it is there.
struct Timed {
    rows: SendableRecordBatchStream,
    metrics: SliceMetrics,
    since: Option<Instant>,
}

impl Stream for Timed {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let polled = self.rows.poll_next_unpin(context);
        if let Poll::Ready(item) = &polled {
            self.metrics.time.add_elapsed(since);
            self.since = None;
            if let Some(Ok(batch)) = item {
                self.metrics.rows.add(batch.num_rows());
            }
        }
        polled
    }
}
