//! Redshift's spelling becomes what the engine's planner knows. The functions that appear here and are not the engine's
//! own are in `slipher_common::functions`.
//!
//! Clauses that the planner would pass over in silence are refused here.

use super::output;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, GroupByExpr, Ident, LimitClause, Parens, Query, Select, SelectItem, SetExpr, SetOperator,
    SetQuantifier, Statement, TableAlias, TableAliasColumnDef, TableFactor, Top, TopQuantity, Value, Values, VisitMut,
    VisitorMut, visit_expressions, visit_relations,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::ops::ControlFlow;

mod balance;
pub mod build;
mod conditions;
mod functions;
mod patterns;
mod rows;
#[cfg(test)]
mod tests;
mod types;
mod windows;

pub use functions::STATEMENT_TIME;
use windows::Windows;

/// The engine's table function that counts.
const SERIES_FUNCTION: &str = "generate_series";

/// Turns a span of the syntax tree into a position, in characters from 1.
pub(super) type PositionOf<'a> = &'a dyn Fn(Span) -> usize;

/// Rewrites a query, subqueries included.
pub(crate) fn rewrite_statement(statement: &mut Statement, position_of: PositionOf<'_>) -> Result<()> {
    if let Statement::Query(query) = statement {
        // Names come from what the user wrote, so before anything changes.
        output::name_columns(query);
    }
    run(statement, position_of)
}

/// Rewrites one expression.
pub(crate) fn rewrite_expression(expression: &mut Expr, position_of: PositionOf<'_>) -> Result<()> {
    run(expression, position_of)
}

/// Rewrites a cast whose operand is rewritten already.
pub(crate) fn rewrite_cast(cast: &mut Expr) -> Result<()> {
    types::rewrite(cast)
}

fn run<T: VisitMut>(node: &mut T, position_of: PositionOf<'_>) -> Result<()> {
    match node.visit(&mut Rewriter { position_of, windows: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// The expression as Redshift writes it.
pub(super) fn as_text(expression: Expr) -> Expr {
    build::call(slipher_common::functions::TO_TEXT, vec![expression])
}

/// A query of nothing but a body.
pub fn query_of(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

struct Rewriter<'a> {
    position_of: PositionOf<'a>,
    /// What the WINDOW clauses around the current place name, the innermost last.
    windows: Vec<Windows>,
}

impl Rewriter<'_> {
    /// From here on names of windows are those of `select`.
    fn enter(&mut self, select: Option<&Select>) -> Result<()> {
        let windows = select.map(|select| Windows::of(select, self.position_of)).transpose()?;
        self.windows.push(windows.unwrap_or_default());
        Ok(())
    }

    fn leave(&mut self) -> ControlFlow<Box<Error>> {
        self.windows.pop();
        ControlFlow::Continue(())
    }
}

fn flow(result: Result<()>) -> ControlFlow<Box<Error>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        // ORDER BY knows the windows of the SELECT it stands behind.
        let entered = self.enter(query.body.as_select());
        flow(entered.and_then(|()| rewrite_query(query)))
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.leave()
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let position = (self.position_of)(select.select_token.0.span);
        let rewritten = rewrite_select(select).map_err(|error| error.at(position));
        let entered = rewritten.and_then(|()| self.enter(Some(&*select)));
        select.named_window.clear();
        flow(entered)
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<Self::Break> {
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Self::Break> {
        name_series(table);
        flow(check_table(table, self.position_of))
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        balance::balance(expression);
        windows::keep_bounds(expression);
        match self.windows.last() {
            Some(windows) => flow(windows.rewrite(expression, self.position_of)),
            None => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        let rewritten = functions::rewrite(expression, self.position_of)
            .and_then(|()| types::rewrite(expression))
            .and_then(|()| patterns::rewrite(expression))
            .and_then(|()| rows::rewrite(expression));
        flow(rewritten)
    }
}

/// Tables that one WITH query may read, each as often as it is read: the engine puts a WITH query where its name stands, so that one that
/// reads another one twice is twice as large.
const TABLES_OF_WITH_MAX: usize = 2_000;

fn check_with(query: &Query) -> Result<()> {
    let Some(with) = &query.with else { return Ok(()) };
    let mut sizes: HashMap<String, usize> = HashMap::new();
    for table in &with.cte_tables {
        let mut size = 0_usize;
        let _ = visit_relations(table.query.as_ref(), |name| {
            let known = name.0.last().and_then(|part| part.as_ident()).and_then(|ident| sizes.get(&ident.value.to_lowercase()));
            size = size.saturating_add(known.copied().unwrap_or(1));
            ControlFlow::<()>::Continue(())
        });
        if size > TABLES_OF_WITH_MAX {
            return Err(Error::new(ErrorKind::TooComplex, "statement too complex")
                .with_detail(format!("WITH queries that read each other read more than {TABLES_OF_WITH_MAX} tables"))
                .with_hint("keep the rows of one that is read often in a temporary table"));
        }
        sizes.insert(table.alias.name.value.to_lowercase(), size.max(1));
    }
    Ok(())
}

fn rewrite_query(query: &mut Query) -> Result<()> {
    check_with(query)?;
    if !query.locks.is_empty() {
        return Err(Error::not_supported(
            "SELECT ... FOR UPDATE or FOR SHARE",
            "leave it out; a query sees one version of all tables",
        ));
    }
    if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() || !query.pipe_operators.is_empty()
    {
        return Err(Error::not_supported("this clause behind a query", "write plain SELECT ... ORDER BY ... LIMIT"));
    }
    if let Some(fetch) = query.fetch.take() {
        if fetch.with_ties || fetch.percent || limit_of(&query.limit_clause).is_some() {
            return Err(Error::not_supported("FETCH FIRST with PERCENT, WITH TIES or LIMIT", "write LIMIT n"));
        }
        let one = || Expr::value(Value::Number("1".to_owned(), false));
        set_limit(query, fetch.quantity.unwrap_or_else(one));
    }
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(top) = select.top.take()
    {
        if limit_of(&query.limit_clause).is_some() {
            return Err(Error::not_supported("TOP together with LIMIT", "write one of them"));
        }
        let limit = top_limit(top)?;
        set_limit(query, limit);
    }
    rewrite_set_operations(query.body.as_mut())
}

fn limit_of(clause: &Option<LimitClause>) -> Option<&Expr> {
    match clause {
        Some(LimitClause::LimitOffset { limit, .. }) => limit.as_ref(),
        Some(LimitClause::OffsetCommaLimit { limit, .. }) => Some(limit),
        None => None,
    }
}

fn set_limit(query: &mut Query, rows: Expr) {
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(rows),
        Some(LimitClause::OffsetCommaLimit { limit, .. }) => *limit = rows,
        none => *none = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() }),
    }
}

