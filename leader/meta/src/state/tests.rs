//! Records against the state machine, without IO.

use super::*;
use slipher_common::ids::{ColumnId, SegmentId, SliceId, TransactionId};
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;
use uuid::Uuid;

mod slices;
mod views;
use views::create_view;

fn id(number: u128) -> Vec<u8> {
    Uuid::from_u128(number).as_bytes().to_vec()
}

fn record(transaction: u128, operations: impl IntoIterator<Item = Kind>) -> proto::Record {
    proto::Record {
        transaction_id: id(transaction),
        operations: operations.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect(),
        ..Default::default()
    }
}

fn create_schema(name: &str, if_not_exists: bool) -> Kind {
    Kind::CreateSchema(proto::CreateSchema { name: name.into(), owner: "admin".into(), if_not_exists, ..Default::default() })
}

fn create_table(schema: &str, name: &str, if_not_exists: bool) -> Kind {
    let column = |column_id, name: &str, identity| proto::Column {
        column_id,
        name: name.into(),
        r#type: Some(slipher_common::SqlType::BigInt.to_proto()),
        identity,
        ..Default::default()
    };
    let identity = proto::Identity { seed: 1, step: 1, by_default: false, next: 0 };
    let table = proto::Table {
        schema: schema.into(),
        name: name.into(),
        owner: "admin".into(),
        columns: vec![column(1, "k", None), column(2, "n", Some(identity))],
        dist_style: proto::DistStyle::Key.into(),
        dist_key: Some(1),
        ..Default::default()
    };
    Kind::CreateTable(proto::CreateTable { table: Some(table), if_not_exists, ..Default::default() })
}

fn receipt(segment: u128, table: u64, slice: u32, epoch: u64) -> proto::Segment {
    proto::Segment { segment_id: id(segment), table_id: table, slice, placement_epoch: epoch, rows: 1, ..Default::default() }
}

fn replace(table_id: u64, add: Vec<proto::Segment>, remove: &[u128]) -> Kind {
    let remove = remove.iter().map(|segment| id(*segment)).collect();
    Kind::ReplaceSegments(proto::ReplaceSegments { table_id, add, remove, ..Default::default() })
}

fn place(epochs: [u64; 2], owners: [u128; 2]) -> Kind {
    let slices = (0..2).map(|slice| proto::SlicePlacement {
        slice: slice as u32,
        owner: id(owners[slice]),
        replicas: Vec::new(),
        epoch: epochs[slice],
    });
    Kind::SetPlacement(proto::SetPlacement { slices: slices.collect() })
}

/// A state with its next index and transaction.
struct Machine {
    state: State,
    next: u64,
}

impl Machine {
    /// Two nodes, two slices.
    fn new() -> Self {
        let mut machine = Self { state: State::default(), next: 1 };
        let init = proto::InitCluster {
            cluster_id: id(7),
            slice_count: 2,
            replication_factor: 1,
            hash_version: 1,
            slices_by_lanes: false,
        };
        let node = |number| {
            let address = format!("http://127.0.0.1:{number}");
            Kind::RegisterNode(proto::RegisterNode {
                node_id: id(number),
                address,
                name: format!("n{number}"),
                ..Default::default()
            })
        };
        machine.run([Kind::InitCluster(init), node(101), node(102), place([1, 1], [101, 102])]).unwrap();
        machine
    }

    fn run(&mut self, operations: impl IntoIterator<Item = Kind>) -> Result<AppliedRecord> {
        let record = record(u128::from(self.next) + 1_000_000, operations);
        self.next += 1;
        self.state.apply(self.next - 1, &record)
    }

    fn fails(&mut self, kind: ErrorKind, text: &str, operations: impl IntoIterator<Item = Kind>) -> Error {
        let before = self.state.clone();
        let error = self.run(operations).unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(text), "{error:?}");
        assert_eq!(self.state, before, "a refused record changed the state");
        error
    }

    fn table(&mut self, name: &str) -> u64 {
        self.run([create_table("public", name, false)]).unwrap().created_table.unwrap().0
    }
}

