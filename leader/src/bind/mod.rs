//! Names become relations: every relation that a query reads is named by its id, under an alias that nothing else has.
//!
//! The engine compares relations by name, and takes a missing part of a name for equal: `ra.t` and `rb.t` are one to it when either is
//! written `t`. So it never sees what the user called a relation. A factor of FROM becomes `"slipher$relation"."<id>" AS "<alias>"`;
//! a WITH query that has the name of another one gets a name of its own; and every qualified column names the alias of the one factor that it means by SQL's rules of scope.
//! JOIN ... USING and NATURAL become ON, and what their merged columns mean is said wherever they are named.
//!
//! Aliases are the user's own where they are free, so that plans and errors stay readable.

mod aggregates;
mod check;
mod columns;
mod expressions;
mod from;
mod functions;
mod hierarchy;
mod navigate;
mod order;
mod outer_joins;
mod outputs;
mod pivot;
mod query;
mod scope;
mod source;
mod star;
#[cfg(test)]
mod tests;
mod unnest;

pub(crate) use check::check_plan;

use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use scope::Frame;
use slipher_common::ids::TableId;
use slipher_common::{Error, Result};
use slipher_sql::QualifiedName;
use std::collections::HashSet;
use std::sync::Arc;

/// The schema in which the engine finds relations by their ids.
pub(crate) const RELATION_SCHEMA: &str = "slipher$relation";

/// Begins the names of WITH queries that answer something else each time: where one is read more than once it runs first, and its rows are
/// read.
pub(crate) const ONCE: &str = "slipher$once_";

/// What a name means.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The relation.
    pub(crate) id: TableId,
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// Its columns, in order; None while nobody knows them (a late-binding view that has not been planned).
    pub(crate) columns: Option<Vec<String>>,
}

/// Who knows what names mean.
pub(crate) trait Relations {
    /// The relation that a name means; 42P01 when there is none.
    fn named(&self, name: &QualifiedName) -> Result<Known>;
    /// The database that a qualifier names must be the session's.
    fn check_database(&self, name: &str) -> Result<()>;
    /// The table that a change is about.
    fn target(&self, id: TableId) -> Result<Known>;
}

/// The aliases that are taken: of a query and of the bodies of the views that it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliases(Arc<Mutex<Taken>>);

#[derive(Clone, Debug, Default)]
struct Taken {
    names: HashSet<String>,
    with_queries: HashSet<String>,
    /// Names of columns, which no alias may have.
    reserved: HashSet<String>,
}

impl Taken {
    /// Keeps aliases from being called like columns; whether some of them could be until now.
    fn avoid(&mut self, columns: &HashSet<String>) -> bool {
        let known = self.reserved.len();
        self.reserved.extend(columns.iter().cloned());
        self.reserved.len() > known
    }

    /// Whether an alias is called like one of these columns.
    fn any_of(&self, columns: &HashSet<String>) -> bool {
        columns.iter().any(|column| self.names.contains(column))
    }
}

impl Aliases {
    /// None is taken any more: the next query is another one.
    pub(crate) fn clear(&self) {
        *self.0.lock() = Taken::default();
    }

    /// `wanted`, or with a number behind it where it is taken.
    fn unique(&self, wanted: &str) -> String {
        let mut taken = self.0.lock();
        let Taken { names, reserved, .. } = &mut *taken;
        free(names, reserved, wanted)
    }

    /// The same for the name of a WITH query: the engine looks those up elsewhere.
    fn with_query(&self, wanted: &str) -> String {
        free(&mut self.0.lock().with_queries, &HashSet::new(), wanted)
    }
}

fn free(taken: &mut HashSet<String>, reserved: &HashSet<String>, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    let mut number = 0_u64;
    while reserved.contains(&name) || !taken.insert(name.clone()) {
        number += 1;
        name = format!("{wanted}_{number}");
    }
    name
}

/// A relation that a query reads, and under which alias.
#[derive(Clone, Debug)]
pub(crate) struct BoundRelation {
    /// The relation.
    pub(crate) id: TableId,
    /// What the query calls it.
    pub(crate) written: QualifiedName,
    /// Its alias in the bound statement.
    pub(crate) alias: String,
}

/// A statement that names relations by their ids.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The statement.
    pub(crate) statement: ast::Statement,
    /// Each place that reads a relation, views' bodies left out.
    pub(crate) relations: Vec<BoundRelation>,
}

/// What came of binding.
#[derive(Debug)]
pub(crate) enum Binding {
    /// It is done.
    Bound(Box<Bound>),
    /// The columns of this view must be known first.
    Wants(TableId),
}

/// Binds a rewritten query.
pub(crate) fn bind(statement: &ast::Statement, relations: &dyn Relations, aliases: &Aliases) -> Result<Binding> {
    let before = aliases.0.lock().clone();
    // Names of columns that no alias of this statement has.
    let mut avoided = HashSet::new();
    loop {
        let mut statement = statement.clone();
        let ast::Statement::Query(query) = &mut statement else {
            return Err(Error::internal("binding a statement that is no query"));
        };
        let columns: HashSet<String> = avoided.clone();
        let mut binder = Binder { names: relations, aliases, frames: Vec::new(), relations: Vec::new(), columns, wants: None };
        let answer = binder.query(query);
        if let Some(id) = binder.wants {
            *aliases.0.lock() = before;
            return Ok(Binding::Wants(id));
        }
        answer?;
        // To the engine `a.b` is a field of a column `a`, where there is one: then no alias may be called so. Aliases of the query around a view's
        // body stay what they are: the body does not name them.
        let mut free = before.clone();
        let any_new = !binder.columns.is_subset(&avoided);
        if any_new && aliases.0.lock().any_of(&binder.columns) && free.avoid(&binder.columns) {
            *aliases.0.lock() = free;
            avoided = binder.columns;
            continue;
        }
        return Ok(Binding::Bound(Box::new(Bound { relations: binder.relations, statement })));
    }
}

/// The relation that a name in [`RELATION_SCHEMA`] means.
pub(crate) fn relation_of(name: &str) -> Option<TableId> {
    name.parse().ok().map(TableId)
}

/// Walks a statement. One frame for each query around the place where it is, outermost first.
struct Binder<'a> {
    names: &'a dyn Relations,
    aliases: &'a Aliases,
    frames: Vec<Frame>,
    relations: Vec<BoundRelation>,
    /// Names of columns that were met.
    columns: HashSet<String>,
    wants: Option<TableId>,
}