fn top_limit(top: Top) -> Result<Expr> {
    match top.quantity {
        Some(TopQuantity::Constant(rows)) if !top.percent && !top.with_ties => {
            Ok(Expr::value(Value::Number(rows.to_string(), false)))
        }
        Some(TopQuantity::Expr(rows)) if !top.percent && !top.with_ties => Ok(rows),
        _ => Err(Error::not_supported("TOP with PERCENT or WITH TIES", "write TOP n")),
    }
}

/// MINUS is EXCEPT; a branch with TOP becomes a query of its own; VALUES gets the types of its columns.
fn rewrite_set_operations(body: &mut SetExpr) -> Result<()> {
    let mut pending = vec![body];
    while let Some(body) = pending.pop() {
        if let SetExpr::Values(values) = body {
            types::floats_in_columns(values);
            if values.rows.len() > 1 && (has_subquery(values) || types::has_mixed_columns(values)) {
                *body = rows_as_branches(std::mem::take(&mut values.rows))?;
            }
            continue;
        }
        let SetExpr::SetOperation { op, left, right, set_quantifier } = body else { continue };
        if *op == SetOperator::Minus {
            *op = SetOperator::Except;
        }
        // The engine would keep every row of the left that has one on the right, or none, however many there are.
        if *op != SetOperator::Union && matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName) {
            let instead =
                "leave ALL out; or number equal rows with ROW_NUMBER() OVER (PARTITION BY every column) on both sides first";
            return Err(Error::not_supported(format_args!("{op} ALL"), instead));
        }
        for branch in [left, right] {
            if let SetExpr::Select(select) = branch.as_mut()
                && let Some(top) = select.top.take()
            {
                let rows = top_limit(top)?;
                let select = std::mem::replace(branch.as_mut(), empty());
                let mut query = query_of(select);
                set_limit(&mut query, rows);
                **branch = SetExpr::Query(Box::new(query));
            }
            pending.push(branch.as_mut());
        }
    }
    Ok(())
}

fn has_subquery(values: &Values) -> bool {
    visit_expressions(values, |expression| match expression {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// Rows of VALUES as SELECTs: the planner wants cells of one column to have their type from one kind of thing.
fn rows_as_branches(rows: Vec<Parens<Vec<Expr>>>) -> Result<SetExpr> {
    let mut all: Option<SetExpr> = None;
    for row in rows {
        let mut query = super::made::parse_made("SELECT 1")?;
        let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("a row of VALUES is no SELECT")) };
        let named = |(index, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::new(format!("column{}", index + 1)) };
        select.projection = row.content.into_iter().enumerate().map(named).collect();
        all = Some(match all {
            None => *query.body,
            Some(before) => SetExpr::SetOperation {
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                left: Box::new(before),
                right: query.body,
            },
        });
    }
    all.ok_or_else(|| Error::internal("VALUES without a row"))
}

/// Stands in a tree's place while the tree moves.
fn empty() -> SetExpr {
    SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() })
}