#[test]
fn all_operations_of_a_record_apply_or_none() {
    let mut machine = Machine::new();
    machine.fails(ErrorKind::DuplicateSchema, "schema \"a\"", [create_schema("a", false), create_schema("a", false)]);
    assert!(machine.state.find_schema("a").is_err());
    let applied = machine.run([create_schema("a", false), create_table("a", "t", false)]).unwrap();
    assert_eq!(applied.version, machine.state.version());
    let table = machine.state.table("a", "t").unwrap();
    assert_eq!(Some(table.table.id), applied.created_table);
    assert_eq!(table.created_version, applied.version);
}

#[test]
fn schemas_and_tables_answer_as_postgresql_does() {
    let mut machine = Machine::new();
    machine.table("orders");
    let error = machine.state.find_relation("public", "order").unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::UndefinedTable, Some("did you mean \"orders\"?")));
    let error = machine.fails(ErrorKind::UndefinedSchema, "\"pubic\"", [create_table("pubic", "t", false)]);
    assert_eq!(error.hint.as_deref(), Some("did you mean \"public\"?"));
    machine.fails(ErrorKind::DuplicateTable, "relation \"orders\" already exists", [create_table("public", "orders", false)]);
    let applied = machine.run([create_table("public", "orders", true), create_schema("public", true)]).unwrap();
    let expected = ["relation \"orders\" already exists, skipping", "schema \"public\" already exists, skipping"];
    assert_eq!(applied.notices, expected);
    assert_eq!(applied.created_table, None);
    machine.fails(ErrorKind::UndefinedTable, "4711", [Kind::DropTable(proto::DropTable { table_id: 4711, cascade: false })]);

    let drop = |cascade, if_exists, name: &str| {
        Kind::DropSchema(proto::DropSchema { name: name.into(), cascade, if_exists, database_id: 0 })
    };
    let error = machine.fails(ErrorKind::DependentObjects, "other objects depend on it", [drop(false, false, "public")]);
    assert_eq!(error.detail.as_deref(), Some("table public.orders depends on schema public"));
    machine.fails(ErrorKind::UndefinedSchema, "\"x\" does not exist", [drop(false, false, "x")]);
    assert_eq!(machine.run([drop(false, true, "x")]).unwrap().notices, ["schema \"x\" does not exist, skipping"]);
    assert_eq!(machine.run([drop(true, false, "public")]).unwrap().notices, ["drop cascades to table public.orders"]);
    assert!(machine.state.tables().is_empty() && machine.state.schemas().is_empty());
    // Ids are not used again.
    machine.run([create_schema("public", false)]).unwrap();
    assert!(machine.table("orders") > FIRST_OBJECT_ID + 1);
}

#[test]
fn a_definition_must_hang_together() {
    let mut machine = Machine::new();
    let with = |change: fn(&mut proto::Table)| match create_table("public", "t", false) {
        Kind::CreateTable(mut operation) => {
            operation.table.iter_mut().for_each(change);
            Kind::CreateTable(operation)
        }
        other => other,
    };
    machine.fails(ErrorKind::DuplicateColumn, "\"k\"", [with(|table| table.columns[1].name = "k".into())]);
    machine.fails(ErrorKind::Internal, "column id 1 stands twice", [with(|table| table.columns[1].column_id = 1)]);
    machine.fails(ErrorKind::Internal, "column id 9", [with(|table| table.dist_key = Some(9))]);
    machine.fails(ErrorKind::Internal, "column id 9", [with(|table| table.sort_key = vec![1, 9])]);
    machine.fails(ErrorKind::InvalidName, "zero-length", [with(|table| table.name.clear())]);
}

