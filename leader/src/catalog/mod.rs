//! What names mean to a query: the catalog at one version, in the form the engine asks for.

mod backend_functions;
mod databases;
mod temporary;
mod tpch_function;
mod views;

pub(crate) use backend_functions::register as register_backend_functions;
pub(crate) use databases::{Databases, check_database, refused};
pub(crate) use temporary::{RESERVED_SCHEMA_PREFIX, is_temp_schema, own_schema, temp_schema_of};
pub(crate) use tpch_function::{TPCH_FUNCTION, TpchFunction};
pub(crate) use views::plan as plan_view;

use crate::meta::{Relation, SchemaState, State, TableState};
use crate::plan::context::QueryContext;
use crate::plan::table::{ClusterView, SliceTable};
use crate::run::Runner;
use crate::sql::{Name, QualifiedName, ROW_ID_SCHEMA};
use crate::transaction::Reads;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::catalog::{DATABASE, View, ViewReference};
use slipher_common::ids::{TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result, error::did_you_mean};
use std::sync::Arc;

/// A schema of no other name: unqualified names are looked up in it, and it looks through the search path.
pub(crate) const SEARCH_PATH_SCHEMA: &str = "search_path";

/// The engine's table function that counts.
pub(crate) const SERIES_FUNCTION: &str = "generate_series";

/// The catalog at one version, for one query.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The metadata.
    pub(crate) state: Arc<State>,
    /// Schemas of unqualified names, first first.
    pub(crate) search_path: Arc<Vec<String>>,
    /// The schema of the session's temporary tables, which come before all others; there may be none yet.
    pub(crate) temp_schema: Option<Arc<str>>,
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
    /// Who reads.
    pub(crate) user: String,
    /// The session that reads.
    pub(crate) process_id: i32,
    /// The views whose queries are looked at, innermost last: names mean what they mean there.
    pub(crate) inside: Vec<Arc<View>>,
    /// Makes the engine's sessions.
    pub(crate) runner: Runner,
}

impl Snapshot {
    /// The table that a statement names; errors as of [`Self::resolve`], with the name's position.
    pub(crate) fn table(&self, name: &QualifiedName) -> Result<&Arc<TableState>> {
        self.check_database(name.database.as_ref())?;
        self.resolve(name.schema_name(), &name.name.value).map_err(|error| error.at(name.name.position))
    }

    /// The table or view that a statement names, in the same way.
    pub(crate) fn named(&self, name: &QualifiedName) -> Result<Relation<'_>> {
        self.check_database(name.database.as_ref())?;
        self.relation(name.schema_name(), &name.name.value).map_err(|error| error.at(name.name.position))
    }

    /// The database that a name names must be the session's.
    pub(crate) fn check_database(&self, named: Option<&Name>) -> Result<()> {
        check_database(named, self.database_name())
    }

    /// The name of the database.
    pub(crate) fn database_name(&self) -> &str {
        self.state.databases().get(&self.state.database()).map_or(DATABASE, |database| &database.name)
    }

    /// The table that `[schema.]name` means; 42P01 with the nearest name otherwise, 42809 for a view.
    pub(crate) fn resolve(&self, schema: Option<&str>, name: &str) -> Result<&Arc<TableState>> {
        match self.relation(schema, name)? {
            Relation::Table(table) => Ok(table),
            Relation::View(_) => Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is a view, not a table"))
                .with_hint("name one of the tables that it reads")),
        }
    }

    /// The table or view that `[schema.]name` means; 42P01 with the nearest name otherwise.
    pub(crate) fn relation(&self, schema: Option<&str>, name: &str) -> Result<Relation<'_>> {
        let schema = schema.filter(|schema| *schema != SEARCH_PATH_SCHEMA);
        if let Some(reference) = self.reference(schema, name)? {
            let known = self.state.relation_by_id(reference.relation);
            return known.ok_or_else(|| Error::internal(format!("relation {}, which a view reads, is gone", reference.relation)));
        }
        if let Some(schema) = schema {
            return self.state.find_relation(self.schema_called(schema)?, name);
        }
        let found = on_path(&self.state, self.temp_schema.as_deref(), &self.search_path, name);
        found.ok_or_else(|| {
            Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
                .with_detail(format!("search_path is {}", self.search_path.join(", ")))
                .with_hint(self.near(name))
        })
    }

    /// What a name means in the view whose query is looked at; None outside of views, and in a late-binding one.
    fn reference(&self, schema: Option<&str>, name: &str) -> Result<Option<&ViewReference>> {
        let Some(view) = self.inside.last().filter(|view| !view.late_binding) else { return Ok(None) };
        let known = view.reference(schema, name);
        let missing = || Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        known.map(Some).ok_or_else(missing)
    }

    /// The relation whose name is like `name`; one outside of the search path with its schema.
    fn near<'a>(&'a self, name: &str) -> String {
        let on_path = |schema: &str| self.search_path.iter().any(|known| known == schema);
        let named = |schema: &'a SchemaState, name: &'a String| (schema.name.as_str(), name.as_str());
        let schemas = self.state.schemas().values().filter(|schema| !is_temp_schema(&schema.name));
        let seen = schemas.flat_map(|schema| schema.tables.keys().chain(schema.views.keys()).map(|name| named(schema, name)));
        let (inside, outside): (Vec<_>, Vec<_>) = seen.partition(|(schema, _)| on_path(schema));
        let hint = did_you_mean(name, inside.iter().map(|(_, name)| *name));
        if !hint.is_empty() {
            return hint;
        }
        let hint = did_you_mean(name, outside.iter().map(|(_, name)| *name));
        match outside.iter().find(|(_, name)| hint.contains(&format!("\"{name}\""))) {
            Some((schema, name)) => format!("did you mean \"{schema}.{name}\"?"),
            None => String::new(),
        }
    }

    /// The schema in which something of this name is created: for an unqualified one the first of the search path that exists.
    pub(crate) fn creation_schema(&self, name: &QualifiedName) -> Result<String> {
        self.check_database(name.database.as_ref())?;
        if let Some(schema) = name.schema_name() {
            return self.state.find_schema(self.schema_called(schema)?).map(|found| found.name.clone());
        }
        let named = self.search_path.iter().filter_map(|schema| own_schema(self.temp_schema.as_deref(), schema));
        let existing = named.into_iter().find(|schema| self.state.schemas().contains_key(*schema));
        existing.map(str::to_owned).ok_or_else(|| {
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
        Ok(SliceTable::new(definition, segments, query, self.cluster.clone(), self.transaction_id))
    }
}

/// What a name without a schema means: the session's own temporary table, or the first on the search path.
pub(crate) fn on_path<'a>(
    state: &'a State,
    temp_schema: Option<&str>,
    search_path: &[String],
    name: &str,
) -> Option<Relation<'a>> {
    let named = search_path.iter().filter_map(|schema| own_schema(temp_schema, schema));
    let mut path = temp_schema.into_iter().chain(named);
    path.find_map(|schema| state.relation(schema, name))
}

