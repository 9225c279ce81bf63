//! The columns of JOIN ... USING: what an unqualified name of one means.
//!
//! The engine reads it as the left table's column, which is NULL in the rows that only the right table has, and in WHERE
//! it finds the name ambiguous. So it is said here which column is meant.

use super::build::call;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    VisitMut, VisitorMut,
};
use slipher_common::{Error, Result};
use std::ops::ControlFlow;

/// The columns that joins merge, by name, and what each means.
#[derive(Debug, Default)]
struct Merged(Vec<(String, Expr)>);

/// Which side's rows a join keeps without a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    LeftOrNone,
    Right,
    Both,
}

/// Rewrites the names in a select's own clauses.
pub(super) fn rewrite_select(select: &mut Select) -> Result<()> {
    let merged = merged_columns(select)?;
    if merged.0.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && let Some(meaning) = merged.find(ident)
        {
            *item = match meaning {
                column @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(column.clone()),
                other => SelectItem::ExprWithAlias { expr: other.clone(), alias: ident.clone() },
            };
        } else if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            merged.replace_in(expr);
        }
    }
    for expr in [&mut select.selection, &mut select.having, &mut select.qualify].into_iter().flatten() {
        merged.replace_in(expr);
    }
    if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
        expressions.iter_mut().for_each(|expr| merged.replace_in(expr));
    }
    Ok(())
}

/// Rewrites the names in a query's ORDER BY. Call it before [`rewrite_select`].
pub(super) fn rewrite_order_by(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let mut merged = merged_columns(select)?;
    // A name of the select list comes first.
    merged.0.retain(|(name, _)| {
        !select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => folded(ident) == *name,
            SelectItem::ExprWithAlias { alias, .. } => folded(alias) == *name,
            _ => false,
        })
    });
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(expressions) = &mut order_by.kind
    {
        expressions.iter_mut().for_each(|by| merged.replace_in(&mut by.expr));
    }
    Ok(())
}

fn merged_columns(select: &Select) -> Result<Merged> {
    let mut merged = Merged::default();
    let any_wildcard = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    for table in &select.from {
        let mut tables = vec![table_name(&table.relation)];
        for join in &table.joins {
            let right = table_name(&join.relation);
            if let Some((keeps, constraint)) = keeps(&join.join_operator) {
                merged.join(&tables, right.as_ref(), keeps, constraint, any_wildcard)?;
            }
            tables.push(right);
        }
    }
    Ok(merged)
}

fn keeps(operator: &JoinOperator) -> Option<(Keeps, &JoinConstraint)> {
    use JoinOperator as O;
    match operator {
        O::Join(constraint) | O::Inner(constraint) | O::Left(constraint) | O::LeftOuter(constraint) => {
            Some((Keeps::LeftOrNone, constraint))
        }
        O::Right(constraint) | O::RightOuter(constraint) => Some((Keeps::Right, constraint)),
        O::FullOuter(constraint) => Some((Keeps::Both, constraint)),
        _ => None,
    }
}

/// What columns of a table are qualified with.
fn table_name(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()).cloned(),
        _ => None,
    }
}

fn folded(ident: &Ident) -> String {
    crate::sql::names::fold(&ident.value, ident.quote_style.is_some())
}

fn column(table: &Ident, name: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), name.clone()])
}

impl Merged {
    fn find(&self, ident: &Ident) -> Option<&Expr> {
        let name = folded(ident);
        self.0.iter().find(|(known, _)| *known == name).map(|(_, meaning)| meaning)
    }

    fn join(
        &mut self,
        left: &[Option<Ident>],
        right: Option<&Ident>,
        keeps: Keeps,
        constraint: &JoinConstraint,
        any_wildcard: bool,
    ) -> Result<()> {
        let columns = match constraint {
            JoinConstraint::Using(columns) => columns,
            JoinConstraint::Natural if keeps != Keeps::LeftOrNone => {
                return Err(Error::not_supported("NATURAL RIGHT JOIN or NATURAL FULL JOIN", "write JOIN ... ON"));
            }
            _ => return Ok(()),
        };
        if any_wildcard && keeps != Keeps::LeftOrNone {
            return Err(Error::not_supported("SELECT * over RIGHT JOIN or FULL JOIN with USING", "name the columns"));
        }
        for ident in columns.iter().filter_map(|name| name.0.last()).filter_map(|part| part.as_ident()) {
            let from_left = match (self.find(ident), left) {
                (Some(merged), _) => Some(merged.clone()),
                (None, [Some(only)]) => Some(column(only, ident)),
                _ => None,
            };
            let from_right = right.map(|right| column(right, ident));
            let meaning = match (keeps, from_left, from_right) {
                (Keeps::LeftOrNone, Some(left), _) => left,
                // Which table has it only the catalog knows; the engine asks it.
                (Keeps::LeftOrNone, None, _) => continue,
                (Keeps::Right, _, Some(right)) => right,
                (Keeps::Both, Some(left), Some(right)) => call("coalesce", vec![left, right]),
                _ => return Err(Error::not_supported("this outer join with USING", "write JOIN ... ON")),
            };
            let name = folded(ident);
            self.0.retain(|(known, _)| *known != name);
            self.0.push((name, meaning));
        }
        Ok(())
    }

    fn replace_in(&self, expression: &mut Expr) {
        // It never breaks off.
        let _ = expression.visit(&mut Replace { merged: self, depth: 0 });
    }
}

/// Replaces names outside of subqueries, whose names are their own.
struct Replace<'a> {
    merged: &'a Merged,
    depth: usize,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(ident) = expression
            && let Some(meaning) = self.merged.find(ident)
        {
            *expression = meaning.clone();
        }
        ControlFlow::Continue(())
    }
}