#[test]
fn segments_are_swapped_once() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    let conflict = "conflict with concurrent transaction";
    machine.run([replace(table, vec![receipt(1, table, 0, 1), receipt(2, table, 1, 1)], &[])]).unwrap();
    // The loser of two that rewrite the same segment.
    machine.run([replace(table, vec![receipt(3, table, 0, 1)], &[1])]).unwrap();
    machine.fails(ErrorKind::SerializationFailure, conflict, [replace(table, vec![receipt(4, table, 0, 1)], &[1])]);
    machine.fails(ErrorKind::SerializationFailure, conflict, [replace(4711, vec![], &[])]);
    // Ids are never used twice, in no table.
    let other = machine.table("other");
    machine.fails(ErrorKind::Internal, "its id was used", [replace(other, vec![receipt(3, other, 0, 1)], &[])]);
    machine.fails(ErrorKind::Internal, "its id was used", [replace(table, vec![receipt(3, table, 0, 1)], &[3])]);
    machine.fails(ErrorKind::Internal, "is for table", [replace(table, vec![receipt(5, other, 0, 1)], &[])]);
    machine.fails(ErrorKind::Internal, "no placement", [replace(table, vec![receipt(5, table, 2, 1)], &[])]);
    machine.fails(ErrorKind::Internal, "distribution", [replace(table, vec![receipt(5, table, SliceId::ALL.0, 0)], &[])]);
    let live: Vec<SegmentId> = machine.state.table("public", "t").unwrap().segments.keys().copied().collect();
    assert_eq!(live, [SegmentId(Uuid::from_u128(2)), SegmentId(Uuid::from_u128(3))]);
    assert!(machine.state.table("public", "t").unwrap().changed_version < machine.state.version());
}

#[test]
fn definitions_are_the_same_until_one_changes() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    let defined = machine.state.definitions();
    assert_eq!(defined, Some(machine.state.version()));
    machine.run([replace(table, vec![receipt(1, table, 0, 1)], &[])]).unwrap();
    machine.run([replace(table, Vec::new(), &[1])]).unwrap();
    assert_eq!(machine.state.definitions(), defined);
    let read = State::from_proto(&machine.state.to_proto()).unwrap();
    assert_eq!((&read, read.definitions()), (&machine.state, Some(machine.state.version())));
    // What a block defines is nobody else's.
    let block = machine.state.speculate(record(9, [create_schema("own", false)])).unwrap().0;
    assert_eq!(block.definitions(), None);
    machine.run([create_schema("a", false)]).unwrap();
    assert_eq!(machine.state.definitions(), Some(machine.state.version()));
}

#[test]
fn a_deposed_owners_receipt_is_refused() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    machine.fails(ErrorKind::SerializationFailure, "placement epoch 1", [place([1, 1], [102, 102])]);
    machine.fails(ErrorKind::Internal, "unknown node", [place([2, 1], [103, 102])]);
    machine.run([place([2, 1], [102, 102])]).unwrap();
    let text = "conflict with concurrent transaction: slice 0 moved";
    machine.fails(ErrorKind::SerializationFailure, text, [replace(table, vec![receipt(1, table, 0, 1)], &[])]);
    machine.run([replace(table, vec![receipt(1, table, 0, 2), receipt(2, table, 1, 1)], &[])]).unwrap();
}

#[test]
fn a_slice_moves_with_its_segments_or_not_at_all() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    let held =
        |segment: u128, slice: u32, node: u128| proto::Segment { nodes: vec![id(node)], ..receipt(segment, table, slice, 1) };
    machine.run([replace(table, vec![held(1, 0, 101), held(2, 0, 101), held(3, 1, 102)], &[])]).unwrap();
    let moving = |epoch: u64, copied: &[u128]| {
        Kind::MoveSlice(proto::MoveSlice {
            slice: 0,
            owner: id(102),
            replicas: vec![id(101)],
            epoch,
            copied_segment_ids: copied.iter().map(|segment| id(*segment)).collect(),
        })
    };
    let text = "slice 0 got segment";
    machine.fails(ErrorKind::SerializationFailure, text, [moving(2, &[1])]);
    machine.fails(ErrorKind::SerializationFailure, "placement epoch 1, its move 3", [moving(3, &[1, 2])]);
    assert_eq!(machine.state.placement().slices[0].epoch, 1);
    machine.run([moving(2, &[1, 2])]).unwrap();
    let placed = &machine.state.placement().slices[0];
    assert_eq!((placed.owner, placed.replicas.len(), placed.epoch), (NodeId(Uuid::from_u128(102)), 1, 2));
    let nodes = |machine: &Machine, segment: u128| {
        machine.state.table("public", "t").unwrap().segments[&SegmentId(Uuid::from_u128(segment))].nodes.clone()
    };
    assert_eq!(nodes(&machine, 1), [NodeId(Uuid::from_u128(102)), NodeId(Uuid::from_u128(101))]);
    assert_eq!(nodes(&machine, 3), [NodeId(Uuid::from_u128(102))]);
    // A load that planned before the move is refused.
    machine.fails(ErrorKind::SerializationFailure, "slice 0 moved", [replace(table, vec![held(4, 0, 101)], &[])]);
}