/// The session's database.
#[derive(Debug)]
pub(crate) struct SnapshotCatalog(pub(crate) Arc<Snapshot>);

impl CatalogProvider for SnapshotCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.0.state.schemas().keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let reserved = name == SEARCH_PATH_SCHEMA || name == ROW_ID_SCHEMA;
        // A view knows what it reads under the names that were good when it was made.
        let exists =
            reserved || !self.0.inside.is_empty() || name == temporary::TEMP_SCHEMA || self.0.state.schemas().contains_key(name);
        exists.then(|| Arc::new(SnapshotSchema { snapshot: Arc::clone(&self.0), name: name.to_owned() }) as _)
    }
}

#[derive(Debug)]
struct SnapshotSchema {
    snapshot: Arc<Snapshot>,
    name: String,
}

impl SnapshotSchema {
    /// The provider of what `name` means; inside of a view, with the columns that the view knows.
    async fn relation(&self, found: Relation<'_>, name: &str) -> Result<Arc<dyn TableProvider>> {
        let schema = Some(self.name.as_str()).filter(|schema| *schema != SEARCH_PATH_SCHEMA);
        let reference = self.snapshot.reference(schema, name)?;
        match found {
            Relation::Table(table) => {
                self.snapshot.note_read(table.table.id);
                let base: Arc<dyn TableProvider> = Arc::new(self.snapshot.provider(table)?);
                let Some(reference) = reference else { return Ok(base) };
                let seen = views::columns_of(&table.table, &reference.columns);
                let seen: Vec<_> = seen.into_iter().map(|(now, then)| (Column::new(Some(name), now), then)).collect();
                let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::clone(&base)), None)?.build()?;
                views::seen_by_view(base, plan, &seen)
            }
            Relation::View(state) => {
                let base = views::provider(&self.snapshot, &state.view).await?;
                let plan = base.logical_plan().clone();
                match reference {
                    Some(reference) if !reference.columns.is_empty() => {
                        let columns = plan.schema().columns();
                        let called = |name: &str| columns.iter().find(|column| column.name == name).cloned();
                        let mut seen = Vec::new();
                        for column in &reference.columns {
                            // A view that others read keeps the names of its columns, unless it is a late-binding one.
                            match called(&column.name) {
                                Some(now) => seen.push((now, column.name.as_str())),
                                None if !column.used => {}
                                None => {
                                    let message =
                                        format!("column \"{}\" of view \"{}\" does not exist any more", column.name, state.view);
                                    return Err(Error::new(ErrorKind::UndefinedColumn, message));
                                }
                            }
                        }
                        views::seen_by_view(Arc::new(base), plan, &seen)
                    }
                    _ => Ok(Arc::new(base)),
                }
            }
        }
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        self.snapshot
            .state
            .schemas()
            .get(&self.name)
            .map(|schema| schema.tables.keys().chain(schema.views.keys()).cloned().collect())
            .unwrap_or_default()
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
        let found = match self.snapshot.relation(Some(&self.name), name) {
            // The engine asks for the names of table functions too.
            Err(_) if self.name == SEARCH_PATH_SCHEMA && matches!(name, TPCH_FUNCTION | SERIES_FUNCTION) => return Ok(None),
            found => found.map_err(DataFusionError::from)?,
        };
        Ok(Some(self.relation(found, name).await.map_err(DataFusionError::from)?))
    }

    fn table_exist(&self, name: &str) -> bool {
        if self.name == ROW_ID_SCHEMA {
            return name.parse().is_ok_and(|id| self.snapshot.state.table_by_id(TableId(id)).is_some());
        }
        self.snapshot.relation(Some(&self.name), name).is_ok()
    }
}
