//! PIVOT and UNPIVOT in FROM: each becomes a derived table.
//!
//! `t PIVOT (agg(x) FOR c IN (v, ...))` groups the rows of `t` by the columns that it does not name, and has a column for each value and
//! aggregate: the aggregate of the rows whose `c` is that value. `t UNPIVOT (v FOR n IN (c, ...))` has a row for each row of `t` and each
//! of the columns: `t` is read once, beside a list of their names.

use super::Binder;
use super::columns::column;
use super::functions::is_aggregate;
use super::outputs::{engine_names, select_items, tell_apart};
use super::scope::Factor;
use super::source::Source;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, ExprWithAlias, GroupByExpr, Ident, NullInclusion, PivotValueSource, Query, SelectItem, SetExpr,
    TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, visit_expressions,
};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::parse_made;
use slipher_sql::rewrite::build::{self, all_of, binary, case, nested, string};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// What the list of UNPIVOT's columns is called.
const UNPIVOT: &str = "slipher$unpivot";

impl Binder<'_> {
    /// Binds PIVOT or UNPIVOT.
    pub(super) fn turned(&mut self, table: &mut TableFactor) -> Result<Factor> {
        let (query, mut alias) = match std::mem::replace(table, nothing()) {
            TableFactor::Pivot { table, aggregate_functions, value_column, value_source, default_on_null, alias } => {
                let values = match value_source {
                    PivotValueSource::List(values) if default_on_null.is_none() => values,
                    _ => {
                        let what = "PIVOT with ANY, a subquery or DEFAULT ON NULL";
                        return Err(Error::not_supported(what, "list the values: FOR column IN ('a', 'b')"));
                    }
                };
                let [column] = <[Expr; 1]>::try_from(value_column)
                    .map_err(|_| Error::not_supported("PIVOT FOR several columns", "join them in a subquery to one"))?;
                let source = self.source(alone(*table), "PIVOT of")?;
                (self.pivot(source, aggregate_functions, column, values)?, alias)
            }
            TableFactor::Unpivot { table, value, name, columns, null_inclusion, alias } => {
                let Expr::Identifier(value) = value else {
                    return Err(Error::not_supported("UNPIVOT into several columns", "write UNPIVOT (value FOR name IN (a, b))"));
                };
                let source = self.source(alone(*table), "UNPIVOT of")?;
                let with_nulls = matches!(null_inclusion, Some(NullInclusion::IncludeNulls));
                (self.unpivot(source, &[name, value], columns, with_nulls)?, alias)
            }
            _ => return Err(Error::internal("a table that is not turned")),
        };
        let names = names_of(&query)?;
        let factor = match &mut alias {
            Some(alias) => self.aliased(alias, Some(names))?,
            None => self.unnamed(&mut alias, Some(names)),
        };
        *table = TableFactor::Derived { lateral: false, subquery: query, alias, sample: None };
        Ok(factor)
    }

    fn pivot(
        &mut self,
        source: Source,
        mut aggregates: Vec<ExprWithAlias>,
        mut column: Expr,
        mut values: Vec<ExprWithAlias>,
    ) -> Result<Box<Query>> {
        self.in_source(&source, None, &mut column)?;
        let mut used = HashSet::new();
        used.extend(columns_in(&column));
        for aggregate in &mut aggregates {
            self.in_source(&source, None, &mut aggregate.expr)?;
            used.extend(columns_in(&aggregate.expr));
        }
        let keys: Vec<_> = source.columns.iter().filter(|(_, meaning)| !used.contains(&meaning.to_string())).cloned().collect();
        let mut projection: Vec<SelectItem> = select_items(keys.clone()).collect();
        for value in &mut values {
            self.in_source(&source, None, &mut value.expr)?;
            let name = value.alias.as_ref().map(folded).or_else(|| text_of(&value.expr)).ok_or_else(|| {
                Error::new(ErrorKind::Syntax, format!("PIVOT value {} needs an alias", value.expr))
                    .with_hint("write value AS name")
            })?;
            let is_it = match &value.expr {
                Expr::Value(value) if value.value == Value::Null => Expr::IsNull(Box::new(column.clone())),
                value => binary(nested(column.clone()), BinaryOperator::Eq, value.clone()),
            };
            for aggregate in &aggregates {
                let name = match &aggregate.alias {
                    Some(alias) => format!("{name}_{}", folded(alias)),
                    None => name.clone(),
                };
                projection.push(item(filtered(aggregate.expr.clone(), &is_it)?, name));
            }
        }
        made(source.from, Vec::new(), projection, None, keys.into_iter().map(|(_, meaning)| meaning).collect())
    }

    fn unpivot(
        &mut self,
        source: Source,
        [name, value]: &[Ident; 2],
        mut columns: Vec<ExprWithAlias>,
        with_nulls: bool,
    ) -> Result<Box<Query>> {
        let list = self.aliases.unique(UNPIVOT);
        let (mut used, mut rows, mut cases) = (HashSet::new(), Vec::new(), Vec::new());
        for (number, column_) in columns.iter_mut().enumerate() {
            let written = match &column_.expr {
                Expr::Identifier(ident) => folded(ident),
                Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
                other => return Err(Error::new(ErrorKind::Syntax, format!("UNPIVOT of {other}, which is no column"))),
            };
            self.in_source(&source, None, &mut column_.expr)?;
            used.insert(column_.expr.to_string());
            let shown = column_.alias.as_ref().map_or(written, |alias| alias.value.clone());
            rows.push(format!("({number}, {})", string(&shown)));
            let is_it = binary(column(&list, "number"), BinaryOperator::Eq, build::number(number as u64));
            cases.push((is_it, column_.expr.clone()));
        }
        let mut made_list =
            parse_made(&format!("SELECT 1 FROM (VALUES {}) AS \"{list}\" (\"number\", \"name\")", rows.join(", ")))?;
        let SetExpr::Select(select) = made_list.body.as_mut() else {
            return Err(Error::internal("the list of UNPIVOT is no SELECT"));
        };
        let others = source.columns.iter().filter(|(_, meaning)| !used.contains(&meaning.to_string())).cloned().collect();
        let mut projection: Vec<SelectItem> = select_items(others).collect();
        let turned = case(cases, None);
        projection.push(item(column(&list, "name"), folded(name)));
        projection.push(item(turned.clone(), folded(value)));
        let condition = (!with_nulls).then(|| Expr::IsNotNull(Box::new(turned)));
        made(source.from, std::mem::take(&mut select.from), projection, condition, Vec::new())
    }
}

