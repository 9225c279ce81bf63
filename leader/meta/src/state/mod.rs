//! The metadata state machine: a pure function of (state, record). No clock, no IO, no randomness; iteration is ordered.
//!
//! A [`State`] is a handful of `Arc`s of persistent maps, so a clone is cheap, a change copies a few places, and a reader keeps the version
//! it started with.

mod apply;
mod check;
mod comments;
mod databases;
mod decode;
mod encode;
mod recent;
mod record;
mod segment_index;
mod slices;
mod tables;
#[cfg(test)]
mod tests;
mod totals;
mod views;

pub use self::comments::Commented;
pub(crate) use self::record::ReadRecord;
pub use self::totals::{SliceCounts, Sums, Totals};
pub use self::views::not_a_view;

use self::recent::RecentTransactions;
use self::segment_index::SegmentIndex;
#[cfg(doc)]
use slipher_common::catalog::DATABASE;
use slipher_common::catalog::{ADMIN_USER, Table, View};
use slipher_common::error::did_you_mean;
use slipher_common::ids::{ClusterId, DatabaseId, NodeId, TableId, Version};
use slipher_common::manifest::Segments;
use slipher_common::placement::Placement;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Redshift numbers its users from here on; the first one is the administrator.
const FIRST_USER_ID: u32 = 100;

/// The id of the schema that is there from the start, PostgreSQL's.
pub const PUBLIC_SCHEMA_ID: u64 = 2200;
/// Ids below are left to the objects that every database has.
pub const FIRST_OBJECT_ID: u64 = 100_000;

/// A map of what grows with the catalog. A clone shares all of it, and a change copies a few places: a commit costs the same however
/// much there is.
pub type Map<K, V> = imbl::OrdMap<K, V>;

/// What was decided when the cluster was made, for ever, but for its slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The cluster.
    pub id: ClusterId,
    /// Number of slices, S.
    pub slice_count: u32,
    /// How many it had first: those of segments that do not say.
    pub first_slice_count: u32,
    /// Copies of each slice where there are enough nodes.
    pub replication_factor: u32,
    /// Version of the distribution hash.
    pub hash_version: u32,
    /// It gets more slices when its lanes outgrow them.
    pub slices_by_lanes: bool,
}

impl ClusterInfo {
    /// Whether it has other slices than it had first.
    pub fn has_other_slices(&self) -> bool {
        self.slice_count != self.first_slice_count
    }
}

/// A compute node that registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node.
    pub id: NodeId,
    /// `http://host:port` of its internal gRPC.
    pub address: String,
    /// What people call it.
    pub name: String,
    /// `grpc://host:port` where clients fetch results; empty where it has none.
    pub flight_address: String,
}

/// A database and the schemas in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseState {
    /// Never reused; 0 is [`DATABASE`].
    pub id: DatabaseId,
    /// Its name.
    pub name: String,
    /// The user who may change and drop it.
    pub owner: String,
    /// Transactions in it are SERIALIZABLE that do not say what they are.
    pub serializable: bool,
    /// Its schemas by name.
    pub schemas: Map<String, Arc<SchemaState>>,
}

/// A schema and the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// Never reused; `public` has the same in every database.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The user who made it.
    pub owner: String,
    /// Its tables by name.
    pub tables: Map<String, TableId>,
    /// Its views by name; no table has the name of a view.
    pub views: Map<String, TableId>,
}

/// One table and its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// The definition.
    pub table: Arc<Table>,
    /// The version that created it.
    pub created_version: Version,
    /// The last version that changed its definition or its rows (handing out identity values is not a change).
    pub changed_version: Version,
    /// The last version that changed its definition.
    pub defined_version: Version,
    /// The last version that gave it a definition which segments of the one before do not fit.
    pub layout_version: Version,
    /// The live segments.
    pub segments: Arc<Segments>,
    /// What they add up to.
    pub totals: Arc<Totals>,
}

/// One view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewState {
    /// The definition.
    pub view: Arc<View>,
    /// The version that created it.
    pub created_version: Version,
    /// The last version that changed its definition.
    pub defined_version: Version,
}

