//! Operations on views, and what depends on what.

use super::apply::{Draft, check_name, conflict, list_objects};
use super::{State, ViewState};
use slipher_common::catalog::{Table, View};
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Draft {
    pub(super) fn create_view(&mut self, operation: &proto::CreateView) -> Result<()> {
        let Some(definition) = &operation.view else {
            return Err(Error::internal("creating a view: the record holds no definition"));
        };
        let mut view = View::from_proto(definition)?;
        check_name("view", &view.name)?;
        check_columns(&view)?;
        let schema = self.state.find_schema(&view.schema)?;
        if schema.tables.contains_key(&view.name) {
            return Err(match operation.or_replace {
                true => not_a_view(&view.name),
                false => self.state.taken(&view.schema, &view.name),
            });
        }
        let there = schema.views.get(&view.name).and_then(|id| self.state.views.get(id)).map(Arc::clone);
        let created_version = match &there {
            Some(_) if !operation.or_replace => return Err(self.state.taken(&view.schema, &view.name)),
            Some(replaced) => {
                self.check_replaced(&replaced.view, &view)?;
                view.id = replaced.view.id;
                // The owner of a view that is replaced stays.
                view.owner.clone_from(&replaced.view.owner);
                replaced.created_version
            }
            None => {
                view.id = TableId(self.take_object_id(view.id.0, operation.allocated_id)?);
                self.version
            }
        };
        self.check_references(&view, &operation.defined_versions)?;
        self.state.put_view(ViewState { view: Arc::new(view), created_version, defined_version: self.version })
    }

    /// Everything that the query reads must be there, as it was when its columns were looked up, and must not be the view itself.
    fn check_references(&self, view: &View, defined_versions: &[u64]) -> Result<()> {
        for (place, reference) in view.references.iter().enumerate() {
            let Some(defined) = self.state.defined_version(reference.relation) else {
                return Err(conflict(format_args!("relation \"{}\", which view \"{view}\" reads, was dropped", reference.name)));
            };
            let expected = defined_versions.get(place).copied().unwrap_or(0);
            if expected != 0 && expected != defined.0 {
                return Err(conflict(format_args!(
                    "the definition of \"{}\", which view \"{view}\" reads, was changed",
                    reference.name
                )));
            }
        }
        let reads_itself = view.references.iter().any(|reference| {
            reference.relation == view.id
                || self.state.dependents(BTreeSet::from([view.id])).iter().any(|dependent| dependent.view == reference.relation)
        });
        if reads_itself {
            return Err(Error::new(ErrorKind::InvalidObjectDefinition, format!("view \"{view}\" would read itself"))
                .with_hint("create a view of another name"));
        }
        Ok(())
    }

    /// What depends on a view relies on its columns.
    fn check_replaced(&self, before: &View, after: &View) -> Result<()> {
        if before.late_binding || !self.state.views.values().any(|other| other.view.depends_on(before.id)) {
            return Ok(());
        }
        let refuse = |message: String| {
            let hint = "keep the columns that there are, and add others behind them; or drop the view with CASCADE";
            Err(Error::new(ErrorKind::InvalidTableDefinition, message)
                .with_detail(list_objects(
                    self.state
                        .dependents(BTreeSet::from([before.id]))
                        .iter()
                        .map(|dependent| self.state.describe_dependent(dependent)),
                ))
                .with_hint(hint))
        };
        for (place, column) in before.columns.iter().enumerate() {
            match after.columns.get(place) {
                Some(new) if new == column => {}
                Some(new) if new.name == column.name => {
                    return refuse(format!("cannot change data type of view column \"{}\" of \"{before}\"", column.name));
                }
                Some(new) => {
                    return refuse(format!(
                        "cannot change name of view column \"{}\" of \"{before}\" to \"{}\"",
                        column.name, new.name
                    ));
                }
                None => return refuse(format!("cannot drop column \"{}\" from view \"{before}\"", column.name)),
            }
        }
        Ok(())
    }

    pub(super) fn drop_views(&mut self, operation: &proto::DropViews) -> Result<()> {
        let dropped: BTreeSet<TableId> = operation.view_ids.iter().map(|id| TableId(*id)).collect();
        for id in &dropped {
            if !self.state.views.contains_key(id) {
                return Err(Error::new(ErrorKind::UndefinedTable, format!("view with id {id} does not exist"))
                    .with_detail("a concurrent transaction may have dropped it"));
            }
        }
        self.drop_dependents(&dropped, operation.cascade)?;
        dropped.iter().for_each(|id| self.state.remove_view(*id));
        Ok(())
    }

    /// Drops what depends on relations that are dropped; 2BP01 unless `cascade`.
    pub(super) fn drop_dependents(&mut self, dropped: &BTreeSet<TableId>, cascade: bool) -> Result<()> {
        let dependents = self.state.dependents(dropped.clone());
        let Some(first) = dependents.first() else { return Ok(()) };
        if !cascade {
            let message = format!("cannot drop {} because other objects depend on it", self.state.describe(first.on));
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_detail(list_objects(dependents.iter().map(|dependent| self.state.describe_dependent(dependent))))
                .with_hint("use DROP ... CASCADE to drop the dependent objects too"));
        }
        self.notices.push(match dependents.as_slice() {
            [only] => format!("drop cascades to {}", self.state.describe(only.view)),
            several => format!("drop cascades to {} other objects", several.len()),
        });
        dependents.iter().for_each(|dependent| self.state.remove_view(dependent.view));
        Ok(())
    }

    /// Another name, schema or owner.
    pub(super) fn change_view(&mut self, operation: &proto::ChangeView) -> Result<()> {
        let Some(definition) = &operation.view else {
            return Err(Error::internal("changing a view: the record holds no definition"));
        };
        let mut after = View::from_proto(definition)?;
        check_name("view", &after.name)?;
        let Some(current) = self.state.views.get(&after.id).map(Arc::clone) else {
            return Err(conflict(format_args!("view \"{after}\" was dropped")));
        };
        if operation.defined_version != 0 && operation.defined_version != current.defined_version.0 {
            return Err(conflict(format_args!("the definition of view \"{}\" was changed", current.view)));
        }
        after.database = current.view.database;
        self.state.remove_view(after.id);
        if self.state.is_taken(&after.schema, &after.name)? {
            return Err(self.state.taken(&after.schema, &after.name));
        }
        let changed =
            ViewState { view: Arc::new(after), created_version: current.created_version, defined_version: self.version };
        self.state.put_view(changed)
    }

    /// Whether views allow that a table gets the definition `after`.
    pub(super) fn check_dependents_of_columns(&self, before: &Table, after: &Table) -> Result<()> {
        for state in self.state.views.values() {
            let references = state.view.references.iter().filter(|reference| reference.relation == before.id);
            for column in references.flat_map(|reference| &reference.columns).filter(|column| column.used) {
                let type_in =
                    |table: &Table| table.columns.iter().find(|other| other.id == column.id).map(|other| other.sql_type);
                if type_in(after) == type_in(before) {
                    continue;
                }
                let name = before.columns.iter().find(|other| other.id == column.id).map_or(&column.name, |other| &other.name);
                let message = match type_in(after) {
                    Some(_) => format!("cannot alter type of column \"{name}\" of table \"{before}\" because a view uses it"),
                    None => format!("cannot drop column \"{name}\" of table \"{before}\" because other objects depend on it"),
                };
                return Err(Error::new(ErrorKind::DependentObjects, message)
                    .with_detail(format!("view {} depends on column {name} of table {before}", state.view))
                    .with_hint("drop the view first, or make it WITH NO SCHEMA BINDING"));
            }
        }
        Ok(())
    }
}

