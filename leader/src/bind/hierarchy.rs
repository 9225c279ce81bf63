//! START WITH ... CONNECT BY: a recursive query of the table's rows, each with its level, becomes what the SELECT reads.
//!
//! ```sql
//! WITH RECURSIVE tree AS (
//!   SELECT t.*, 1 AS level, walk('', <key>) AS way FROM t WHERE <start>
//!   UNION ALL
//!   SELECT t.*, tree.level + 1, walk(tree.way, <key>) FROM tree JOIN t ON <condition, PRIOR x read from tree>
//! )
//! ```
//! Key: what stands behind PRIOR in the condition. A row that is below itself by its key is an error.

use super::Binder;
use super::columns::column;
use super::outputs::free;
use super::scope::{Factor, Hierarchy, Scope};
use super::source::Source;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ConnectByKind, DataType, Expr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr,
    TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};
use slipher_common::functions::{CONCAT, TO_TEXT, WALK};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::parse_made;
use slipher_sql::rewrite::build::{all_of, binary, call, cast, nested, number, string};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// What the recursive query, and what it adds to the table's columns, are called.
pub(super) const TREE: &str = "slipher$tree";
const LEVEL: &str = "slipher$level";
const WAY: &str = "slipher$way";
/// Begin the names of the parent's columns, the root's, and of paths.
const PARENT: &str = "slipher$parent_";
const ROOT: &str = "slipher$root_";
const PATH: &str = "slipher$path_";
/// What stands before an expression that is the root's.
const CONNECT_BY_ROOT: &str = "connect_by_root";
/// The function of the path from the root.
const SYS_CONNECT_BY_PATH: &str = "sys_connect_by_path";

/// The clauses of a hierarchy.
struct Clauses {
    start: Option<Expr>,
    condition: Expr,
}

/// What the SELECT asks of rows above a row.
#[derive(Default)]
struct Wanted {
    parent: bool,
    root: bool,
    paths: Vec<Expr>,
}

