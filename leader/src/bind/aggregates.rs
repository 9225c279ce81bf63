//! Aggregates that belong to a query around the one in which they stand.
//!
//! SQL: an aggregate belongs to the innermost query of which its argument reads a column. The engine knows aggregates of the query only in
//! which they stand. So a query whose aggregate stands in a subquery is taken apart: its groups become a derived table with a column for each
//! key and each aggregate, and everything above the groups reads that.

use super::Binder;
use super::columns::column;
use super::functions::is_aggregate;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderBy, Query, Select, SelectItem, SetExpr, TableFactor, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::parse_made;
use slipher_sql::rewrite::query_of;
use std::ops::ControlFlow;

/// The name of the derived table.
const GROUPS: &str = "slipher$groups";

/// The aggregates of a query that stand in its subqueries.
#[derive(Debug, Default)]
pub(super) struct FromInside {
    /// The alias of the query's groups.
    alias: String,
    aggregates: Vec<Expr>,
}

impl Binder<'_> {
    /// The column that an aggregate becomes which belongs to a query around this one; None for any other expression.
    pub(super) fn outer_aggregate(&mut self, expr: &Expr) -> Result<Option<Expr>> {
        let innermost = self.frames.len().saturating_sub(1);
        if innermost == 0 || !is_aggregate(expr) {
            return Ok(None);
        }
        let mut reads = Reads::default();
        let _ = expr.visit(&mut reads);
        // What no frame has belongs to a subquery of the argument.
        let levels = reads.columns.iter().filter_map(|(alias, _)| self.frames.iter().rposition(|frame| frame.reads(alias)));
        let Some(level) = levels.max().filter(|level| *level < innermost && !reads.others) else { return Ok(None) };
        let fresh = self.aliases.clone();
        let Some(frame) = self.frames.get_mut(level) else { return Ok(None) };
        let changed = frame.scope.iter().flat_map(|scope| &scope.factors).any(|factor| factor.is_target);
        if let Some(place) = frame.without_aggregates.or(changed.then_some("UPDATE")) {
            let error = Error::new(ErrorKind::Grouping, format!("aggregates are not allowed in {place}"));
            return Err(
                error.with_hint("an aggregate of outer columns only is one of the outer query: filter its groups with HAVING")
            );
        }
        let inside = frame.inside.get_or_insert_with(|| FromInside { alias: fresh.unique(GROUPS), aggregates: Vec::new() });
        Ok(Some(inside.column_of(expr)))
    }

    /// Takes the innermost query apart, where an aggregate of it stands in a subquery.
    pub(super) fn apart(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let Some(inside) = frame.inside.take() else { return Ok(()) };
        let outputs = frame.outputs.list.iter().map(|output| output.expr.clone()).collect::<Vec<_>>();
        let keys = keys_of(select, &outputs)?;
        let mut below = select.clone();
        let mut groups = Groups { inside, keys, subqueries: 0 };
        for item in &mut select.projection {
            groups.keep_name(item);
        }
        select.selection = select.having.take();
        select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        select.from.clear();
        let _ = select.visit(&mut groups);
        self.check_grouped(select)?;
        if let Some(order_by) = order_by {
            let _ = VisitMut::visit(order_by, &mut groups);
            self.check_grouped(order_by)?;
        }
        below.distinct = None;
        (below.having, below.qualify) = (None, None);
        below.named_window.clear();
        below.projection = groups.items();
        below.group_by = GroupByExpr::Expressions(groups.keys, Vec::new());
        let mut made = parse_made("SELECT 1 FROM (SELECT 1) AS g")?;
        let SetExpr::Select(made) = made.body.as_mut() else { return Err(Error::internal("the query of groups is no SELECT")) };
        for table in &mut made.from {
            if let TableFactor::Derived { subquery, alias: Some(alias), .. } = &mut table.relation {
                **subquery = query_of(SetExpr::Select(Box::new(below.clone())));
                alias.name = Ident::with_quote('"', groups.inside.alias.clone());
            }
        }
        select.from = std::mem::take(&mut made.from);
        Ok(())
    }

    /// Above the groups nothing of what was grouped can be read.
    fn check_grouped<T: Visit>(&self, piece: &T) -> Result<()> {
        let mut reads = Reads::default();
        let _ = piece.visit(&mut reads);
        let Some(frame) = self.frames.last() else { return Ok(()) };
        match reads.columns.iter().find(|(alias, _)| frame.reads(alias)) {
            Some((alias, name)) => {
                let message =
                    format!("column \"{alias}.{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
                Err(Error::new(ErrorKind::Grouping, message))
            }
            None => Ok(()),
        }
    }
}