/// Tables that one FROM may list; each is a join.
const TABLES_IN_FROM_MAX: usize = 300;

fn rewrite_select(select: &mut Select) -> Result<()> {
    if select.from.len() > TABLES_IN_FROM_MAX {
        return Err(Error::new(ErrorKind::TooComplex, "statement too complex")
            .with_detail(format!("FROM lists more than {TABLES_IN_FROM_MAX} tables"))
            .with_hint("keep the rows of some of them in a table"));
    }
    let unknown = [
        (select.into.is_some(), "INTO inside a query", "write CREATE TABLE ... AS"),
        (select.prewhere.is_some(), "PREWHERE", "write WHERE"),
        (select.select_modifiers.is_some(), "a modifier of SELECT", "leave it out"),
    ];
    if let Some((_, what, instead)) = unknown.into_iter().find(|(there, ..)| *there) {
        return Err(Error::not_supported(what, instead));
    }
    if let Some(exclude) = select.exclude.take() {
        exclude_from_wildcard(select, exclude)?;
    }
    without_empty_keys(select);
    group_for_having(select);
    conditions::mark(select);
    Ok(())
}

/// `GROUP BY CUBE (a), ()`: the empty key says nothing beside others.
fn without_empty_keys(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    let is_empty = |key: &Expr| matches!(key, Expr::Tuple(parts) if parts.is_empty());
    if keys.iter().any(is_empty) {
        keys.retain(|key| !is_empty(key));
        if keys.is_empty() {
            keys.push(Expr::GroupingSets(vec![Vec::new()]));
        }
    }
}

/// HAVING makes one group of all rows, whether there is an aggregate or not.
fn group_for_having(select: &mut Select) {
    if let (Some(_), GroupByExpr::Expressions(keys, modifiers)) = (&select.having, &mut select.group_by)
        && keys.is_empty()
        && modifiers.is_empty()
    {
        keys.push(Expr::GroupingSets(vec![Vec::new()]));
    }
}

/// `SELECT *, a EXCLUDE b` leaves b out of the whole list; the planner knows `* EXCLUDE (b), a`.
fn exclude_from_wildcard(select: &mut Select, exclude: ExcludeSelectItem) -> Result<()> {
    let mut wildcards = select.projection.iter_mut().filter_map(|item| match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => Some(options),
        _ => None,
    });
    match (wildcards.next(), wildcards.next()) {
        (Some(options), None) if options.opt_exclude.is_none() => {
            options.opt_exclude = Some(exclude);
            Ok(())
        }
        _ => Err(Error::not_supported("EXCLUDE on a list without exactly one *", "name the columns you want")),
    }
}

/// The column of a series in FROM has the name of its alias, or the function's.
fn name_series(table: &mut TableFactor) {
    let TableFactor::Table { name, alias, args: Some(_), .. } = table else { return };
    if !name.to_string().eq_ignore_ascii_case(SERIES_FUNCTION) {
        return;
    }
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(SERIES_FUNCTION),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef::from_name(alias.name.value.clone()));
    }
}

/// The planner looks at names, aliases and arguments of tables only.
fn check_table(table: &TableFactor, position_of: PositionOf<'_>) -> Result<()> {
    match table {
        TableFactor::Table { name, with_hints, version, with_ordinality, partitions, sample, index_hints, .. } => {
            // More names are steps into a column of a table before it; binding knows.
            if name.0.len() <= 3 {
                super::names::QualifiedName::from_object_name(name, |ident| position_of(ident.span))?;
            }
            let strange = !with_hints.is_empty() || version.is_some() || !partitions.is_empty() || !index_hints.is_empty();
            let what = if sample.is_some() {
                "TABLESAMPLE"
            } else if *with_ordinality {
                "WITH ORDINALITY"
            } else if strange {
                "a hint, version or partition of a table"
            } else {
                return Ok(());
            };
            let position = name.0.first().and_then(|part| part.as_ident()).map_or(1, |ident| position_of(ident.span));
            Err(Error::not_supported(what, "leave it out; filter with WHERE, for example WHERE random() < 0.1").at(position))
        }
        TableFactor::Derived { sample: Some(_), .. } => {
            Err(Error::not_supported("TABLESAMPLE", "filter with WHERE, for example WHERE random() < 0.1"))
        }
        _ => Ok(()),
    }
}
