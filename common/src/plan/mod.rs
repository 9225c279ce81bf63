//! Slipher's own plan nodes and their codec.

mod runtime;

pub use runtime::{ComputeRuntime, FileFormat, FileRef, LaneFiles, LaneScan, LaneSink, RuntimeHandle, SegmentRef, SinkSlice};