impl Binder<'_> {
    /// Binds FROM of a SELECT with CONNECT BY; its scope is what that yields.
    pub(super) fn hierarchy(&mut self, select: &mut Select) -> Result<()> {
        let clauses = clauses_of(std::mem::take(&mut select.connect_by))?;
        let from = match std::mem::take(&mut select.from) {
            mut one if one.len() == 1 => one.remove(0),
            from if from.is_empty() => return Err(Error::new(ErrorKind::Syntax, "CONNECT BY without FROM")),
            _ => return Err(Error::not_supported("CONNECT BY over several tables in FROM", "join them with JOIN ... ON")),
        };
        let mut wanted = Wanted::default();
        let _ = Visit::visit(select, &mut wanted);
        self.enter("FROM");
        let (roots, below) = (self.source(from.clone(), "CONNECT BY over")?, self.source(from, "CONNECT BY over")?);
        let tree = self.aliases.unique(TREE);
        let names = names_of(&roots);
        let seen = Scope { columns: Some(tree_columns(&tree, &names, &roots)), ..in_tree(roots.scope(), &tree, &names)? };
        let (query, hierarchy) = self.recursion(clauses, roots, below, (&tree, &names), wanted)?;
        let alias = TableAlias { explicit: true, name: Ident::with_quote('"', tree), columns: Vec::new(), at: None };
        let relation = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None };
        select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
        if let Some(frame) = self.frames.last_mut() {
            frame.scope = Some(seen);
            frame.hierarchy = Some(hierarchy);
        }
        Ok(())
    }

    /// The recursive query, and what the names of the hierarchy are in it.
    fn recursion(
        &mut self,
        mut clauses: Clauses,
        roots: Source,
        below: Source,
        (tree, names): (&str, &[String]),
        wanted: Wanted,
    ) -> Result<(Box<Query>, Hierarchy)> {
        let bound = self.aliases.with_query(TREE);
        let above = self.aliases.unique(TREE);
        let of_parent = |source: &Source| -> HashMap<String, Expr> {
            let columns = source.columns.iter().zip(names);
            columns.map(|((_, meaning), name)| (meaning.to_string(), column(&above, name))).collect()
        };
        let next_level = integer(plus_one(column(&above, LEVEL)));
        let step = Hierarchy { level: Some(next_level.clone()), parent: of_parent(&below), ..Hierarchy::default() };
        let key = keys(&clauses.condition);
        self.in_source(&below, Some(step), &mut clauses.condition)?;
        let mut first = items_of(&roots, self.key_of(&roots, &key)?, string(""), number(1));
        let mut next = items_of(&below, self.key_of(&below, &key)?, column(&above, WAY), next_level);
        if let Some(start) = &mut clauses.start {
            self.in_source(&roots, Some(Hierarchy::default()), start)?;
        }
        let mut all: Vec<String> = names.iter().cloned().chain([LEVEL, WAY].map(str::to_owned)).collect();
        let mut hierarchy = Hierarchy { level: Some(column(tree, LEVEL)), ..Hierarchy::default() };
        for (wanted, prefix, known) in [(wanted.parent, PARENT, &mut hierarchy.parent), (wanted.root, ROOT, &mut hierarchy.root)]
        {
            for (number, (_, meaning)) in roots.columns.iter().enumerate().filter(|_| wanted) {
                let name = format!("{prefix}{number}");
                let own = &names[number];
                known.insert(column(tree, own).to_string(), column(tree, &name));
                let is_root = prefix == ROOT;
                first.push(if is_root { meaning.clone() } else { null_like(meaning) });
                next.push(if is_root { column(&above, &name) } else { column(&above, own) });
                all.push(name);
            }
        }
        for (number, written) in wanted.paths.into_iter().enumerate() {
            let name = format!("{PATH}{number}");
            first.push(self.path(&roots, &written, string(""))?);
            next.push(self.path(&below, &written, column(&above, &name))?);
            hierarchy.paths.push((written, column(tree, &name)));
            all.push(name);
        }
        let query =
            recursive_query(&bound, &above, &all, (first, roots.from, clauses.start), (next, below.from, clauses.condition))?;
        Ok((query, hierarchy))
    }

    /// What tells the rows of a walk apart; None where PRIOR stands nowhere, as in a query that only counts levels.
    fn key_of(&mut self, source: &Source, keys: &[Expr]) -> Result<Option<Expr>> {
        let mut all: Option<Expr> = None;
        for key in keys {
            let mut key = key.clone();
            self.in_source(source, Some(Hierarchy::default()), &mut key)?;
            let text = call("coalesce", vec![call(TO_TEXT, vec![key]), string("")]);
            all = Some(match all {
                None => text,
                Some(before) => call(CONCAT, vec![call(CONCAT, vec![before, string("\u{1f}")]), text]),
            });
        }
        Ok(all)
    }

    /// SYS_CONNECT_BY_PATH(column, separator) of a row below one that has a path.
    fn path(&mut self, source: &Source, written: &Expr, before: Expr) -> Result<Expr> {
        let refused = || Error::new(ErrorKind::Syntax, "SYS_CONNECT_BY_PATH wants a column and a separator");
        let [mut value, separator] = <[Expr; 2]>::try_from(arguments_of(written)).map_err(|_| refused())?;
        self.in_source(source, Some(Hierarchy::default()), &mut value)?;
        let text = call("coalesce", vec![call(TO_TEXT, vec![value]), string("")]);
        let longer = call(CONCAT, vec![before, call(CONCAT, vec![separator, text])]);
        Ok(cast(longer, DataType::Varchar(None)))
    }

    /// What PRIOR or CONNECT_BY_ROOT means before a bound expression; None for other expressions.
    pub(super) fn of_hierarchy(&self, expr: &Expr) -> Result<Option<Expr>> {
        let (inner, what, of_root) = match expr {
            Expr::Prior(inner) => (inner, "PRIOR", false),
            Expr::Prefixed { prefix, value } if folded(prefix) == CONNECT_BY_ROOT => (value, "CONNECT_BY_ROOT", true),
            _ => return Ok(None),
        };
        let hierarchy = self.frames.iter().rev().find_map(|frame| frame.hierarchy.as_ref());
        let columns = hierarchy.map(|known| if of_root { &known.root } else { &known.parent }).filter(|known| !known.is_empty());
        let Some(columns) = columns else {
            let message = format!("{what} can be used in a query with CONNECT BY only");
            return Err(Error::new(ErrorKind::Syntax, message).with_hint("put the name in double quotes where it is a column"));
        };
        let mut moved = inner.as_ref().clone();
        let _ = VisitMut::visit(&mut moved, &mut Moved(columns));
        Ok(Some(Expr::Nested(Box::new(moved))))
    }

    /// What a call of SYS_CONNECT_BY_PATH means, as it is written.
    pub(super) fn path_of_hierarchy(&self, expr: &Expr) -> Option<Expr> {
        let hierarchy = self.frames.last()?.hierarchy.as_ref()?;
        hierarchy.paths.iter().find(|(written, _)| written == expr).map(|(_, meaning)| meaning.clone())
    }
}

