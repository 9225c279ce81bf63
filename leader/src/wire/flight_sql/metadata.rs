//! Metadata calls: one answer for each command, computed when it is fetched.

use super::keys::{self, TableFilter};
use super::{FlightOptions, info};
use crate::frontend::{CatalogListing, TableKind};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTableTypes, CommandGetTables,
};
use slipher_common::flight::client_schema;
use slipher_common::{Error, Result};

/// The answers that are the same for every session.
pub(super) struct Metadata {
    sql_info: SqlInfoData,
    types: XdbcTypeInfoData,
}

impl Metadata {
    pub(super) fn new(options: &FlightOptions) -> Result<Self> {
        Ok(Self { sql_info: info::sql_info(options.transactions)?, types: info::type_info()? })
    }

    /// The schema of a command's answer; `None` when it is no metadata command.
    pub(super) fn schema(&self, command: &Command) -> Option<SchemaRef> {
        Some(match command {
            Command::CommandGetCatalogs(command) => command.into_builder().schema(),
            Command::CommandGetDbSchemas(command) => command.clone().into_builder().schema(),
            Command::CommandGetTables(command) => command.clone().into_builder().schema(),
            Command::CommandGetTableTypes(command) => command.into_builder().schema(),
            Command::CommandGetSqlInfo(_) => self.sql_info.schema(),
            Command::CommandGetXdbcTypeInfo(_) => self.types.schema(),
            Command::CommandGetPrimaryKeys(_) => keys::PRIMARY_KEYS.clone(),
            Command::CommandGetExportedKeys(_) | Command::CommandGetImportedKeys(_) | Command::CommandGetCrossReference(_) => {
                keys::FOREIGN_KEYS.clone()
            }
            _ => return None,
        })
    }

    /// The answer to a command over what the session sees.
    pub(super) fn answer(&self, command: Command, listing: &CatalogListing) -> Result<RecordBatch> {
        let answer = match command {
            Command::CommandGetCatalogs(command) => catalogs(command, listing),
            Command::CommandGetDbSchemas(command) => schemas(command, listing),
            Command::CommandGetTables(command) => tables(command, listing),
            Command::CommandGetTableTypes(command) => table_types(command),
            Command::CommandGetSqlInfo(command) => command.into_builder(&self.sql_info).build(),
            Command::CommandGetXdbcTypeInfo(command) => command.into_builder(&self.types).build(),
            Command::CommandGetPrimaryKeys(command) => return primary_keys(command, listing),
            Command::CommandGetExportedKeys(command) => return exported_keys(command, listing),
            Command::CommandGetImportedKeys(command) => return imported_keys(command, listing),
            Command::CommandGetCrossReference(command) => return cross_reference(command, listing),
            other => return Err(Error::not_supported(format_args!("the command {}", other.type_url()), "")),
        };
        answer.map_err(|error| Error::internal(format!("building the answer of a metadata call: {error}")))
    }
}

fn catalogs(command: CommandGetCatalogs, listing: &CatalogListing) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    listing.databases.iter().for_each(|database| builder.append(database));
    builder.build()
}

fn schemas(command: CommandGetDbSchemas, listing: &CatalogListing) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    for schema in &listing.schemas {
        builder.append(&listing.database, schema);
    }
    builder.build()
}

fn tables(command: CommandGetTables, listing: &CatalogListing) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    for table in &listing.tables {
        let columns = client_schema(&table.columns);
        builder.append(&listing.database, &table.schema, &table.name, table.kind.name(), &columns)?;
    }
    builder.build()
}

fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    for kind in TableKind::ALL {
        builder.append(kind.name());
    }
    builder.build()
}

fn primary_keys(command: CommandGetPrimaryKeys, listing: &CatalogListing) -> Result<RecordBatch> {
    let filter = TableFilter { catalog: command.catalog, schema: command.db_schema, table: Some(command.table) };
    keys::primary_keys(listing, &filter)
}

fn exported_keys(command: CommandGetExportedKeys, listing: &CatalogListing) -> Result<RecordBatch> {
    let referenced = TableFilter { catalog: command.catalog, schema: command.db_schema, table: Some(command.table) };
    keys::foreign_keys(listing, &referenced, &TableFilter::default())
}

fn imported_keys(command: CommandGetImportedKeys, listing: &CatalogListing) -> Result<RecordBatch> {
    let referencing = TableFilter { catalog: command.catalog, schema: command.db_schema, table: Some(command.table) };
    keys::foreign_keys(listing, &TableFilter::default(), &referencing)
}

fn cross_reference(command: CommandGetCrossReference, listing: &CatalogListing) -> Result<RecordBatch> {
    let referenced = TableFilter { catalog: command.pk_catalog, schema: command.pk_db_schema, table: Some(command.pk_table) };
    let referencing = TableFilter { catalog: command.fk_catalog, schema: command.fk_db_schema, table: Some(command.fk_table) };
    keys::foreign_keys(listing, &referenced, &referencing)
}