/// A database user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Checks do not apply.
    pub superuser: bool,
    /// SCRAM-SHA-256 verifier. Never logged.
    pub scram_verifier: String,
    /// May create databases.
    pub can_create_database: bool,
    /// The number by which the catalog knows the user; 0 of one of an earlier release, see [`State::user_id`].
    pub id: u32,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("superuser", &self.superuser).finish_non_exhaustive()
    }
}

/// What a name in FROM may mean.
#[derive(Clone, Copy, Debug)]
pub enum Relation<'a> {
    /// A table.
    Table(&'a Arc<TableState>),
    /// A view.
    View(&'a Arc<ViewState>),
}

/// What applying a record did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedRecord {
    /// The version the record made; the old one for a record that had been applied before.
    pub version: Version,
    /// The last table the record created.
    pub created_table: Option<TableId>,
    /// Messages for the client.
    pub notices: Vec<String>,
}

/// Everything the cluster knows of itself at one version. Names mean what they mean in one of the databases, ids the same in all.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    version: Version,
    cluster: Option<ClusterInfo>,
    nodes: Arc<BTreeMap<NodeId, NodeInfo>>,
    placement: Arc<Placement>,
    databases: Arc<BTreeMap<DatabaseId, Arc<DatabaseState>>>,
    /// Where names are looked up.
    database: DatabaseId,
    tables: Arc<Map<TableId, Arc<TableState>>>,
    views: Arc<Map<TableId, Arc<ViewState>>>,
    users: Arc<Map<String, User>>,
    comments: Arc<Map<Commented, String>>,
    live_segments: SegmentIndex,
    /// Those of all tables.
    slice_counts: SliceCounts,
    next_object_id: u64,
    recent: RecentTransactions,
    definitions: DefinitionsVersion,
    /// Where a block of changes that is not committed began; None for a state that is.
    pub(super) speculated_from: Option<Version>,
}

/// The last version that changed what a name means or what it is, as far as this process knows: of two states it was read from or applied to,
/// the definitions are the same if this is. No part of what a state is.
#[derive(Clone, Copy, Debug, Default)]
struct DefinitionsVersion(Version);

impl PartialEq for DefinitionsVersion {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: Version(0),
            cluster: None,
            nodes: Arc::default(),
            placement: Arc::default(),
            databases: Arc::default(),
            database: DatabaseId::default(),
            tables: Arc::default(),
            views: Arc::default(),
            users: Arc::default(),
            comments: Arc::default(),
            live_segments: SegmentIndex::default(),
            slice_counts: SliceCounts::default(),
            next_object_id: FIRST_OBJECT_ID,
            recent: RecentTransactions::default(),
            definitions: DefinitionsVersion::default(),
            speculated_from: None,
        }
    }
}

impl State {
    /// The Raft index of the last applied record.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Which definitions these are: states of the same ones have the same names, relations, columns and users. None for a block's own, which
    /// nobody else has.
    pub fn definitions(&self) -> Option<Version> {
        self.speculated_from.is_none().then_some(self.definitions.0)
    }

    /// The id that the next object gets; lower ones are taken.
    pub fn next_object_id(&self) -> u64 {
        self.next_object_id
    }

    /// What was decided when the cluster was made; `None` before that.
    pub fn cluster(&self) -> Option<&ClusterInfo> {
        self.cluster.as_ref()
    }

