//! Views: a query with a name, and what the names in it mean.

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ColumnId, DatabaseId, TableId};
use crate::sql_type::SqlType;
use slipher_proto::meta as proto;
use std::fmt;

/// One view's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Never reused, by tables either; 0 until it is created.
    pub id: TableId,
    /// Its database.
    pub database: DatabaseId,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The user who made it.
    pub owner: String,
    /// SQL text.
    pub query: String,
    /// In order. Of a late-binding view only the names that its column list gives.
    pub columns: Vec<ViewColumn>,
    /// WITH NO SCHEMA BINDING: names in the query mean what they mean when it is read.
    pub late_binding: bool,
    /// What the names in the query mean; none when `late_binding`.
    pub references: Vec<ViewReference>,
}

/// One column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// Its type when the view was made; None: nobody knows before the view is read.
    pub sql_type: Option<SqlType>,
}

/// A table or view that a view reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewReference {
    /// The schema as the query names it; None: the name is not qualified.
    pub schema: Option<String>,
    /// The name as the query has it.
    pub name: String,
    /// What it means.
    pub relation: TableId,
    /// The columns that the view sees.
    pub columns: Vec<ReferencedColumn>,
}

/// A column that a view sees, under the name that it had when the view was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencedColumn {
    /// Its id in its table; its place in a view, from 1.
    pub id: ColumnId,
    /// Its name then.
    pub name: String,
    /// The view needs it.
    pub used: bool,
}

impl View {
    /// The reference of a name as the query writes it.
    pub fn reference(&self, schema: Option<&str>, name: &str) -> Option<&ViewReference> {
        self.references.iter().find(|reference| reference.schema.as_deref() == schema && reference.name == name)
    }

    /// Whether it reads `relation` itself.
    pub fn depends_on(&self, relation: TableId) -> bool {
        self.references.iter().any(|reference| reference.relation == relation)
    }

    /// The frozen form.
    pub fn to_proto(&self) -> proto::View {
        let column =
            |column: &ViewColumn| proto::ViewColumn { name: column.name.clone(), r#type: column.sql_type.map(SqlType::to_proto) };
        proto::View {
            view_id: self.id.0,
            database_id: self.database.0,
            schema: self.schema.clone(),
            name: self.name.clone(),
            owner: self.owner.clone(),
            query: self.query.clone(),
            columns: self.columns.iter().map(column).collect(),
            late_binding: self.late_binding,
            references: self.references.iter().map(ViewReference::to_proto).collect(),
        }
    }

    /// Reads the frozen form.
    pub fn from_proto(stored: &proto::View) -> Result<Self> {
        let column = |column: &proto::ViewColumn| {
            let sql_type = column.r#type.as_ref().map(SqlType::from_proto).transpose()?;
            Ok(ViewColumn { name: column.name.clone(), sql_type })
        };
        if stored.query.is_empty() {
            return Err(Error::new(ErrorKind::DataCorrupted, format!("reading view \"{}\": it has no query", stored.name)));
        }
        Ok(Self {
            id: TableId(stored.view_id),
            database: DatabaseId(stored.database_id),
            schema: stored.schema.clone(),
            name: stored.name.clone(),
            owner: stored.owner.clone(),
            query: stored.query.clone(),
            columns: stored.columns.iter().map(column).collect::<Result<_>>()?,
            late_binding: stored.late_binding,
            references: stored.references.iter().map(ViewReference::from_proto).collect(),
        })
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl ViewReference {
    fn to_proto(&self) -> proto::ViewReference {
        let column = |column: &ReferencedColumn| proto::ReferencedColumn {
            column_id: column.id.0,
            name: column.name.clone(),
            used: column.used,
        };
        proto::ViewReference {
            schema: self.schema.clone().unwrap_or_default(),
            name: self.name.clone(),
            relation_id: self.relation.0,
            columns: self.columns.iter().map(column).collect(),
        }
    }

    fn from_proto(stored: &proto::ViewReference) -> Self {
        let column = |column: &proto::ReferencedColumn| ReferencedColumn {
            id: ColumnId(column.column_id),
            name: column.name.clone(),
            used: column.used,
        };
        Self {
            schema: Some(stored.schema.clone()).filter(|schema| !schema.is_empty()),
            name: stored.name.clone(),
            relation: TableId(stored.relation_id),
            columns: stored.columns.iter().map(column).collect(),
        }
    }
}
