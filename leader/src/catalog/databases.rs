//! Databases as the engine sees them: the session's has schemas, a name in another one is an error that says so.

use super::{Snapshot, SnapshotCatalog};
use crate::sql::Name;
use crate::sql::position::REFERENCE_TO_DATABASE;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::Result as EngineResult;
use slipher_common::{Error, Result};
use std::sync::Arc;

/// Refuses a name in a database other than the session's `own`.
pub(crate) fn check_database(named: Option<&Name>, own: &str) -> Result<()> {
    match named {
        Some(name) if name.value != own => Err(refused(&name.value, own).at(name.position)),
        _ => Ok(()),
    }
}

/// 0A000 for a name in another database.
pub(crate) fn refused(named: &str, own: &str) -> Error {
    let what = format!("{REFERENCE_TO_DATABASE}\"{named}\" from database \"{own}\"");
    Error::not_supported(what, "connect to that database")
}

/// What the first of three names may be.
#[derive(Debug)]
pub(crate) struct Databases(pub(crate) Arc<Snapshot>);

impl CatalogProviderList for Databases {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![self.0.database_name().to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        // What a bound view names was in its database when it was made, whatever that is called now.
        let in_bound_view = self.0.inside.last().is_some_and(|view| !view.late_binding);
        if name == self.0.database_name() || in_bound_view {
            return Some(Arc::new(SnapshotCatalog(Arc::clone(&self.0))));
        }
        Some(Arc::new(Other { name: name.to_owned(), own: self.0.database_name().to_owned() }))
    }
}

/// A database that the session is not connected to.
#[derive(Clone, Debug)]
struct Other {
    name: String,
    own: String,
}

impl CatalogProvider for Other {
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, _name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl SchemaProvider for Other {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, _name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        Err(refused(&self.name, &self.own).into())
    }

    fn table_exist(&self, _name: &str) -> bool {
        false
    }
}