#[test]
fn create_table_as_fills_the_table_it_creates_or_none() {
    let mut machine = Machine::new();
    let ctas = |segment| [create_table("public", "t", true), replace(0, vec![receipt(segment, 0, 0, 1)], &[])];
    let id = machine.run(ctas(1)).unwrap().created_table.unwrap();
    let segments = Arc::clone(&machine.state.table_by_id(id).unwrap().segments);
    assert_eq!(segments.values().map(|segment| segment.table).collect::<Vec<_>>(), [id]);
    // The table is there: its rows stay as they are.
    assert_eq!(machine.run(ctas(2)).unwrap().created_table, None);
    assert_eq!(machine.state.table_by_id(id).unwrap().segments, segments);
    machine.fails(ErrorKind::Internal, "table id 0", [replace(0, vec![], &[])]);
}

#[test]
fn a_record_that_arrives_twice_applies_once() {
    let mut machine = Machine::new();
    let ctas = record(5, [create_table("public", "t", false)]);
    let first = machine.state.apply(10, &ctas).unwrap();
    machine.state.apply(11, &record(6, [create_schema("s", false)])).unwrap();
    let second = machine.state.apply(12, &ctas).unwrap();
    assert_eq!(first, second);
    assert_eq!(machine.state.version(), Version(11));
    // A refused one is not remembered: it is judged anew.
    let drop = record(7, [Kind::DropSchema(proto::DropSchema { name: "s".into(), ..Default::default() })]);
    machine.state.apply(13, &drop).unwrap();
    let again = record(8, [create_table("s", "t", false)]);
    machine.state.apply(14, &again).unwrap_err();
    machine.state.apply(15, &record(9, [create_schema("s", false)])).unwrap();
    machine.state.apply(16, &again).unwrap();
    assert!(machine.state.apply(16, &record(10, [])).is_err(), "an index that is not newer");
}

#[test]
fn identity_values_are_handed_out_once() {
    let mut machine = Machine::new();
    let table_id = machine.table("t");
    let advance = |column_id, expected_next, count| {
        Kind::AdvanceIdentity(proto::AdvanceIdentity { table_id, column_id, expected_next, count })
    };
    machine.run([advance(2, 0, 100)]).unwrap();
    machine.fails(ErrorKind::SerializationFailure, "conflict with concurrent transaction", [advance(2, 0, 1)]);
    machine.fails(ErrorKind::NumericOutOfRange, "identity", [advance(2, 100, u64::MAX)]);
    machine.fails(ErrorKind::Internal, "has none", [advance(1, 0, 1)]);
    let table = machine.state.table("public", "t").unwrap();
    assert_eq!(table.table.columns[1].identity.as_ref().unwrap().next, 100);
    assert_eq!(table.table.columns[1].id, ColumnId(2));
}

