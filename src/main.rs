//! The `slipher` binary.

mod sql_client;

fn main() {}
