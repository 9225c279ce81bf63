//! Columns in expressions: what they are qualified with becomes the alias of the factor that is meant.

use super::columns::{Clause, Columns};
use super::hierarchy::TREE;
use super::navigate;
use super::scope::{Unqualified, read_again};
use super::{Binder, ONCE};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr, UnaryOperator, Value, Values,
    VisitorMut,
};
use slipher_common::functions::SUPER_NEGATE;
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::rewrite::build::call;
use slipher_sql::rewrite::query_of;
use slipher_sql::session_function;
use std::ops::ControlFlow;

/// Walks a piece of a statement. What it has bound it does not look at again.
pub(super) struct Expressions<'b, 'a> {
    binder: &'b mut Binder<'a>,
    clause: Clause,
    /// Subqueries around the place; they are bound as a whole, and stand aside while the walk passes their place.
    aside: Vec<Query>,
}

impl<'b, 'a> Expressions<'b, 'a> {
    pub(super) fn new(binder: &'b mut Binder<'a>, clause: Clause) -> Self {
        Self { binder, clause, aside: Vec::new() }
    }

    fn expression(&mut self, expression: &mut Expr) -> Result<()> {
        match expression {
            Expr::CompoundIdentifier(parts) => {
                if let Some(value) = self.binder.qualified(parts)? {
                    *expression = value;
                }
                Ok(())
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if navigate::is_super(expr) => {
                *expression = call(SUPER_NEGATE, vec![expr.as_ref().clone()]);
                Ok(())
            }
            Expr::JsonAccess { value, path } => {
                *expression = navigate::path(std::mem::replace(value, Expr::value(Value::Null)), path.clone())?;
                Ok(())
            }
            Expr::Identifier(name) => {
                if let Some(meaning) = self.named(name)? {
                    *expression = meaning;
                }
                Ok(())
            }
            Expr::Prior(_) | Expr::Prefixed { .. } => {
                if let Some(meaning) = self.binder.of_hierarchy(expression)? {
                    *expression = meaning;
                }
                Ok(())
            }
            Expr::OuterJoin(_) if !self.binder.may_mark() => {
                let message = "(+) can stand in conditions of WHERE only";
                Err(Error::new(ErrorKind::Syntax, message).with_hint("write LEFT JOIN ... ON"))
            }
            Expr::Function(function) => match &mut function.args {
                FunctionArguments::List(list) => list.args.iter_mut().try_for_each(|argument| self.wildcard(argument)),
                _ => Ok(()),
            }
            .and_then(|()| {
                if let Some(column) = self.binder.outer_aggregate(expression)? {
                    *expression = column;
                }
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    /// What a name without a qualifier means; None where only the engine may know it.
    fn named(&self, name: &Ident) -> Result<Option<Expr>> {
        let output = || self.binder.output_named(name, self.clause);
        Ok(match self.binder.unqualified(name)? {
            Unqualified::Here(meaning) => Some(*meaning),
            Unqualified::Outside(meaning) if self.clause == Clause::GroupBy => output()?.or(Some(*meaning)),
            Unqualified::Outside(meaning) => Some(*meaning),
            Unqualified::Open if self.clause == Clause::Lateral => session_function(name),
            Unqualified::Unknown | Unqualified::Open => output()?.or_else(|| session_function(name)),
        })
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
    /// `[[database.]schema.]factor.column`; answers the value where names behind it are steps into it.
    fn qualified(&self, parts: &mut Vec<Ident>) -> Result<Option<Expr>> {
        let Some((column, qualifier)) = parts.split_last() else { return Ok(None) };
        // The path of a hierarchy is bound already.
        if qualifier.is_empty() || matches!(qualifier, [table] if table.value.starts_with(TREE)) {
            return Ok(None);
        }
        let factor = match self.factor(qualifier) {
            Ok(factor) if factor.is_iteration => return self.navigated(parts),
            Ok(factor) => factor,
            Err(error) => return self.navigated(parts)?.map(Some).ok_or(error),
        };
        let column = match factor.column(&folded(column))? {
            Some(name) => Ident::with_quote('"', name.clone()),
            None => column.clone(),
        };
        *parts = vec![Ident::with_quote('"', factor.alias.clone()), column];
        Ok(None)
    }

    /// A subquery in an expression.
    fn subquery(&mut self, written: Query) -> Result<Query> {
        let known = self.frames.last().and_then(|frame| frame.subqueries.iter().find(|(other, _)| *other == written));
        if let Some((_, bound)) = known {
            // It is one expression, and is computed wherever it stands.
            return match self.volatile_read(bound) {
                Some(query) if !query.bound.starts_with(ONCE) => Err(read_again(&query.name)),
                _ => Ok(bound.clone()),
            };
        }
        let mut bound = written.clone();
        self.query(&mut bound)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.subqueries.push((written, bound.clone()));
        }
        Ok(bound)
    }

    /// `[[database.]schema.]factor.*`; answers its columns where the engine need not know them.
    pub(super) fn qualified_wildcard(&self, name: &mut ObjectName) -> Result<Columns> {
        let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
        let factor = self.factor(&parts)?;
        *name = ObjectName::from(vec![Ident::with_quote('"', factor.alias.clone())]);
        // The target of a change has more of them than the user sees.
        Ok(if factor.is_target { None } else { factor.meanings() })
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

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some(meaning) = self.binder.path_of_hierarchy(expression) {
            *expression = meaning;
        }
        flow(navigate::as_path(expression))
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
