//! Applying a record: all of its operations or none.

use super::record::ReadRecord;
use super::{AppliedRecord, ClusterInfo, DatabaseState, DefinitionsVersion, FIRST_OBJECT_ID, NodeInfo, State, User};
use slipher_common::error::did_you_mean;
use slipher_common::ids::{ClusterId, DatabaseId, NodeId, TableId, TransactionId, Version};
use slipher_common::manifest::Segment;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What `table_id` 0 stands for in operations after a CREATE TABLE of the same record.
pub(super) enum LastCreated {
    /// The record has not created a table yet.
    None,
    /// This table.
    Table(TableId),
    /// IF NOT EXISTS found one: what refers to it does nothing.
    Skipped,
}

/// A record on its way: the state it would make.
pub(super) struct Draft {
    pub(super) state: State,
    /// What the record is applied to.
    pub(super) before: State,
    pub(super) version: Version,
    pub(super) last_created: LastCreated,
    pub(super) created_table: Option<TableId>,
    pub(super) notices: Vec<String>,
    dropped_users: BTreeSet<String>,
}

/// 40001: what the record was built on is no longer so.
pub(super) fn conflict(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::SerializationFailure, format!("conflict with concurrent transaction: {what}"))
        .with_hint("run the transaction again")
}

impl State {
    /// Applies the record at a Raft index. An error leaves the state as it was.
    pub fn apply(&mut self, index: u64, record: &proto::Record) -> Result<AppliedRecord> {
        self.apply_with(index, record, Vec::new())
    }

    /// The same with one that was read from the log.
    pub(crate) fn apply_read(&mut self, index: u64, read: ReadRecord) -> Result<AppliedRecord> {
        self.apply_with(index, &read.record, read.added)
    }

    /// With the segments that its operations add, as far as they do not stand in them.
    fn apply_with(&mut self, index: u64, record: &proto::Record, added: Vec<Vec<Segment>>) -> Result<AppliedRecord> {
        let transaction = TransactionId::from_bytes(&record.transaction_id)?;
        if index <= self.version.0 {
            return Err(Error::internal(format!("applying record {index} to version {}: it is not newer", self.version)));
        }
        if let Some(version) = self.recent.version_of(transaction) {
            return Ok(AppliedRecord { version, created_table: self.last_created_at(version), notices: Vec::new() });
        }
        if record.base_version >= index {
            return Err(Error::internal(format!("applying record {index}: its base version {} is newer", record.base_version)));
        }
        self.check_reads(record, transaction)?;
        let mut draft = Draft {
            state: self.clone(),
            before: self.clone(),
            version: Version(index),
            last_created: LastCreated::None,
            created_table: None,
            notices: Vec::new(),
            dropped_users: BTreeSet::new(),
        };
        let mut added = added.into_iter();
        for operation in &record.operations {
            draft.apply(operation, added.next().unwrap_or_default())?;
        }
        draft.check_dropped_users()?;
        draft.state.database = self.database;
        draft.state.version = draft.version;
        if record.operations.iter().filter_map(|operation| operation.kind.as_ref()).any(defines) {
            draft.state.definitions = DefinitionsVersion(draft.version);
        }
        draft.state.recent.insert(transaction, draft.version);
        *self = draft.state;
        #[cfg(test)]
        self.check()?;
        Ok(AppliedRecord { version: self.version, created_table: draft.created_table, notices: draft.notices })
    }

    /// Serializability, by tables: what a transaction read must still be so when it commits. The text is Redshift's; clients look for it.
    fn check_reads(&self, record: &proto::Record, transaction: TransactionId) -> Result<()> {
        if let Some(id) = record.read_table_ids.iter().find(|id| !self.tables.contains_key(&TableId(**id))) {
            return Err(conflict(format_args!("table with id {id}, which the transaction read, was dropped")));
        }
        let changed = record.read_table_ids.iter().filter_map(|id| self.tables.get(&TableId(*id)));
        let Some(table) = changed.into_iter().find(|table| table.changed_version.0 > record.base_version) else { return Ok(()) };
        let other = self.recent.in_order().into_iter().find(|(_, version)| *version == table.changed_version);
        let other = other.map_or_else(|| format!("version {}", table.changed_version), |(other, _)| other.to_string());
        let message = format!(
            "1023 Serializable isolation violation on table - {} ({}), transactions forming the cycle are: {transaction}, {other}",
            table.table.id, table.table
        );
        Err(Error::new(ErrorKind::SerializationFailure, message)
            .with_detail("the transaction read the table, and another one has changed it since")
            .with_hint("run the transaction again"))
    }

    /// The last table that a version created, if it is still there. Ids grow in the order of creation.
    fn last_created_at(&self, version: Version) -> Option<TableId> {
        self.tables.iter().rev().find(|(_, table)| table.created_version == version).map(|(id, _)| *id)
    }
}

