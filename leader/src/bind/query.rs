//! Queries: WITH, set operations, selects, in the order in which their names come into sight.

use super::columns::{Clause, Names};
use super::expressions::Expressions;
use super::functions::calls_volatile;
use super::outputs::{Outputs, engine_names, first_names, tell_apart};
use super::scope::{Frame, WithQuery};
use super::{Binder, ONCE};
use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, GroupByExpr, Ident, ObjectName, Query, Select, SetExpr, Visit, VisitMut, Visitor, With,
};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use std::collections::HashSet;
use std::ops::ControlFlow;

impl Binder<'_> {
    /// Binds a query; answers the names of its columns where they are known.
    pub(super) fn query(&mut self, query: &mut Query) -> Result<Names> {
        self.frames.push(Frame::default());
        let columns = self.query_in_frame(query);
        self.frames.pop();
        columns
    }

    fn query_in_frame(&mut self, query: &mut Query) -> Result<Names> {
        if let Some(with) = &mut query.with {
            self.with(with)?;
        }
        let columns = match query.body.as_mut() {
            SetExpr::Select(select) => {
                self.select(select)?;
                let sorted_by = self.order_by(query.order_by.as_mut(), select.distinct.is_some())?;
                self.apart(select, query.order_by.as_mut())?;
                tell_apart(&mut select.projection, sorted_by);
                engine_names(&select.projection)
            }
            body => {
                let columns = self.set_expr(body)?;
                // Behind set operations only the names of the result can be seen.
                if let Some(frame) = self.frames.last_mut() {
                    frame.outputs = Outputs::named(columns.as_deref());
                    frame.scope = None;
                }
                self.order_by(query.order_by.as_mut(), false)?;
                columns
            }
        };
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
            let query = match with.recursive && reads(&table.query, &name) {
                true => self.recursive(table, WithQuery { name, bound, columns: None, volatile: false, reads: 0 })?,
                false => {
                    let columns = self.query(&mut table.query)?;
                    let columns = super::from::given_names(&mut table.alias, columns)?;
                    let volatile = self.answers_anew(&table.query);
                    let bound =
                        if volatile && self.is_outermost() { self.aliases.with_query(&format!("{ONCE}{name}")) } else { bound };
                    WithQuery { name, bound, columns, volatile, reads: 0 }
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
    fn recursive(&mut self, table: &mut Cte, mut query: WithQuery) -> Result<WithQuery> {
        let first = match table.query.body.as_ref() {
            SetExpr::SetOperation { left, .. } => first_names(left),
            _ => None,
        };
        query.columns = super::from::given_names(&mut table.alias, first)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.with.push(query.clone());
        }
        self.query(&mut table.query)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.with.pop();
        }
        query.volatile = self.answers_anew(&table.query);
        Ok(query)
    }

    /// Whether no query around the innermost one has columns that this could read.
    fn is_outermost(&self) -> bool {
        self.frames.iter().rev().skip(1).all(|frame| frame.scope.is_none())
    }

    /// Whether a bound query calls a volatile function, or reads a WITH query that does.
    fn answers_anew(&self, query: &Query) -> bool {
        self.volatile_read(query).is_some() || calls_volatile(query)
    }

    /// From here on the innermost query's expressions are those of a clause that can hold no aggregates.
    pub(super) fn enter(&mut self, clause: &'static str) {
        if let Some(frame) = self.frames.last_mut() {
            frame.without_aggregates = Some(clause);
        }
    }

    fn leave(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.without_aggregates = None;
        }
    }

    fn set_expr(&mut self, body: &mut SetExpr) -> Result<Names> {
        match body {
            SetExpr::Select(select) => {
                self.select(select)?;
                self.apart(select, None)?;
                tell_apart(&mut select.projection, HashSet::new());
                Ok(engine_names(&select.projection))
            }
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

    fn select(&mut self, select: &mut Select) -> Result<()> {
        if let Some(frame) = self.frames.last_mut() {
            frame.outputs = Outputs::default();
            frame.subqueries.clear();
            frame.scope = None;
            frame.hierarchy = None;
        }
        match select.connect_by.is_empty() {
            true => self.from(&mut select.from)?,
            false => self.hierarchy(select)?,
        }
        self.leave();
        self.select_list(&mut select.projection, !select.from.is_empty())?;
        if let Some(frame) = self.frames.last_mut() {
            frame.outputs = Outputs::of(&select.projection);
        }
        if let Some(Distinct::On(expressions)) = &mut select.distinct {
            self.distinct_on(expressions)?;
        }
        if let Some(expression) = &mut select.selection {
            self.enter("WHERE");
            self.expressions_in(expression, Clause::Lateral)?;
            self.outer_joins(select)?;
            self.leave();
        }
        for expression in [&mut select.having, &mut select.qualify].into_iter().flatten() {
            self.expressions_in(expression, Clause::Having)?;
        }
        if let GroupByExpr::Expressions(expressions, modifiers) = &mut select.group_by {
            self.check_positions(expressions.iter(), "GROUP BY")?;
            self.enter("GROUP BY");
            self.expressions_in(expressions, Clause::GroupBy)?;
            self.expressions(modifiers)?;
            self.leave();
        }
        self.expressions(&mut select.named_window)?;
        self.expressions(&mut select.sort_by)?;
        Ok(())
    }

    /// Binds the expressions of a piece of a statement in the innermost frame.
    pub(super) fn expressions<T: VisitMut>(&mut self, piece: &mut T) -> Result<()> {
        self.expressions_in(piece, Clause::Plain)
    }

    /// The same for a clause in which names of the select list can be seen.
    pub(super) fn expressions_in<T: VisitMut>(&mut self, piece: &mut T, clause: Clause) -> Result<()> {
        match piece.visit(&mut Expressions::new(self, clause)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
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
