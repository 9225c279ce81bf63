//! Temporary tables live in a schema of their session's, which goes with it.

use super::Snapshot;
use crate::cluster::Cluster;
use slipher_common::catalog::ADMIN_USER;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Relation, TableState};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::QualifiedName;
use std::sync::Arc;

/// What a session calls its schema of temporary tables.
pub(crate) const TEMP_SCHEMA: &str = "pg_temp";
/// Such schemas are called this and the session's number.
const TEMP_SCHEMA_PREFIX: &str = "pg_temp_";
/// Schemas that users make are not called so.
pub(crate) const RESERVED_SCHEMA_PREFIX: &str = "pg_";

/// The schema of temporary tables of the session with a number.
pub(crate) fn temp_schema_of(session: i32) -> String {
    format!("{TEMP_SCHEMA_PREFIX}{session}")
}

/// Whether a schema holds some session's temporary tables.
pub(crate) fn is_temp_schema(schema: &str) -> bool {
    schema.starts_with(TEMP_SCHEMA_PREFIX)
}

/// What a schema is called that a session with the temporary schema `own` names; None for one that is another session's.
pub(crate) fn own_schema<'a>(own: Option<&'a str>, schema: &'a str) -> Option<&'a str> {
    match own {
        Some(own) if schema == TEMP_SCHEMA || schema == own => Some(own),
        _ if is_temp_schema(schema) || schema == TEMP_SCHEMA => None,
        _ => Some(schema),
    }
}

impl Snapshot {
    /// What a schema that a statement names is called: `pg_temp` is the session's own; nobody sees another's.
    pub(super) fn schema_called<'a>(&'a self, schema: &'a str) -> Result<&'a str> {
        let called = own_schema(self.temp_schema.as_deref(), schema);
        called.ok_or_else(|| Error::new(ErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist")))
    }

    /// Where a new table goes, and what has to be made first.
    pub(crate) fn place_of(&self, cluster: &Cluster, name: &QualifiedName, temporary: bool) -> Result<(String, Vec<Kind>)> {
        if !temporary {
            return Ok((self.creation_schema(name)?, Vec::new()));
        }
        self.check_database(name.database.as_ref())?;
        let Some(own) = &self.temp_schema else {
            return Err(Error::internal("creating a temporary table without a session"));
        };
        let mut first = Vec::new();
        if !self.state.schemas().contains_key(own.as_ref()) {
            first.push(Kind::CreateSchema(proto::CreateSchema {
                schema_id: cluster.allocate_object_id(),
                name: own.to_string(),
                // No user is kept from being dropped by tables that go with a session.
                owner: ADMIN_USER.to_owned(),
                if_not_exists: true,
                allocated_id: true,
                database_id: self.state.database().0,
            }));
        }
        Ok((own.to_string(), first))
    }

    /// The table which CREATE OR REPLACE TABLE replaces.
    pub(crate) fn replaced_table(&self, schema: &str, name: &str) -> Result<Option<&Arc<TableState>>> {
        match self.state.relation(schema, name) {
            None => Ok(None),
            Some(Relation::Table(table)) => Ok(Some(table)),
            Some(Relation::View(_)) => Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a table"))
                .with_hint("it is a view: use CREATE OR REPLACE VIEW, or another name")),
        }
    }
}