/// A view that depends on something.
pub(super) struct Dependent {
    /// The view.
    pub(super) view: TableId,
    /// What it reads: something that is dropped, or another dependent.
    pub(super) on: TableId,
}

impl State {
    /// The views that read relations of `reached`, directly or through other views; those nearest first.
    pub(super) fn dependents(&self, mut reached: BTreeSet<TableId>) -> Vec<Dependent> {
        let mut found: Vec<Dependent> = Vec::new();
        loop {
            let new: Vec<Dependent> = self
                .views
                .values()
                .filter(|state| !reached.contains(&state.view.id))
                .filter_map(|state| {
                    let on = state.view.references.iter().find(|reference| reached.contains(&reference.relation))?.relation;
                    Some(Dependent { view: state.view.id, on })
                })
                .collect();
            if new.is_empty() {
                return found;
            }
            reached.extend(new.iter().map(|dependent| dependent.view));
            found.extend(new);
        }
    }

    fn describe_dependent(&self, dependent: &Dependent) -> String {
        format!("{} depends on {}", self.describe(dependent.view), self.describe(dependent.on))
    }

    /// `table s.t` or `view s.v`.
    fn describe(&self, id: TableId) -> String {
        match (self.tables.get(&id), self.views.get(&id)) {
            (Some(table), _) => format!("table {}", table.table),
            (None, Some(view)) => format!("view {}", view.view),
            (None, None) => format!("relation {id}"),
        }
    }