/// Whether an operation may change what names mean, or what they stand for.
fn defines(kind: &Kind) -> bool {
    match kind {
        Kind::RegisterNode(_)
        | Kind::SetPlacement(_)
        | Kind::MoveSlice(_)
        | Kind::ChangeSliceCount(_)
        | Kind::ReplaceSegments(_)
        | Kind::DeleteRows(_)
        | Kind::AdvanceIdentity(_)
        | Kind::Comment(_) => false,
        Kind::InitCluster(_)
        | Kind::CreateSchema(_)
        | Kind::DropSchema(_)
        | Kind::CreateTable(_)
        | Kind::DropTable(_)
        | Kind::ChangeTable(_)
        | Kind::CreateView(_)
        | Kind::DropViews(_)
        | Kind::ChangeView(_)
        | Kind::PutUser(_)
        | Kind::DropUser(_)
        | Kind::CreateDatabase(_)
        | Kind::AlterDatabase(_)
        | Kind::ChangeDatabase(_)
        | Kind::DropDatabase(_)
        | Kind::ChangeSchema(_) => true,
    }
}

impl Draft {
    fn apply(&mut self, operation: &proto::Operation, added: Vec<Segment>) -> Result<()> {
        let Some(kind) = &operation.kind else {
            return Err(Error::internal("applying a record: an operation is of a kind that this release does not know"));
        };
        if !matches!(kind, Kind::InitCluster(_)) {
            self.state.require_cluster()?;
        }
        self.enter_database_of(kind)?;
        match kind {
            Kind::InitCluster(operation) => self.init_cluster(operation),
            Kind::RegisterNode(operation) => self.register_node(operation),
            Kind::SetPlacement(operation) => self.set_placement(operation),
            Kind::CreateSchema(operation) => self.create_schema(operation),
            Kind::DropSchema(operation) => self.drop_schema(operation),
            Kind::CreateTable(operation) => self.create_table(operation),
            Kind::DropTable(operation) => self.drop_table(operation),
            Kind::ReplaceSegments(operation) => self.replace_segments(operation, added),
            Kind::PutUser(operation) => self.put_user(operation),
            Kind::DropUser(operation) => self.drop_user(operation),
            Kind::AdvanceIdentity(operation) => self.advance_identity(operation),
            Kind::MoveSlice(operation) => self.move_slice(operation),
            Kind::ChangeSliceCount(operation) => self.change_slice_count(operation),
            Kind::ChangeTable(operation) => self.change_table(operation),
            Kind::DeleteRows(operation) => self.delete_rows(operation),
            Kind::CreateView(operation) => self.create_view(operation),
            Kind::DropViews(operation) => self.drop_views(operation),
            Kind::ChangeView(operation) => self.change_view(operation),
            Kind::AlterDatabase(operation) => self.alter_database(operation),
            Kind::CreateDatabase(operation) => self.create_database(operation),
            Kind::ChangeDatabase(operation) => self.change_database(operation),
            Kind::DropDatabase(operation) => self.drop_database(operation),
            Kind::Comment(operation) => self.comment(operation),
            Kind::ChangeSchema(operation) => self.change_schema(operation),
        }
    }

    fn init_cluster(&mut self, operation: &proto::InitCluster) -> Result<()> {
        if let Some(cluster) = &self.state.cluster {
            let message = format!("the cluster is initialized already, with id {}", cluster.id);
            return Err(Error::new(ErrorKind::DuplicateObject, message));
        }
        let cluster = cluster_from_proto(operation)?;
        self.state.cluster = Some(cluster);
        self.state.insert_database(DatabaseState::dev(false).with_public_schema())
    }

    fn register_node(&mut self, operation: &proto::RegisterNode) -> Result<()> {
        let node = node_from_proto(operation)?;
        Arc::make_mut(&mut self.state.nodes).insert(node.id, node);
        Ok(())
    }

    fn put_user(&mut self, operation: &proto::PutUser) -> Result<()> {
        let Some(user) = &operation.user else {
            return Err(Error::internal("creating a user: the record holds none"));
        };
        let mut user = user_from_proto(user)?;
        if self.state.users.contains_key(&user.name) {
            return Err(Error::new(ErrorKind::DuplicateObject, format!("user \"{}\" already exists", user.name)));
        }
        // Two sessions may have made users at the same time.
        if user.id != 0 && self.state.users.keys().any(|name| self.state.user_id(name) == Some(user.id)) {
            user.id = self.state.next_user_id();
        }
        Arc::make_mut(&mut self.state.users).insert(user.name.clone(), user);
        Ok(())
    }

    fn drop_user(&mut self, operation: &proto::DropUser) -> Result<()> {
        let name = &operation.name;
        if Arc::make_mut(&mut self.state.users).remove(name).is_none() {
            return Err(Error::new(ErrorKind::UndefinedObject, format!("user \"{name}\" does not exist"))
                .with_hint(did_you_mean(name, self.state.users.keys().map(String::as_str))));
        }
        self.dropped_users.insert(name.clone());
        Ok(())
    }

