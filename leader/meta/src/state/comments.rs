//! COMMENT ON, and other changes of schemas: what is said of an object goes with it.

use super::apply::{Draft, check_name, conflict};
use super::{DatabaseState, State};
use slipher_common::catalog::{Table, View};
use slipher_common::ids::{DatabaseId, TableId};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use slipher_proto::meta::comment::Object;
use std::sync::Arc;

/// What a comment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commented {
    /// A database.
    Database(DatabaseId),
    /// A schema of a database, by its id.
    Schema(DatabaseId, u64),
    /// A table or view; of a column the column's id, of a view's its place, from 1.
    Relation(TableId, Option<u32>),
}

impl Commented {
    fn from_proto(stored: &proto::Comment) -> Result<Self> {
        let database = DatabaseId(stored.database_id);
        let column = Some(stored.column).filter(|column| *column != 0);
        match stored.object() {
            Object::Unspecified => Err(Error::internal("a comment is about nothing that this release knows")),
            Object::Database => Ok(Self::Database(database)),
            Object::Schema => Ok(Self::Schema(database, stored.object_id)),
            Object::Relation => Ok(Self::Relation(TableId(stored.object_id), column)),
        }
    }

    /// The record that gives it a comment, or takes the one away that it has.
    pub fn to_proto(self, text: Option<&str>) -> proto::Comment {
        let (object, database_id, object_id, column) = match self {
            Self::Database(database) => (Object::Database, database.0, 0, 0),
            Self::Schema(database, schema) => (Object::Schema, database.0, schema, 0),
            Self::Relation(relation, column) => (Object::Relation, 0, relation.0, column.unwrap_or(0)),
        };
        proto::Comment { object: object.into(), database_id, object_id, column, text: text.map(str::to_owned) }
    }
}

impl State {
    /// What is said of an object.
    pub fn comment(&self, object: Commented) -> Option<&str> {
        self.comments.get(&object).map(String::as_str)
    }

    pub(super) fn comments_to_proto(&self) -> Vec<proto::Comment> {
        self.comments.iter().map(|(object, text)| object.to_proto(Some(text))).collect()
    }

    pub(super) fn read_comment(&mut self, stored: &proto::Comment) -> Result<()> {
        let (object, text) = (Commented::from_proto(stored)?, stored.text.clone().unwrap_or_default());
        Arc::make_mut(&mut self.comments).insert(object, text);
        Ok(())
    }

    /// Whether what a comment is about is there.
    pub(super) fn is_there(&self, object: Commented) -> bool {
        match object {
            Commented::Database(database) => self.databases.contains_key(&database),
            Commented::Schema(database, schema) => {
                self.databases.get(&database).is_some_and(|known| known.schemas.values().any(|known| known.id == schema))
            }
            Commented::Relation(relation, None) => self.relation_by_id(relation).is_some(),
            Commented::Relation(relation, Some(column)) => {
                let of_table = |table: &Table| table.columns.iter().any(|known| known.id.0 == column);
                let of_view = |view: &View| view.late_binding || column as usize <= view.columns.len();
                self.tables
                    .get(&relation)
                    .map(|known| of_table(&known.table))
                    .unwrap_or_else(|| self.views.get(&relation).is_some_and(|known| of_view(&known.view)))
            }
        }
    }

    /// Forgets what was said of objects that are gone.
    pub(super) fn forget_comments(&mut self, are_gone: impl Fn(&Commented) -> bool) {
        if self.comments.keys().any(&are_gone) {
            let left = self.comments.iter().filter(|(object, _)| !are_gone(object));
            self.comments = Arc::new(left.map(|(object, text)| (*object, text.clone())).collect());
        }
    }

    /// The same of a relation and its columns.
    pub(super) fn forget_comments_of(&mut self, relation: TableId) {
        self.forget_comments(|object| matches!(object, Commented::Relation(id, _) if *id == relation));
    }
}

impl Draft {
    pub(super) fn comment(&mut self, operation: &proto::Comment) -> Result<()> {
        let object = Commented::from_proto(operation)?;
        if !self.state.is_there(object) {
            return Err(conflict("what a comment is about was dropped"));
        }
        let comments = Arc::make_mut(&mut self.state.comments);
        match &operation.text {
            Some(text) => comments.insert(object, text.clone()),
            None => comments.remove(&object),
        };
        Ok(())
    }

    pub(super) fn change_schema(&mut self, operation: &proto::ChangeSchema) -> Result<()> {
        let proto::ChangeSchema { schema_id, database_id, name, owner } = operation;
        let database = DatabaseId(*database_id);
        let known = self.state.databases.get(&database).and_then(|known| schema_of(known, *schema_id));
        let Some(before) = known else { return Err(conflict("the schema was dropped")) };
        if !owner.is_empty()
            && let Some(schema) = self.state.schema_mut(database, &before)
        {
            schema.owner.clone_from(owner);
        }
        match name.is_empty() || *name == before {
            true => Ok(()),
            false => self.rename_schema(database, &before, name),
        }
    }

    /// Everything in a schema says in which one it is.
    fn rename_schema(&mut self, database: DatabaseId, before: &str, after: &str) -> Result<()> {
        check_name("schema", after)?;
        let gone = || Error::internal(format!("schema \"{before}\" is gone"));
        let schemas = &mut self.state.database_mut(database).ok_or_else(gone)?.schemas;
        if schemas.contains_key(after) {
            return Err(Error::new(ErrorKind::DuplicateSchema, format!("schema \"{after}\" already exists")));
        }
        let mut schema = schemas.remove(before).ok_or_else(gone)?;
        let (tables, views) = (schema.tables.clone(), schema.views.clone());
        Arc::make_mut(&mut schema).name = after.to_owned();
        schemas.insert(after.to_owned(), schema);
        for id in tables.values() {
            let table = Arc::make_mut(&mut self.state.tables).get_mut(id).map(Arc::make_mut);
            let table = table.ok_or_else(|| Error::internal(format!("table {id} is gone")))?;
            Arc::make_mut(&mut table.table).schema = after.to_owned();
            table.defined_version = self.version;
            table.changed_version = self.version;
        }
        for id in views.values() {
            let view = Arc::make_mut(&mut self.state.views).get_mut(id).map(Arc::make_mut);
            let view = view.ok_or_else(|| Error::internal(format!("view {id} is gone")))?;
            Arc::make_mut(&mut view.view).schema = after.to_owned();
            view.defined_version = self.version;
        }
        self.rename_schema_in_references(database, before, after);
        Ok(())
    }

    /// Foreign keys name the table that they refer to.
    fn rename_schema_in_references(&mut self, database: DatabaseId, before: &str, after: &str) {
        let refers = |table: &Table| {
            table.database == database && table.constraints.iter().any(|constraint| constraint.refers_to_schema(before))
        };
        let referring: Vec<TableId> =
            self.state.tables.iter().filter(|(_, known)| refers(&known.table)).map(|(id, _)| *id).collect();
        for id in referring {
            if let Some(known) = Arc::make_mut(&mut self.state.tables).get_mut(&id).map(Arc::make_mut) {
                let table = Arc::make_mut(&mut known.table);
                table.constraints.iter_mut().for_each(|constraint| constraint.move_reference(before, after));
                known.defined_version = self.version;
            }
        }
    }
}

/// The name of the schema of an id.
fn schema_of(database: &DatabaseState, id: u64) -> Option<String> {
    database.schemas.values().find(|schema| schema.id == id).map(|schema| schema.name.clone())
}
