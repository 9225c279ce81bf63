//! FROM over SUPER values: `FROM t c, c.orders o, o.items AS i AT place`.
//!
//! The tables on the left become a derived table that yields their columns, and for each element of the array a row:
//! `(SELECT c.*, unnest(elements of c.orders) AS o, unnest(their places) FROM t c)`. What has been bound to them means its columns from then on.

use super::Binder;
use super::columns::{Columns, column};
use super::navigate::{self, value_of};
use super::scope::{Factor, Scope, check_free};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, JsonPath, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
    Value, VisitMut, VisitorMut,
};
use slipher_common::functions::{SUPER_ELEMENTS, SUPER_NAMES, SUPER_PLACES, SUPER_VALUES};
use slipher_common::{Error, Result};
use slipher_sql::names::folded;
use slipher_sql::output::{numbered, plain_name};
use slipher_sql::rewrite::build::call;
use slipher_sql::{UNPIVOTED, parse_made};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// What a factor of FROM iterates over.
pub(super) struct Iteration {
    /// The value, bound.
    value: Expr,
    /// The alias of the factor that has it; None where that is of a query around.
    pub(super) owner: Option<String>,
    /// The user's name of each element.
    name: Ident,
    /// The user's name of its place, or of the attribute's name.
    place: Option<Ident>,
    /// Over the attributes of an object, not over the elements of an array.
    attributes: bool,
}

