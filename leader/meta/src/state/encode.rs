//! The whole state in its frozen form: the body of a Raft snapshot.

use super::apply::{cluster_from_proto, node_from_proto, user_from_proto};
use super::{DatabaseState, DefinitionsVersion, FIRST_OBJECT_ID, Map, SchemaState, State, TableState, Totals, ViewState};
use prost::Message as _;
use slipher_common::catalog::{Table, View};
use slipher_common::ids::{DatabaseId, TransactionId, Version};
use slipher_common::manifest::{Segment, Segments};
use slipher_common::placement::Placement;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::sync::Arc;

impl State {
    /// The frozen form; equal states give equal bytes.
    pub fn to_proto(&self) -> proto::State {
        proto::State {
            tables: self.tables.values().map(|table| table_to_proto(table)).collect(),
            ..self.to_proto_without_tables()
        }
    }

    /// The same, encoded, in parts of which none is much larger than a table: together they are read as one message.
    pub(crate) fn encoded_parts(&self) -> impl Iterator<Item = Vec<u8>> {
        let table = |table: &Arc<TableState>| proto::State { tables: vec![table_to_proto(table)], ..proto::State::default() };
        let parts = std::iter::once(self.to_proto_without_tables()).chain(self.tables.values().map(table));
        parts.map(|part| part.encode_to_vec())
    }

    fn to_proto_without_tables(&self) -> proto::State {
        proto::State {
            version: self.version.0,
            cluster: self.cluster.map(|cluster| proto::InitCluster {
                cluster_id: cluster.id.to_vec(),
                slice_count: cluster.slice_count,
                replication_factor: cluster.replication_factor,
                hash_version: cluster.hash_version,
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
            users: self
                .users
                .values()
                .map(|user| proto::User {
                    name: user.name.clone(),
                    superuser: user.superuser,
                    scram_verifier: user.scram_verifier.clone(),
                    can_create_database: user.can_create_database,
                })
                .collect(),
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
        Self::read(stored).map_err(|error| {
            Error::new(ErrorKind::DataCorrupted, format!("reading the metadata at version {}: {error}", stored.version))
        })
    }

    fn read(stored: &proto::State) -> Result<Self> {
        let mut state = Self {
            version: Version(stored.version),
            definitions: DefinitionsVersion(Version(stored.version)),
            cluster: stored.cluster.as_ref().map(cluster_from_proto).transpose()?,
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
        for table in &stored.tables {
            state.read_table(table)?;
        }
        for stored in &stored.views {
            let definition = stored.view.as_ref().ok_or_else(|| Error::internal("a view has no definition"))?;
            state.put_view(ViewState {
                view: Arc::new(View::from_proto(definition)?),
                created_version: Version(stored.created_version),
                defined_version: Version(stored.defined_version),
            })?;
        }
        for applied in &stored.recent_transactions {
            state.recent.insert(TransactionId::from_bytes(&applied.transaction_id)?, Version(applied.version));
        }
        Ok(state)
    }

    fn read_table(&mut self, stored: &proto::TableState) -> Result<()> {
        let definition = stored.table.as_ref().ok_or_else(|| Error::internal("a table has no definition"))?;
        let mut segments = Segments::new();
        for segment in &stored.segments {
            let segment = Segment::from_proto(segment)?;
            if !self.live_segments.insert(segment.id) {
                return Err(Error::internal(format!("segment {} stands twice", segment.id)));
            }
            segments.insert(segment.id, Arc::new(segment));
        }
        self.insert_table(TableState {
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

fn table_to_proto(table: &TableState) -> proto::TableState {
    proto::TableState {
        table: Some(table.table.to_proto()),
        created_version: table.created_version.0,
        changed_version: table.changed_version.0,
        defined_version: if table.defined_version > table.created_version { table.defined_version.0 } else { 0 },
        layout_version: if table.layout_version > table.created_version { table.layout_version.0 } else { 0 },
        segments: table.segments.values().map(|segment| segment.to_proto()).collect(),
    }
}
