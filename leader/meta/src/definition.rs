//! Changes of definitions, as records say them.

use super::{State, TableState};
use slipher_common::catalog::Table;
use slipher_proto::meta::{self as proto, operation::Kind};

/// The operation that gives `before` the definition `after`.
pub fn changed_definition(before: &TableState, after: &Table, read: &State) -> Kind {
    let defined_version = read.committed_or_zero(before.defined_version);
    Kind::ChangeTable(proto::ChangeTable { table: Some(after.to_proto()), defined_version })
}
