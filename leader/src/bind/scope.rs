//! What names mean at one place of a query, innermost first.

use super::{Binder, Known};
use crate::sql::TARGET;
use crate::sql::names::folded;
use crate::sql::position::NO_FACTOR;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query};
use slipher_common::{Error, ErrorKind, Result, error::did_you_mean};
use std::collections::HashSet;

/// The columns of a relation or a join, each with its name and what it means; None where nobody knows them.
pub(super) type Columns = Option<Vec<(String, Expr)>>;

/// A factor of FROM.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    /// Its alias in the bound statement.
    pub(super) alias: String,
    /// What columns may be qualified with.
    pub(super) visible: String,
    /// The relation that it reads, where the user gave it no alias: its schema may stand before its name.
    pub(super) plain: Option<Known>,
    /// The name that its alias hides.
    pub(super) hides: Option<String>,
    /// It is the target of a change.
    pub(super) is_target: bool,
    /// Its columns.
    pub(super) columns: Option<Vec<String>>,
}

/// A WITH query.
#[derive(Clone, Debug)]
pub(super) struct WithQuery {
    /// What the user calls it.
    pub(super) name: String,
    /// What it is called in the bound statement.
    pub(super) bound: String,
    /// Its columns.
    pub(super) columns: Option<Vec<String>>,
}

/// What FROM brings into the scope of a select.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Its factors.
    pub(super) factors: Vec<Factor>,
    /// What `*` yields.
    pub(super) columns: Columns,
    /// The columns that USING and NATURAL merged: a name without a qualifier means one of those.
    pub(super) merged: HashSet<String>,
}

/// One query around the place that is looked at.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Its WITH queries that can be seen from here, first first.
    pub(super) with: Vec<WithQuery>,
    /// What its select reads, as far as it can be seen from here.
    pub(super) scope: Option<Scope>,
    /// Names of its select list, which come before columns in ORDER BY.
    pub(super) outputs: HashSet<String>,
    /// Subqueries in its expressions, as they were written and as they are bound: where one stands twice it stays one expression.
    pub(super) subqueries: Vec<(Query, Query)>,
}

/// What an unqualified name means.
pub(super) enum Unqualified {
    /// What the engine finds.
    AsWritten,
    /// This.
    Means(Box<Expr>),
}

impl Binder<'_> {
    /// The WITH query of this name.
    pub(super) fn with_query(&self, name: &str) -> Option<&WithQuery> {
        self.frames.iter().rev().find_map(|frame| frame.with.iter().rev().find(|query| query.name == name))
    }

    /// The factor that `[[database.]schema.]name` means where it qualifies a column.
    pub(super) fn factor(&self, qualifier: &[Ident]) -> Result<&Factor> {
        let parts: Vec<String> = qualifier.iter().map(folded).collect();
        if let [database, _, _] = parts.as_slice() {
            self.names.check_database(database)?;
        }
        for scope in self.frames.iter().rev().filter_map(|frame| frame.scope.as_ref()) {
            let mut fitting = scope.factors.iter().filter(|factor| factor.is_called(&parts));
            match (fitting.next(), fitting.next()) {
                (Some(factor), None) => return Ok(factor),
                (Some(_), Some(_)) => return Err(ambiguous(&parts)),
                (None, _) => {}
            }
        }
        Err(self.no_factor(&parts))
    }

    fn no_factor(&self, parts: &[String]) -> Error {
        let written = parts.join(".");
        let error = Error::new(ErrorKind::UndefinedTable, format!("{NO_FACTOR}\"{written}\""));
        let seen = || self.frames.iter().rev().filter_map(|frame| frame.scope.as_ref()).flat_map(|scope| &scope.factors);
        let last = parts.last().map_or("", String::as_str);
        let hidden = |factor: &&Factor| factor.plain.is_none() && factor.hides.as_deref() == Some(last);
        if let Some(factor) = seen().find(hidden) {
            return error.with_hint(format!("it has the alias \"{}\" here: write that instead", factor.visible));
        }
        error.with_hint(did_you_mean(last, seen().map(|factor| factor.visible.as_str())))
    }

    /// What a name without a qualifier means.
    pub(super) fn unqualified(&self, name: &Ident) -> Result<Unqualified> {
        let wanted = folded(name);
        for scope in self.frames.iter().rev().filter_map(|frame| frame.scope.as_ref()) {
            let Some(columns) = &scope.columns else { return Ok(Unqualified::AsWritten) };
            let mut fitting = columns.iter().filter(|(column, _)| *column == wanted);
            match (fitting.next(), fitting.next()) {
                (Some((_, meaning)), None) if scope.merged.contains(&wanted) => {
                    return Ok(Unqualified::Means(Box::new(meaning.clone())));
                }
                (Some(_), Some(_)) if scope.merged.contains(&wanted) => {
                    let message = format!("column reference \"{wanted}\" is ambiguous");
                    return Err(Error::new(ErrorKind::AmbiguousColumn, message).with_hint("write the table's name before it"));
                }
                (Some(_), _) => return Ok(Unqualified::AsWritten),
                (None, _) => {}
            }
        }
        Ok(Unqualified::AsWritten)
    }
}

impl Factor {
    /// Whether columns can be qualified so. An alias hides the table's own name.
    fn is_called(&self, parts: &[String]) -> bool {
        match (parts, &self.plain) {
            ([name], _) => *name == self.visible || (self.is_target && name == TARGET),
            ([.., schema, name], Some(known)) => *name == known.name && *schema == known.schema,
            _ => false,
        }
    }
}

fn ambiguous(parts: &[String]) -> Error {
    let message = format!("table reference \"{}\" is ambiguous", parts.join("."));
    Error::new(ErrorKind::AmbiguousAlias, message).with_hint("give each of the tables an alias, or write the schema too")
}

/// `"alias"."column"`.
pub(super) fn column(alias: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', name)])
}