/// What one part of the recursive query yields of a table: its columns, its level, and the way to it.
fn items_of(source: &Source, key: Option<Expr>, way: Expr, level: Expr) -> Vec<Expr> {
    let columns = source.columns.iter().map(|(_, meaning)| meaning.clone());
    let way = match key {
        Some(key) => call(WALK, vec![way, key]),
        None => string(""),
    };
    columns.chain([integer(level), way]).collect()
}

/// `WITH RECURSIVE bound AS (first UNION ALL next) SELECT * FROM bound`.
fn recursive_query(
    bound: &str,
    above: &str,
    names: &[String],
    (first, roots, start): (Vec<Expr>, TableWithJoins, Option<Expr>),
    (next, mut below, condition): (Vec<Expr>, TableWithJoins, Expr),
) -> Result<Box<Query>> {
    let text = format!(
        "WITH RECURSIVE \"{bound}\" AS (SELECT 1 UNION ALL SELECT 1 FROM \"{bound}\" AS \"{above}\") SELECT * FROM \"{bound}\""
    );
    let lost = || Error::internal("the query of CONNECT BY has lost a part");
    let mut query = parse_made(&text)?;
    let table = query.with.as_mut().and_then(|with| with.cte_tables.first_mut()).ok_or_else(lost)?;
    let named = names.iter().map(|name| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None });
    table.alias.columns = named.collect();
    let SetExpr::SetOperation { left, right, .. } = table.query.body.as_mut() else { return Err(lost()) };
    let (SetExpr::Select(left), SetExpr::Select(right)) = (left.as_mut(), right.as_mut()) else { return Err(lost()) };
    let items = |exprs: Vec<Expr>| -> Vec<SelectItem> {
        let named = exprs.into_iter().zip(names);
        named.map(|(expr, name)| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }).collect()
    };
    (left.projection, left.from, left.selection) = (items(first), vec![roots], start);
    right.projection = items(next);
    let on = JoinOperator::Inner(JoinConstraint::On(condition));
    let tree = right.from.pop().ok_or_else(lost)?;
    // The rows that came last are few, and the table is read once for them all.
    let relation = match below.joins.is_empty() {
        true => below.relation,
        false => TableFactor::NestedJoin { table_with_joins: Box::new(std::mem::replace(&mut below, tree.clone())), alias: None },
    };
    right.from = vec![TableWithJoins { joins: vec![Join { relation, global: false, join_operator: on }], ..tree }];
    Ok(query)
}

