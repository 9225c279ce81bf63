//! What binding asks of a snapshot, and where the engine finds relations that are bound: by their ids.

use super::{Snapshot, is_temp_schema, views};
use crate::bind::{Known, RELATION_SCHEMA, Relations, relation_of};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::catalog::{PUBLIC_SCHEMA, View, ViewReference};
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::Relation;
use slipher_sql::{QualifiedName, ROW_ID_SCHEMA};
use std::collections::HashMap;
use std::sync::Arc;

/// The one catalog that the engine knows.
pub(crate) const CATALOG: &str = "slipher";
/// The schema of names that nobody bound: those of functions in FROM.
pub(crate) const FUNCTIONS_SCHEMA: &str = "slipher$functions";

/// What names mean in a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotRelations<'a> {
    snapshot: &'a Arc<Snapshot>,
    /// Columns of late-binding views, which only their plans tell.
    planned: HashMap<TableId, Vec<String>>,
}

impl<'a> SnapshotRelations<'a> {
    /// Of this snapshot.
    pub(crate) fn new(snapshot: &'a Arc<Snapshot>) -> Self {
        Self { snapshot, planned: HashMap::new() }
    }

    /// Finds out which columns a late-binding view has.
    pub(crate) async fn learn(&mut self, id: TableId) -> Result<()> {
        let Some(Relation::View(state)) = self.snapshot.state.relation_by_id(id) else {
            return Err(Error::internal(format!("relation {id} is no view")));
        };
        let plan = Box::pin(views::plan(self.snapshot, &state.view)).await.map_err(|error| views::in_view(error, &state.view))?;
        let columns = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        self.planned.insert(id, columns);
        Ok(())
    }

    fn known(&self, relation: Relation<'_>) -> Known {
        let seen = self.snapshot.reference_to(relation_id(&relation));
        let seen = seen.map(|reference| reference.columns.as_slice()).filter(|columns| !columns.is_empty());
        match relation {
            Relation::Table(state) => {
                let table = &state.table;
                let columns = match seen {
                    Some(seen) => views::columns_of(table, seen).into_iter().map(|(_, then)| then.to_owned()).collect(),
                    None => table.columns.iter().map(|column| column.name.clone()).collect(),
                };
                Known { id: table.id, schema: table.schema.clone(), name: table.name.clone(), columns: Some(columns) }
            }
            Relation::View(state) => {
                let view = &state.view;
                let columns = match seen {
                    Some(seen) => Some(seen.iter().map(|column| column.name.clone()).collect()),
                    None if view.late_binding => self.planned.get(&view.id).cloned(),
                    None => Some(view.columns.iter().map(|column| column.name.clone()).collect()),
                };
                Known { id: view.id, schema: view.schema.clone(), name: view.name.clone(), columns }
            }
        }
    }
}

impl SnapshotRelations<'_> {
    /// What a name means in another database: ids mean the same in all of them. Temporary tables are in none but their session's.
    fn in_other_database(&self, database: &str, name: &QualifiedName) -> Result<Known> {
        let state = &self.snapshot.state;
        let state = state.in_database(state.find_database(database)?.id);
        let schema = name.schema_name().unwrap_or(PUBLIC_SCHEMA);
        let missing = || Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        if is_temp_schema(schema) {
            return Err(missing());
        }
        let found = state.find_relation(schema, &name.name.value).map_err(|error| no_relation(without_position(error), name))?;
        match found {
            Relation::View(known) if known.view.late_binding => {
                let what = format!("reading \"{name}\", a view of another database without schema binding,");
                Err(Error::not_supported(what, "connect to that database, or read the tables that the view reads"))
            }
            found => Ok(self.known(found)),
        }
    }
}

impl Relations for SnapshotRelations<'_> {
    fn named(&self, name: &QualifiedName) -> Result<Known> {
        // What a bound view names was in its database when it was made, whatever that is called now.
        let other = name.database.as_ref().filter(|named| named.value != self.snapshot.database_name());
        if let Some(database) = other.filter(|_| !self.snapshot.in_bound_view()) {
            return self.in_other_database(&database.value, name);
        }
        let found = self.snapshot.relation(name.schema_name(), &name.name.value);
        let mut known = self.known(found.map_err(|error| no_relation(error, name))?);
        if self.snapshot.in_bound_view() {
            // Columns may be qualified as they could be when the view was made.
            known.name.clone_from(&name.name.value);
            if let Some(schema) = name.schema_name() {
                schema.clone_into(&mut known.schema);
            }
        }
        Ok(known)
    }

    fn check_database(&self, name: &str) -> Result<()> {
        if self.snapshot.in_bound_view() || name == self.snapshot.database_name() {
            return Ok(());
        }
        Err(super::refused(name, self.snapshot.database_name()))
    }

    fn target(&self, id: TableId) -> Result<Known> {
        let found = self.snapshot.state.table_by_id(id).ok_or_else(|| Error::internal(format!("table {id} is gone")))?;
        Ok(self.known(Relation::Table(found)))
    }
}

