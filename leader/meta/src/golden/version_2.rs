//! What version 2 added to version 1: the rows of a table that change, views, definitions that change, isolation.

use super::*;
use slipher_common::manifest::bitmap_to_bytes;

fn deleted() -> Vec<u8> {
    bitmap_to_bytes(&[0, 7, 100_000].into_iter().collect())
}

fn segment() -> proto::Segment {
    let mut segment = super::segment();
    segment.columns[0].histogram = vec![0, 16, 0, 17, 2, 3, 0, 0, 17, 0, 240, 2, 5, 0];
    segment.delete_vector = deleted();
    segment
}

fn table() -> proto::Table {
    let mut table = super::table();
    table.next_column_id = 20;
    table.columns[3].stored_name = "c3#4".into();
    table.columns[4].missing_value = Some("1.5".into());
    table
}

fn node(number: u8) -> proto::RegisterNode {
    proto::RegisterNode { flight_address: format!("grpc://10.0.0.{number}:5452"), ..super::node(number) }
}

fn view() -> proto::View {
    let column = proto::ReferencedColumn { column_id: 1, name: "c0".into(), used: true };
    let reference = proto::ViewReference {
        schema: String::new(),
        name: "größe".into(),
        relation_id: 100_001,
        columns: vec![column.clone(), proto::ReferencedColumn { column_id: 2, name: "c1".into(), used: false }],
    };
    proto::View {
        view_id: 100_002,
        schema: "public".into(),
        name: "sicht".into(),
        owner: "admin".into(),
        query: "SELECT c0 FROM größe".into(),
        columns: vec![proto::ViewColumn { name: "c0".into(), r#type: Some(SqlType::SmallInt.to_proto()) }],
        late_binding: false,
        references: vec![reference],
        ..Default::default()
    }
}

fn record() -> proto::Record {
    let kinds = [
        Kind::RegisterNode(node(0x21)),
        Kind::CreateSchema(proto::CreateSchema { allocated_id: true, ..schema(true) }),
        Kind::CreateTable(proto::CreateTable {
            table: Some(table()),
            if_not_exists: false,
            allocated_id: true,
            or_replace: true,
            replaced_version: 39,
        }),
        Kind::DropTable(proto::DropTable { table_id: 100_000, cascade: true }),
        Kind::ReplaceSegments(proto::ReplaceSegments {
            table_id: 100_001,
            add: vec![segment()],
            remove: vec![id(0x32)],
            removed_deleted_rows: vec![3],
            defined_version: 40,
            ..Default::default()
        }),
        Kind::MoveSlice(proto::MoveSlice {
            slice: 1,
            owner: id(0x21),
            replicas: vec![id(0x22)],
            epoch: 301,
            copied_segment_ids: vec![id(0x31)],
        }),
        Kind::ChangeTable(proto::ChangeTable { table: Some(table()), defined_version: 40 }),
        Kind::DeleteRows(proto::DeleteRows {
            table_id: 100_001,
            segments: vec![proto::SegmentRows { segment_id: id(0x31), rows: deleted() }],
        }),
        Kind::CreateView(proto::CreateView {
            view: Some(view()),
            or_replace: true,
            allocated_id: true,
            defined_versions: vec![40],
        }),
        Kind::DropViews(proto::DropViews { view_ids: vec![100_003], cascade: true }),
        Kind::ChangeView(proto::ChangeView { view: Some(view()), defined_version: 41 }),
        Kind::AlterDatabase(proto::AlterDatabase { serializable: true, ..Default::default() }),
    ];
    proto::Record {
        operations: kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect(),
        read_table_ids: vec![100_001],
        ..super::record()
    }
}

fn state() -> proto::State {
    let mut state = super::state();
    state.nodes = vec![node(0x21), node(0x22)];
    state.schemas[0].allocated_id = false;
    state.tables[0] = proto::TableState {
        table: Some(table()),
        segments: vec![segment()],
        defined_version: 41,
        layout_version: 41,
        ..state.tables[0].clone()
    };
    state.next_object_id = 100_003;
    state.views = vec![proto::ViewState { view: Some(view()), created_version: 41, defined_version: 42 }];
    state.serializable = true;
    state
}

#[test]
fn a_record_is_read_and_written() {
    let released = golden("meta-record-v2.hex", &record().encode_to_vec());
    assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
    assert_eq!(record().encode_to_vec(), released);
}

#[test]
fn a_state_is_read_and_written() {
    let released = golden("meta-state-v2.hex", &state().encode_to_vec());
    let decoded = proto::State::decode(&released[..]).unwrap();
    assert_eq!(decoded, state());
    assert_eq!(State::from_proto(&decoded).unwrap().to_proto().encode_to_vec(), released);
}
