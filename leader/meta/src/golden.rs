//! Persisted bytes are frozen: the files under tests/golden must be read, and written, by every later release.

use super::log_store::{LogEntry, StoredHardState};
use super::state::State;
use super::witness::{self, StoredPlace, Testimony};
use bytes::Bytes;
use prost::Message;
use slipher_common::SqlType;
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;
use std::fmt::Write as _;
use std::path::PathBuf;

mod version_2;
mod version_5;
mod version_6;
mod version_7;

fn file(name: &str) -> PathBuf {
    // Cargo says it when it runs the tests, too: a binary from a shared cache may have been built elsewhere.
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(root).join("../../tests/golden").join(name)
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of a released version. `UPDATE_GOLDEN=1` writes the file of a new one.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !file(name).exists() {
        std::fs::write(file(name), to_hex(bytes)).unwrap();
    }
    from_hex(&std::fs::read_to_string(file(name)).unwrap())
}

fn id(byte: u8) -> Vec<u8> {
    vec![byte; 16]
}

fn node(number: u8) -> proto::RegisterNode {
    proto::RegisterNode {
        node_id: id(number),
        address: format!("http://10.0.0.{number}:5451"),
        name: format!("node-{number}"),
        // Not there in the first release.
        flight_address: String::new(),
    }
}

fn placement() -> Vec<proto::SlicePlacement> {
    vec![
        proto::SlicePlacement { slice: 0, owner: id(0x21), replicas: vec![id(0x22)], epoch: 1 },
        proto::SlicePlacement { slice: 1, owner: id(0x22), replicas: Vec::new(), epoch: 300 },
    ]
}

fn table() -> proto::Table {
    let types = [
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::BigInt,
        SqlType::Decimal { precision: 38, scale: 37 },
        SqlType::Real,
        SqlType::DoublePrecision,
        SqlType::Boolean,
        SqlType::Char(10),
        SqlType::VarChar(65_535),
        SqlType::Date,
        SqlType::Time,
        SqlType::TimeTz,
        SqlType::Timestamp,
        SqlType::TimestampTz,
    ];
    let column = |(index, sql_type): (usize, &SqlType)| proto::Column {
        column_id: index as u32 + 1,
        name: format!("c{index}"),
        r#type: Some(sql_type.to_proto()),
        not_null: index == 0,
        default_expression: if index == 1 { "1 + 1".into() } else { String::new() },
        encoding: if index == 7 { "zstd".into() } else { String::new() },
        identity: (index == 2).then_some(proto::Identity { seed: -5, step: 3, by_default: true, next: 7 }),
        ..Default::default()
    };
    let constraint = |kind: proto::ConstraintKind, references: &str| proto::Constraint {
        kind: kind.into(),
        name: "k".into(),
        columns: vec![1, 2],
        references_schema: references.into(),
        references_table: references.into(),
        references_columns: if references.is_empty() { Vec::new() } else { vec!["a".into(), "b".into()] },
    };
    proto::Table {
        table_id: 100_001,
        schema: "public".into(),
        name: "größe".into(),
        owner: "admin".into(),
        columns: types.iter().enumerate().map(column).collect(),
        dist_style: proto::DistStyle::Key.into(),
        dist_key: Some(1),
        sort_style: proto::SortStyle::Interleaved.into(),
        sort_key: vec![2, 1],
        backup: true,
        constraints: vec![
            constraint(proto::ConstraintKind::PrimaryKey, ""),
            constraint(proto::ConstraintKind::Unique, ""),
            constraint(proto::ConstraintKind::ForeignKey, "other"),
        ],
        dist_auto: true,
        encode_auto: true,
        sort_auto: true,
        ..Default::default()
    }
}

fn segment() -> proto::Segment {
    let statistics = proto::ColumnStatistics {
        column_id: 1,
        nulls: 2,
        min: vec![1, 0],
        max: vec![9, 9],
        distinct_sketch: vec![3; 8],
        ..Default::default()
    };
    proto::Segment {
        segment_id: id(0x31),
        table_id: 100_001,
        slice: 1,
        rows: 1_000_000,
        bytes: 1 << 33,
        checksum: 0xfedc_ba98_7654_3210,
        nodes: vec![id(0x21), id(0x22)],
        columns: vec![statistics],
        placement_epoch: 300,
        sorted_by: vec![2, 1],
        ..Default::default()
    }
}

fn user() -> proto::User {
    let scram_verifier = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy".into();
    proto::User { name: "admin".into(), superuser: true, scram_verifier, can_create_database: true, user_id: 0 }
}

