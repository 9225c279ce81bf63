//! The whole state in its frozen form: the body of a Raft snapshot.

use super::{ClusterInfo, State, TableState};
use prost::Message as _;
use slipher_common::ids::DatabaseId;
use slipher_common::manifest::Segment;
use slipher_proto::meta as proto;
use std::sync::Arc;

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
