//! FROM: its factors get aliases of their own, and what joins merge becomes part of the scope.

use super::columns::{Clause, Columns, Names};
use super::expressions::Expressions;
use super::outputs::{engine_names, free, select_items, tell_apart};
use super::scope::{Factor, Scope, check_free};
use super::unnest::{Iteration, condition_of, filter_join, has_alias, reads_one_of};
use super::{Binder, BoundRelation, RELATION_SCHEMA};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, Value, VisitMut,
};
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::rewrite::build::{all_of, binary, call};
use slipher_sql::{QualifiedName, ROW_ID_SCHEMA, parse_made};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Which side's rows a join keeps without a partner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    LeftOrNone,
    Right,
    Both,
}

impl Binder<'_> {
    /// Binds a FROM clause; the innermost frame's scope grows with it.
    pub(super) fn from(&mut self, from: &mut Vec<TableWithJoins>) -> Result<()> {
        self.enter("FROM");
        let mut scope = Scope { columns: Some(Vec::new()), ..Scope::default() };
        let mut bound: Vec<TableWithJoins> = Vec::with_capacity(from.len());
        for mut table in from.drain(..) {
            match self.iteration(&mut table.relation, &scope)? {
                // It becomes a part of the tables that it is about, with all that is joined to it.
                Some(iteration) if iteration.owner.is_some() => {
                    self.beside(&mut bound, table.joins, iteration, &mut scope)?;
                }
                iteration => {
                    let columns = self.joined_to(&mut table, iteration, &mut scope)?;
                    scope.columns = both(scope.columns.take(), columns);
                    bound.push(table);
                }
            }
        }
        *from = bound;
        self.show(&scope);
        Ok(())
    }

    /// Lets the innermost frame see a scope.
    pub(super) fn show(&mut self, scope: &Scope) {
        if let Some(frame) = self.frames.last_mut() {
            frame.scope = Some(scope.clone());
        }
    }

    /// What a tree of joins yields.
    pub(super) fn joined(&mut self, table: &mut TableWithJoins, scope: &mut Scope) -> Result<Columns> {
        self.joined_to(table, None, scope)
    }

    /// The same where the first table may iterate over a value of a query around.
    fn joined_to(&mut self, table: &mut TableWithJoins, iteration: Option<Iteration>, scope: &mut Scope) -> Result<Columns> {
        let columns = match iteration {
            Some(iteration) => {
                let factor = self.iterate_alone(&mut table.relation, &iteration)?;
                self.add(factor, scope)?
            }
            None => self.table_factor(&mut table.relation, scope)?,
        };
        let joins = std::mem::take(&mut table.joins);
        self.join_all(table, joins, columns, scope)
    }

    /// Joins further tables to the ones that are bound.
    fn join_all(&mut self, table: &mut TableWithJoins, joins: Vec<Join>, columns: Columns, scope: &mut Scope) -> Result<Columns> {
        let mut columns = columns;
        for mut join in joins {
            if let Some(iteration) = self.iteration(&mut join.relation, scope)? {
                let (condition, keeps_rows) = condition_of(join.join_operator)?;
                columns = self.iterate(table, iteration, keeps_rows, (columns, scope))?;
                if let Some(condition) = condition {
                    let mut only = JoinOperator::Inner(JoinConstraint::On(condition));
                    self.join(&mut only, (columns.clone(), Some(Vec::new())), scope)?;
                    table.joins.push(filter_join(only, &self.aliases.unique("one_row"))?);
                }
                continue;
            }
            let right = self.table_factor(&mut join.relation, scope)?;
            columns = self.join(&mut join.join_operator, (columns, right), scope)?;
            table.joins.push(join);
        }
        Ok(columns)
    }

    /// A comma and a value to iterate over: what it is about is one of the tables before it.
    fn beside(&mut self, bound: &mut [TableWithJoins], joins: Vec<Join>, iteration: Iteration, scope: &mut Scope) -> Result<()> {
        let merges = |join: &Join| {
            constraint_in(&join.join_operator).is_some_and(|of| matches!(of, JoinConstraint::Using(_) | JoinConstraint::Natural))
        };
        if joins.iter().any(merges) {
            let instead = "write JOIN ... ON, or put the tables before it into a subquery";
            return Err(Error::not_supported("USING or NATURAL behind the elements of a SUPER value", instead));
        }
        let owner = iteration.owner.clone().unwrap_or_default();
        let Some(tables) = bound.iter_mut().find(|tables| has_alias(tables, &owner)) else {
            return Err(Error::internal("the table of a SUPER value is not in FROM"));
        };
        // The columns of these tables only: others stay where they are.
        let aliases: HashSet<String> =
            scope.factors.iter().filter(|f| has_alias(tables, &f.alias)).map(|f| f.alias.clone()).collect();
        let all = scope.columns.clone();
        let of_tables = all.map(|all| all.into_iter().filter(|(_, meaning)| reads_one_of(meaning, &aliases)).collect::<Vec<_>>());
        let before = of_tables.as_ref().map_or(0, Vec::len);
        let columns = self.iterate(tables, iteration, false, (of_tables, scope))?;
        let columns = self.join_all(tables, joins, columns, scope)?;
        let new = columns.map(|columns| columns.into_iter().skip(before).collect());
        scope.columns = both(scope.columns.take(), new);
        Ok(())
    }

    fn join(&mut self, operator: &mut JoinOperator, (left, right): (Columns, Columns), scope: &mut Scope) -> Result<Columns> {
        let Some((keeps, constraint)) = constraint_of(operator) else { return Ok(both(left, right)) };
        let names = match constraint {
            JoinConstraint::Using(names) => names.iter().filter_map(|name| name.0.last()?.as_ident().map(folded)).collect(),
            JoinConstraint::Natural => {
                let (left, right) = (self.known(&left)?, self.known(&right)?);
                let shared = |name: &&String| right.iter().any(|(other, _)| other == *name);
                left.iter().map(|(name, _)| name).filter(shared).cloned().collect::<Vec<_>>()
            }
            JoinConstraint::On(condition) => {
                let seen = Scope { columns: both(left.clone(), right.clone()), ..scope.clone() };
                self.show(&seen);
                self.expressions(condition)?;
                return Ok(both(left, right));
            }
            JoinConstraint::None => return Ok(both(left, right)),
        };
        let (left, right) = (self.known(&left)?.clone(), self.known(&right)?.clone());
        let merged = merged_columns(&names, &left, &right, keeps)?;
        // Without a common column, NATURAL is a join of all rows with all.
        *constraint = JoinConstraint::On(merged.condition.unwrap_or_else(|| Expr::value(Value::Boolean(true))));
        scope.merged.extend(names.iter().cloned());
        let others = left.into_iter().chain(right).filter(|(name, _)| !names.contains(name));
        Ok(Some(merged.columns.into_iter().chain(others).collect()))
    }

    /// The columns, which a join must know to merge some of them.
    pub(super) fn known<'c>(&self, columns: &'c Columns) -> Result<&'c Vec<(String, Expr)>> {
        columns.as_ref().ok_or_else(|| {
            Error::not_supported("USING or NATURAL with a table whose columns have no names of their own", "write JOIN ... ON")
        })
    }

    /// Binds a factor and adds it to the scope.
    fn table_factor(&mut self, table: &mut TableFactor, scope: &mut Scope) -> Result<Columns> {
        let factor = match table {
            TableFactor::Table { name, alias, args: None, .. } => self.named(name, alias)?,
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.joined(table_with_joins, scope),
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
                let mut inside = Scope::default();
                match self.joined(table_with_joins, &mut inside)? {
                    Some(columns) => {
                        let mut alias = alias.clone();
                        let (subquery, names) = yielding(columns, table_with_joins.as_ref().clone())?;
                        let factor = self.aliased(&mut alias, Some(names))?;
                        *table = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
                        factor
                    }
                    None => self.aliased(alias, None)?,
                }
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                if *lateral {
                    self.show(scope);
                } else if let Some(frame) = self.frames.last_mut() {
                    frame.scope = None;
                }
                let columns = self.query(subquery)?;
                match alias {
                    Some(alias) => self.aliased(alias, columns)?,
                    None => self.unnamed(alias, columns),
                }
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => self.turned(table)?,
            other => {
                self.show(scope);
                self.table_function(other)?
            }
        };
        self.add(factor, scope)
    }

    /// Adds a factor to the scope.
    fn add(&mut self, factor: Factor, scope: &mut Scope) -> Result<Columns> {
        check_free(&factor, scope)?;
        self.columns.extend(factor.columns.iter().flatten().cloned());
        let columns = factor.meanings();
        scope.factors.push(factor);
        Ok(columns)
    }

    /// A table, a view or a WITH query.
    fn named(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Result<Factor> {
        let written = QualifiedName::from_object_name(name, |_| 1)?;
        let last = written.name.value.clone();
        let with_query = if written.schema.is_none() { self.with_query(&last)? } else { None };
        let (plain, is_target, columns) = match (&written.schema, with_query) {
            (None, Some(query)) => {
                *name = ObjectName::from(vec![Ident::with_quote('"', query.bound.clone())]);
                (None, false, query.columns)
            }
            (Some(schema), _) if schema.value == ROW_ID_SCHEMA => {
                let id = last.parse().map(TableId).map_err(|_| Error::internal("the target of a change has no id"))?;
                let known = self.names.target(id)?;
                let columns = known.columns.clone();
                (Some(known), true, columns)
            }
            _ => {
                let known = self.names.named(&written)?;
                *name =
                    ObjectName::from([RELATION_SCHEMA, &known.id.to_string()].map(|part| Ident::with_quote('"', part)).to_vec());
                let columns = known.columns.clone();
                (Some(known), false, columns)
            }
        };
        let shown = plain.as_ref().map_or(last, |known| if is_target { known.name.clone() } else { written.name.value.clone() });
        let factor = match alias {
            Some(alias) => {
                let factor = self.aliased(alias, columns)?;
                Factor { hides: Some(shown), is_target, ..factor }
            }
            None => {
                let unique = self.aliases.unique(&shown);
                *alias = Some(alias_of(&unique));
                Factor {
                    alias: unique,
                    visible: shown,
                    plain: plain.clone(),
                    hides: None,
                    is_target,
                    columns,
                    is_iteration: false,
                }
            }
        };
        if let Some(known) = plain.filter(|_| !is_target) {
            if factor.columns.is_none() {
                self.wants = self.wants.or(Some(known.id));
                return Err(Error::internal("the columns of a view are not known yet"));
            }
            self.relations.push(BoundRelation { id: known.id, written, alias: factor.alias.clone() });
        }
        Ok(factor)
    }

    /// A factor with an alias of the user's, which may name its first columns anew.
    pub(super) fn aliased(&self, alias: &mut TableAlias, columns: Names) -> Result<Factor> {
        let visible = folded(&alias.name);
        let columns = given_names(alias, columns)?;
        let unique = self.aliases.unique(&visible);
        alias.name = Ident::with_quote('"', unique.clone());
        Ok(Factor { alias: unique, visible, plain: None, hides: None, is_target: false, columns, is_iteration: false })
    }

    /// A derived table without an alias: nothing can name it, but what is in it has to be told from others.
    pub(super) fn unnamed(&self, alias: &mut Option<TableAlias>, columns: Names) -> Factor {
        let unique = self.aliases.unique("unnamed_subquery");
        *alias = Some(alias_of(&unique));
        Factor { alias: unique, visible: String::new(), plain: None, hides: None, is_target: false, columns, is_iteration: false }
    }

    /// A function in FROM: its own name is its alias where none is given.
    fn table_function(&mut self, table: &mut TableFactor) -> Result<Factor> {
        let mut visitor = Expressions::new(self, Clause::Plain);
        if let ControlFlow::Break(error) = visit_arguments(table, &mut visitor) {
            return Err(*error);
        }
        let (own, alias) = match table {
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
                (name.0.last().and_then(|part| part.as_ident()).map(folded), alias)
            }
            TableFactor::UNNEST { alias, .. } => (Some("unnest".to_owned()), alias),
            TableFactor::TableFunction { alias, .. } => (None, alias),
            _ => return Err(Error::not_supported("this kind of table in FROM", "write a subquery")),
        };
        Ok(match alias {
            Some(alias) => self.aliased(alias, None)?,
            None => {
                let visible = own.unwrap_or_default();
                let unique = self.aliases.unique(&visible);
                *alias = Some(alias_of(&unique));
                Factor { alias: unique, visible, plain: None, hides: None, is_target: false, columns: None, is_iteration: false }
            }
        })
    }
}

