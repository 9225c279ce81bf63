//! The whole state in its frozen form: the body of a Raft snapshot.

use super::apply::{cluster_from_proto, node_from_proto, user_from_proto};
use super::slices::with_slice_count;
use super::{
    ClusterInfo, DatabaseState, DefinitionsVersion, FIRST_OBJECT_ID, Map, SchemaState, State, TableState, Totals, ViewState,
};
use prost::Message as _;
use slipher_common::catalog::{Table, View};
use slipher_common::ids::{DatabaseId, TransactionId, Version};
use slipher_common::manifest::{Segment, Segments, take_apart};
use slipher_common::placement::Placement;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The field of a [`proto::State`] that has its tables.
const STATE_TABLES: u32 = 6;
/// The field of a [`proto::TableState`] that has its segments.
const TABLE_SEGMENTS: u32 = 4;

impl State {
    /// The frozen form; equal states give equal bytes.
    pub fn to_proto(&self) -> proto::State {
        proto::State {
            tables: self.tables.values().map(|table| table_to_proto(table, self.first_slice_count())).collect(),
            ..self.to_proto_without_tables()
        }
    }

    /// The same, encoded, in parts of which none is much larger than a table: together they are read as one message.
    pub(crate) fn encoded_parts(&self) -> impl Iterator<Item = Vec<u8>> {
        let first = self.first_slice_count();
        let table =
            move |table: &Arc<TableState>| proto::State { tables: vec![table_to_proto(table, first)], ..proto::State::default() };
        let parts = std::iter::once(self.to_proto_without_tables()).chain(self.tables.values().map(table));
        parts.map(|part| part.encode_to_vec())
    }

    /// Slices that the cluster had first.
    fn first_slice_count(&self) -> u32 {
        self.cluster.map_or(0, |cluster| cluster.first_slice_count)
    }

    fn to_proto_without_tables(&self) -> proto::State {
        proto::State {
            version: self.version.0,
            cluster: self.cluster.map(|cluster| proto::InitCluster {
                cluster_id: cluster.id.to_vec(),
                slice_count: cluster.slice_count,
                replication_factor: cluster.replication_factor,
                hash_version: cluster.hash_version,
                slices_by_lanes: cluster.slices_by_lanes,
            }),
            nodes: self
                .nodes
                .values()
                .map(|node| proto::RegisterNode {
                    node_id: node.id.to_vec(),
                    address: node.address.clone(),
                    name: node.name.clone(),
                    flight_address: node.flight_address.clone(),
                })
                .collect(),
            placement: self.placement.to_proto(),
            databases: self
                .databases
                .values()
                .filter(|database| database.id != DatabaseId::default())
                .map(|database| proto::CreateDatabase {
                    database_id: database.id.0,
                    name: database.name.clone(),
                    owner: database.owner.clone(),
                    serializable: database.serializable,
                })
                .collect(),
            schemas: self
                .databases
                .values()
                .flat_map(|database| database.schemas.values().map(|schema| (database.id, schema)))
                .map(|(database, schema)| proto::CreateSchema {
                    schema_id: schema.id,
                    name: schema.name.clone(),
                    owner: schema.owner.clone(),
                    if_not_exists: false,
                    allocated_id: false,
                    database_id: database.0,
                })
                .collect(),
            tables: Vec::new(),
            first_slice_count: self.cluster.filter(ClusterInfo::has_other_slices).map_or(0, |cluster| cluster.first_slice_count),
            users: self
                .users
                .values()
                .map(|user| proto::User {
                    name: user.name.clone(),
                    superuser: user.superuser,
                    scram_verifier: user.scram_verifier.clone(),
                    can_create_database: user.can_create_database,
                    user_id: user.id,
                })
                .collect(),
            comments: self.comments_to_proto(),
            next_object_id: self.next_object_id,
            recent_transactions: self
                .recent
                .in_order()
                .into_iter()
                .map(|(transaction, version)| proto::AppliedTransaction {
                    transaction_id: transaction.to_vec(),
                    version: version.0,
                })
                .collect(),
            serializable: self.databases.get(&DatabaseId::default()).is_some_and(|dev| dev.serializable),
            views: self
                .views
                .values()
                .map(|view| proto::ViewState {
                    view: Some(view.view.to_proto()),
                    created_version: view.created_version.0,
                    defined_version: view.defined_version.0,
                })
                .collect(),
        }
    }

