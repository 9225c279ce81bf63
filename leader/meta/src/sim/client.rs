//! What clients of the simulation propose: every kind of change, built on the state of the voter they talk to, so that
//! concurrent ones conflict.

use super::super::state::{State, TableState};
use rand::Rng;
use rand::rngs::StdRng;
use slipher_common::SqlType;
use slipher_common::manifest::bitmap_to_bytes;
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;
use uuid::Uuid;

const NODES: [u128; 2] = [101, 102];
const SEGMENT_ROWS: u64 = 50;
const FIRST_SLICES: u32 = 2;
const SLICES_MAX: u32 = 16;
const TRANSACTION_FIRST: u128 = 1 << 64;
const TRANSACTION_LAST: u128 = u128::MAX;

/// All clients together.
#[derive(Default)]
pub(super) struct Client {
    proposed: Vec<proto::Record>,
    next: u128,
}

fn id(number: u128) -> Vec<u8> {
    // Spread, as random ids are.
    Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).as_bytes().to_vec()
}

fn record(transaction: u128, base_version: u64, kinds: Vec<Kind>) -> proto::Record {
    proto::Record {
        transaction_id: id(transaction),
        base_version,
        proposed_at_us: 0,
        operations: kinds.into_iter().map(|kind| proto::Operation { kind: Some(kind) }).collect(),
        ..Default::default()
    }
}

impl Client {
    /// A record that is always applied.
    pub(super) fn last_record() -> proto::Record {
        record(TRANSACTION_LAST, 0, Vec::new())
    }

    /// The next record to propose to a voter with `state`, and whether it was proposed before.
    pub(super) fn record(&mut self, random: &mut StdRng, state: &State) -> (proto::Record, bool) {
        if state.cluster().is_none() {
            return (record(TRANSACTION_FIRST, 0, first_operations()), false);
        }
        if !self.proposed.is_empty() && random.random_bool(0.15) {
            return (self.proposed[random.random_range(0..self.proposed.len())].clone(), true);
        }
        self.next += 1;
        let operations = self.operations(random, state);
        let made = record(TRANSACTION_FIRST + self.next, state.version().0, operations);
        self.proposed.push(made.clone());
        (made, false)
    }

    fn segment(&mut self, table_id: u64, (slice, slice_count): (u32, u32), state: &State) -> proto::Segment {
        self.next += 1;
        let placement_epoch = state.placement().slices.get(slice as usize).map_or(0, |placed| placed.epoch);
        let column = proto::ColumnStatistics { column_id: 1, nulls: self.next as u64 % 3, ..Default::default() };
        proto::Segment {
            segment_id: id(self.next),
            table_id,
            slice,
            slice_count,
            placement_epoch,
            rows: SEGMENT_ROWS,
            bytes: self.next as u64,
            nodes: NODES.map(id).to_vec(),
            columns: vec![column],
            ..Default::default()
        }
    }

    /// A coarse segment becomes one of the slices that there are now.
    fn split(&mut self, state: &State, table: &TableState) -> Kind {
        let now = state.cluster().map_or(FIRST_SLICES, |cluster| cluster.slice_count);
        let coarse = table.segments.values().find(|segment| segment.slice_count < now);
        let remove = coarse.iter().map(|segment| segment.id.to_vec()).collect();
        let live = coarse.map(|segment| segment.live_rows()).unwrap_or_default();
        let split = |slice| proto::Segment { rows: live, ..self.segment(table.table.id.0, (slice, now), state) };
        let add = coarse.iter().map(|segment| segment.slice.0).map(split).collect();
        let table_id = table.table.id.0;
        Kind::ReplaceSegments(proto::ReplaceSegments { table_id, add, remove, keeps_rows: true, ..Default::default() })
    }

    fn operations(&mut self, random: &mut StdRng, state: &State) -> Vec<Kind> {
        let place = place(random, state);
        let tables: Vec<_> = state.tables().values().collect();
        if tables.len() < 3 || random.random_bool(0.1) {
            let name = format!("t{}", random.random_range(0..6));
            let if_not_exists = random.random_bool(0.5);
            let create =
                Kind::CreateTable(proto::CreateTable { table: Some(definition(name)), if_not_exists, ..Default::default() });
            let add = vec![self.segment(0, place, state)];
            return vec![
                create,
                Kind::ReplaceSegments(proto::ReplaceSegments { table_id: 0, add, remove: Vec::new(), ..Default::default() }),
            ];
        }
        let table = tables[random.random_range(0..tables.len())];
        let table_id = table.table.id.0;
        match random.random_range(0..13) {
            0 => vec![Kind::DropTable(proto::DropTable { table_id, cascade: false })],
            1 => {
                let expected_next = table.table.columns[0].identity.as_ref().map_or(0, |identity| identity.next);
                vec![Kind::AdvanceIdentity(proto::AdvanceIdentity { table_id, column_id: 1, expected_next, count: 10 })]
            }
            2 => {
                let name = format!("s{}", random.random_range(0..4));
                if state.schemas().contains_key(&name) {
                    return vec![Kind::DropSchema(proto::DropSchema { name, ..Default::default() })];
                }
                vec![Kind::CreateSchema(proto::CreateSchema { name, ..Default::default() })]
            }
            3 | 10 => vec![move_slice(state, place.0 as usize)],
            11 => vec![more_slices(random, state)],
            12 => vec![self.split(state, table)],
            4 => change_databases(random, state),
            5 => delete_rows(random, table),
            _ => {
                let live = table.segments.keys().take(random.random_range(0..3));
                let remove = live.map(|segment| segment.to_vec()).collect();
                let add = vec![self.segment(table_id, place, state)];
                vec![Kind::ReplaceSegments(proto::ReplaceSegments { table_id, add, remove, ..Default::default() })]
            }
        }
    }
}