fn visit_arguments(table: &mut TableFactor, visitor: &mut Expressions<'_, '_>) -> ControlFlow<Box<Error>> {
    match table {
        TableFactor::Table { args: Some(arguments), .. } => arguments.args.visit(visitor),
        TableFactor::Function { args, .. } => args.visit(visitor),
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.visit(visitor),
        TableFactor::TableFunction { expr, .. } => expr.visit(visitor),
        _ => ControlFlow::Continue(()),
    }
}

/// The columns under an alias, which may name the first of them anew. In the bound statement it names all of them, each differently, as the
/// engine wants it.
pub(super) fn given_names(alias: &mut TableAlias, columns: Names) -> Result<Names> {
    let given: Vec<String> = alias.columns.iter().map(|column| folded(&column.name)).collect();
    if given.is_empty() {
        return Ok(columns);
    }
    let Some(columns) = columns else { return Ok(Some(given)) };
    if given.len() > columns.len() {
        let (name, known, wanted) = (folded(&alias.name), columns.len(), given.len());
        let message = format!("table \"{name}\" has {known} columns available but {wanted} columns specified");
        return Err(Error::new(ErrorKind::InvalidColumnReference, message));
    }
    let rest = columns.into_iter().skip(given.len());
    let mut taken = HashSet::new();
    let names = given.into_iter().chain(rest).enumerate();
    let names: Vec<_> = names.map(|(index, name)| free(&mut taken, name, index)).collect();
    alias.columns =
        names.iter().map(|name| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None }).collect();
    Ok(Some(names))
}

