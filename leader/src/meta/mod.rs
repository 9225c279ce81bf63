//! Metadata: a Raft group of leaders that agrees on every change of the catalog.
//!
//! - [`state`]: the state machine, pure;
//! - `log_store`, `sled_store`: what a replica keeps on disk;
//! - `window`, `replica`: one voter's step logic over a log store, driven by ticks, messages and proposals, no clock of its own;
//! - `driver`: the task that owns a replica in a leader process, and [`Meta`], the handle to it.
//!
//! The types of `raft`, `sled` and their codecs stay inside this module.

mod definition;
mod driver;
#[cfg(test)]
mod golden;
mod log_store;
mod logging;
#[cfg(test)]
mod memory_store;
mod replica;
#[cfg(test)]
mod sim;
mod sled_store;
pub mod state;
mod window;

pub(crate) use definition::changed_definition;
pub use driver::{Applied, Meta, MetaOptions};
pub(crate) use driver::{identified, in_time};
pub(crate) use state::not_a_view;
pub use state::{AppliedRecord, ClusterInfo, DatabaseState, NodeInfo, Relation, SchemaState, State, TableState, User, ViewState};