/// A slice, of as many as there are or as there were before: who writes may have begun then.
fn place(random: &mut StdRng, state: &State) -> (u32, u32) {
    let now = state.cluster().map_or(FIRST_SLICES, |cluster| cluster.slice_count);
    let mut slice_count = now;
    while slice_count > FIRST_SLICES && random.random_bool(0.2) {
        slice_count /= 2;
    }
    // An earlier release did not say.
    let says = slice_count != FIRST_SLICES || random.random_bool(0.5);
    (random.random_range(0..slice_count), if says { slice_count } else { 0 })
}

/// More slices, or a number that there cannot be.
fn more_slices(random: &mut StdRng, state: &State) -> Kind {
    let now = state.cluster().map_or(FIRST_SLICES, |cluster| cluster.slice_count);
    let from = if random.random_bool(0.1) { now + 1 } else { now };
    let to = match random.random_range(0..10) {
        0 => now + 1,
        1 => now / 2,
        _ => (now * 2).min(SLICES_MAX),
    };
    Kind::ChangeSliceCount(proto::ChangeSliceCount { from, to })
}

/// Some rows of a segment; others may have deleted them meanwhile.
fn delete_rows(random: &mut StdRng, table: &TableState) -> Vec<Kind> {
    let segments = table.segments.keys().take(2).map(|segment| {
        let rows = [random.random_range(0..SEGMENT_ROWS as u32)].into_iter().collect();
        proto::SegmentRows { segment_id: segment.to_vec(), rows: bitmap_to_bytes(&rows) }
    });
    vec![Kind::DeleteRows(proto::DeleteRows { table_id: table.table.id.0, segments: segments.collect() })]
}

/// A database comes, with a table, or one changes or goes.
fn change_databases(random: &mut StdRng, state: &State) -> Vec<Kind> {
    let others: Vec<u64> = state.databases().keys().map(|database| database.0).filter(|id| *id != 0).collect();
    if others.len() < 2 {
        let database_id = state.next_object_id();
        let name = format!("d{}", random.random_range(0..3));
        let create = proto::CreateDatabase { database_id, name, owner: "admin".into(), serializable: random.random_bool(0.5) };
        let table = Some(proto::Table { database_id, ..definition("t0".into()) });
        let table = Kind::CreateTable(proto::CreateTable { table, ..Default::default() });
        return vec![Kind::CreateDatabase(create), table];
    }
    let database_id = others[random.random_range(0..others.len())];
    vec![match random.random_range(0..3) {
        0 => Kind::DropDatabase(proto::DropDatabase { database_id }),
        1 => Kind::AlterDatabase(proto::AlterDatabase { serializable: random.random_bool(0.5), database_id }),
        _ => {
            let (name, owner) = (format!("d{}", random.random_range(0..3)), "other".into());
            Kind::ChangeDatabase(proto::ChangeDatabase { database_id, name, owner })
        }
    }]
}

fn first_operations() -> Vec<Kind> {
    let init = proto::InitCluster {
        cluster_id: id(1),
        slice_count: FIRST_SLICES,
        replication_factor: 1,
        hash_version: 1,
        slices_by_lanes: false,
    };
    let mut kinds = vec![Kind::InitCluster(init)];
    kinds.extend(NODES.map(|node| {
        let address = format!("http://127.0.0.1:{node}");
        Kind::RegisterNode(proto::RegisterNode { node_id: id(node), address, ..Default::default() })
    }));
    let slices =
        [0, 1].map(|slice| proto::SlicePlacement { slice, owner: id(NODES[slice as usize]), replicas: Vec::new(), epoch: 1 });
    kinds.push(Kind::SetPlacement(proto::SetPlacement { slices: slices.into() }));
    kinds
}

/// The slice's other node takes it over, in a new epoch.
fn move_slice(state: &State, slice: usize) -> Kind {
    let mut slices = state.placement().to_proto();
    let placed = &mut slices[slice];
    placed.owner = id(if placed.owner == id(NODES[0]) { NODES[1] } else { NODES[0] });
    placed.epoch += 1;
    Kind::SetPlacement(proto::SetPlacement { slices })
}

fn definition(name: String) -> proto::Table {
    let column = proto::Column {
        column_id: 1,
        name: "n".into(),
        r#type: Some(SqlType::BigInt.to_proto()),
        identity: Some(proto::Identity { seed: 1, step: 1, by_default: false, next: 0 }),
        ..Default::default()
    };
    proto::Table {
        schema: "public".into(),
        name,
        columns: vec![column],
        dist_style: proto::DistStyle::Even.into(),
        ..Default::default()
    }
}
