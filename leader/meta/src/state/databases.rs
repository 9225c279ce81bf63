//! Databases: names mean something in one of them.

use super::apply::{Draft, check_name, conflict};
use super::comments::Commented;
use super::{DatabaseState, Map, PUBLIC_SCHEMA_ID, SchemaState, State};
use slipher_common::catalog::{ADMIN_USER, DATABASE, PUBLIC_SCHEMA};
use slipher_common::error::did_you_mean;
use slipher_common::ids::{DatabaseId, TableId};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

impl DatabaseState {
    /// The database that every cluster has, without a schema.
    pub(super) fn dev(serializable: bool) -> Self {
        let (name, owner) = (DATABASE.to_owned(), ADMIN_USER.to_owned());
        Self { id: DatabaseId::default(), name, owner, serializable, schemas: Map::new() }
    }

    /// One with an empty schema `public`.
    pub(super) fn with_public_schema(mut self) -> Self {
        let (name, owner) = (PUBLIC_SCHEMA.to_owned(), ADMIN_USER.to_owned());
        let public = SchemaState { id: PUBLIC_SCHEMA_ID, name, owner, tables: Map::new(), views: Map::new() };
        self.schemas.insert(PUBLIC_SCHEMA.to_owned(), Arc::new(public));
        self
    }
}

impl State {
    /// This state with names looked up in another database.
    pub fn in_database(self: &Arc<Self>, database: DatabaseId) -> Arc<Self> {
        match self.database == database {
            true => Arc::clone(self),
            false => Arc::new(Self { database, ..Self::clone(self) }),
        }
    }

    /// Where names are looked up.
    pub fn database(&self) -> DatabaseId {
        self.database
    }

    /// All databases by id.
    pub fn databases(&self) -> &BTreeMap<DatabaseId, Arc<DatabaseState>> {
        &self.databases
    }

    /// The database of an id; 3D000 when it is gone.
    pub fn require_database(&self, id: DatabaseId) -> Result<&Arc<DatabaseState>> {
        self.databases.get(&id).ok_or_else(|| {
            Error::new(ErrorKind::UndefinedDatabase, format!("the database with id {id} does not exist"))
                .with_detail("it was dropped, or the cluster has not been initialized yet")
        })
    }

    /// The database of a name, or 3D000 with the nearest name as a hint.
    pub fn find_database(&self, name: &str) -> Result<&Arc<DatabaseState>> {
        self.databases.values().find(|database| database.name == name).ok_or_else(|| {
            Error::new(ErrorKind::UndefinedDatabase, format!("database \"{name}\" does not exist"))
                .with_hint(did_you_mean(name, self.databases.values().map(|database| database.name.as_str())))
        })
    }

    /// The schemas of the database in which names are looked up, by name.
    pub fn schemas(&self) -> &Map<String, Arc<SchemaState>> {
        static NONE: LazyLock<Map<String, Arc<SchemaState>>> = LazyLock::new(Map::new);
        self.databases.get(&self.database).map_or(&NONE, |database| &database.schemas)
    }

    /// A database, to be changed.
    pub(super) fn database_mut(&mut self, id: DatabaseId) -> Option<&mut DatabaseState> {
        Arc::make_mut(&mut self.databases).get_mut(&id).map(Arc::make_mut)
    }

    /// A schema, to be changed.
    pub(super) fn schema_mut(&mut self, database: DatabaseId, name: &str) -> Option<&mut SchemaState> {
        self.database_mut(database)?.schemas.get_mut(name).map(Arc::make_mut)
    }

    /// Puts a database under its id; both its id and its name must be free.
    pub(super) fn insert_database(&mut self, database: DatabaseState) -> Result<()> {
        check_name("database", &database.name)?;
        if self.databases.values().any(|other| other.name == database.name) {
            return Err(duplicate(&database.name));
        }
        let (id, known) = (database.id, self.databases.contains_key(&database.id));
        Arc::make_mut(&mut self.databases).insert(id, Arc::new(database));
        match known {
            true => Err(Error::internal(format!("adding database {id}: its id is there already"))),
            false => Ok(()),
        }
    }
}