    /// Reads the frozen form.
    pub fn from_proto(stored: &proto::State) -> Result<Self> {
        let first = first_slice_count_of(stored);
        let tables = stored.tables.iter();
        let mut tables = tables.map(|table| TableState::read(table, first, table.segments.iter().map(Segment::from_proto)));
        Self::read(stored, &mut tables).map_err(|error| damaged(stored.version, &error))
    }

    /// Reads the frozen form, encoded, one segment at a time: all messages together would be several times as large as what they say.
    pub fn decode(encoded: &[u8]) -> Result<Self> {
        let (rest, tables) = take_apart(encoded, STATE_TABLES).map_err(|error| damaged(0, &error))?;
        let stored = proto::State::decode(&rest[..]).map_err(|error| damaged(0, &error))?;
        let tables = decode_tables(&tables, first_slice_count_of(&stored));
        Self::read(&stored, &mut tables.into_iter()).map_err(|error| damaged(stored.version, &error))
    }

    fn read(stored: &proto::State, tables: &mut dyn Iterator<Item = Result<TableState>>) -> Result<Self> {
        let mut state = Self {
            version: Version(stored.version),
            definitions: DefinitionsVersion(Version(stored.version)),
            cluster: stored.cluster.as_ref().map(|cluster| read_cluster(stored, cluster)).transpose()?,
            placement: Arc::new(Placement::from_proto(&stored.placement)?),
            next_object_id: stored.next_object_id.max(FIRST_OBJECT_ID),
            ..Self::default()
        };
        let nodes = Arc::make_mut(&mut state.nodes);
        for node in &stored.nodes {
            let node = node_from_proto(node)?;
            nodes.insert(node.id, node);
        }
        // It comes with the cluster.
        if state.cluster.is_some() {
            state.insert_database(DatabaseState::dev(stored.serializable))?;
        }
        for database in &stored.databases {
            state.insert_database(DatabaseState {
                id: DatabaseId(database.database_id),
                name: database.name.clone(),
                owner: database.owner.clone(),
                serializable: database.serializable,
                schemas: Map::new(),
            })?;
        }
        for schema in &stored.schemas {
            let (name, owner) = (schema.name.clone(), schema.owner.clone());
            let read = SchemaState { id: schema.schema_id, name: name.clone(), owner, tables: Map::new(), views: Map::new() };
            let database = state.database_mut(DatabaseId(schema.database_id));
            let database = database.ok_or_else(|| Error::internal(format!("schema \"{name}\" has no database")))?;
            database.schemas.insert(name, Arc::new(read));
        }
        let users = Arc::make_mut(&mut state.users);
        for user in &stored.users {
            let user = user_from_proto(user)?;
            users.insert(user.name.clone(), user);
        }
        for table in tables {
            state.take_table(table?)?;
        }
        for stored in &stored.views {
            let definition = stored.view.as_ref().ok_or_else(|| Error::internal("a view has no definition"))?;
            state.put_view(ViewState {
                view: Arc::new(View::from_proto(definition)?),
                created_version: Version(stored.created_version),
                defined_version: Version(stored.defined_version),
            })?;
        }
        for comment in &stored.comments {
            state.read_comment(comment)?;
        }
        for applied in &stored.recent_transactions {
            state.recent.insert(TransactionId::from_bytes(&applied.transaction_id)?, Version(applied.version));
        }
        Ok(state)
    }

    fn take_table(&mut self, table: TableState) -> Result<()> {
        for segment in table.segments.keys() {
            if !self.live_segments.insert(*segment) {
                return Err(Error::internal(format!("segment {segment} stands twice")));
            }
        }
        self.insert_table(table)
    }
}