    /// The version that made a relation's definition.
    fn defined_version(&self, id: TableId) -> Option<slipher_common::ids::Version> {
        let of_table = self.tables.get(&id).map(|table| table.defined_version);
        of_table.or_else(|| self.views.get(&id).map(|view| view.defined_version))
    }

    /// Whether a table or view has this name.
    pub(super) fn is_taken(&self, schema: &str, name: &str) -> Result<bool> {
        let schema = self.find_schema(schema)?;
        Ok(schema.tables.contains_key(name) || schema.views.contains_key(name))
    }

    /// 42P07 for a name that a table or view has.
    pub(super) fn taken(&self, schema: &str, name: &str) -> Error {
        Error::new(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists in schema \"{schema}\""))
    }

    /// Puts a view under its id and its name; the schema must be there, and no other relation may have the name.
    pub(super) fn put_view(&mut self, view: ViewState) -> Result<()> {
        let (schema, name, id) = (&view.view.schema, &view.view.name, view.view.id);
        let Some(schema) = self.schema_mut(view.view.database, schema) else {
            return Err(Error::internal(format!("adding view \"{}\": its schema is not there", view.view)));
        };
        let named_before = schema.views.insert(name.clone(), id);
        if named_before.is_some_and(|other| other != id) || schema.tables.contains_key(name) || self.tables.contains_key(&id) {
            return Err(Error::internal(format!("adding view {id}: its id or its name is there already")));
        }
        Arc::make_mut(&mut self.views).insert(id, Arc::new(view));
        Ok(())
    }

    pub(super) fn remove_view(&mut self, id: TableId) {
        let Some(removed) = Arc::make_mut(&mut self.views).remove(&id) else {
            return;
        };
        if let Some(schema) = self.schema_mut(removed.view.database, &removed.view.schema) {
            schema.views.remove(&removed.view.name);
        }
        self.forget_comments_of(id);
    }
}

/// 42809 for a table where a view is meant.
pub fn not_a_view(name: &str) -> Error {
    Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a view"))
        .with_hint("it is a table: use DROP TABLE, or another name")
}

fn check_columns(view: &View) -> Result<()> {
    let mut names = BTreeSet::new();
    for column in &view.columns {
        check_name("column", &column.name)?;
        if !names.insert(column.name.as_str()) {
            let message = format!("column \"{}\" of view \"{}\" specified more than once", column.name, view.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message).with_hint("give it another name with AS"));
        }
    }
    Ok(())
}
