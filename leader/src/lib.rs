//! The leader: endpoints, sessions, planning, running, transactions. Its lowest rooms are crates of their own: `slipher_sql` reads text,
//! `slipher_meta` keeps the metadata.

mod bind;
pub mod catalog;
pub mod cluster;
mod context;
pub mod frontend;
mod load;
pub mod plan;
mod run;
mod server;
mod session;
pub mod side_files;
mod statement;
mod telemetry;
mod transaction;
mod upkeep;
pub mod users;
pub mod wire;

pub use plan::scan_filters::with_filters_in_scans;
pub use plan::table_statistics::table_statistics;
pub use server::{Leader, LeaderAddresses, LeaderConfig, generated_password};