/// A query that yields what a join does, each merged column once, and the names of its columns.
fn yielding(columns: Vec<(String, Expr)>, join: TableWithJoins) -> Result<(Box<Query>, Vec<String>)> {
    let mut query = parse_made("SELECT 1")?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("the query of a join is no SELECT"));
    };
    select.projection = select_items(columns).collect();
    select.from = vec![join];
    tell_apart(&mut select.projection, HashSet::new());
    let names = engine_names(&select.projection).ok_or_else(|| Error::internal("a column of a join has no name"))?;
    Ok((query, names))
}

fn alias_of(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::with_quote('"', name), columns: Vec::new(), at: None }
}

fn constraint_in(operator: &JoinOperator) -> Option<JoinConstraint> {
    constraint_of(&mut operator.clone()).map(|(_, constraint)| constraint.clone())
}

fn constraint_of(operator: &mut JoinOperator) -> Option<(Keeps, &mut JoinConstraint)> {
    use JoinOperator as O;
    match operator {
        O::Join(constraint)
        | O::Inner(constraint)
        | O::Left(constraint)
        | O::LeftOuter(constraint)
        | O::CrossJoin(constraint)
        | O::Semi(constraint)
        | O::LeftSemi(constraint)
        | O::Anti(constraint)
        | O::LeftAnti(constraint)
        | O::StraightJoin(constraint) => Some((Keeps::LeftOrNone, constraint)),
        O::Right(constraint) | O::RightOuter(constraint) | O::RightSemi(constraint) | O::RightAnti(constraint) => {
            Some((Keeps::Right, constraint))
        }
        O::FullOuter(constraint) => Some((Keeps::Both, constraint)),
        O::CrossApply | O::OuterApply | O::AsOf { .. } | O::ArrayJoin | O::LeftArrayJoin | O::InnerArrayJoin => None,
    }
}