/// Tables by all cores: one would need ten seconds for a million segments.
fn decode_tables(encoded: &[&[u8]], first_slice_count: u32) -> Vec<Result<TableState>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(encoded.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = std::iter::from_fn(|| {
            let place = next.fetch_add(1, Ordering::Relaxed);
            encoded.get(place).map(|table| (place, TableState::decode(table, first_slice_count)))
        });
        mine.collect::<Vec<_>>()
    };
    let mut decoded: Vec<(usize, Result<TableState>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let theirs = others.into_iter().flat_map(|thread| {
            thread.join().unwrap_or_else(|_| vec![(0, Err(Error::internal("a thread that reads tables panicked")))])
        });
        mine.into_iter().chain(theirs).collect()
    });
    decoded.sort_by_key(|(place, _)| *place);
    decoded.into_iter().map(|(_, table)| table).collect()
}

impl TableState {
    fn decode(encoded: &[u8], first_slice_count: u32) -> Result<Self> {
        let (rest, segments) = take_apart(encoded, TABLE_SEGMENTS)?;
        let table = proto::TableState::decode(&rest[..]).map_err(unreadable)?;
        let segments = segments.into_iter();
        Self::read(&table, first_slice_count, segments.map(Segment::decode))
    }

    fn read(stored: &proto::TableState, first_slice_count: u32, all: impl Iterator<Item = Result<Segment>>) -> Result<Self> {
        let definition = stored.table.as_ref().ok_or_else(|| Error::internal("a table has no definition"))?;
        let mut segments = Segments::new();
        for segment in all {
            let segment = with_slice_count(segment?, first_slice_count);
            if segments.insert(segment.id, Arc::new(segment)).is_some() {
                return Err(Error::internal("a segment stands twice"));
            }
        }
        Ok(Self {
            table: Arc::new(Table::from_proto(definition)?),
            created_version: Version(stored.created_version),
            changed_version: Version(stored.changed_version),
            defined_version: Version(stored.defined_version.max(stored.created_version)),
            layout_version: Version(stored.layout_version.max(stored.created_version)),
            totals: Arc::new(Totals::of(segments.values().map(Arc::as_ref))),
            segments: Arc::new(segments),
        })
    }
}

fn damaged(version: u64, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("reading the metadata at version {version}: {error}"))
}

fn unreadable(error: prost::DecodeError) -> Error {
    Error::internal(error.to_string())
}

/// How many slices the cluster had first, of a state that is read.
fn first_slice_count_of(stored: &proto::State) -> u32 {
    let now = stored.cluster.as_ref().map_or(0, |cluster| cluster.slice_count);
    if stored.first_slice_count == 0 { now } else { stored.first_slice_count }
}

fn read_cluster(stored: &proto::State, cluster: &proto::InitCluster) -> Result<ClusterInfo> {
    let first_slice_count = first_slice_count_of(stored);
    let cluster = cluster_from_proto(cluster)?;
    if !cluster.slice_count.is_multiple_of(first_slice_count) {
        let message = format!("the cluster has {} slices, and had {first_slice_count} first", cluster.slice_count);
        return Err(Error::internal(message));
    }
    Ok(ClusterInfo { first_slice_count, ..cluster })
}

/// A segment that was written under the slices which the cluster had first does not say so: it is as it always was.
fn segment_to_proto(segment: &Segment, first_slice_count: u32) -> proto::Segment {
    let stored = segment.to_proto();
    if stored.slice_count == first_slice_count { proto::Segment { slice_count: 0, ..stored } } else { stored }
}

fn table_to_proto(table: &TableState, first_slice_count: u32) -> proto::TableState {
    proto::TableState {
        table: Some(table.table.to_proto()),
        created_version: table.created_version.0,
        changed_version: table.changed_version.0,
        defined_version: if table.defined_version > table.created_version { table.defined_version.0 } else { 0 },
        layout_version: if table.layout_version > table.created_version { table.layout_version.0 } else { 0 },
        segments: table.segments.values().map(|segment| segment_to_proto(segment, first_slice_count)).collect(),
    }
}
