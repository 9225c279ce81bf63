//! What names mean at one place of a query, innermost first.

use super::aggregates::FromInside;
use super::columns::{Columns, Names, ambiguous_column, column};
use super::outputs::Outputs;
use super::{Binder, Known, ONCE};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, visit_relations};
use slipher_common::{Error, ErrorKind, Result, error::did_you_mean};
use slipher_sql::TARGET;
use slipher_sql::names::folded;
use slipher_sql::output::plain_name;
use slipher_sql::position::NO_FACTOR;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// Redshift's name of the level.
const LEVEL_NAME: &str = "level";

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
    pub(super) columns: Names,
    /// It iterates over a SUPER value: its first column is the element, and what stands behind its name are steps into that.
    pub(super) is_iteration: bool,
}

/// A WITH query.
#[derive(Clone, Debug)]
pub(super) struct WithQuery {
    /// What the user calls it.
    pub(super) name: String,
    /// What it is called in the bound statement.
    pub(super) bound: String,
    /// Its columns.
    pub(super) columns: Names,
    /// It answers something else each time that it is computed, so that it can be read once only.
    pub(super) volatile: bool,
    /// So many places read it.
    pub(super) reads: usize,
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

/// What names mean in a query that walks a hierarchy.
#[derive(Clone, Debug, Default)]
pub(super) struct Hierarchy {
    /// What LEVEL means.
    pub(super) level: Option<Expr>,
    /// What a column, as text, is in the parent's row.
    pub(super) parent: HashMap<String, Expr>,
    /// The same in the root's.
    pub(super) root: HashMap<String, Expr>,
    /// Calls of SYS_CONNECT_BY_PATH, as they are written, with what they are.
    pub(super) paths: Vec<(Expr, Expr)>,
}

/// One query around the place that is looked at.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Its WITH queries that can be seen from here, first first.
    pub(super) with: Vec<WithQuery>,
    /// What its select reads, as far as it can be seen from here.
    pub(super) scope: Option<Scope>,
    /// What its select list yields.
    pub(super) outputs: Outputs,
    /// The clause that is being bound, where it can hold no aggregates.
    pub(super) without_aggregates: Option<&'static str>,
    /// What names of a hierarchy mean in it.
    pub(super) hierarchy: Option<Hierarchy>,
    /// Its aggregates that stand in its subqueries.
    pub(super) inside: Option<FromInside>,
    /// Subqueries in its expressions, as they were written and as they are bound: where one stands twice it stays one expression.
    pub(super) subqueries: Vec<(Query, Query)>,
}

impl Frame {
    /// Whether it has a factor of this alias.
    pub(super) fn reads(&self, alias: &str) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.factors.iter().any(|factor| factor.alias == alias))
    }
}

/// What a name without a qualifier means as a column of FROM.
pub(super) enum Unqualified {
    /// This column of the innermost query.
    Here(Box<Expr>),
    /// This column of a query around it.
    Outside(Box<Expr>),
    /// No column.
    Unknown,
    /// Maybe a column: those of FROM are not all known.
    Open,
}

