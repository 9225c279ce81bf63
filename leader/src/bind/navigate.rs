//! Navigation into SUPER values: `t.c.a[0]."B"`. What follows a column are steps into it.

use super::Binder;
use super::scope::{Factor, Unqualified};
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, JsonPath, JsonPathElem, ObjectName, Value};
use slipher_common::functions::{JSON_PARSE, SUPER_PATH};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use slipher_sql::rewrite::build::call;

/// The steps that follow a value.
fn stepped(value: Expr, steps: Vec<Expr>) -> Expr {
    if steps.is_empty() {
        return value;
    }
    if let Expr::Function(function) = &value
        && function.name == ObjectName::from(vec![Ident::new(SUPER_PATH)])
    {
        let mut longer = function.clone();
        if let datafusion::sql::sqlparser::ast::FunctionArguments::List(list) = &mut longer.args {
            use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr};
            list.args.extend(steps.into_iter().map(|step| FunctionArg::Unnamed(FunctionArgExpr::Expr(step))));
        }
        return Expr::Function(longer);
    }
    let strict = Expr::value(Value::Boolean(false));
    call(SUPER_PATH, [value, strict].into_iter().chain(steps).collect())
}

fn name_step(name: String) -> Expr {
    Expr::value(Value::SingleQuotedString(name))
}

/// `value.a.b`, where `names` are what follows the value.
pub(super) fn attributes(value: Expr, names: &[Ident]) -> Expr {
    stepped(value, names.iter().map(|name| name_step(folded(name))).collect())
}

/// `value[0].a`, whose parts have been bound.
pub(super) fn path(value: Expr, path: JsonPath) -> Result<Expr> {
    let step = |element: JsonPathElem| match element {
        JsonPathElem::Dot { key, quoted } => Ok(name_step(if quoted { key } else { key.to_ascii_lowercase() })),
        JsonPathElem::Bracket { key } => Ok(key),
        JsonPathElem::ColonBracket { .. } => {
            Err(Error::not_supported("a colon in a path", "write value.attribute or value[position]"))
        }
    };
    let steps = path.path.into_iter().map(step).collect::<Result<Vec<_>>>()?;
    Ok(stepped(value, steps))
}

/// `f(x).a.b` and `(x).a`, before its names are taken for columns, as a path.
pub(super) fn as_path(expression: &mut Expr) -> Result<()> {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else { return Ok(()) };
    let mut elements = Vec::with_capacity(access_chain.len());
    for access in access_chain.iter() {
        match access {
            AccessExpr::Dot(Expr::Identifier(name)) => {
                elements.push(JsonPathElem::Dot { key: name.value.clone(), quoted: name.quote_style.is_some() });
            }
            _ => {
                return Err(Error::not_supported("this access to a part of a value", "write value.attribute or value[position]"));
            }
        }
    }
    *expression = Expr::JsonAccess { value: root.clone(), path: JsonPath { path: elements } };
    Ok(())
}

impl Binder<'_> {
    /// What `a.b.c` means where it is no column of a relation: steps into one. None where nothing is known of it.
    pub(super) fn navigated(&self, parts: &[Ident]) -> Result<Option<Expr>> {
        for qualifier in (1..parts.len().min(4)).rev() {
            let Ok(factor) = self.factor(&parts[..qualifier]) else { continue };
            if let Some(value) = value_of(factor) {
                return Ok(Some(attributes(value, &parts[qualifier..])));
            }
            if let Some(name) = factor.column(&folded(&parts[qualifier]))? {
                return Ok(Some(attributes(super::columns::column(&factor.alias, name), &parts[qualifier + 1..])));
            }
        }
        Ok(match parts.first().map(|first| self.unqualified(first)).transpose()? {
            Some(Unqualified::Here(meaning) | Unqualified::Outside(meaning)) => Some(attributes(*meaning, &parts[1..])),
            _ => self.no_column(parts)?,
        })
    }

    /// A factor without the column that is named; None where there is no factor either.
    fn no_column(&self, parts: &[Ident]) -> Result<Option<Expr>> {
        match (self.factor(&parts[..1]), parts.get(1)) {
            (Ok(factor), Some(column)) if factor.columns.is_some() => {
                let message = format!("column \"{}.{}\" does not exist", factor.visible, folded(column));
                Err(Error::new(ErrorKind::UndefinedColumn, message))
            }
            _ => Ok(None),
        }
    }
}

/// Whether an expression is SUPER by its form: the planner has no sign for what it is told of later.
pub(super) fn is_super(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => is_super(inner),
        Expr::Function(function) => match function.name.0.as_slice() {
            [only] => only.as_ident().map(folded).is_some_and(|name| {
                [SUPER_PATH, JSON_PARSE, "array_concat", "array_flatten", "subarray", "object_transform"].contains(&name.as_str())
            }),
            _ => false,
        },
        _ => false,
    }
}

/// The value that a factor iterates over, if it is one of a SUPER value.
pub(super) fn value_of(factor: &Factor) -> Option<Expr> {
    let name = factor.columns.as_ref()?.first().filter(|_| factor.is_iteration)?;
    Some(super::columns::column(&factor.alias, name))
}