#[test]
fn users_are_made_altered_and_dropped() {
    let mut machine = Machine::new();
    let put = |name: &str, verifier: &str| {
        let user = proto::User { name: name.into(), scram_verifier: verifier.into(), ..Default::default() };
        Kind::PutUser(proto::PutUser { user: Some(user) })
    };
    let drop = |name: &str| Kind::DropUser(proto::DropUser { name: name.into() });
    machine.run([put("admin", "one")]).unwrap();
    machine.fails(ErrorKind::DuplicateObject, "user \"admin\" already exists", [put("admin", "two")]);
    let error = machine.fails(ErrorKind::UndefinedObject, "user \"admn\"", [drop("admn")]);
    assert_eq!(error.hint.as_deref(), Some("did you mean \"admin\"?"));
    let error = machine.fails(ErrorKind::DependentObjects, "owns some object", [drop("admin")]);
    assert_eq!(error.detail.as_deref(), Some("owner of database dev\nowner of schema public"));
    machine.run([drop("admin"), put("admin", "two")]).unwrap();
    assert_eq!(machine.state.users()["admin"].scram_verifier, "two");
    assert!(!format!("{:?}", machine.state).contains("two"), "a verifier in a log");
}

#[test]
fn nothing_is_done_before_the_cluster_is_initialized_and_that_once() {
    let mut state = State::default();
    let early = state.apply(1, &record(1, [create_schema("s", false)])).unwrap_err();
    assert_eq!(early.kind, ErrorKind::CannotConnectNow);
    let mut machine = Machine::new();
    let init =
        proto::InitCluster { cluster_id: id(8), slice_count: 2, replication_factor: 1, hash_version: 1, slices_by_lanes: false };
    machine.fails(ErrorKind::DuplicateObject, "initialized already", [Kind::InitCluster(init)]);
    machine.fails(
        ErrorKind::Internal,
        "16",
        [Kind::RegisterNode(proto::RegisterNode { address: "a".into(), ..Default::default() })],
    );
    let unknown =
        proto::Record { transaction_id: id(3), operations: vec![proto::Operation { kind: None }], ..Default::default() };
    assert!(machine.state.apply(50, &unknown).is_err());
    let stale = proto::Record { base_version: 60, ..record(4, []) };
    assert!(machine.state.apply(51, &stale).is_err());
}

#[test]
fn a_snapshot_is_the_whole_state() {
    let mut machine = Machine::new();
    let table = machine.table("t");
    machine.run([replace(table, vec![receipt(1, table, 0, 1)], &[]), create_schema("s", false)]).unwrap();
    let mut restored = State::from_proto(&machine.state.to_proto()).unwrap();
    assert_eq!(restored, machine.state);
    // It goes on as the original does.
    let next = record(99, [create_table("s", "u", false), replace(0, vec![receipt(2, 0, 1, 1)], &[])]);
    assert_eq!(restored.apply(40, &next), machine.state.apply(40, &next));
    assert_eq!(restored, machine.state);
    assert_eq!(restored.recent.version_of(TransactionId(Uuid::from_u128(99))), Some(Version(40)));

    let mut damaged = machine.state.to_proto();
    damaged.schemas.clear();
    assert_eq!(State::from_proto(&damaged).unwrap_err().kind, ErrorKind::DataCorrupted);
}

#[test]
fn segments_of_another_layout_are_a_conflict() {
    let mut machine = Machine::new();
    let table = TableId(machine.table("t"));
    let read = machine.state.tables()[&table].clone();
    let added = |segment: u128| {
        let add = vec![receipt(segment, table.0, 0, 1)];
        let defined_version = read.defined_version.0;
        Kind::ReplaceSegments(proto::ReplaceSegments { table_id: table.0, add, defined_version, ..Default::default() })
    };
    let change = |table: &Table| Kind::ChangeTable(proto::ChangeTable { table: Some(table.to_proto()), defined_version: 0 });
    // Another name for a column is another name in the definition only.
    let mut renamed = Table::clone(&read.table);
    renamed.columns[0].name = "other".to_owned();
    renamed.columns[0].stored_name = Some("k".to_owned());
    machine.run([change(&renamed)]).unwrap();
    machine.run([added(1)]).unwrap();
    // Rows would not be where they are looked for.
    machine.run([replace(table.0, Vec::new(), &[1])]).unwrap();
    renamed.distribution = slipher_common::catalog::Distribution::Key(ColumnId(2));
    machine.run([change(&renamed)]).unwrap();
    machine.fails(ErrorKind::SerializationFailure, "got another layout", [added(2)]);
    assert_eq!(State::from_proto(&machine.state.to_proto()).unwrap().tables(), machine.state.tables());

    // What is written anew calls its columns what they are: rows that somebody adds meanwhile do not fit.
    machine.run([replace(table.0, vec![receipt(3, table.0, 0, 1)], &[])]).unwrap();
    let mut rewritten = renamed.clone();
    rewritten.columns[0].stored_name = None;
    machine.fails(ErrorKind::SerializationFailure, "rows were added", [change(&rewritten)]);
}

