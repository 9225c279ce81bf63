//! What a block sees of itself, without a cluster.

use super::*;
use slipher_common::ids::ClusterId;
use slipher_meta::AppliedRecord;
use slipher_proto::meta::{self as proto};
use uuid::Uuid;

fn initialized() -> State {
    let init = proto::InitCluster {
        cluster_id: ClusterId(Uuid::from_u128(1)).to_vec(),
        slice_count: 4,
        replication_factor: 1,
        hash_version: 1,
        slices_by_lanes: false,
    };
    let mut state = State::default();
    apply(&mut state, vec![Kind::InitCluster(init)]).unwrap();
    state
}

/// Applies a record of these changes. What must always hold holds in what comes of it.
fn apply(state: &mut State, kinds: Vec<Kind>) -> Result<AppliedRecord> {
    let change = record(kinds, state);
    let applied = state.apply(state.version().0 + 1, &change)?;
    state.check().unwrap();
    Ok(applied)
}

/// The same for a block that sees its own changes.
fn speculate(state: &State, kinds: Vec<Kind>) -> Result<State> {
    let (ahead, _) = state.speculate(record(kinds, state))?;
    ahead.check().unwrap();
    Ok(ahead)
}

fn create_schema(id: u64, name: &str) -> Kind {
    Kind::CreateSchema(proto::CreateSchema {
        schema_id: id,
        name: name.to_owned(),
        owner: "admin".to_owned(),
        allocated_id: true,
        ..Default::default()
    })
}

#[test]
fn speculation_leaves_the_state_it_began_with() {
    let state = initialized();
    let kinds = vec![create_schema(100_007, "new")];
    let ahead = speculate(&state, kinds.clone()).unwrap();
    assert!(ahead.schemas().contains_key("new") && !state.schemas().contains_key("new"));
    let further = speculate(&ahead, vec![create_schema(100_003, "other")]).unwrap();
    assert_eq!(further.schemas().len(), 3);
    let again = speculate(&further, kinds).unwrap_err();
    assert_eq!(again.kind, ErrorKind::DuplicateSchema);
}

#[test]
fn allocated_ids_come_in_any_order_but_once() {
    let mut state = initialized();
    let create = |state: &mut State, id: u64, name: &str| apply(state, vec![create_schema(id, name)]);
    create(&mut state, 100_009, "late").unwrap();
    create(&mut state, 100_002, "early").unwrap();
    assert_eq!(state.next_object_id(), 100_010);
    assert_eq!(create(&mut state, 100_002, "twice").unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(create(&mut state, 5, "reserved").unwrap_err().kind, ErrorKind::Internal);
}
