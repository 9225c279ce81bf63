//! The storage and execution half of a compute node: segments, the data directory that holds them, scans, sinks, copies between
//! nodes, and the node's own service.

pub mod activity;
mod connections;
mod flight;
pub mod load;
pub mod memory;
mod node;
pub mod queries;
mod recent;
pub mod replicate;
mod results;
mod runtime;
mod scan;
pub mod segment;
pub mod service;
mod sink;
pub mod store;
#[cfg(test)]
mod testing;

pub use node::{ComputeConfig, ComputeNode};
pub use runtime::{NodeOptions, NodeRuntime};
