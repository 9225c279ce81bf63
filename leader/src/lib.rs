//! The leader: endpoints, sessions, SQL, planning, running, transactions, metadata.

mod bind;
pub mod catalog;
pub mod cluster;
mod compaction;
mod engine;
mod load;
pub mod meta;
pub mod plan;
mod run;
pub mod session;
pub mod sql;
mod telemetry;
mod transaction;
pub mod users;
pub mod wire;

pub use engine::{Leader, LeaderAddresses, LeaderConfig, generated_password};
pub use plan::scan_filters::with_filters_in_scans;
pub use plan::table::table_statistics;