fn clauses_of(kinds: Vec<ConnectByKind>) -> Result<Clauses> {
    let (mut start, mut condition) = (None, None);
    let twice = || Error::new(ErrorKind::Syntax, "START WITH or CONNECT BY stands twice");
    for kind in kinds {
        match kind {
            ConnectByKind::StartWith { condition, .. } if start.is_none() => start = Some(*condition),
            ConnectByKind::ConnectBy { nocycle: true, .. } => {
                let instead = "limit the depth: CONNECT BY ... AND LEVEL < 10";
                return Err(Error::not_supported("CONNECT BY NOCYCLE", instead));
            }
            ConnectByKind::ConnectBy { relationships, .. } if condition.is_none() => {
                condition = all_of(relationships.into_iter().map(nested));
            }
            _ => return Err(twice()),
        }
    }
    match condition {
        Some(condition) => Ok(Clauses { start, condition }),
        None => Err(Error::new(ErrorKind::Syntax, "START WITH without CONNECT BY")),
    }
}

/// Names for the columns of a walked table, each its own.
fn names_of(source: &Source) -> Vec<String> {
    let mut taken = HashSet::new();
    source.columns.iter().enumerate().map(|(index, (name, _))| free(&mut taken, name.clone(), index)).collect()
}

fn tree_columns(tree: &str, names: &[String], source: &Source) -> Vec<(String, Expr)> {
    source.columns.iter().zip(names).map(|((name, _), own)| (name.clone(), column(tree, own))).collect()
}

/// The factors of a walked table, whose columns are the tree's now.
fn in_tree(scope: &Scope, tree: &str, names: &[String]) -> Result<Scope> {
    let known = scope.columns.as_ref().ok_or_else(|| Error::internal("the columns of a hierarchy are gone"))?;
    let of: HashMap<String, &String> = known.iter().zip(names).map(|((_, meaning), name)| (meaning.to_string(), name)).collect();
    let factor = |factor: &Factor| {
        let columns = factor.columns.iter().flatten();
        let columns = columns.filter_map(|name| of.get(&column(&factor.alias, name).to_string()).map(|name| (*name).clone()));
        Factor { alias: tree.to_owned(), columns: Some(columns.collect()), ..factor.clone() }
    };
    Ok(Scope { factors: scope.factors.iter().map(factor).collect(), ..scope.clone() })
}

/// What stands behind PRIOR in a condition.
fn keys(condition: &Expr) -> Vec<Expr> {
    struct Keys(Vec<Expr>);
    impl Visitor for Keys {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Prior(inner) = expr
                && !self.0.contains(inner)
            {
                self.0.push(inner.as_ref().clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut keys = Keys(Vec::new());
    let _ = Visit::visit(condition, &mut keys);
    keys.0
}

impl Visitor for Wanted {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Prior(_) => self.parent = true,
            Expr::Prefixed { prefix, .. } if folded(prefix) == CONNECT_BY_ROOT => self.root = true,
            Expr::Function(_) if is_path(expr) && !self.paths.contains(expr) => self.paths.push(expr.clone()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether an expression is a call of SYS_CONNECT_BY_PATH.
fn is_path(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let [name] = function.name.0.as_slice() else { return false };
    name.as_ident().is_some_and(|name| folded(name) == SYS_CONNECT_BY_PATH)
}

fn arguments_of(expr: &Expr) -> Vec<Expr> {
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};
    let Expr::Function(function) = expr else { return Vec::new() };
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// Puts columns of another row in the place of a row's own.
struct Moved<'m>(&'m HashMap<String, Expr>);

impl VisitorMut for Moved<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::CompoundIdentifier(_))
            && let Some(other) = self.0.get(&expr.to_string())
        {
            *expr = other.clone();
        }
        ControlFlow::Continue(())
    }
}

fn plus_one(expr: Expr) -> Expr {
    binary(expr, BinaryOperator::Plus, number(1))
}

fn integer(expr: Expr) -> Expr {
    cast(expr, DataType::Integer(None))
}

/// NULL of an expression's type.
fn null_like(expr: &Expr) -> Expr {
    call("nullif", vec![expr.clone(), expr.clone()])
}
