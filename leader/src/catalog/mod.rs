//! What names mean to a query: the catalog at one version, in the form the engine asks for.

mod backend_functions;
mod clock_functions;
mod databases;
mod engine_sessions;
mod relations;
mod session_functions;
mod temporary;
#[cfg(test)]
mod tests;
mod tpch_function;
mod views;

pub(crate) use backend_functions::{Signal, Signals};
pub(crate) use databases::{check_database, refused};
pub(crate) use engine_sessions::{EngineSessions, EngineSettings};
use relations::SnapshotRelations;
pub(crate) use temporary::{RESERVED_SCHEMA_PREFIX, is_temp_schema, own_schema, temp_schema_of};
pub(crate) use tpch_function::TPCH_FUNCTION;
pub(crate) use views::plan as plan_view;

use crate::bind::{Aliases, Binding, Bound, bind};
use crate::cluster::ClusterView;
use crate::plan::context::QueryContext;
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::known_tables::KnownTable;
use crate::plan::super_options::SuperOptions;
use crate::plan::table::SliceTable;
use crate::transaction::{Clock, Reads, SessionSettings};
use datafusion::sql::sqlparser::ast;
use slipher_common::assign::Zone;
use slipher_common::catalog::{DATABASE, View, ViewReference};
use slipher_common::ids::{TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result, error::did_you_mean};
use slipher_meta::{Relation, SchemaState, State, TableState};
use slipher_sql::{Name, QualifiedName};
use std::sync::{Arc, Weak};

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
    /// What time it is.
    pub(crate) clock: Clock,
    /// The views whose queries are looked at, innermost last: names mean what they mean there.
    pub(crate) inside: Vec<Arc<View>>,
    /// The aliases that are taken in the query that is being planned.
    pub(crate) aliases: Aliases,
    /// What the session leaves out of its plans.
    pub(crate) disabled_rules: DisabledRules,
    /// The time zone of the session that reads; None: UTC.
    pub(crate) zone: Option<Arc<Zone>>,
    /// The settings of the session that reads.
    pub(crate) settings: Option<Arc<dyn SessionSettings>>,
    /// What the session says of SUPER values.
    pub(crate) super_options: SuperOptions,
    /// Joins sort both sides instead of holding one of them.
    pub(crate) merge_joins: bool,
    /// Makes the engine's sessions.
    pub(crate) engine: Arc<EngineSessions>,
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

    /// The provider of a table for a query, if it has the version still that something was worked out of.
    pub(crate) fn table_if(&self, id: TableId, known: &Weak<KnownTable>) -> Option<SliceTable> {
        let provider = self.provider(self.state.table_by_id(id)?).ok()?;
        let same = std::ptr::eq(Arc::as_ptr(provider.known_table()), known.as_ptr());
        // Whoever reads it is told of, as if the name had been looked up.
        same.then(|| self.note_read(id)).map(|()| provider)
    }

    /// The provider of a table, for a scan or a load.
    pub(crate) fn provider(&self, table: &TableState) -> Result<SliceTable> {
        let query = self.query.clone()?;
        // What an UPDATE sees of a table is seen once.
        let known = match self.part.as_ref().is_some_and(|part| Arc::ptr_eq(&part.segments, &table.segments)) {
            true => self.engine.known_tables.of_part(table),
            false => self.engine.known_tables.of(table),
        };
        Ok(SliceTable::new(known, query, self.cluster.clone(), self.transaction_id))
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

/// The statement with its names bound to what they mean in `snapshot`.
pub(crate) async fn bound(snapshot: &Arc<Snapshot>, statement: &ast::Statement) -> Result<Bound> {
    let mut relations = SnapshotRelations::new(snapshot);
    // Each round learns one view's columns.
    loop {
        match bind(statement, &relations, &snapshot.aliases)? {
            Binding::Bound(bound) => return Ok(*bound),
            Binding::Wants(view) => relations.learn(view).await?,
        }
    }
}