/// A query that names a schema which is not there names a relation that is not there.
fn no_relation(error: Error, name: &QualifiedName) -> Error {
    match error.kind {
        ErrorKind::UndefinedSchema => {
            Error { kind: ErrorKind::UndefinedTable, message: format!("relation \"{name}\" does not exist"), ..error }
        }
        _ => error,
    }
}

/// The tree of a statement does not say where its names stand; whoever knows the text finds them.
fn without_position(mut error: Error) -> Error {
    error.position = None;
    error
}

fn relation_id(relation: &Relation<'_>) -> TableId {
    match relation {
        Relation::Table(state) => state.table.id,
        Relation::View(state) => state.view.id,
    }
}

impl Snapshot {
    /// Names mean what they meant when the view was made whose query is looked at.
    fn in_bound_view(&self) -> bool {
        self.bound_view().is_some()
    }

    fn bound_view(&self) -> Option<&Arc<View>> {
        self.inside.last().filter(|view| !view.late_binding)
    }

    /// What the view whose query is looked at knows of a relation.
    fn reference_to(&self, id: TableId) -> Option<&ViewReference> {
        self.bound_view()?.references.iter().find(|reference| reference.relation == id)
    }

    /// The provider of a relation; inside of a view, with the columns that the view knows.
    async fn provider_of(self: &Arc<Self>, id: TableId, name: &str) -> Result<Arc<dyn TableProvider>> {
        let reference = self.reference_to(id);
        match self.state.relation_by_id(id).ok_or_else(|| Error::internal(format!("relation {id} is gone")))? {
            Relation::Table(table) => {
                self.note_read(id);
                let base: Arc<dyn TableProvider> = Arc::new(self.provider(table)?);
                let Some(reference) = reference else { return Ok(base) };
                let seen = views::columns_of(&table.table, &reference.columns);
                let seen: Vec<_> = seen.into_iter().map(|(now, then)| (Column::new(Some(name), now), then)).collect();
                let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::clone(&base)), None)?.build()?;
                views::seen_by_view(base, plan, &seen)
            }
            Relation::View(state) => {
                let base = views::provider(self, &state.view).await?;
                let Some(reference) = reference.filter(|reference| !reference.columns.is_empty()) else {
                    return Ok(Arc::new(base));
                };
                let plan = base.logical_plan().clone();
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
        }
    }
}

/// The catalogs that the engine looks names up in.
#[derive(Clone, Debug)]
pub(crate) struct RelationCatalogs(pub(crate) Arc<Snapshot>);

impl CatalogProviderList for RelationCatalogs {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(self.clone()) as _)
    }
}

impl CatalogProvider for RelationCatalogs {
    fn schema_names(&self) -> Vec<String> {
        vec![RELATION_SCHEMA.to_owned(), ROW_ID_SCHEMA.to_owned(), FUNCTIONS_SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let known = [RELATION_SCHEMA, ROW_ID_SCHEMA, FUNCTIONS_SCHEMA].into_iter().find(|known| *known == name)?;
        Some(Arc::new(RelationSchema { snapshot: Arc::clone(&self.0), name: known }))
    }
}

/// Relations by their ids; in [`ROW_ID_SCHEMA`] tables with their row ids.
#[derive(Debug)]
struct RelationSchema {
    snapshot: Arc<Snapshot>,
    name: &'static str,
}

#[async_trait]
impl SchemaProvider for RelationSchema {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        // The engine asks for the names of table functions too.
        if self.name == FUNCTIONS_SCHEMA {
            return Ok(None);
        }
        let id = relation_of(name).ok_or_else(|| DataFusionError::Plan(format!("no relation has the id {name}")))?;
        if self.name == RELATION_SCHEMA {
            return Ok(Some(self.snapshot.provider_of(id, name).await?));
        }
        let part = self.snapshot.part.as_ref().filter(|part| part.table.id == id);
        let Some(found) = part.or(self.snapshot.state.table_by_id(id).map(Arc::as_ref)) else { return Ok(None) };
        self.snapshot.note_read(id);
        let provider = self.snapshot.provider(found).map_err(DataFusionError::from)?;
        Ok(Some(Arc::new(provider.with_row_ids())))
    }

    fn table_exist(&self, name: &str) -> bool {
        relation_of(name).is_some_and(|id| self.snapshot.state.relation_by_id(id).is_some())
    }
}
