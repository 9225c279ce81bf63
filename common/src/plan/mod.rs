//! Slipher's own plan nodes and their codec.

mod assign;
mod codec;
mod crossing;
mod execute_on;
mod file_scan;
mod fragment;
mod only_task0;
mod result_sink;
mod runtime;
mod scan_segments;
mod shared_lanes;
mod slice_metrics;
mod slice_pruning;
mod slice_scan;
mod slice_sink;
mod without_keys;

pub use assign::{AssignExec, IdentityFill};
pub use codec::{SlipherCodec, decode_lane, encode_lane};
pub(crate) use codec::{decode_schema, encode_schema};
pub use crossing::check_crossing;
pub use execute_on::execute_on;
pub use file_scan::{FileScanExec, TpchScanExec};
pub use fragment::{decode_fragment, encode_fragment, fragment_session};
pub use only_task0::OnlyTask0Exec;
pub use result_sink::{ResultSinkExec, ResultTarget};
pub use runtime::{
    ComputeRuntime, FileFormat, FileRef, LaneFiles, LaneResult, LaneScan, LaneSink, ROW_ID_COLUMN, RuntimeHandle, SegmentRef,
    SinkSlice, row_id, row_of_id,
};
pub use scan_segments::{LaneSegments, ScanSegments};
pub use slice_metrics::is_analyzed;
pub use slice_scan::{ScanSource, SliceScanExec};
pub use slice_sink::{RECEIPT_SCHEMA, SinkTarget, SliceSinkExec};
pub use without_keys::WithoutKeysExec;

use crate::error::Error;
use datafusion::config::ConfigOptions;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// The only child in `children`.
pub fn one_child(mut children: Vec<Arc<dyn ExecutionPlan>>, node: &str) -> crate::Result<Arc<dyn ExecutionPlan>> {
    match (children.pop(), children.len()) {
        (Some(child), 0) => Ok(child),
        (_, others) => Err(Error::internal(format!("{node} takes one child, not {}", others + 1))),
    }
}

/// The HTTP header that names a query on its way to compute nodes.
pub const QUERY_ID_HEADER: &str = "x-slipher-query-id";
/// The header of a query that must not slow others down.
pub const BACKGROUND_HEADER: &str = "x-slipher-background";
/// Header of a query that other queries have left too little memory before: it begins when it can have all it may have.
pub const WHOLE_MEMORY_HEADER: &str = "x-slipher-whole-memory";

/// The engine settings that distributed plans need to be right, on the leader and on compute nodes alike.
pub fn apply_engine_options(options: &mut ConfigOptions) {
    // An idle lane must not read its neighbour's files: rows would leave the lane that their hash names.
    options.execution.enable_file_stream_work_stealing = false;
    // These filters route rows by the engine's own hash.
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_round_robin_repartition = false;
    options.optimizer.repartition_file_scans = false;
    options.optimizer.subset_repartition_threshold = 1;
    options.optimizer.prefer_existing_sort = false;
    // Unions keep a field's SQL type in the physical schema and drop it in the logical one; nothing but messages depends on it.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.time_zone = Some("UTC".to_owned());
}
