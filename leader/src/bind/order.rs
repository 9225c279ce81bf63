//! ORDER BY and positions: a name alone, a number, or an expression that stands in the select list means a column of the result; names inside
//! of an expression are those of FROM.

use super::Binder;
use super::columns::Clause;
use super::outputs::engine_name;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderBy, OrderByKind, Query, SetExpr, UnaryOperator, Value, Visit, Visitor, visit_expressions,
};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::rewrite::build::number;
use std::collections::HashSet;
use std::ops::ControlFlow;

impl Binder<'_> {
    /// Binds ORDER BY of the innermost query; answers the names of the columns that are read there.
    pub(super) fn order_by(&mut self, order_by: Option<&mut OrderBy>, distinct: bool) -> Result<HashSet<String>> {
        let mut read = HashSet::new();
        let Some(OrderBy { kind: OrderByKind::Expressions(items), .. }) = order_by else { return Ok(read) };
        for item in items {
            self.order_item(&mut item.expr)?;
            let columns = self.own_columns(&item.expr);
            if distinct && columns.iter().any(|column| self.position_of(column).is_none()) {
                let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                return Err(Error::new(ErrorKind::InvalidColumnReference, message));
            }
            read.extend(names_in(&item.expr));
        }
        Ok(read)
    }

    fn order_item(&mut self, expr: &mut Expr) -> Result<()> {
        if let Expr::Identifier(name) = bare(expr)
            && let Some(output) = self.sorted_by(name)?
        {
            *expr = output;
            return Ok(());
        }
        check_no_constant(expr)?;
        self.check_positions(std::iter::once(&*expr), "ORDER BY")?;
        self.expressions_in(expr, Clause::OrderBy)?;
        if let Some(position) = self.position_of(expr) {
            *expr = position;
        }
        Ok(())
    }

    /// The column of the result that a name alone means.
    fn sorted_by(&self, name: &Ident) -> Result<Option<Expr>> {
        let wanted = folded(name);
        let Some(frame) = self.frames.last() else { return Ok(None) };
        let Some(found) = frame.outputs.called(&wanted) else { return Ok(None) };
        let Some(index) = found else {
            let message = format!("ORDER BY \"{wanted}\" is ambiguous");
            return Err(
                Error::new(ErrorKind::AmbiguousColumn, message).with_hint("write the number of the column in the select list")
            );
        };
        if frame.outputs.complete {
            return Ok(Some(number(index as u64 + 1)));
        }
        let engine = frame.outputs.list.get(index).and_then(|output| output.name.clone());
        Ok(engine.map(|engine| Expr::Identifier(Ident::with_quote('"', engine))))
    }

    /// The position of an expression that stands in the select list.
    fn position_of(&self, expr: &Expr) -> Option<Expr> {
        let outputs = &self.frames.last()?.outputs;
        let expr = bare(expr);
        if !outputs.complete || matches!(expr, Expr::Value(_)) {
            return None;
        }
        let index = outputs.list.iter().position(|output| output.expr.as_ref().is_some_and(|one| bare(one) == expr))?;
        Some(number(index as u64 + 1))
    }

    /// Numbers alone must be columns of the result.
    pub(super) fn check_positions<'e>(&self, exprs: impl Iterator<Item = &'e Expr>, clause: &str) -> Result<()> {
        let Some(outputs) = self.frames.last().map(|frame| &frame.outputs) else { return Ok(()) };
        for expr in exprs {
            let Expr::Value(value) = bare(expr) else { continue };
            let Value::Number(text, _) = &value.value else { continue };
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Error::new(ErrorKind::Syntax, format!("non-integer constant in {clause}")));
            }
            let known = text.parse::<usize>().is_ok_and(|position| (1..=outputs.list.len()).contains(&position));
            if outputs.complete && !known {
                let message = format!("{clause} position {text} is not in select list");
                return Err(Error::new(ErrorKind::InvalidColumnReference, message));
            }
        }
        Ok(())
    }

    /// DISTINCT ON, which sees names like ORDER BY.
    pub(super) fn distinct_on(&mut self, expressions: &mut [Expr]) -> Result<()> {
        for expr in expressions {
            let output = match (bare(expr), self.frames.last()) {
                (Expr::Identifier(name), Some(frame)) => {
                    let found = frame.outputs.called(&folded(name)).flatten();
                    found.and_then(|index| frame.outputs.list.get(index)?.expr.clone())
                }
                _ => None,
            };
            match output {
                Some(output) => *expr = output,
                None => self.expressions(expr)?,
            }
        }
        Ok(())
    }

    /// The columns of the innermost query's own FROM in an expression.
    fn own_columns(&self, expr: &Expr) -> Vec<Expr> {
        let Some(scope) = self.frames.last().and_then(|frame| frame.scope.as_ref()) else { return Vec::new() };
        let mut columns = Vec::new();
        let _ = visit_expressions(expr, |inner| {
            if let Expr::CompoundIdentifier(parts) = inner
                && let [qualifier, _] = parts.as_slice()
                && scope.factors.iter().any(|factor| factor.alias == qualifier.value)
            {
                columns.push(inner.clone());
            }
            ControlFlow::<()>::Continue(())
        });
        columns
    }
}

/// The names of columns that an expression reads, subqueries included: they must not be those of the result, unless it is those that it reads.
fn names_in(expr: &Expr) -> HashSet<String> {
    #[derive(Default)]
    struct NamesIn {
        columns: HashSet<String>,
        outputs: HashSet<String>,
    }
    impl Visitor for NamesIn {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let SetExpr::Select(select) = query.body.as_ref() {
                self.columns.extend(select.projection.iter().filter_map(engine_name));
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(parts) => self.columns.extend(parts.last().map(folded)),
                Expr::Identifier(name) => self.outputs.extend([folded(name)]),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = NamesIn::default();
    let _ = expr.visit(&mut names);
    names.columns.retain(|name| !names.outputs.contains(name));
    names.columns
}

/// The expression without parentheses around it.
fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// A constant alone sorts nothing: who writes one means something else.
fn check_no_constant(expr: &Expr) -> Result<()> {
    match bare(expr) {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(bare(expr), Expr::Value(_)) => {
            let message = format!("ORDER BY position -{} is not in select list", bare(expr));
            Err(Error::new(ErrorKind::InvalidColumnReference, message))
        }
        Expr::Value(value) if !matches!(value.value, Value::Number(..) | Value::Placeholder(_)) => {
            Err(Error::new(ErrorKind::Syntax, "non-integer constant in ORDER BY"))
        }
        _ => Ok(()),
    }
}