#[test]
fn a_table_that_is_replaced_must_be_as_it_was_read() {
    let mut machine = Machine::new();
    let table = TableId(machine.table("t"));
    let read = machine.state.tables()[&table].changed_version.0;
    let or_replace = |replaced_version: u64| match create_table("public", "t", false) {
        Kind::CreateTable(create) => Kind::CreateTable(proto::CreateTable { or_replace: true, replaced_version, ..create }),
        other => other,
    };
    machine.run([replace(table.0, vec![receipt(1, table.0, 0, 1)], &[])]).unwrap();
    machine.fails(ErrorKind::SerializationFailure, "was changed", [or_replace(read)]);
    let replaced = machine.run([or_replace(machine.state.tables()[&table].changed_version.0)]).unwrap().created_table;
    assert_ne!(replaced, Some(table));
    machine.run([or_replace(0)]).unwrap();
    assert_eq!(machine.state.tables().len(), 1);
    machine.run([create_view("v", false, "k", &[])]).unwrap();
}

#[test]
fn databases_keep_their_names_apart_and_go_with_what_is_in_them() {
    let mut state = State::default();
    let init =
        proto::InitCluster { cluster_id: id(1), slice_count: 2, replication_factor: 1, hash_version: 1, slices_by_lanes: false };
    state.apply(1, &record(1, [Kind::InitCluster(init)])).unwrap();
    let database =
        proto::CreateDatabase { database_id: FIRST_OBJECT_ID, name: "lager".into(), owner: "admin".into(), serializable: true };
    let there = |kind| match kind {
        Kind::CreateTable(proto::CreateTable { table: Some(table), .. }) => {
            let table = Some(proto::Table { database_id: FIRST_OBJECT_ID, ..table });
            Kind::CreateTable(proto::CreateTable { table, ..Default::default() })
        }
        other => other,
    };
    let kinds =
        [Kind::CreateDatabase(database.clone()), there(create_table("public", "t", false)), create_table("public", "t", false)];
    state.apply(2, &record(2, kinds)).unwrap();
    assert_eq!(state.apply(3, &record(3, [Kind::CreateDatabase(database)])).unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(State::from_proto(&state.to_proto()).unwrap(), state);
    let (here, lager) = (Arc::new(state.clone()), Arc::new(state.clone()).in_database(DatabaseId(FIRST_OBJECT_ID)));
    let ids = [&here, &lager].map(|state| state.table("public", "t").unwrap().table.id);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(here.databases().values().map(|database| database.serializable).collect::<Vec<_>>(), [false, true]);

    let change = |database_id, name: &str, owner: &str| {
        Kind::ChangeDatabase(proto::ChangeDatabase { database_id, name: name.into(), owner: owner.into() })
    };
    state.apply(3, &record(7, [change(FIRST_OBJECT_ID, "depot", ""), change(FIRST_OBJECT_ID, "", "eva")])).unwrap();
    let changed = state.find_database("depot").unwrap();
    assert_eq!((changed.owner.as_str(), state.find_database("lager").unwrap_err().kind), ("eva", ErrorKind::UndefinedDatabase));
    assert_eq!(state.apply(4, &record(8, [change(FIRST_OBJECT_ID, "dev", "")])).unwrap_err().kind, ErrorKind::DuplicateDatabase);
    assert_eq!(state.apply(4, &record(9, [change(0, "", "eva")])).unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(State::from_proto(&state.to_proto()).unwrap(), state);

    // Whoever comes too late hears of a conflict, and nothing of it stays.
    let drop = Kind::DropDatabase(proto::DropDatabase { database_id: FIRST_OBJECT_ID });
    state.apply(4, &record(4, [drop])).unwrap();
    assert_eq!(state.tables().keys().copied().collect::<Vec<_>>(), [ids[0]]);
    let late = record(5, [create_table("public", "u", false), there(create_table("public", "u", false))]);
    assert_eq!(state.apply(5, &late).unwrap_err().kind, ErrorKind::SerializationFailure);
    assert!(state.table("public", "u").is_none());
    let dev = record(6, [Kind::DropDatabase(proto::DropDatabase { database_id: 0 })]);
    assert_eq!(state.apply(6, &dev).unwrap_err().kind, ErrorKind::Internal);
}

#[test]
fn users_have_numbers_of_their_own() {
    let mut machine = Machine::new();
    let put = |name: &str, user_id: u32| {
        let user = proto::User { name: name.into(), user_id, ..Default::default() };
        Kind::PutUser(proto::PutUser { user: Some(user) })
    };
    // Of an earlier release, then two sessions at the same time.
    machine.run([put("bob", 0), put("admin", 0)]).unwrap();
    assert_eq!((machine.state.user_id("admin"), machine.state.user_id("bob")), (Some(100), Some(101)));
    machine.run([put("eva", machine.state.next_user_id())]).unwrap();
    machine.run([put("ida", 102)]).unwrap();
    assert_eq!((machine.state.user_id("eva"), machine.state.user_id("ida")), (Some(102), Some(103)));
    assert_eq!(machine.state.user_id("nobody"), None);
}

#[test]
fn comments_stay_with_what_they_are_about() {
    let mut machine = Machine::new();
    machine.run([create_schema("s", false), create_table("s", "t", false)]).unwrap();
    let table = machine.state.table("s", "t").unwrap().table.id;
    let schema = machine.state.schemas()["s"].id;
    let of_schema = Commented::Schema(DatabaseId::default(), schema);
    let (of_table, of_column) = (Commented::Relation(table, None), Commented::Relation(table, Some(1)));
    let say = |object: Commented, text: &str| Kind::Comment(object.to_proto(Some(text)));
    machine.run([say(of_schema, "one"), say(of_table, "two"), say(of_column, "three")]).unwrap();
    machine.fails(ErrorKind::SerializationFailure, "was dropped", [say(Commented::Relation(table, Some(9)), "x")]);

    let change = |name: &str, owner: &str| {
        let (schema_id, database_id) = (schema, 0);
        Kind::ChangeSchema(proto::ChangeSchema { schema_id, database_id, name: name.into(), owner: owner.into() })
    };
    machine.run([change("other", "")]).unwrap();
    assert_eq!(machine.state.table("other", "t").unwrap().table.schema, "other");
    assert!(machine.state.table("s", "t").is_none());
    assert_eq!(
        [of_schema, of_table, of_column].map(|object| machine.state.comment(object)),
        [Some("one"), Some("two"), Some("three")]
    );
    machine.fails(ErrorKind::DuplicateSchema, "already exists", [change("public", "")]);
    machine.run([change("", "eva")]).unwrap();
    assert_eq!(machine.state.schemas()["other"].owner, "eva");

    machine.run([Kind::Comment(of_table.to_proto(None))]).unwrap();
    assert_eq!(machine.state.comment(of_table), None);
    let drop = proto::DropSchema { name: "other".into(), cascade: true, ..Default::default() };
    machine.run([Kind::DropSchema(drop)]).unwrap();
    assert_eq!([of_schema, of_table, of_column].map(|object| machine.state.comment(object)), [None; 3]);
}
