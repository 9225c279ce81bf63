//! The whole state read from its frozen form, see [`super::encode`].

use super::apply::{cluster_from_proto, node_from_proto, user_from_proto};
use super::record::unreadable;
use super::segment_index::SegmentIndex;
use super::slices::with_slice_count;
use super::{
    ClusterInfo, DatabaseState, DefinitionsVersion, FIRST_OBJECT_ID, Map, SchemaState, State, TableState, Totals, ViewState,
};
use crate::parallel::spread;
use prost::Message as _;
use slipher_common::catalog::{Table, View};
use slipher_common::ids::{DatabaseId, TransactionId, Version};
use slipher_common::manifest::{Segment, SegmentReader, Segments, first_field, take_apart};
use slipher_common::placement::Placement;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::sync::Arc;

/// The field of a [`proto::State`] that has its tables.
const STATE_TABLES: u32 = 6;
/// The field of a [`proto::TableState`] that has its segments.
const TABLE_SEGMENTS: u32 = 4;

impl State {
    /// Reads the frozen form.
    pub fn from_proto(stored: &proto::State) -> Result<Self> {
        let first = first_slice_count_of(stored);
        let tables = stored.tables.iter();
        let mut tables = tables.map(|table| TableState::read(table, first, table.segments.iter().map(Segment::from_proto)));
        Self::read(stored, &mut tables).map_err(|error| damaged(stored.version, &error))
    }

    /// Reads the frozen form, encoded.
    pub fn decode(encoded: &[u8]) -> Result<Self> {
        let (rest, tables) = take_apart(encoded, STATE_TABLES).map_err(|error| damaged(0, &error))?;
        let stored = decode_rest(&rest)?;
        let first = first_slice_count_of(&stored);
        let give = |give: &mut dyn FnMut(_)| {
            tables.into_iter().for_each(give);
            Ok(())
        };
        let ((), tables) = spread(give, |table: &[u8]| TableState::decode(table, first))?;
        Self::read(&stored, &mut tables.into_iter()).map_err(|error| damaged(stored.version, &error))
    }

    /// The same of what `read` gives in pieces: tables are read, by all cores, while others are on their way, and nobody has all of it in
    /// memory. Answers what `read` does as well, and its error before any other.
    pub(crate) fn decode_pieces<A>(read: impl Fn(&mut dyn FnMut(&[u8])) -> Result<A>) -> Result<(A, Self)> {
        let mut cutter = Cutter::default();
        let (answer, tables) = spread(
            |give| {
                let answer = read(&mut |piece| cutter.take(piece, give));
                cutter.end();
                answer
            },
            |(table, first): (Vec<u8>, u32)| TableState::decode(&table, first),
        )?;
        if let Some(error) = cutter.failed {
            return Err(damaged(0, &error));
        }
        let stored = decode_rest(&cutter.rest)?;
        if cutter.first_slice_count.is_some_and(|first| first != first_slice_count_of(&stored)) {
            // A message of which the tables need what stands behind them.
            let mut whole = Vec::new();
            let answer = read(&mut |piece| whole.extend_from_slice(piece))?;
            return Ok((answer, Self::decode(&whole)?));
        }
        let state = Self::read(&stored, &mut tables.into_iter()).map_err(|error| damaged(stored.version, &error))?;
        Ok((answer, state))
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
        let mut live = Vec::new();
        for table in tables {
            let table = table?;
            live.extend(table.segments.keys().copied());
            state.insert_table(table)?;
        }
        state.live_segments =
            SegmentIndex::of(live).map_err(|segment| Error::internal(format!("segment {segment} stands twice")))?;
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
}

/// Cuts tables out of an encoded [`proto::State`] that comes in pieces.
#[derive(Default)]
struct Cutter {
    /// What has come and is not a whole field yet.
    begun: Vec<u8>,
    /// Bytes that `begun` must have before it can be one.
    needed: usize,
    /// All fields but tables.
    rest: Vec<u8>,
    /// What tables were read with.
    first_slice_count: Option<u32>,
    failed: Option<Error>,
}

impl Cutter {
    fn take(&mut self, piece: &[u8], give: &mut dyn FnMut((Vec<u8>, u32))) {
        self.begun.extend_from_slice(piece);
        if self.failed.is_none() && self.begun.len() >= self.needed {
            self.failed = self.cut(give).err();
        }
    }

    fn cut(&mut self, give: &mut dyn FnMut((Vec<u8>, u32))) -> Result<()> {
        let mut done = 0;
        self.needed = 0;
        while let Some(field) = first_field(&self.begun[done..])? {
            let Some(bytes) = self.begun.get(done..done + field.length) else {
                self.needed = field.length;
                break;
            };
            match field.bytes_at {
                Some(inside) if field.number == STATE_TABLES => {
                    let table = bytes[inside..].to_vec();
                    let first = match self.first_slice_count {
                        Some(first) => first,
                        None => first_slice_count_of(&decode_rest(&self.rest)?),
                    };
                    self.first_slice_count = Some(first);
                    give((table, first));
                }
                _ => self.rest.extend_from_slice(bytes),
            }
            done += field.length;
        }
        self.begun.drain(..done);
        Ok(())
    }

    /// Nothing more comes.
    fn end(&mut self) {
        if !self.begun.is_empty() && self.failed.is_none() {
            self.failed = Some(Error::internal("it ends too early"));
        }
    }
}

fn decode_rest(rest: &[u8]) -> Result<proto::State> {
    proto::State::decode(rest).map_err(|error| damaged(0, &error))
}

impl TableState {
    fn decode(encoded: &[u8], first_slice_count: u32) -> Result<Self> {
        let (rest, segments) = take_apart(encoded, TABLE_SEGMENTS)?;
        let table = proto::TableState::decode(&rest[..]).map_err(unreadable)?;
        let mut reader = SegmentReader::default();
        Self::read(&table, first_slice_count, segments.into_iter().map(|segment| reader.read(segment)))
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
