//! The `slipher` binary.

fn main() {}
