//! What a block sees of itself, without a cluster.

use super::*;
use slipher_common::ids::ClusterId;
use slipher_proto::meta::{self as proto};
use uuid::Uuid;

fn initialized() -> State {
    let init = proto::InitCluster {
        cluster_id: ClusterId(Uuid::from_u128(1)).to_vec(),
        slice_count: 4,
        replication_factor: 1,
        hash_version: 1,
    };
    let mut state = State::default();
    state.apply(1, &record(vec![Kind::InitCluster(init)], &State::default())).unwrap();
    state
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
    let (ahead, _) = state.speculate(record(kinds.clone(), &state)).unwrap();
    assert!(ahead.schemas().contains_key("new") && !state.schemas().contains_key("new"));
    let (further, _) = ahead.speculate(record(vec![create_schema(100_003, "other")], &ahead)).unwrap();
    assert_eq!(further.schemas().len(), 3);
    let again = further.speculate(record(kinds, &further)).unwrap_err();
    assert_eq!(again.kind, ErrorKind::DuplicateSchema);
}

#[test]
fn allocated_ids_come_in_any_order_but_once() {
    let mut state = initialized();
    let apply = |state: &mut State, id: u64, name: &str| {
        let index = state.version().0 + 1;
        let change = record(vec![create_schema(id, name)], state);
        state.apply(index, &change)
    };
    apply(&mut state, 100_009, "late").unwrap();
    apply(&mut state, 100_002, "early").unwrap();
    assert_eq!(state.next_object_id(), 100_010);
    assert_eq!(apply(&mut state, 100_002, "twice").unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(apply(&mut state, 5, "reserved").unwrap_err().kind, ErrorKind::Internal);
}
