//! Slipher's protocol buffers: persisted metadata, internal services and plan nodes. Generated; no logic of its own.
#![allow(missing_docs, clippy::all, missing_debug_implementations)]

/// Persisted metadata (frozen).
pub mod meta {
    tonic::include_proto!("slipher.meta.v1");
}
/// The compute node's service.
pub mod compute {
    tonic::include_proto!("slipher.compute.v1");
}
/// The leader's internal service.
pub mod leader {
    tonic::include_proto!("slipher.leader.v1");
}
/// Plan nodes on the wire between leader and compute nodes.
pub mod plan {
    tonic::include_proto!("slipher.plan.v1");
}
