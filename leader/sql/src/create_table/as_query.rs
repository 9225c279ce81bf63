//! CREATE TABLE AS and SELECT INTO.

use super::{check_columns, duplicate, empty_table, is_temporary, next_id};
use crate::names::{Name, QualifiedName};
use crate::output::plain_name;
use crate::table_attributes::TableAttributes;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use slipher_common::catalog::{Column, Table};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::collections::HashSet;

/// CREATE TABLE AS, without its query.
#[derive(Debug)]
pub struct CreateTableAsSpec {
    /// Its name.
    pub name: QualifiedName,
    /// No error when it is there.
    pub if_not_exists: bool,
    /// In place of the table of this name.
    pub or_replace: bool,
    /// Only the session sees it, and it goes with the session.
    pub temporary: bool,
    /// Names for the first columns; the others keep those of the query.
    pub(crate) columns: Vec<Name>,
    /// DISTSTYLE and the like.
    pub(crate) attributes: TableAttributes,
}

impl CreateTableAsSpec {
    /// SELECT ... INTO name.
    pub(crate) fn into_table(name: &ObjectName, said_so: bool, position: impl Fn(&Ident) -> usize) -> Result<Self> {
        let mut name = QualifiedName::from_object_name(name, position)?;
        let temporary = is_temporary(&mut name, said_so)?;
        Ok(Self {
            name,
            if_not_exists: false,
            or_replace: false,
            temporary,
            columns: Vec::new(),
            attributes: TableAttributes::default(),
        })
    }

    pub(super) fn check_names<'a>(&self, names: impl Iterator<Item = &'a Name>) -> Result<()> {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(&name.value) {
                return Err(duplicate(&name.value, name.position));
            }
        }
        Ok(())
    }

    /// The table this describes, its id still 0. `columns` are names and types of the columns of the
    /// query's plan.
    pub fn to_table(&self, schema: &str, owner: &str, columns: &[(String, SqlType)]) -> Result<Table> {
        if let Some(extra) = self.columns.get(columns.len()) {
            return Err(Error::new(ErrorKind::Syntax, "CREATE TABLE AS specifies too many column names")
                .with_detail(format!("the query has {} columns", columns.len()))
                .at(extra.position));
        }
        let mut table = empty_table(self.name.schema_or(schema), &self.name, owner);
        let mut positions = Vec::new();
        for (index, (name, sql_type)) in columns.iter().enumerate() {
            let given = self.columns.get(index);
            positions.push(given.map_or(self.name.position(), |name| name.position));
            table.columns.push(Column {
                id: next_id(&table),
                name: given.map_or_else(|| plain_name(name).to_owned(), |name| name.value.clone()),
                sql_type: *sql_type,
                not_null: false,
                default_expression: None,
                encoding: None,
                identity: None,
                stored_name: None,
                missing_value: None,
            });
        }
        check_columns(&table.columns, &positions, self.name.position())
            .map_err(|error| error.with_hint("give the columns of the query different names with AS"))?;
        self.attributes.apply(&mut table)?;
        Ok(table)
    }
}
