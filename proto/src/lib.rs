//! Slipher's protocol buffers: persisted metadata, internal services and plan nodes. Generated; no logic of its own.
#![allow(missing_docs, clippy::all, missing_debug_implementations)]

/// The packages under the names that they have in each other.
mod slipher {
    pub mod meta {
        pub mod v1 {
            tonic::include_proto!("slipher.meta.v1");
        }
    }
    pub mod compute {
        pub mod v1 {
            tonic::include_proto!("slipher.compute.v1");
        }
    }
    pub mod leader {
        pub mod v1 {
            tonic::include_proto!("slipher.leader.v1");
        }
    }
    pub mod plan {
        pub mod v1 {
            tonic::include_proto!("slipher.plan.v1");
        }
    }
}

/// The compute node's services.
pub use slipher::compute::v1 as compute;
/// The leader's internal service.
pub use slipher::leader::v1 as leader;
/// Persisted metadata (frozen).
pub use slipher::meta::v1 as meta;
/// Plan nodes on the wire between leader and compute nodes.
pub use slipher::plan::v1 as plan;
