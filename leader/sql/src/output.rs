//! Names of result columns as PostgreSQL and Redshift give them: `count`, `date_trunc`, `?column?`.
//!
//! The engine names an expression by its text. Where a name is free in its select list we say it as an alias; what is
//! left, a client must be told by [`names`].

use super::names::folded;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, JsonPathElem, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut,
    VisitorMut,
};
use slipher_common::functions::{CAST_FROM, ROUND_TO_WHOLE, TO_TEXT, TRUNC};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// The name of a column that has none.
const UNNAMED: &str = "?column?";
/// Ends the part of an alias that is the column's name. The engine wants different names for all columns of a result,
/// SQL does not: what follows this invisible character makes them different.
const NAME_END: char = '\u{2063}';

/// Says the names of a query's columns as aliases, in WITH clauses and derived tables too. Where a name stands more than once, every
/// column gets a name of its own, of which [`plain_name`] is the one that SQL gives it.
pub(super) fn name_columns(query: &mut Query) {
    name_body(query);
    let _ = query.visit(&mut Namer);
}

/// Names what the queries in a statement read: only their own names can be seen from outside of them.
struct Namer;

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            name_body(&mut table.query);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = table {
            name_body(subquery);
        }
        ControlFlow::Continue(())
    }
}

fn name_body(query: &mut Query) {
    let mut pending = vec![query.body.as_mut()];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::Select(select) => name_select(select),
            SetExpr::Query(inner) => pending.push(inner.body.as_mut()),
            SetExpr::SetOperation { left, right, .. } => pending.extend([left.as_mut(), right.as_mut()]),
            _ => {}
        }
    }
}

fn name_select(select: &mut Select) {
    // Columns of a wildcard may have any name.
    let any_wildcard = select.projection.iter().any(is_wildcard);
    let mut uses: HashMap<String, usize> = HashMap::new();
    for item in &select.projection {
        *uses.entry(item_name(item)).or_default() += 1;
    }
    let mut seen = HashSet::new();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let name = item_name(item);
        let free = !any_wildcard && uses.get(&name) == Some(&1) && name != UNNAMED;
        let first = seen.insert(item.to_string());
        let alias = if free { name } else { numbered(&name, index) };
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) if first => {}
            SelectItem::UnnamedExpr(expression) => {
                let expr = std::mem::replace(expression, Expr::value(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
            }
            SelectItem::ExprWithAlias { alias: own, .. } if !free && !any_wildcard => {
                *own = Ident::with_quote('"', alias);
            }
            _ => {}
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// A name that is told from others of the same [`plain_name`].
pub fn numbered(name: &str, number: usize) -> String {
    format!("{name}{NAME_END}{number}")
}

/// The names a client should see for the columns of a rewritten query's result: `None` keeps the engine's. `count` is
/// how many columns the result has.
pub(super) fn names(statement: &Statement, count: usize) -> Vec<Option<String>> {
    let mut answer = vec![None; count];
    let Statement::Query(query) = statement else { return answer };
    let Some(select) = first_select(query) else { return answer };
    let before = select.projection.iter().take_while(|item| !is_wildcard(item)).count();
    for (slot, item) in answer.iter_mut().zip(&select.projection[..before]) {
        *slot = Some(item_name(item));
    }
    if before < select.projection.len() {
        // What stands behind the last wildcard counts from the end.
        for (slot, item) in answer.iter_mut().rev().zip(select.projection.iter().rev().take_while(|item| !is_wildcard(item))) {
            *slot = Some(item_name(item));
        }
    }
    answer
}

/// The names of a query's columns as a client sees them; `planned` are those of its plan.
pub fn column_names<'a>(statement: &Statement, planned: impl ExactSizeIterator<Item = &'a str>) -> Vec<String> {
    let known = names(statement, planned.len());
    planned.zip(known).map(|(planned, known)| known.unwrap_or_else(|| plain_name(planned).to_owned())).collect()
}

/// The name of a column of a rewritten query's plan without what only tells it from others.
pub fn plain_name(name: &str) -> &str {
    name.split_once(NAME_END).map_or(name, |(own, _)| own)
}

fn first_select(query: &Query) -> Option<&Select> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(inner) => body = inner.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            _ => return None,
        }
    }
}

fn item_name(item: &SelectItem) -> String {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => plain_name(&folded(alias)).to_owned(),
        SelectItem::UnnamedExpr(expression) => name_of(expression).unwrap_or_else(|| UNNAMED.to_owned()),
        _ => UNNAMED.to_owned(),
    }
}

/// The name of an expression; `None` for one that has none of its own.
fn name_of(expression: &Expr) -> Option<String> {
    let fixed = |name: &str| Some(name.to_owned());
    match expression {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded)?;
            if name == CAST_FROM {
                return first_argument(&function.args).and_then(name_of);
            }
            if name == TO_TEXT || name == ROUND_TO_WHOLE {
                return first_argument(&function.args).and_then(name_of).or_else(|| fixed("varchar"));
            }
            Some(if name == TRUNC { "trunc".to_owned() } else { name })
        }
        // Steps into a SUPER value: the last name among them.
        Expr::JsonAccess { value, path } => {
            let names = path.path.iter().rev().find_map(|step| match step {
                JsonPathElem::Dot { key, quoted } => Some(if *quoted { key.clone() } else { key.to_lowercase() }),
                _ => None,
            });
            names.or_else(|| name_of(value))
        }
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(name)) => name_of(name),
            _ => name_of(root),
        },
        Expr::Nested(inner) => name_of(inner),
        Expr::Cast { expr, data_type, .. } => name_of(expr).or_else(|| Some(type_name(data_type))),
        Expr::TypedString(typed) => Some(type_name(&typed.data_type)),
        Expr::Case { else_result, .. } => match else_result.as_deref() {
            Some(Expr::Value(_)) | None => fixed("case"),
            Some(other) => name_of(other).or_else(|| fixed("case")),
        },
        Expr::Subquery(query) => first_select(query).and_then(|select| select.projection.first()).map(item_name),
        Expr::Exists { .. } => fixed("exists"),
        Expr::Extract { .. } => fixed("date_part"),
        Expr::Substring { .. } => fixed("substring"),
        Expr::Trim { .. } => fixed("btrim"),
        Expr::Position { .. } => fixed("position"),
        Expr::Ceil { .. } => fixed("ceil"),
        Expr::Floor { .. } => fixed("floor"),
        Expr::AtTimeZone { .. } => fixed("timezone"),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => fixed("bool"),
        _ => None,
    }
}

fn first_argument(arguments: &datafusion::sql::sqlparser::ast::FunctionArguments) -> Option<&Expr> {
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};
    match arguments {
        FunctionArguments::List(list) => match list.args.first() {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))) => Some(expression),
            _ => None,
        },
        _ => None,
    }
}

/// The catalog's name of a type.
fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Float(_) | DataType::Float8 | DataType::Double(_) | DataType::DoublePrecision => "float8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Boolean | DataType::Bool => "bool",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::Nvarchar(_) | DataType::CharVarying(_) => "varchar",
        DataType::Text => "text",
        DataType::Timestamp(_, zone) if zone.to_string().to_lowercase().contains("with time") || zone.to_string() == "TZ" => {
            "timestamptz"
        }
        DataType::Timestamp(..) => "timestamp",
        DataType::Date => "date",
        DataType::Time(..) => "time",
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}