fn cluster() -> proto::InitCluster {
    proto::InitCluster { cluster_id: id(0x11), slice_count: 2, replication_factor: 2, hash_version: 1, slices_by_lanes: false }
}

fn schema(if_not_exists: bool) -> proto::CreateSchema {
    proto::CreateSchema { schema_id: 2200, name: "public".into(), owner: "admin".into(), if_not_exists, ..Default::default() }
}

fn record() -> proto::Record {
    let kinds = [
        Kind::InitCluster(cluster()),
        Kind::RegisterNode(node(0x21)),
        Kind::SetPlacement(proto::SetPlacement { slices: placement() }),
        Kind::CreateSchema(schema(true)),
        Kind::DropSchema(proto::DropSchema { name: "old".into(), cascade: true, if_exists: true, ..Default::default() }),
        Kind::CreateTable(proto::CreateTable { table: Some(table()), if_not_exists: true, ..Default::default() }),
        Kind::DropTable(proto::DropTable { table_id: 100_000, cascade: false }),
        Kind::ReplaceSegments(proto::ReplaceSegments {
            table_id: 100_001,
            add: vec![segment()],
            remove: vec![id(0x32)],
            ..Default::default()
        }),
        Kind::PutUser(proto::PutUser { user: Some(user()) }),
        Kind::DropUser(proto::DropUser { name: "gone".into() }),
        Kind::AdvanceIdentity(proto::AdvanceIdentity { table_id: 100_001, column_id: 3, expected_next: 7, count: 100 }),
    ];
    proto::Record {
        transaction_id: id(0x41),
        base_version: 41,
        proposed_at_us: 1_700_000_000_000_000,
        operations: kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect(),
        ..Default::default()
    }
}

fn state() -> proto::State {
    let segments = vec![segment()];
    proto::State {
        version: 42,
        cluster: Some(cluster()),
        nodes: vec![node(0x21), node(0x22)],
        placement: placement(),
        schemas: vec![schema(false)],
        tables: vec![proto::TableState {
            table: Some(table()),
            created_version: 40,
            changed_version: 42,
            segments,
            ..Default::default()
        }],
        users: vec![user()],
        next_object_id: 100_002,
        recent_transactions: vec![proto::AppliedTransaction { transaction_id: id(0x41), version: 42 }],
        ..Default::default()
    }
}

/// With databases, and segments that come for others.
mod version_3 {
    use super::*;

    fn database() -> proto::CreateDatabase {
        proto::CreateDatabase { database_id: 100_004, name: "lager".into(), owner: "admin".into(), serializable: true }
    }

    fn table() -> proto::Table {
        proto::Table { table_id: 100_005, database_id: 100_004, ..super::table() }
    }

    fn schema() -> proto::CreateSchema {
        proto::CreateSchema { database_id: 100_004, ..super::schema(false) }
    }

    fn record() -> proto::Record {
        let kinds = [
            Kind::CreateDatabase(database()),
            Kind::ChangeDatabase(proto::ChangeDatabase { database_id: 100_004, name: "lager".into(), owner: "admin".into() }),
            Kind::AlterDatabase(proto::AlterDatabase { serializable: true, database_id: 100_004 }),
            Kind::DropDatabase(proto::DropDatabase { database_id: 100_004 }),
            Kind::CreateSchema(schema()),
            Kind::DropSchema(proto::DropSchema { name: "old".into(), cascade: true, if_exists: true, database_id: 100_004 }),
            Kind::CreateTable(proto::CreateTable { table: Some(table()), allocated_id: true, ..Default::default() }),
            Kind::ReplaceSegments(proto::ReplaceSegments { table_id: 100_005, keeps_rows: true, ..Default::default() }),
        ];
        let operations = kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect();
        proto::Record { operations, ..super::record() }
    }

    fn state() -> proto::State {
        let mut state = super::state();
        state.databases = vec![database()];
        state.schemas.push(schema());
        state.tables.push(proto::TableState { table: Some(table()), segments: Vec::new(), ..state.tables[0].clone() });
        state.next_object_id = 100_006;
        state
    }

    #[test]
    fn a_record_is_read_and_written() {
        let released = golden("meta-record-v3.hex", &record().encode_to_vec());
        assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
        assert_eq!(record().encode_to_vec(), released);
    }

    #[test]
    fn a_state_is_read_and_written() {
        let released = golden("meta-state-v3.hex", &state().encode_to_vec());
        let decoded = proto::State::decode(&released[..]).unwrap();
        assert_eq!(decoded, state());
        let read = State::from_proto(&decoded).unwrap();
        assert_eq!(read.to_proto().encode_to_vec(), released);
        // Names mean what they mean in their database.
        let there = std::sync::Arc::new(read).in_database(slipher_common::ids::DatabaseId(100_004));
        let found = there.table("public", &table().name).map(|table| table.table.id.0);
        assert_eq!((found, there.require_database(there.database()).unwrap().serializable), (Some(100_005), true));
    }
}

