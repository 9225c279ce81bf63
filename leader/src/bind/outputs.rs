//! What a select list yields, and under which names the engine knows it.

use super::Binder;
use super::columns::{Clause, Names, ambiguous_column};
use super::functions::calls_volatile;
use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, SetExpr, visit_expressions};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::output::{numbered, plain_name};
use slipher_sql::rewrite::build::nested;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// One column of a result.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// What the engine calls it; None where that is its text.
    pub(super) name: Option<String>,
    /// What it is computed from; None behind set operations.
    pub(super) expr: Option<Expr>,
}

impl Output {
    /// What an item of a select list yields.
    pub(super) fn of(item: &SelectItem) -> Self {
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
            _ => None,
        };
        Self { name: engine_name(item), expr }
    }
}

/// The columns of a result.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs {
    /// In order.
    pub(super) list: Vec<Output>,
    /// These are all: no wildcard is left that only the engine can expand.
    pub(super) complete: bool,
}

impl Outputs {
    /// Those of a select list that is bound.
    pub(super) fn of(projection: &[SelectItem]) -> Self {
        let list: Vec<_> = projection.iter().map(Output::of).collect();
        let complete = list.iter().all(|output| output.expr.is_some());
        Self { list, complete }
    }

    /// Those of a set operation.
    pub(super) fn named(names: Option<&[String]>) -> Self {
        let list = names.unwrap_or_default().iter().map(|name| Output { name: Some(name.clone()), expr: None }).collect();
        Self { list, complete: names.is_some() }
    }

    /// The first one of this name; None for another one of it that is something else.
    pub(super) fn called(&self, wanted: &str) -> Option<Option<usize>> {
        let name = |output: &Output| output.name.as_deref().is_some_and(|name| plain_name(name) == wanted);
        let first = self.list.iter().position(name)?;
        let is_same = |output: &Output| output.expr.is_some() && self.list.get(first).is_some_and(|one| one.expr == output.expr);
        let unique = self.list.iter().skip(first + 1).filter(|output| name(output)).all(is_same);
        Some(unique.then_some(first))
    }
}

impl Binder<'_> {
    /// What a name that no column of FROM has means in a clause that sees the select list, too.
    pub(super) fn output_named(&self, name: &Ident, clause: Clause) -> Result<Option<Expr>> {
        let Some(frame) = self.frames.last().filter(|_| clause != Clause::Plain) else { return Ok(None) };
        let wanted = folded(name);
        let Some(found) = frame.outputs.called(&wanted) else { return Ok(None) };
        let Some(Output { name, expr }) = found.and_then(|index| frame.outputs.list.get(index)) else {
            return Err(ambiguous_column(&wanted));
        };
        Ok(match clause {
            Clause::Plain => None,
            Clause::OrderBy => name.as_ref().map(|name| Expr::Identifier(Ident::with_quote('"', name.clone()))),
            Clause::Having => expr.clone(),
            Clause::Lateral => expr.as_ref().map(|expr| lateral(&wanted, expr)).transpose()?,
            Clause::GroupBy => expr.clone().map(|expr| match expr {
                // As a number it would be a position; all constants make one group.
                constant @ Expr::Value(_) => Expr::IsNull(Box::new(constant)),
                other => other,
            }),
        })
    }
}

/// Parts of an expression that may stand where its alias is named: an alias of aliases of aliases doubles at each step.
const LATERAL_PARTS_MAX: usize = 5_000;

/// What an alias of the same select list means: its expression once more, which must be worth the same there.
fn lateral(name: &str, expr: &Expr) -> Result<Expr> {
    if calls_volatile(expr) {
        let what = format!("naming alias \"{name}\" of a volatile function in the same SELECT");
        return Err(Error::not_supported(&what, "write the function in a subquery in FROM, and name its column"));
    }
    let mut parts = 0_usize;
    let _ = visit_expressions(expr, |_| {
        parts += 1;
        if parts > LATERAL_PARTS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if parts > LATERAL_PARTS_MAX {
        return Err(Error::new(ErrorKind::TooComplex, "statement too complex")
            .with_detail(format!(
                "alias \"{name}\" stands for more than {LATERAL_PARTS_MAX} operations, through the aliases that it names"
            ))
            .with_hint("compute it in a subquery in FROM, and name its column"));
    }
    Ok(nested(expr.clone()))
}

/// What the engine calls an item of a select list; None where that is its text, or several.
pub(super) fn engine_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(folded(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
        _ => None,
    }
}

/// The same for all of a list.
pub(super) fn engine_names(projection: &[SelectItem]) -> Names {
    projection.iter().map(engine_name).collect()
}

/// The names of a first branch's columns, where its select list says them.
pub(super) fn first_names(body: &SetExpr) -> Names {
    match body {
        SetExpr::Select(select) => {
            let mut taken = HashSet::new();
            let name = |(index, item)| Some(free(&mut taken, engine_name(item)?, index));
            select.projection.iter().enumerate().map(name).collect()
        }
        SetExpr::SetOperation { left, .. } => first_names(left),
        SetExpr::Query(query) => first_names(&query.body),
        _ => None,
    }
}

/// Columns as items of a select list.
pub(super) fn select_items(columns: Vec<(String, Expr)>) -> impl Iterator<Item = SelectItem> {
    columns.into_iter().map(|(name, meaning)| match meaning {
        // It has the right name itself.
        column @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(column),
        expr => SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) },
    })
}

/// Gives the items of a select list names that the engine can tell apart: from each other, and from the columns of FROM that ORDER BY reads,
/// which the engine carries along beside them.
pub(super) fn tell_apart(projection: &mut [SelectItem], sorted_by: HashSet<String>) {
    let mut taken = HashSet::new();
    let alone = projection.len() == 1;
    for (index, item) in projection.iter_mut().enumerate() {
        let is_text = !alone && matches!(item, SelectItem::UnnamedExpr(_)) && engine_name(item).is_none();
        let Some(name) = engine_name(item).or_else(|| is_text.then(|| item.to_string())) else { continue };
        let is_column = matches!(item, SelectItem::UnnamedExpr(_))
            || matches!(item, SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(parts), .. } if parts.last().map(folded).as_ref() == Some(&name));
        let mut chosen = free(&mut taken, name.clone(), index);
        if !is_column && sorted_by.contains(&chosen) {
            chosen = free(&mut taken, chosen, index);
        }
        if chosen == name {
            continue;
        }
        let alias = Ident::with_quote('"', chosen);
        match item {
            SelectItem::ExprWithAlias { alias: own, .. } => *own = alias,
            SelectItem::UnnamedExpr(expr) => *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias },
            _ => {}
        }
    }
}

/// The name, or one of the same plain name that is not taken yet.
pub(super) fn free(taken: &mut HashSet<String>, name: String, index: usize) -> String {
    if taken.insert(name.clone()) {
        return name;
    }
    let mut number = index;
    loop {
        let other = numbered(plain_name(&name), number);
        if taken.insert(other.clone()) {
            return other;
        }
        number += 1;
    }
}
