//! Queries: WITH, set operations, selects, in the order in which their names come into sight.

use super::Binder;
use super::expressions::Expressions;
use super::scope::{Frame, WithQuery};
use super::star::output_name;
use crate::sql::names::folded;
use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, GroupByExpr, Ident, ObjectName, Query, Select, SetExpr, Visit, VisitMut, Visitor, With,
};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::ops::ControlFlow;

impl Binder<'_> {
    /// Binds a query; answers the names of its columns where they are known.
    pub(super) fn query(&mut self, query: &mut Query) -> Result<Option<Vec<String>>> {
        self.frames.push(Frame::default());
        let columns = self.query_in_frame(query);
        self.frames.pop();
        columns
    }

    fn query_in_frame(&mut self, query: &mut Query) -> Result<Option<Vec<String>>> {
        if let Some(with) = &mut query.with {
            self.with(with)?;
        }
        let columns = self.set_expr(&mut query.body)?;
        // Behind set operations only the names of the result can be seen.
        let outputs = match query.body.as_ref() {
            SetExpr::Select(select) => select.projection.iter().filter_map(output_name).collect(),
            _ => HashSet::new(),
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.outputs = outputs;
            if !matches!(query.body.as_ref(), SetExpr::Select(_)) {
                frame.scope = None;
            }
        }
        if let Some(order_by) = &mut query.order_by {
            self.expressions_in_order(order_by)?;
        }
        if let Some(limit) = &mut query.limit_clause {
            self.expressions(limit)?;
        }
        Ok(columns)
    }

    fn with(&mut self, with: &mut With) -> Result<()> {
        let mut names = HashSet::new();
        for table in &mut with.cte_tables {
            let name = folded(&table.alias.name);
            if !names.insert(name.clone()) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return Err(Error::new(ErrorKind::DuplicateAlias, message));
            }
            let bound = self.aliases.with_query(&name);
            let given: Vec<String> = table.alias.columns.iter().map(|column| folded(&column.name)).collect();
            let query = match with.recursive && reads(&table.query, &name) {
                true => self.recursive(table, WithQuery { name, bound, columns: None }, given)?,
                false => {
                    let columns = self.query(&mut table.query)?;
                    WithQuery { name, bound, columns: columns.map(|columns| renamed(given, columns)) }
                }
            };
            table.alias.name = Ident::with_quote('"', query.bound.clone());
            if let Some(frame) = self.frames.last_mut() {
                frame.with.push(query);
            }
        }
        Ok(())
    }

    /// A query that reads itself: its columns are those of its first branch.
    fn recursive(&mut self, table: &mut Cte, mut query: WithQuery, given: Vec<String>) -> Result<WithQuery> {
        let first = match table.query.body.as_ref() {
            SetExpr::SetOperation { left, .. } => first_names(left),
            _ => None,
        };
        query.columns = match first {
            Some(columns) => Some(renamed(given, columns)),
            None => Some(given).filter(|given| !given.is_empty()),
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.with.push(query.clone());
        }
        self.query(&mut table.query)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.with.pop();
        }
        Ok(query)
    }

    fn set_expr(&mut self, body: &mut SetExpr) -> Result<Option<Vec<String>>> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                let columns = self.set_expr(left)?;
                self.set_expr(right)?;
                Ok(columns)
            }
            SetExpr::Values(values) => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.scope = None;
                }
                self.expressions(values)?;
                let width = values.rows.first().map_or(0, |row| row.len());
                Ok(Some((1..=width).map(|number| format!("column{number}")).collect()))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
                Err(Error::not_supported("this form of query", "write SELECT"))
            }
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<Option<Vec<String>>> {
        if let Some(frame) = self.frames.last_mut() {
            frame.outputs.clear();
            frame.subqueries.clear();
            frame.scope = None;
        }
        self.from(&mut select.from)?;
        let columns = self.select_list(&mut select.projection)?;
        if let Some(Distinct::On(expressions)) = &mut select.distinct {
            self.expressions(expressions)?;
        }
        for expression in [&mut select.selection, &mut select.having, &mut select.qualify].into_iter().flatten() {
            self.expressions(expression)?;
        }
        if let GroupByExpr::Expressions(expressions, modifiers) = &mut select.group_by {
            self.expressions(expressions)?;
            self.expressions(modifiers)?;
        }
        self.expressions(&mut select.named_window)?;
        self.expressions(&mut select.sort_by)?;
        Ok(columns)
    }

    /// Binds the expressions of a piece of a statement in the innermost frame.
    pub(super) fn expressions<T: VisitMut>(&mut self, piece: &mut T) -> Result<()> {
        match piece.visit(&mut Expressions::new(self)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }

    /// The same for ORDER BY, where names of the select list come first.
    fn expressions_in_order<T: VisitMut>(&mut self, piece: &mut T) -> Result<()> {
        match piece.visit(&mut Expressions::in_order(self)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }
}

/// The names that are given, and those of the columns for which none is given.
fn renamed(given: Vec<String>, columns: Vec<String>) -> Vec<String> {
    let rest = columns.into_iter().skip(given.len());
    given.iter().cloned().chain(rest).collect()
}

/// The names of a first branch's columns, where its select list says them.
fn first_names(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select.projection.iter().map(output_name).collect(),
        SetExpr::SetOperation { left, .. } => first_names(left),
        SetExpr::Query(query) => first_names(&query.body),
        _ => None,
    }
}

/// Whether a query names a relation so, without a schema.
fn reads(query: &Query, name: &str) -> bool {
    struct Reads<'n>(&'n str);
    impl Visitor for Reads<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            match relation.0.as_slice() {
                [only] if only.as_ident().is_some_and(|ident| folded(ident) == self.0) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Reads(name)).is_break()
}
