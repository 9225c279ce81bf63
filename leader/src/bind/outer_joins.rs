//! `a.x = b.y(+)` in WHERE: the old way to write `a LEFT JOIN b ON a.x = b.y`.

use super::Binder;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, TableFactor, TableWithJoins, Visit, VisitMut,
    Visitor, VisitorMut, visit_expressions,
};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::rewrite::build::all_of;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

/// What the marked conditions say of a table whose rows may be missing.
#[derive(Default)]
struct Optional {
    condition: Option<Expr>,
    /// The tables that it is joined to.
    needs: HashSet<String>,
}

impl Binder<'_> {
    /// Whether `(+)` may stand where the innermost query is bound.
    pub(super) fn may_mark(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.without_aggregates == Some("WHERE"))
    }

    /// Turns the marked conditions of a bound WHERE into joins.
    pub(super) fn outer_joins(&mut self, select: &mut Select) -> Result<()> {
        let marked = |expr: &Expr| visit_expressions(expr, |inner| flow(!matches!(inner, Expr::OuterJoin(_)))).is_break();
        let Some(condition) = select.selection.take_if(|condition| marked(condition)) else { return Ok(()) };
        let mut optional: BTreeMap<String, Optional> = BTreeMap::new();
        for conjunct in conjuncts(condition) {
            if !marked(&conjunct) {
                select.selection = all_of(select.selection.take().into_iter().chain([conjunct]));
                continue;
            }
            let (table, needs, conjunct) = unmarked(conjunct)?;
            let known = optional.entry(table).or_default();
            known.needs.extend(needs);
            known.condition = all_of(known.condition.take().into_iter().chain([conjunct]));
        }
        if !self.frames.last().is_some_and(|frame| frame.outputs.complete) {
            return Err(refused("together with * over a table whose columns have no names of their own"));
        }
        select.from = joined(std::mem::take(&mut select.from), optional)?;
        Ok(())
    }
}

fn flow(go_on: bool) -> ControlFlow<()> {
    if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn refused(what: &str) -> Error {
    Error::not_supported(format_args!("(+) {what}"), "write LEFT JOIN ... ON")
}

/// The conditions that AND holds together.
fn conjuncts(condition: Expr) -> Vec<Expr> {
    let (mut pending, mut found) = (vec![condition], Vec::new());
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => pending.extend([*right, *left]),
            Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. } | Expr::Nested(_)) => {
                pending.push(*inner);
            }
            other => found.push(other),
        }
    }
    found
}

/// The table that a condition marks, the others that it reads, and the condition without its marks.
fn unmarked(mut conjunct: Expr) -> Result<(String, HashSet<String>, Expr)> {
    let mut reads = Reads::default();
    let _ = conjunct.visit(&mut reads);
    if reads.any_or || reads.any_query {
        return Err(refused("in an operand of OR, IN or a condition with a subquery"));
    }
    let mut marked: Vec<String> = reads.marked.into_iter().collect();
    let Some(table) = marked.pop() else { return Err(refused("behind something that is no column of a table")) };
    if !marked.is_empty() {
        return Err(Error::new(ErrorKind::Syntax, "a condition can mark one table only with (+)")
            .with_hint("of two tables, mark the one whose rows may be missing"));
    }
    let _ = VisitMut::visit(&mut conjunct, &mut WithoutMarks);
    reads.all.remove(&table);
    Ok((table, reads.all, conjunct))
}

#[derive(Default)]
struct Reads {
    all: HashSet<String>,
    marked: HashSet<String>,
    any_or: bool,
    any_query: bool,
}

impl Visitor for Reads {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.any_query = true;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let table = |expr: &Expr| match expr {
            Expr::CompoundIdentifier(parts) => parts.first().map(|alias| alias.value.clone()),
            _ => None,
        };
        match expr {
            Expr::OuterJoin(column) => self.marked.extend(table(column)),
            Expr::BinaryOp { op: BinaryOperator::Or | BinaryOperator::Xor, .. } | Expr::InList { .. } => self.any_or = true,
            other => self.all.extend(table(other)),
        }
        ControlFlow::Continue(())
    }
}

struct WithoutMarks;

impl VisitorMut for WithoutMarks {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::OuterJoin(column) = expr {
            *expr = std::mem::replace(column, Expr::Identifier(Ident::new("")));
        }
        ControlFlow::Continue(())
    }
}

/// The tables of FROM: those that nothing marks side by side, then the others, each behind those that it is joined to.
fn joined(from: Vec<TableWithJoins>, mut optional: BTreeMap<String, Optional>) -> Result<Vec<TableWithJoins>> {
    let mut base: Option<TableWithJoins> = None;
    let (mut placed, mut waiting) = (HashSet::new(), Vec::new());
    for table in from {
        if !table.joins.is_empty() || matches!(table.relation, TableFactor::Derived { lateral: true, .. }) {
            return Err(refused("together with JOIN or LATERAL in the same FROM"));
        }
        let name = alias_of(&table.relation);
        if optional.contains_key(&name) {
            waiting.push((name, table.relation));
            continue;
        }
        placed.insert(name);
        match &mut base {
            None => base = Some(table),
            Some(base) => base.joins.push(join(table.relation, JoinOperator::CrossJoin(JoinConstraint::None))),
        }
    }
    let mut base = base.ok_or_else(marks_in_a_circle)?;
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|(name, _)| optional.get(name).is_some_and(|one| one.needs.is_subset(&placed)));
        let (name, relation) = ready.map(|index| waiting.remove(index)).ok_or_else(marks_in_a_circle)?;
        let condition = optional.remove(&name).and_then(|one| one.condition).ok_or_else(marks_in_a_circle)?;
        base.joins.push(join(relation, JoinOperator::LeftOuter(JoinConstraint::On(condition))));
        placed.insert(name);
    }
    match optional.keys().next() {
        // A column of a query around this one.
        Some(_) => Err(refused("behind a column of an outer query")),
        None => Ok(vec![base]),
    }
}

fn marks_in_a_circle() -> Error {
    Error::new(ErrorKind::Syntax, "tables that (+) marks are joined to each other in a circle")
        .with_hint("leave (+) out of the conditions of the table whose rows are all wanted")
}

fn join(relation: TableFactor, join_operator: JoinOperator) -> Join {
    Join { relation, global: false, join_operator }
}

fn alias_of(table: &TableFactor) -> String {
    let alias = match table {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias.as_ref(),
        _ => None,
    };
    alias.map(|alias| alias.name.value.clone()).unwrap_or_default()
}
