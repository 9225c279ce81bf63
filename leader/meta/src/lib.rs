//! Metadata: a Raft group of leaders that agrees on every change of the catalog.
//!
//! - [`state`]: the state machine, pure;
//! - `log_store`, `sled_store`, `chain`, `witness`: what a replica keeps on disk, and how it knows that all of it is there;
//! - `job`, `parallel`: what a replica does beside its commits, and what by all cores when it starts;
//! - `check`: reads all of that without changing it;
//! - `window`, `replica`: one voter's step logic over a log store, driven by ticks, messages and proposals, no clock of its own;
//! - `driver`: the task that owns a replica in a leader process, and [`Meta`], the handle to it.
//!
//! The types of `raft`, `sled` and their codecs stay inside this crate.

mod chain;
mod check;
mod definition;
mod driver;
#[cfg(test)]
mod golden;
mod job;
mod log_store;
mod logging;
#[cfg(test)]
mod memory_store;
mod parallel;
mod replica;
#[cfg(test)]
mod sim;
mod sled_store;
pub mod state;
mod window;
mod witness;

pub use check::{accept_loss, check};
pub use definition::changed_definition;
pub use driver::{Applied, Meta, MetaOptions, identified, in_time};
pub use state::Commented;
pub use state::not_a_view;
pub use state::{AppliedRecord, ClusterInfo, DatabaseState, NodeInfo, Relation, SchemaState, State, TableState, User, ViewState};