    /// After the last operation, so that dropping a user and putting it again in one record is how a user is altered.
    fn check_dropped_users(&self) -> Result<()> {
        for name in self.dropped_users.iter().filter(|name| !self.state.users.contains_key(*name)) {
            let databases = || self.state.databases.values();
            let place = |id: DatabaseId| match self.state.databases.get(&id) {
                Some(database) if id != DatabaseId::default() => format!(" in database {}", database.name),
                _ => String::new(),
            };
            let schemas = databases().flat_map(|database| database.schemas.values().map(|schema| (database.id, schema)));
            let schemas = schemas.filter(|(_, schema)| schema.owner == *name);
            let tables = self.state.tables.values().map(|state| &state.table).filter(|table| table.owner == *name);
            let views = self.state.views.values().map(|state| &state.view).filter(|view| view.owner == *name);
            let owned = databases()
                .filter(|database| database.owner == *name)
                .map(|database| format!("owner of database {}", database.name))
                .chain(schemas.map(|(database, schema)| format!("owner of schema {}{}", schema.name, place(database))))
                .chain(tables.map(|table| format!("owner of table {table}{}", place(table.database))))
                .chain(views.map(|view| format!("owner of view {view}{}", place(view.database))));
            let owned = list_objects(owned);
            if !owned.is_empty() {
                let message = format!("user \"{name}\" cannot be dropped because the user owns some object");
                return Err(Error::new(ErrorKind::DependentObjects, message).with_detail(owned));
            }
        }
        Ok(())
    }

    /// The id of a new object: `wanted`, or the next one when that is 0. One that its proposer allocated may be lower than others that
    /// were committed before it.
    pub(super) fn take_object_id(&mut self, wanted: u64, allocated: bool) -> Result<u64> {
        let id = if wanted == 0 { self.state.next_object_id } else { wanted };
        if allocated && (FIRST_OBJECT_ID..self.state.next_object_id).contains(&id) && !self.state.has_object(id) {
            return Ok(id);
        }
        if id < self.state.next_object_id {
            return Err(Error::internal(format!(
                "creating an object with id {id}: ids below {} are used",
                self.state.next_object_id
            )));
        }
        let next = id.checked_add(1).ok_or_else(|| Error::new(ErrorKind::ProgramLimit, "the cluster has no object ids left"))?;
        self.state.next_object_id = next.max(FIRST_OBJECT_ID);
        Ok(id)
    }
}

/// One object per line, with a limit, as details of 2BP01.
pub(super) fn list_objects(objects: impl Iterator<Item = String>) -> String {
    const LISTED_OBJECTS_MAX: usize = 100;
    let mut lines: Vec<String> = objects.collect();
    let more = lines.len().saturating_sub(LISTED_OBJECTS_MAX);
    if more > 0 {
        lines.truncate(LISTED_OBJECTS_MAX);
        lines.push(format!("and {more} other objects"));
    }
    lines.join("\n")
}

/// Checks a name that a record brings.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::InvalidName, format!("zero-length name of a {what}")));
    }
    Ok(())
}

pub(super) fn cluster_from_proto(stored: &proto::InitCluster) -> Result<ClusterInfo> {
    let cluster = ClusterInfo {
        id: ClusterId::from_bytes(&stored.cluster_id)?,
        slice_count: stored.slice_count,
        first_slice_count: stored.slice_count,
        replication_factor: stored.replication_factor,
        hash_version: stored.hash_version,
        slices_by_lanes: stored.slices_by_lanes,
    };
    // u32::MAX stands for "every node" in the place of a slice.
    if cluster.slice_count == 0 || cluster.slice_count == u32::MAX || cluster.replication_factor == 0 || cluster.hash_version == 0
    {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            format!(
                "initializing the cluster with {} slices, replication factor {}, hash version {}: each must be at least 1",
                cluster.slice_count, cluster.replication_factor, cluster.hash_version
            ),
        ));
    }
    Ok(cluster)
}

pub(super) fn node_from_proto(stored: &proto::RegisterNode) -> Result<NodeInfo> {
    if stored.address.is_empty() {
        return Err(Error::new(ErrorKind::InvalidParameter, format!("registering node \"{}\": it gave no address", stored.name)));
    }
    Ok(NodeInfo {
        id: NodeId::from_bytes(&stored.node_id)?,
        address: stored.address.clone(),
        name: stored.name.clone(),
        flight_address: stored.flight_address.clone(),
    })
}

pub(super) fn user_from_proto(stored: &proto::User) -> Result<User> {
    check_name("user", &stored.name)?;
    Ok(User {
        name: stored.name.clone(),
        superuser: stored.superuser,
        scram_verifier: stored.scram_verifier.clone(),
        can_create_database: stored.can_create_database,
        id: stored.user_id,
    })
}