impl FromInside {
    fn column_of(&mut self, aggregate: &Expr) -> Expr {
        let index = self.aggregates.iter().position(|known| known == aggregate).unwrap_or_else(|| {
            self.aggregates.push(aggregate.clone());
            self.aggregates.len() - 1
        });
        column(&self.alias, &format!("aggregate_{index}"))
    }
}

/// What an expression reads.
#[derive(Default)]
struct Reads {
    columns: Vec<(String, String)>,
    /// Something else than columns that are bound.
    others: bool,
}

impl Visitor for Reads {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [alias, name] = parts.as_slice() {
                    self.columns.push((alias.value.clone(), name.value.clone()));
                }
            }
            Expr::Identifier(_) => self.others = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Replaces keys and aggregates by the columns of the derived table.
struct Groups {
    inside: FromInside,
    keys: Vec<Expr>,
    /// So many subqueries around the place: their own aggregates are not this query's.
    subqueries: usize,
}

impl Groups {
    fn key(&self, expr: &Expr) -> Option<Expr> {
        let index = self.keys.iter().position(|key| key == expr)?;
        Some(column(&self.inside.alias, &format!("key_{index}")))
    }

    fn items(&self) -> Vec<SelectItem> {
        let item =
            |(name, expr): (String, &Expr)| SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
        let keys = self.keys.iter().enumerate().map(|(index, key)| (format!("key_{index}"), key));
        let aggregates = self.inside.aggregates.iter().enumerate().map(|(index, one)| (format!("aggregate_{index}"), one));
        keys.chain(aggregates).map(item).collect()
    }

    /// A column that is a key keeps its name.
    fn keep_name(&self, item: &mut SelectItem) {
        if let (Some(name), SelectItem::UnnamedExpr(expr)) = (super::outputs::engine_name(item), &*item) {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
        }
    }
}

impl VisitorMut for Groups {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.subqueries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.subqueries = self.subqueries.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(key) = self.key(expr) {
            *expr = key;
        } else if self.subqueries == 0 && is_aggregate(expr) {
            *expr = self.inside.column_of(expr);
        }
        ControlFlow::Continue(())
    }
}

/// The keys of a query, none of them a position.
fn keys_of(select: &Select, outputs: &[Option<Expr>]) -> Result<Vec<Expr>> {
    let refused = || {
        let what = "an aggregate of the outer query in a subquery, together with GROUPING SETS, ROLLUP, CUBE or GROUP BY ALL,";
        Error::not_supported(what, "group in a subquery in FROM")
    };
    let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else { return Err(refused()) };
    if !modifiers.is_empty() {
        return Err(refused());
    }
    // HAVING without GROUP BY: one group of all rows.
    if let [Expr::GroupingSets(sets)] = keys.as_slice()
        && matches!(sets.as_slice(), [set] if set.is_empty())
    {
        return Ok(Vec::new());
    }
    let key = |key: &Expr| match key {
        Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) | Expr::Tuple(_) => Err(refused()),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => {
                let index = text.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
                index.and_then(|index| outputs.get(index)?.clone()).ok_or_else(refused)
            }
            _ => Ok(key.clone()),
        },
        other => Ok(other.clone()),
    };
    keys.iter().map(key).collect()
}