fn duplicate(name: &str) -> Error {
    Error::new(ErrorKind::DuplicateDatabase, format!("database \"{name}\" already exists"))
}

impl Draft {
    /// Looks names up in the database that an operation is about.
    pub(super) fn enter_database_of(&mut self, kind: &Kind) -> Result<()> {
        let of_table = |id: u64| self.state.tables.get(&TableId(id)).map(|table| table.table.database);
        let of_view = |id: u64| self.state.views.get(&TableId(id)).map(|view| view.view.database);
        let database = match kind {
            Kind::CreateSchema(operation) => Some(DatabaseId(operation.database_id)),
            Kind::DropSchema(operation) => Some(DatabaseId(operation.database_id)),
            Kind::CreateTable(operation) => operation.table.as_ref().map(|table| DatabaseId(table.database_id)),
            Kind::CreateView(operation) => operation.view.as_ref().map(|view| DatabaseId(view.database_id)),
            Kind::ChangeTable(operation) => operation.table.as_ref().and_then(|table| of_table(table.table_id)),
            Kind::ChangeView(operation) => operation.view.as_ref().and_then(|view| of_view(view.view_id)),
            // By ids, which mean the same everywhere.
            _ => None,
        };
        let Some(database) = database else { return Ok(()) };
        if !self.state.databases.contains_key(&database) {
            return Err(conflict(format_args!("database {database} was dropped")));
        }
        self.state.database = database;
        Ok(())
    }

    pub(super) fn create_database(&mut self, operation: &proto::CreateDatabase) -> Result<()> {
        let id = DatabaseId(self.take_object_id(operation.database_id, true)?);
        let created = DatabaseState {
            id,
            name: operation.name.clone(),
            owner: operation.owner.clone(),
            serializable: operation.serializable,
            schemas: Map::new(),
        };
        self.state.insert_database(created.with_public_schema())
    }

    pub(super) fn alter_database(&mut self, operation: &proto::AlterDatabase) -> Result<()> {
        self.database_to_change(operation.database_id)?.serializable = operation.serializable;
        Ok(())
    }

    pub(super) fn change_database(&mut self, operation: &proto::ChangeDatabase) -> Result<()> {
        let (id, name) = (DatabaseId(operation.database_id), &operation.name);
        if id == DatabaseId::default() {
            return Err(Error::internal(format!("changing a database: \"{DATABASE}\" keeps its name and owner")));
        }
        if self.state.databases.values().any(|other| other.id != id && other.name == *name) {
            return Err(duplicate(name));
        }
        let database = self.database_to_change(operation.database_id)?;
        for (kept, new) in [(&mut database.name, name), (&mut database.owner, &operation.owner)] {
            if !new.is_empty() {
                kept.clone_from(new);
            }
        }
        Ok(())
    }

    pub(super) fn drop_database(&mut self, operation: &proto::DropDatabase) -> Result<()> {
        let id = DatabaseId(operation.database_id);
        if id == DatabaseId::default() {
            return Err(Error::internal(format!("dropping a database: \"{DATABASE}\" is always there")));
        }
        let dropped = Arc::clone(self.state.require_database(id)?);
        for schema in dropped.schemas.values() {
            schema.views.values().for_each(|view| self.state.remove_view(*view));
            schema.tables.values().for_each(|table| self.remove_table(*table));
        }
        Arc::make_mut(&mut self.state.databases).remove(&id);
        self.state.forget_comments(|object| matches!(object, Commented::Database(of) | Commented::Schema(of, _) if *of == id));
        Ok(())
    }

    fn database_to_change(&mut self, id: u64) -> Result<&mut DatabaseState> {
        let id = DatabaseId(id);
        self.state.require_database(id)?;
        self.state.database_mut(id).ok_or_else(|| Error::internal(format!("database {id} is gone")))
    }
}