fn both(left: Columns, right: Columns) -> Columns {
    let (mut left, right) = (left?, right?);
    left.extend(right);
    Some(left)
}

/// What USING makes of two sides.
struct Merged {
    condition: Option<Expr>,
    columns: Vec<(String, Expr)>,
}

fn merged_columns(names: &[String], left: &[(String, Expr)], right: &[(String, Expr)], keeps: Keeps) -> Result<Merged> {
    let mut merged = Merged { condition: None, columns: Vec::new() };
    for name in names {
        let (left, right) = (meaning(name, left, "left")?, meaning(name, right, "right")?);
        let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
        merged.condition = all_of(merged.condition.take().into_iter().chain([equal]));
        let meaning = match keeps {
            Keeps::LeftOrNone => left,
            Keeps::Right => right,
            Keeps::Both => call("coalesce", vec![left, right]),
        };
        merged.columns.push((name.clone(), meaning));
    }
    Ok(merged)
}

fn meaning(name: &str, columns: &[(String, Expr)], side: &str) -> Result<Expr> {
    let mut fitting = columns.iter().filter(|(column, _)| column == name);
    match (fitting.next(), fitting.next()) {
        (Some((_, meaning)), None) => Ok(meaning.clone()),
        (Some(_), Some(_)) => {
            let message = format!("common column name \"{name}\" appears more than once in {side} table");
            Err(Error::new(ErrorKind::AmbiguousColumn, message))
        }
        (None, _) => {
            let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
            Err(Error::new(ErrorKind::UndefinedColumn, message))
        }
    }
}