impl Binder<'_> {
    /// What a table of FROM iterates over, where it is no relation but a part of a factor before it.
    pub(super) fn iteration(&mut self, table: &mut TableFactor, scope: &Scope) -> Result<Option<Iteration>> {
        let TableFactor::Table { name, alias, args: None, json_path, .. } = table else { return Ok(None) };
        let mut parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
        let unmarked = parts.first().and_then(|first| first.value.strip_prefix(UNPIVOTED)).map(str::to_owned);
        let attributes = unmarked.is_some();
        if let (Some(first), Some(unmarked)) = (parts.first_mut(), unmarked) {
            first.value = unmarked;
        }
        let Some((first, rest)) = parts.split_first() else { return Ok(None) };
        let called = folded(first);
        let has = |factor: &&Factor| factor.visible == called;
        let here = scope.factors.iter().find(has);
        let outside =
            || self.frames.iter().rev().filter_map(|frame| frame.scope.as_ref()).flat_map(|scope| &scope.factors).find(has);
        let Some((factor, owner)) = here.map(|factor| (factor, true)).or_else(|| outside().map(|factor| (factor, false))) else {
            return no_iteration(json_path, attributes);
        };
        let base = match (value_of(factor), rest.split_first()) {
            (Some(value), _) => Some(navigate::attributes(value, rest)),
            (None, Some((of, more))) => {
                factor.column(&folded(of))?.map(|name| navigate::attributes(column(&factor.alias, name), more))
            }
            (None, None) => None,
        };
        let Some(base) = base else { return no_iteration(json_path, attributes) };
        let owner = owner.then(|| factor.alias.clone());
        let value = match json_path.take() {
            Some(mut path) => {
                self.show(scope);
                self.expressions(&mut path)?;
                navigate::path(base, path)?
            }
            None => base,
        };
        let last = parts.last().unwrap_or(first).clone();
        let (name, place) = names_of(alias.as_ref(), last)?;
        Ok(Some(Iteration { value, owner, name, place, attributes }))
    }

    /// Iterates over a value of the tables in `tables`, which the columns are of: becomes part of them.
    pub(super) fn iterate(
        &mut self,
        tables: &mut TableWithJoins,
        iteration: Iteration,
        keeps_rows: bool,
        (columns, scope): (Columns, &mut Scope),
    ) -> Result<Columns> {
        let unique = self.aliases.unique(&folded(&iteration.name));
        let inside: Vec<Expr> = self.known(&columns)?.iter().map(|(_, meaning)| meaning.clone()).collect();
        let mut renamed = Renamed { alias: unique.clone(), names: HashMap::new() };
        let mut items = Vec::new();
        for factor in scope
            .factors
            .iter_mut()
            .filter(|factor| mentions(&inside, &factor.alias) || iteration.owner.as_ref() == Some(&factor.alias))
        {
            if factor.is_target {
                return Err(Error::not_supported(
                    "iterating over a SUPER value of the table that is changed",
                    "iterate in a subquery",
                ));
            }
            let names = factor.columns.as_mut().ok_or_else(|| {
                Error::not_supported(
                    "iterating beside a table whose columns have no names of their own",
                    "put it into a subquery",
                )
            })?;
            for name in names {
                let new = numbered(plain_name(name), items.len());
                items.push(item(column(&factor.alias, name), &new));
                renamed.names.insert((factor.alias.clone(), name.clone()), new.clone());
                *name = new;
            }
            factor.alias = unique.clone();
        }
        let iterated = self.iterated(&iteration, keeps_rows, &unique, &mut items);
        tables.relation = derived(items, Some(std::mem::replace(tables, empty())), &unique)?;
        let mut columns = columns;
        for meaning in columns.iter_mut().flatten().chain(scope.columns.iter_mut().flatten()).map(|(_, meaning)| meaning) {
            let _ = meaning.visit(&mut renamed);
        }
        if let Some(columns) = &mut columns {
            columns.extend(iterated.meanings().unwrap_or_default());
        }
        check_free(&iterated, scope)?;
        self.columns.extend(iterated.columns.iter().flatten().cloned());
        scope.factors.push(iterated);
        Ok(columns)
    }

    /// A value of a query around: a derived table by itself.
    pub(super) fn iterate_alone(&mut self, table: &mut TableFactor, iteration: &Iteration) -> Result<Factor> {
        let unique = self.aliases.unique(&folded(&iteration.name));
        let mut items = Vec::new();
        let factor = self.iterated(iteration, false, &unique, &mut items);
        *table = derived(items, None, &unique)?;
        Ok(factor)
    }

    /// The factor of an iteration, whose columns become items of its derived table.
    fn iterated(&self, iteration: &Iteration, keeps_rows: bool, alias: &str, items: &mut Vec<SelectItem>) -> Factor {
        let visible = folded(&iteration.name);
        let mut names = Vec::new();
        let mut add = |function: &str, name: &str, items: &mut Vec<SelectItem>| {
            let new = numbered(name, items.len());
            let all = call(function, vec![iteration.value.clone(), Expr::value(Value::Boolean(keeps_rows))]);
            items.push(item(call("unnest", vec![all]), &new));
            names.push(new);
        };
        let (values, places) = if iteration.attributes { (SUPER_VALUES, SUPER_NAMES) } else { (SUPER_ELEMENTS, SUPER_PLACES) };
        add(values, &visible, items);
        if let Some(place) = &iteration.place {
            add(places, &folded(place), items);
        }
        Factor {
            alias: alias.to_owned(),
            visible,
            plain: None,
            hides: None,
            is_target: false,
            columns: Some(names),
            is_iteration: true,
        }
    }
}

fn no_iteration(json_path: &Option<JsonPath>, attributes: bool) -> Result<Option<Iteration>> {
    match json_path {
        None if attributes => Err(Error::not_supported(
            "UNPIVOT of what is no value of a table before it",
            "write FROM t, UNPIVOT t.a_super AS value AT name",
        )),
        None => Ok(None),
        Some(_) => Err(Error::not_supported(
            "navigation from a table in FROM",
            "name a column of a table that stands before it: FROM t, t.c[0] AS x",
        )),
    }
}

/// The names of elements and of their places.
fn names_of(alias: Option<&TableAlias>, last: Ident) -> Result<(Ident, Option<Ident>)> {
    let Some(alias) = alias else { return Ok((last, None)) };
    if !alias.columns.is_empty() {
        let hint = "an element has one name and its place another: FROM t, t.c AS element AT place";
        return Err(Error::not_supported("names of columns for the elements of a SUPER value", hint));
    }
    Ok((alias.name.clone(), alias.at.clone()))
}

fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

