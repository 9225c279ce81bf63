//! Slipher's own plan nodes and their codec.

mod assign;
mod codec;
mod file_scan;
mod only_task0;
mod runtime;
mod slice_scan;
mod slice_sink;

pub use assign::AssignExec;
pub use codec::SlipherCodec;
pub use file_scan::{FileScanExec, TpchScanExec};
pub use only_task0::OnlyTask0Exec;
pub use runtime::{ComputeRuntime, FileFormat, FileRef, LaneFiles, LaneScan, LaneSink, RuntimeHandle, SegmentRef, SinkSlice};
pub use slice_scan::{ScanSource, SliceScanExec};
pub use slice_sink::{SinkTarget, SliceSinkExec};

use crate::error::Error;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// The only child in `children`.
fn one_child(mut children: Vec<Arc<dyn ExecutionPlan>>, node: &str) -> crate::Result<Arc<dyn ExecutionPlan>> {
    match (children.pop(), children.len()) {
        (Some(child), 0) => Ok(child),
        (_, others) => Err(Error::internal(format!("{node} takes one child, not {}", others + 1))),
    }
}
