//! With comments, and numbers of users.

use super::*;
use slipher_proto::meta::comment::Object;

fn comments() -> Vec<proto::Comment> {
    let comment = |object: Object, object_id, column, text: &str| proto::Comment {
        object: object.into(),
        database_id: 0,
        object_id,
        column,
        text: Some(text.into()),
    };
    vec![
        comment(Object::Database, 0, 0, "everything"),
        comment(Object::Schema, 2200, 0, "for all"),
        comment(Object::Relation, 100_001, 0, "what is sold"),
        comment(Object::Relation, 100_001, 1, "its number"),
    ]
}

fn record() -> proto::Record {
    let taken_back = proto::Comment { text: None, ..comments().remove(0) };
    let change = proto::ChangeSchema { schema_id: 2200, database_id: 0, name: "common".into(), owner: "eva".into() };
    let user = proto::User { name: "eva".into(), user_id: 101, ..Default::default() };
    let said = comments().into_iter().chain([taken_back]).map(Kind::Comment);
    let kinds = said.chain([Kind::ChangeSchema(change), Kind::PutUser(proto::PutUser { user: Some(user) })]);
    let operations = kinds.map(|kind| proto::Operation { kind: Some(kind) }).collect();
    proto::Record { operations, ..super::record() }
}

fn state() -> proto::State {
    let mut state = super::state();
    state.comments = comments();
    state.users[0].user_id = 100;
    state
}

#[test]
fn a_record_is_read_and_written() {
    let released = golden("meta-record-v7.hex", &record().encode_to_vec());
    assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
    assert_eq!(record().encode_to_vec(), released);
}

#[test]
fn a_state_is_read_and_written() {
    let released = golden("meta-state-v7.hex", &state().encode_to_vec());
    let read = State::decode(&released).unwrap();
    assert_eq!(read.to_proto().encode_to_vec(), released);
    assert_eq!(read.user_id("admin"), Some(100));
}