fn empty() -> TableWithJoins {
    let name = datafusion::sql::sqlparser::ast::ObjectName::from(vec![Ident::new("slipher$nothing")]);
    TableWithJoins {
        relation: TableFactor::Derived {
            lateral: false,
            subquery: Box::new(slipher_sql::rewrite::query_of(SetExpr::Table(Box::new(
                datafusion::sql::sqlparser::ast::Table { table_name: Some(name.to_string()), schema_name: None },
            )))),
            alias: None,
            sample: None,
        },
        joins: Vec::new(),
    }
}

fn derived(items: Vec<SelectItem>, from: Option<TableWithJoins>, alias: &str) -> Result<TableFactor> {
    let mut subquery = parse_made("SELECT 1")?;
    let SetExpr::Select(select) = subquery.body.as_mut() else { return Err(Error::internal("a made query is no SELECT")) };
    select.projection = items;
    select.from = from.into_iter().collect();
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', alias), columns: Vec::new(), at: None };
    Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// Whether a column of this alias is among the expressions.
fn mentions(expressions: &[Expr], alias: &str) -> bool {
    struct Finds<'a>(&'a str);
    impl datafusion::sql::sqlparser::ast::Visitor for Finds<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(parts) if parts.first().is_some_and(|first| first.value == self.0) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    use datafusion::sql::sqlparser::ast::Visit as _;
    expressions.iter().any(|expression| expression.visit(&mut Finds(alias)).is_break())
}

/// Columns that have moved into a derived table.
struct Renamed {
    alias: String,
    names: HashMap<(String, String), String>,
}

impl VisitorMut for Renamed {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [alias, name] = parts.as_slice()
            && let Some(new) = self.names.get(&(alias.value.clone(), name.value.clone()))
        {
            *expr = column(&self.alias, new);
        }
        ControlFlow::Continue(())
    }
}

/// A condition beside an iteration, as a join with one row; whether rows without elements stay.
pub(super) fn condition_of(operator: JoinOperator) -> Result<(Option<Expr>, bool)> {
    let refused =
        |what: &str| Error::not_supported(what, "iterate with a comma, CROSS JOIN, [INNER] JOIN ... ON or LEFT JOIN ... ON TRUE");
    let (constraint, keeps_rows) = match operator {
        JoinOperator::CrossJoin(constraint) | JoinOperator::Inner(constraint) | JoinOperator::Join(constraint) => {
            (constraint, false)
        }
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, true),
        _ => return Err(refused("this kind of join with the elements of a SUPER value")),
    };
    match constraint {
        JoinConstraint::None => Ok((None, keeps_rows)),
        JoinConstraint::On(condition) => {
            let always = matches!(&condition, Expr::Value(value) if value.value == Value::Boolean(true));
            match (always, keeps_rows) {
                (true, _) => Ok((None, keeps_rows)),
                (false, false) => Ok((Some(condition), false)),
                (false, true) => Err(refused("a condition of LEFT JOIN with the elements of a SUPER value")),
            }
        }
        _ => Err(refused("USING or NATURAL with the elements of a SUPER value")),
    }
}

/// A join with one row under a condition.
pub(super) fn filter_join(join_operator: JoinOperator, alias: &str) -> Result<Join> {
    let relation = derived(vec![item(Expr::value(Value::Boolean(true)), "one")], None, alias)?;
    Ok(Join { relation, global: false, join_operator })
}

/// Whether bound tables have a factor of this alias that can be seen from outside.
pub(super) fn has_alias(tables: &TableWithJoins, alias: &str) -> bool {
    let mut pending = vec![tables];
    while let Some(tables) = pending.pop() {
        for table in std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation)) {
            let own = match table {
                TableFactor::NestedJoin { table_with_joins, alias: None } => {
                    pending.push(table_with_joins);
                    None
                }
                TableFactor::Table { alias, .. }
                | TableFactor::Derived { alias, .. }
                | TableFactor::Function { alias, .. }
                | TableFactor::UNNEST { alias, .. }
                | TableFactor::TableFunction { alias, .. }
                | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
                _ => None,
            };
            if own.is_some_and(|own| own.name.value == alias) {
                return true;
            }
        }
    }
    false
}

/// Whether a bound expression reads a column of one of these aliases.
pub(super) fn reads_one_of(expression: &Expr, aliases: &HashSet<String>) -> bool {
    aliases.iter().any(|alias| mentions(std::slice::from_ref(expression), alias))
}