impl Binder<'_> {
    /// The WITH query of this name, for a place that reads it. The engine computes one wherever it is read: it must be the same each time.
    pub(super) fn with_query(&mut self, name: &str) -> Result<Option<WithQuery>> {
        let mut frames = self.frames.iter_mut().rev();
        let Some(query) = frames.find_map(|frame| frame.with.iter_mut().rev().find(|query| query.name == name)) else {
            return Ok(None);
        };
        query.reads += 1;
        if query.volatile && query.reads > 1 && !query.bound.starts_with(ONCE) {
            return Err(read_again(name));
        }
        Ok(Some(query.clone()))
    }

    /// A volatile WITH query in sight that a bound query reads.
    pub(super) fn volatile_read(&self, query: &Query) -> Option<&WithQuery> {
        let mut found = None;
        let _ = visit_relations(query, |name| {
            if let [only] = name.0.as_slice()
                && let Some(ident) = only.as_ident()
            {
                let mut seen = self.frames.iter().flat_map(|frame| &frame.with);
                found = found.or_else(|| seen.find(|query| query.volatile && query.bound == ident.value));
            }
            ControlFlow::<()>::Continue(())
        });
        found
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

    /// What a name without a qualifier means as a column of FROM: the innermost query that has one of the name says it.
    pub(super) fn unqualified(&self, name: &Ident) -> Result<Unqualified> {
        let wanted = folded(name);
        for (depth, frame) in self.frames.iter().rev().enumerate() {
            let Some(scope) = &frame.scope else { continue };
            let Some(columns) = &scope.columns else { return Ok(Unqualified::Open) };
            let mut fitting = columns.iter().filter(|(column, _)| *column == wanted);
            match (fitting.next(), fitting.next()) {
                (Some((_, meaning)), None) if depth == 0 => return Ok(Unqualified::Here(Box::new(meaning.clone()))),
                (Some((_, meaning)), None) => return Ok(Unqualified::Outside(Box::new(meaning.clone()))),
                (Some(_), Some(_)) => return Err(ambiguous_column(&wanted)),
                (None, _) => {}
            }
            let level = frame.hierarchy.as_ref().and_then(|hierarchy| hierarchy.level.as_ref());
            if let Some(level) = level.filter(|_| wanted == LEVEL_NAME) {
                let level = Box::new(level.clone());
                return Ok(if depth == 0 { Unqualified::Here(level) } else { Unqualified::Outside(level) });
            }
        }
        Ok(Unqualified::Unknown)
    }
}

impl Factor {
    /// What the engine calls the column of this name; None where none is known.
    pub(super) fn column(&self, name: &str) -> Result<Option<&String>> {
        let mut fitting = self.columns.iter().flatten().filter(|column| plain_name(column) == name);
        match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) => Err(ambiguous_column(name)),
            (found, _) => Ok(found),
        }
    }

    /// Its columns, each with its name and what it means.
    pub(super) fn meanings(&self) -> Columns {
        let columns = self.columns.as_ref()?;
        Some(columns.iter().map(|name| (plain_name(name).to_owned(), column(&self.alias, name))).collect())
    }

    /// Whether columns can be qualified so. An alias hides the table's own name.
    fn is_called(&self, parts: &[String]) -> bool {
        match (parts, &self.plain) {
            ([name], _) => *name == self.visible || (self.is_target && name == TARGET),
            ([.., schema, name], Some(known)) => *name == known.name && *schema == known.schema,
            _ => false,
        }
    }
}

/// Two factors of one name can only be two relations that are told apart by their schemas.
pub(super) fn check_free(factor: &Factor, scope: &Scope) -> Result<()> {
    let clashes = |other: &Factor| match (&other.plain, &factor.plain) {
        (Some(one), Some(another)) => one.id == another.id && other.visible == factor.visible,
        _ => other.visible == factor.visible,
    };
    if factor.visible.is_empty() || !scope.factors.iter().any(clashes) {
        return Ok(());
    }
    let message = format!("table name \"{}\" specified more than once", factor.visible);
    Err(Error::new(ErrorKind::DuplicateAlias, message).with_hint("give each of them an alias"))
}

/// A WITH query that would be computed anew.
pub(super) fn read_again(name: &str) -> Error {
    let what = format!("reading WITH query \"{name}\", which calls a volatile function, more than once");
    Error::not_supported(&what, "keep its rows in a temporary table: CREATE TEMP TABLE ... AS SELECT ...")
}

fn ambiguous(parts: &[String]) -> Error {
    let message = format!("table reference \"{}\" is ambiguous", parts.join("."));
    Error::new(ErrorKind::AmbiguousAlias, message).with_hint("give each of the tables an alias, or write the schema too")
}
