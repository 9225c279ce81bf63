//! What names mean to a query: the catalog at one version, in the form the engine asks for.

mod tpch_function;

pub(crate) use tpch_function::{TPCH_FUNCTION, TpchFunction};

use crate::meta::{State, TableState};
use crate::plan::context::QueryContext;
use crate::plan::table::{ClusterView, SliceTable};
use crate::sql::ROW_ID_SCHEMA;
use crate::transaction::Reads;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result as EngineResult};
use slipher_common::ids::{TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result, error::did_you_mean};
use std::sync::Arc;

/// A schema of no other name: unqualified names are looked up in it, and it looks through the search path.
pub(crate) const SEARCH_PATH_SCHEMA: &str = "search_path";

/// The catalog at one version, for one query.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The metadata.
    pub(crate) state: Arc<State>,
    /// Schemas of unqualified names, first first.
    pub(crate) search_path: Arc<Vec<String>>,
    /// The query's layout, or why it has none (no compute node yet): then only tables fail.
    pub(crate) query: Result<Arc<QueryContext>>,
    /// Where everything is.
    pub(crate) cluster: ClusterView,
    /// The load that writes to tables of this snapshot.
    pub(crate) transaction_id: TransactionId,
    /// What is seen of a table that is read with row ids, in place of all of it.
    pub(crate) part: Option<TableState>,
    /// Where tables that are read are noted.
    pub(crate) reads: Option<Reads>,
}

impl Snapshot {
    /// The table that `[schema.]name` means; 42P01 with the nearest name otherwise.
    pub(crate) fn resolve(&self, schema: Option<&str>, name: &str) -> Result<&Arc<TableState>> {
        if let Some(schema) = schema.filter(|schema| *schema != SEARCH_PATH_SCHEMA) {
            return self.state.find_table(schema, name);
        }
        let found = self.search_path.iter().find_map(|schema| self.state.table(schema, name));
        found.ok_or_else(|| {
            Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
                .with_detail(format!("search_path is {}", self.search_path.join(", ")))
                .with_hint(self.near(name))
        })
    }

    /// The table whose name is like `name`; one outside of the search path with its schema.
    fn near(&self, name: &str) -> String {
        let on_path = |schema: &str| self.search_path.iter().any(|known| known == schema);
        let (inside, outside): (Vec<_>, Vec<_>) = self.state.tables().values().partition(|table| on_path(&table.table.schema));
        let hint = did_you_mean(name, inside.iter().map(|table| table.table.name.as_str()));
        if !hint.is_empty() {
            return hint;
        }
        let hint = did_you_mean(name, outside.iter().map(|table| table.table.name.as_str()));
        match outside.iter().find(|table| hint.contains(&format!("\"{}\"", table.table.name))) {
            Some(table) => format!("did you mean \"{}.{}\"?", table.table.schema, table.table.name),
            None => String::new(),
        }
    }

    /// The schema in which an unqualified name is created: the first of the search path that exists.
    pub(crate) fn creation_schema(&self, schema: Option<&str>) -> Result<String> {
        if let Some(schema) = schema {
            return self.state.find_schema(schema).map(|found| found.name.clone());
        }
        let existing = self.search_path.iter().find(|schema| self.state.schemas().contains_key(*schema));
        existing.cloned().ok_or_else(|| {
            Error::new(ErrorKind::UndefinedSchema, "no schema has been selected to create in")
                .with_detail(format!("search_path is {}", self.search_path.join(", ")))
        })
    }

    fn note_read(&self, table: TableId) {
        if let Some(reads) = &self.reads {
            reads.lock().insert(table);
        }
    }

    /// The provider of a table, for a scan or a load.
    pub(crate) fn provider(&self, table: &TableState) -> Result<SliceTable> {
        let query = self.query.clone()?;
        let (definition, segments) = (Arc::clone(&table.table), Arc::clone(&table.segments));
        SliceTable::new(definition, segments, query, self.cluster.clone(), self.transaction_id)
    }
}

/// The one database.
#[derive(Debug)]
pub(crate) struct SnapshotCatalog(pub(crate) Arc<Snapshot>);

impl CatalogProvider for SnapshotCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.0.state.schemas().keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let reserved = name == SEARCH_PATH_SCHEMA || name == ROW_ID_SCHEMA;
        let exists = reserved || self.0.state.schemas().contains_key(name);
        exists.then(|| Arc::new(SnapshotSchema { snapshot: Arc::clone(&self.0), name: name.to_owned() }) as _)
    }
}

#[derive(Debug)]
struct SnapshotSchema {
    snapshot: Arc<Snapshot>,
    name: String,
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        self.snapshot.state.schemas().get(&self.name).map(|schema| schema.tables.keys().cloned().collect()).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        if self.name == ROW_ID_SCHEMA {
            let id = name.parse().map(TableId).map_err(|_| DataFusionError::Plan(format!("no table has the id {name}")))?;
            let part = self.snapshot.part.as_ref().filter(|part| part.table.id == id);
            let Some(found) = part.or(self.snapshot.state.table_by_id(id).map(Arc::as_ref)) else { return Ok(None) };
            self.snapshot.note_read(id);
            let provider = self.snapshot.provider(found).map_err(DataFusionError::from)?;
            return Ok(Some(Arc::new(provider.with_row_ids())));
        }
        let found = match self.snapshot.resolve(Some(&self.name), name) {
            // The engine asks for the names of table functions too.
            Err(_) if self.name == SEARCH_PATH_SCHEMA && name == TPCH_FUNCTION => return Ok(None),
            found => found.map_err(DataFusionError::from)?,
        };
        self.snapshot.note_read(found.table.id);
        let provider = self.snapshot.provider(found).map_err(DataFusionError::from)?;
        Ok(Some(Arc::new(provider)))
    }

    fn table_exist(&self, name: &str) -> bool {
        if self.name == ROW_ID_SCHEMA {
            return name.parse().is_ok_and(|id| self.snapshot.state.table_by_id(TableId(id)).is_some());
        }
        self.snapshot.resolve(Some(&self.name), name).is_ok()
    }
}
