//! Tables under PIVOT, UNPIVOT and CONNECT BY: bound on their own, with names that only they give.

use super::Binder;
use super::scope::{Frame, Hierarchy, Scope};
use datafusion::sql::sqlparser::ast::{Expr, TableWithJoins, VisitMut};
use slipher_common::{Error, Result};

/// A table, or a join of some, that is bound.
pub(super) struct Source {
    /// The bound table.
    pub(super) from: TableWithJoins,
    scope: Scope,
    /// Its columns, each with its name and what it means.
    pub(super) columns: Vec<(String, Expr)>,
}

impl Source {
    /// What its names mean.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl Binder<'_> {
    /// Binds a table that stands behind `what`, which must know its columns.
    pub(super) fn source(&mut self, mut from: TableWithJoins, what: &str) -> Result<Source> {
        let mut scope = Scope::default();
        let columns = self.joined(&mut from, &mut scope)?;
        let columns = columns.ok_or_else(|| {
            let what = format!("{what} a table whose columns have no names of their own");
            Error::not_supported(&what, "write a subquery that names them")
        })?;
        scope.columns = Some(columns.clone());
        Ok(Source { from, scope, columns })
    }

    /// Binds a piece whose names are those of a source, and of a hierarchy over it.
    pub(super) fn in_source<T: VisitMut>(&mut self, source: &Source, hierarchy: Option<Hierarchy>, piece: &mut T) -> Result<()> {
        self.frames.push(Frame { scope: Some(source.scope.clone()), hierarchy, ..Frame::default() });
        let bound = self.expressions(piece);
        self.frames.pop();
        bound
    }
}