    /// The registered compute nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeId, NodeInfo> {
        &self.nodes
    }

    /// Where each slice lives; empty until the slices are dealt.
    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// All tables of all databases by id.
    pub fn tables(&self) -> &Map<TableId, Arc<TableState>> {
        &self.tables
    }

    /// All views of all databases by id.
    pub fn views(&self) -> &Map<TableId, Arc<ViewState>> {
        &self.views
    }

    /// All users by name.
    pub fn users(&self) -> &Map<String, User> {
        &self.users
    }

    /// The number of a user: users of earlier releases, which gave none, are numbered by their names, the first superuser first.
    pub fn user_id(&self, name: &str) -> Option<u32> {
        let user = self.users.get(name)?;
        if user.id != 0 {
            return Some(user.id);
        }
        let mut unnumbered: Vec<&User> = self.users.values().filter(|user| user.id == 0).collect();
        unnumbered.sort_by_key(|user| (user.name != ADMIN_USER, &user.name));
        let place = unnumbered.iter().position(|other| other.name == name)?;
        FIRST_USER_ID.checked_add(u32::try_from(place).ok()?)
    }

    /// A number that no user has.
    pub fn next_user_id(&self) -> u32 {
        let taken = self.users.keys().filter_map(|name| self.user_id(name)).max();
        taken.map_or(FIRST_USER_ID, |last| last.saturating_add(1))
    }

    /// Whether a version in this state is of a record that was committed.
    pub fn is_committed(&self, version: Version) -> bool {
        self.speculated_from.is_none_or(|base| version <= base)
    }

    /// The version of something that was committed; 0 for what the block itself made, which nobody else can have changed.
    pub fn committed_or_zero(&self, version: Version) -> u64 {
        if self.is_committed(version) { version.0 } else { 0 }
    }

    /// The state that a record would make of this one, for whoever commits it later together with others. Its versions are nobody
    /// else's.
    pub fn speculate(&self, mut record: proto::Record) -> Result<(Self, AppliedRecord)> {
        let mut state = self.clone();
        record.base_version = self.version.0;
        let applied = state.apply(self.version.0 + 1, &record)?;
        state.speculated_from = Some(self.speculated_from.unwrap_or(self.version));
        Ok((state, applied))
    }

    /// Whether a database, a schema, a table or a view has this id.
    pub(super) fn has_object(&self, id: u64) -> bool {
        let relation = TableId(id);
        self.tables.contains_key(&relation)
            || self.views.contains_key(&relation)
            || self.databases.contains_key(&DatabaseId(id))
            || self.databases.values().any(|database| database.schemas.values().any(|schema| schema.id == id))
    }

    /// This state with the compute nodes of another one: where they listen is no matter of versions.
    pub fn with_nodes_of(&self, other: &Self) -> Self {
        Self { nodes: Arc::clone(&other.nodes), ..self.clone() }
    }

    /// The table of a name.
    pub fn table(&self, schema: &str, name: &str) -> Option<&Arc<TableState>> {
        let id = self.schemas().get(schema)?.tables.get(name)?;
        self.tables.get(id)
    }

    /// The view of a name.
    pub fn view(&self, schema: &str, name: &str) -> Option<&Arc<ViewState>> {
        let id = self.schemas().get(schema)?.views.get(name)?;
        self.views.get(id)
    }

    /// The table of an id.
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<TableState>> {
        self.tables.get(&id)
    }

    /// The schema of a name, or 3F000 with the nearest name as a hint.
    pub fn find_schema(&self, name: &str) -> Result<&Arc<SchemaState>> {
        self.schemas().get(name).ok_or_else(|| {
            Error::new(ErrorKind::UndefinedSchema, format!("schema \"{name}\" does not exist"))
                .with_hint(did_you_mean(name, self.schemas().keys().map(String::as_str)))
        })
    }

    /// The table or view of a name, or 3F000 or 42P01 with the nearest name as a hint.
    pub fn find_relation(&self, schema: &str, name: &str) -> Result<Relation<'_>> {
        let found = self.find_schema(schema)?;
        self.relation(schema, name).ok_or_else(|| {
            let names = found.tables.keys().chain(found.views.keys());
            Error::new(ErrorKind::UndefinedTable, format!("relation \"{schema}.{name}\" does not exist"))
                .with_hint(did_you_mean(name, names.map(String::as_str)))
        })
    }

    /// The table or view of a name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<Relation<'_>> {
        let table = self.table(schema, name).map(Relation::Table);
        table.or_else(|| self.view(schema, name).map(Relation::View))
    }

    /// The table or view of an id.
    pub fn relation_by_id(&self, id: TableId) -> Option<Relation<'_>> {
        let table = self.tables.get(&id).map(Relation::Table);
        table.or_else(|| self.views.get(&id).map(Relation::View))
    }

    /// The cluster, or an error that says that there is none yet.
    pub fn require_cluster(&self) -> Result<&ClusterInfo> {
        self.cluster.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::CannotConnectNow, "the cluster has not been initialized yet")
                .with_hint("try again when the leader has started")
        })
    }
}
