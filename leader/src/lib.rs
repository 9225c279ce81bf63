//! The leader: endpoints, sessions, SQL, planning, running, transactions, metadata.

mod bind;
pub mod catalog;
pub mod cluster;
mod context;
pub mod frontend;
mod load;
pub mod meta;
pub mod plan;
mod run;
mod server;
mod session;
pub mod side_files;
pub mod sql;
mod statement;
mod telemetry;
mod transaction;
mod upkeep;
pub mod users;
pub mod wire;

pub use plan::scan_filters::with_filters_in_scans;
pub use plan::table_statistics::table_statistics;
pub use server::{Leader, LeaderAddresses, LeaderConfig, generated_password};
