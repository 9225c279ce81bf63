#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
//! The system as its users meet it: real processes, real clients, text files of SQL. One binary, as linking it is slow.

mod admin;
mod bad_files;
mod bad_input;
mod budgets;
mod clients;
mod compaction;
mod crash;
mod databases;
mod direct;
mod explain;
mod fail_points;
mod harness;
mod histories;
mod joins;
mod ledger;
mod nodes;
mod oracle;
mod oracles;
mod prepared;
mod resize;
mod rooms;
mod slices;
mod slt;
mod telemetry;
mod tpch;
mod transactions;
mod typed_parameters;
mod wrong_forms;
