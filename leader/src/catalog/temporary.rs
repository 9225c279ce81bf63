//! Temporary tables live in a schema of their session's, which goes with it.

use super::Snapshot;
use crate::engine::Shared;
use crate::meta::Relation;
use crate::sql::QualifiedName;
use slipher_common::catalog::ADMIN_USER;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};

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

impl Snapshot {
    /// What a schema that a statement names is called: `pg_temp` is the session's own; nobody sees another's.
    pub(super) fn schema_called<'a>(&'a self, schema: &'a str) -> Result<&'a str> {
        match &self.temp_schema {
            Some(own) if schema == TEMP_SCHEMA || schema == own.as_ref() => Ok(own),
            _ if is_temp_schema(schema) || schema == TEMP_SCHEMA => {
                Err(Error::new(ErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist")))
            }
            _ => Ok(schema),
        }
    }

    /// Where a new table goes, and what has to be made first.
    pub(crate) fn place_of(&self, shared: &Shared, name: &QualifiedName, temporary: bool) -> Result<(String, Vec<Kind>)> {
        let schema = name.schema.as_ref().map(|schema| schema.value.as_str());
        if !temporary {
            return Ok((self.creation_schema(schema)?, Vec::new()));
        }
        let Some(own) = &self.temp_schema else {
            return Err(Error::internal("creating a temporary table without a session"));
        };
        let mut first = Vec::new();
        if !self.state.schemas().contains_key(own.as_ref()) {
            first.push(Kind::CreateSchema(proto::CreateSchema {
                schema_id: shared.allocate_object_id(),
                name: own.to_string(),
                // No user is kept from being dropped by tables that go with a session.
                owner: ADMIN_USER.to_owned(),
                if_not_exists: true,
                allocated_id: true,
            }));
        }
        Ok((own.to_string(), first))
    }

    /// What CREATE OR REPLACE TABLE drops; None when nothing has the name.
    pub(crate) fn replaced_table(&self, schema: &str, name: &str) -> Result<Option<(TableId, Kind)>> {
        match self.state.relation(schema, name) {
            None => Ok(None),
            Some(Relation::Table(table)) => {
                let table_id = table.table.id;
                Ok(Some((table_id, Kind::DropTable(proto::DropTable { table_id: table_id.0, cascade: false }))))
            }
            Some(Relation::View(_)) => Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a table"))
                .with_hint("it is a view: use CREATE OR REPLACE VIEW, or another name")),
        }
    }
}