/// A table without joins.
fn alone(relation: TableFactor) -> TableWithJoins {
    TableWithJoins { relation, joins: Vec::new() }
}

/// Stands in a table's place while it is turned.
fn nothing() -> TableFactor {
    TableFactor::TableFunction { expr: Expr::value(Value::Null), alias: None }
}

fn item(expr: Expr, name: String) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

/// The texts of the bound columns in an expression.
fn columns_in(expr: &Expr) -> HashSet<String> {
    let mut columns = HashSet::new();
    let _ = visit_expressions(expr, |inner| {
        if matches!(inner, Expr::CompoundIdentifier(_)) {
            columns.insert(inner.to_string());
        }
        ControlFlow::<()>::Continue(())
    });
    columns
}

/// What a value of PIVOT's list is called where it has no alias: its text.
fn text_of(expr: &Expr) -> Option<String> {
    let mut text = None;
    let _ = visit_expressions(expr, |inner| match inner {
        Expr::Value(value) => {
            text = Some(match &value.value {
                Value::SingleQuotedString(text) => text.clone(),
                other => other.to_string().to_lowercase(),
            });
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    match expr {
        Expr::UnaryOp { .. } => text.map(|text| format!("-{text}")),
        _ => text,
    }
}

/// An expression of aggregates, each of the rows only that fulfil the condition.
fn filtered(mut expr: Expr, condition: &Expr) -> Result<Expr> {
    struct Filtered<'c>(&'c Expr, bool);
    impl VisitorMut for Filtered<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if is_aggregate(expr)
                && let Expr::Function(function) = expr
            {
                self.1 = true;
                let own = function.filter.take().map(|own| nested(*own));
                function.filter = all_of(own.into_iter().chain([nested(self.0.clone())])).map(Box::new);
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Filtered(condition, false);
    let _ = VisitMut::visit(&mut expr, &mut visitor);
    match visitor.1 {
        true => Ok(expr),
        false => Err(Error::new(ErrorKind::Syntax, format!("PIVOT of {expr}, which is no aggregate"))),
    }
}

/// `SELECT projection FROM table, others WHERE condition GROUP BY keys`.
fn made(
    table: TableWithJoins,
    others: Vec<TableWithJoins>,
    mut projection: Vec<SelectItem>,
    condition: Option<Expr>,
    keys: Vec<Expr>,
) -> Result<Box<Query>> {
    let mut query = parse_made("SELECT 1")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("the query of PIVOT is no SELECT")) };
    tell_apart(&mut projection, HashSet::new());
    select.projection = projection;
    select.from = std::iter::once(table).chain(others).collect();
    select.selection = condition;
    select.group_by = GroupByExpr::Expressions(keys, Vec::new());
    Ok(query)
}

fn names_of(query: &Query) -> Result<Vec<String>> {
    let names = query.body.as_select().and_then(|select| engine_names(&select.projection));
    names.ok_or_else(|| Error::internal("a column of PIVOT has no name"))
}
