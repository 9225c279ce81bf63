//! Names of result columns as PostgreSQL and Redshift give them: `count`, `date_trunc`, `?column?`.
//!
//! The engine names an expression by its text. Where a name is free in its select list we say it as an alias; what is
//! left, a client must be told by [`names`].

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Value,
};
use slipher_common::functions::{ROUND_TO_WHOLE, TO_TEXT, TRUNC};
use std::collections::HashMap;

/// The name of a column that has none.
const UNNAMED: &str = "?column?";

/// Says the names of a query's columns as aliases where that is possible, in WITH clauses and derived tables too.
pub(super) fn name_columns(query: &mut Query) {
    if let Some(with) = &mut query.with {
        for table in &mut with.cte_tables {
            name_columns(&mut table.query);
        }
    }
    let mut pending = vec![query.body.as_mut()];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::Select(select) => name_select(select),
            SetExpr::Query(inner) => name_columns(inner),
            SetExpr::SetOperation { left, right, .. } => pending.extend([left.as_mut(), right.as_mut()]),
            _ => {}
        }
    }
}

fn name_select(select: &mut Select) {
    for table in &mut select.from {
        name_derived(table);
    }
    let wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.iter().any(wildcard) {
        // Its columns may have any name.
        return;
    }
    let mut uses: HashMap<String, usize> = HashMap::new();
    for item in &select.projection {
        *uses.entry(item_name(item)).or_default() += 1;
    }
    for item in &mut select.projection {
        let name = item_name(item);
        let free = uses.get(&name) == Some(&1) && name != UNNAMED;
        if let SelectItem::UnnamedExpr(expression) = item
            && free
            && !matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        {
            let expr = std::mem::replace(expression, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
    }
}

fn name_derived(table: &mut TableWithJoins) {
    let joined = table.joins.iter_mut().map(|join| &mut join.relation);
    for relation in std::iter::once(&mut table.relation).chain(joined) {
        match relation {
            TableFactor::Derived { subquery, .. } => name_columns(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => name_derived(table_with_joins),
            _ => {}
        }
    }
}

/// The names a client should see for the columns of a rewritten query's result: `None` keeps the engine's. `count` is
/// how many columns the result has.
pub(crate) fn names(statement: &Statement, count: usize) -> Vec<Option<String>> {
    let mut answer = vec![None; count];
    let Statement::Query(query) = statement else { return answer };
    let Some(select) = first_select(query) else { return answer };
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
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

fn folded(ident: &Ident) -> String {
    super::names::fold(&ident.value, ident.quote_style.is_some())
}

fn item_name(item: &SelectItem) -> String {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias),
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
            if name == TO_TEXT || name == ROUND_TO_WHOLE {
                return first_argument(&function.args).and_then(name_of).or_else(|| fixed("varchar"));
            }
            Some(if name == TRUNC { "trunc".to_owned() } else { name })
        }
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