/// With what is known of trailing blanks.
mod version_4 {
    use super::*;

    fn segment() -> proto::Segment {
        let mut segment = super::segment();
        let known = |column_id: u32, blanks: proto::TrailingBlanks| proto::ColumnStatistics {
            column_id,
            trailing_blanks: blanks.into(),
            ..segment.columns[0].clone()
        };
        use proto::TrailingBlanks::{None, Some, Unknown};
        segment.columns = vec![known(1, Unknown), known(2, None), known(3, Some)];
        segment
    }

    fn record() -> proto::Record {
        let kind =
            Kind::ReplaceSegments(proto::ReplaceSegments { table_id: 100_001, add: vec![segment()], ..Default::default() });
        proto::Record { operations: vec![proto::Operation { kind: Option::Some(kind) }], ..super::record() }
    }

    fn state() -> proto::State {
        let mut state = super::state();
        state.tables[0].segments = vec![segment()];
        state
    }

    #[test]
    fn a_record_is_read_and_written() {
        let released = golden("meta-record-v4.hex", &record().encode_to_vec());
        assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
        assert_eq!(record().encode_to_vec(), released);
    }

    #[test]
    fn a_state_is_read_and_written() {
        let released = golden("meta-state-v4.hex", &state().encode_to_vec());
        let decoded = proto::State::decode(&released[..]).unwrap();
        assert_eq!(decoded, state());
        assert_eq!(State::from_proto(&decoded).unwrap().to_proto().encode_to_vec(), released);
    }
}

#[test]
fn a_record_of_version_1_is_read_and_written() {
    let released = golden("meta-record-v1.hex", &record().encode_to_vec());
    assert_eq!(proto::Record::decode(&released[..]).unwrap(), record());
    assert_eq!(record().encode_to_vec(), released);
}

#[test]
fn a_state_of_version_1_is_read_and_written() {
    let released = golden("meta-state-v1.hex", &state().encode_to_vec());
    let decoded = proto::State::decode(&released[..]).unwrap();
    assert_eq!(decoded, state());
    // Through the state machine's own types, too: nothing is lost on the way.
    assert_eq!(State::from_proto(&decoded).unwrap().to_proto().encode_to_vec(), released);
}

#[test]
fn a_log_entry_of_version_1_is_read_and_written() {
    let entry = LogEntry {
        index: 300,
        term: 2,
        kind: 1,
        data: Bytes::from_static(b"data"),
        context: Bytes::from_static(b"c"),
        chain: Bytes::new(),
    };
    let hex = "08ac021002180122046461746 12a0163".replace(' ', "");
    assert_eq!(to_hex(&entry.encode_to_vec()).trim(), hex);
    assert_eq!(LogEntry::decode(&from_hex(&hex)[..]).unwrap(), entry);
    let hard_state = StoredHardState { term: 2, vote: 1, commit: 300 };
    assert_eq!(to_hex(&hard_state.encode_to_vec()).trim(), "0802100118ac02");
}

/// With the chain.
#[test]
fn a_log_entry_of_version_2_is_read_and_written() {
    let chain = Bytes::from_static(&[0xab; 16]);
    let entry = LogEntry { index: 300, term: 2, kind: 0, data: Bytes::from_static(b"data"), context: Bytes::new(), chain };
    let hex = format!("08ac02100222046461746 13210{}", "ab".repeat(16)).replace(' ', "");
    assert_eq!(to_hex(&entry.encode_to_vec()).split_whitespace().collect::<String>(), hex);
    assert_eq!(LogEntry::decode(&from_hex(&hex)[..]).unwrap(), entry);
}

#[test]
fn a_block_of_the_witness_is_read_and_written() {
    let place = |index, byte| StoredPlace { index, term: 2, digest: Bytes::from(vec![byte; 16]) };
    let testimony = Testimony {
        sequence: 301,
        boot: 4,
        hard_state: Some(StoredHardState { term: 2, vote: 1, commit: 299 }),
        checkpoint: Some(place(200, 0x51)),
        last: Some(place(300, 0x61)),
        takes_over: true,
    };
    let written = witness::encode(&testimony).unwrap();
    let released = golden("meta-witness-v1.hex", &written);
    assert_eq!(witness::decode(&released).unwrap(), testimony);
    assert_eq!(written, released);
}
