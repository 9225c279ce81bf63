//! What a session sees of the catalog.

use crate::context::Context;
use crate::frontend::{CatalogListing, TableKind, TableListing};
use crate::statement::columns_of_view;
use slipher_common::Result;
use slipher_common::ids::DatabaseId;
use std::sync::Arc;

/// The schemas, tables and views that a session sees, in its transaction.
pub(super) async fn listing(context: &Context) -> Result<CatalogListing> {
    let state = context.scope_without_begin()?.state();
    let here = |database: DatabaseId, schema: &str| database == context.database && context.sees(schema);
    let tables = state.tables().values().filter(|known| here(known.table.database, &known.table.schema));
    let tables = tables.map(|known| TableListing {
        schema: known.table.schema.clone(),
        name: known.table.name.clone(),
        kind: TableKind::Table,
        columns: known.table.arrow_schema(),
        table: Some(Arc::clone(&known.table)),
    });
    let mut tables: Vec<TableListing> = tables.collect();
    for known in state.views().values().filter(|known| here(known.view.database, &known.view.schema)) {
        tables.push(TableListing {
            schema: known.view.schema.clone(),
            name: known.view.name.clone(),
            kind: TableKind::View,
            columns: columns_of_view(context, &known.view).await,
            table: None,
        });
    }
    let schemas = state.schemas().keys().filter(|schema| context.sees(schema)).cloned().collect();
    let databases = state.databases().values().map(|database| database.name.clone()).collect();
    Ok(CatalogListing { database: context.database_name.clone(), databases, schemas, tables })
}
