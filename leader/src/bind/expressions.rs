//! Columns in expressions: what they are qualified with becomes the alias of the factor that is meant.

use super::Binder;
use super::scope::Unqualified;
use crate::sql::names::folded;
use crate::sql::rewrite::query_of;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr, Values, VisitorMut,
};
use slipher_common::{Error, Result};
use std::ops::ControlFlow;

/// Walks a piece of a statement. What it has bound it does not look at again.
pub(super) struct Expressions<'b, 'a> {
    binder: &'b mut Binder<'a>,
    /// It is ORDER BY: names of the select list come before columns.
    in_order: bool,
    /// Subqueries around the place; they are bound as a whole, and stand aside while the walk passes their place.
    aside: Vec<Query>,
}

impl<'b, 'a> Expressions<'b, 'a> {
    pub(super) fn new(binder: &'b mut Binder<'a>) -> Self {
        Self { binder, in_order: false, aside: Vec::new() }
    }

    pub(super) fn in_order(binder: &'b mut Binder<'a>) -> Self {
        Self { in_order: true, ..Self::new(binder) }
    }

    fn expression(&self, expression: &mut Expr) -> Result<()> {
        match expression {
            Expr::CompoundIdentifier(parts) => self.binder.qualified(parts),
            Expr::Identifier(name) if self.in_order && self.binder.is_output(name) => Ok(()),
            Expr::Identifier(name) => {
                if let Unqualified::Means(meaning) = self.binder.unqualified(name)? {
                    *expression = *meaning;
                }
                Ok(())
            }
            Expr::Function(function) => match &mut function.args {
                FunctionArguments::List(list) => list.args.iter_mut().try_for_each(|argument| self.wildcard(argument)),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// `count(t.*)`.
    fn wildcard(&self, argument: &mut FunctionArg) -> Result<()> {
        let (FunctionArg::Unnamed(argument)
        | FunctionArg::Named { arg: argument, .. }
        | FunctionArg::ExprNamed { arg: argument, .. }) = argument;
        match argument {
            FunctionArgExpr::QualifiedWildcard(name) => self.binder.qualified_wildcard(name).map(|_| ()),
            _ => Ok(()),
        }
    }
}

impl Binder<'_> {
    /// `[[database.]schema.]factor.column`.
    fn qualified(&self, parts: &mut Vec<Ident>) -> Result<()> {
        let Some((column, qualifier)) = parts.split_last() else { return Ok(()) };
        if qualifier.is_empty() {
            return Ok(());
        }
        let factor = self.factor(qualifier)?;
        *parts = vec![Ident::with_quote('"', factor.alias.clone()), column.clone()];
        Ok(())
    }

    /// A subquery in an expression.
    fn subquery(&mut self, written: Query) -> Result<Query> {
        let known = self.frames.last().and_then(|frame| frame.subqueries.iter().find(|(other, _)| *other == written));
        if let Some((_, bound)) = known {
            return Ok(bound.clone());
        }
        let mut bound = written.clone();
        self.query(&mut bound)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.subqueries.push((written, bound.clone()));
        }
        Ok(bound)
    }

    /// `[[database.]schema.]factor.*`; answers the names of its columns.
    pub(super) fn qualified_wildcard(&self, name: &mut ObjectName) -> Result<Option<Vec<String>>> {
        let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
        let factor = self.factor(&parts)?;
        *name = ObjectName::from(vec![Ident::with_quote('"', factor.alias.clone())]);
        Ok(factor.columns.clone())
    }

    fn is_output(&self, name: &Ident) -> bool {
        self.frames.last().is_some_and(|frame| frame.outputs.contains(&folded(name)))
    }
}

impl VisitorMut for Expressions<'_, '_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let nothing = query_of(SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() }));
        let inner = std::mem::replace(query, nothing);
        let bound = self.binder.subquery(inner);
        flow(bound.map(|bound| self.aside.push(bound)))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if let Some(inner) = self.aside.pop() {
            *query = inner;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        flow(self.expression(expression))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Box<Error>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}
