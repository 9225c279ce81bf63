//! ALTER TABLE where rows are written anew: in another distribution, sort key or column type, or into another table (APPEND). Readers keep
//! the old rows until it is committed; writers that commit in between make it lose, and it runs again.

use super::{add_segments, check_rows, find, missing_value, plan_sink, remove_as_read, run_sink};
use crate::run::{Attempt, Runner};
use crate::transaction::Scope;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use slipher_common::catalog::{Column, Table};
use slipher_common::ids::Version;
use slipher_common::manifest::Segments;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{TableState, changed_definition};
use slipher_proto::meta::operation::Kind;
use slipher_sql::QualifiedName;
use std::sync::Arc;

/// Writes all rows of a table under the definition that `change` makes of its own.
pub(crate) async fn rewrite(
    runner: &Runner,
    scope: &Scope,
    name: &QualifiedName,
    change: impl Fn(&mut Table) -> Result<()>,
) -> Result<()> {
    replayed!(scope, rewrite_once(runner, scope, name, &change))
}

/// In which columns the two tables of an APPEND may differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// IGNOREEXTRA: the source has more.
    pub(crate) ignore_extra: bool,
    /// FILLTARGET: the target has more.
    pub(crate) fill_target: bool,
}

/// ALTER TABLE APPEND: the rows of one table go into another, which keeps them from then on; answers how many.
pub(crate) async fn append_from(
    runner: &Runner,
    scope: &Scope,
    target: &QualifiedName,
    source: &QualifiedName,
    allowed: Allowed,
) -> Result<u64> {
    replayed!(scope, append_once(runner, scope, (target, source), allowed))
}

async fn append_once(
    runner: &Runner,
    scope: &Scope,
    (target, source): (&QualifiedName, &QualifiedName),
    allowed: Allowed,
) -> Result<u64> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let into = find(&attempt.snapshot, target)?;
    let from = find(&attempt.snapshot, source)?;
    if into.table.id == from.table.id {
        return Err(Error::new(ErrorKind::InvalidParameter, "source and target of ALTER TABLE ... APPEND are the same table")
            .at(source.name.position));
    }
    let scan = provider_as_source(Arc::new(attempt.snapshot.provider(&from)?));
    let plan = LogicalPlanBuilder::scan(from.table.name.clone(), scan, None)?.build()?;
    let values = moved_columns(&attempt, &into.table, &from.table, allowed)?;
    let plan = LogicalPlanBuilder::from(plan).project(values)?.build()?;
    let physical = plan_sink(&attempt, attempt.snapshot.provider(&into)?, plan).await?;
    let written = run_sink(&attempt, physical).await?;
    check_rows("appending to", &into.table, from.segments.values(), &written)?;
    let mut kinds: Vec<Kind> = add_segments(&into, &attempt.snapshot.state, &written).into_iter().collect();
    if !from.segments.is_empty() {
        kinds.push(remove_as_read(&from));
    }
    if !kinds.is_empty() {
        scope.change(kinds, &attempt.snapshot.state, Some(load)).await?;
    }
    Ok(written.iter().map(|segment| segment.rows).sum())
}

/// For each column of `into` its value in a row of `from`.
fn moved_columns(attempt: &Attempt, into: &Table, from: &Table, allowed: Allowed) -> Result<Vec<Expr>> {
    if let Some(column) = into.columns.iter().find(|column| column.identity.is_some()) {
        let what = format!("ALTER TABLE ... APPEND to table \"{into}\" with the IDENTITY column \"{}\"", column.name);
        return Err(Error::not_supported(what, "INSERT INTO ... SELECT gives new values"));
    }
    let differ = |what: String, hint: &str| Error::new(ErrorKind::DatatypeMismatch, what).with_hint(hint);
    if let Some(extra) = from.columns.iter().find(|column| into.column(&column.name).is_none())
        && !allowed.ignore_extra
    {
        let what = format!("table \"{into}\" has no column \"{}\", table \"{from}\" has", extra.name);
        return Err(differ(what, "IGNOREEXTRA leaves it out"));
    }
    let value = |column: &Column| match from.column(&column.name) {
        Some(other) if other.sql_type == column.sql_type => {
            Ok(Expr::Column(datafusion::common::Column::new(Some(from.name.clone()), &other.name)).alias(column.name.clone()))
        }
        Some(other) => Err(differ(
            format!("column \"{}\" is {} in \"{into}\" and {} in \"{from}\"", column.name, column.sql_type, other.sql_type),
            "INSERT INTO ... SELECT casts",
        )),
        None if allowed.fill_target => Ok(missing_value(attempt, column)?.alias(column.name.clone())),
        None => Err(differ(
            format!("table \"{from}\" has no column \"{}\", table \"{into}\" has", column.name),
            "FILLTARGET gives it its default",
        )),
    };
    into.columns.iter().map(value).collect()
}

async fn rewrite_once(
    runner: &Runner,
    scope: &Scope,
    name: &QualifiedName,
    change: &impl Fn(&mut Table) -> Result<()>,
) -> Result<()> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let current = find(&attempt.snapshot, name)?;
    scope.note_changing(current.table.id);
    let mut table = Table::clone(&current.table);
    change(&mut table)?;
    // Every segment is new: its columns are called what they are, and none is missing.
    for column in &mut table.columns {
        (column.stored_name, column.missing_value) = (None, None);
    }
    let table = Arc::new(table);
    // Its definition is made in the same record.
    let defined_version = Version(0);
    let target = TableState { table: Arc::clone(&table), defined_version, ..current.with_segments(Segments::new()) };
    let source = provider_as_source(Arc::new(attempt.snapshot.provider(&current)?));
    let source = LogicalPlanBuilder::scan(table.name.clone(), source, None)?.build()?;
    let physical = plan_sink(&attempt, attempt.snapshot.provider(&target)?.sorted(), source).await?;
    let written = run_sink(&attempt, physical).await?;
    check_rows("rewriting", &table, current.segments.values(), &written)?;
    let definition = changed_definition(&current, &table, &attempt.snapshot.state);
    let mut kinds = vec![remove_as_read(&current), definition];
    kinds.extend(add_segments(&target, &attempt.snapshot.state, &written));
    scope.change(kinds, &attempt.snapshot.state, Some(load)).await?;
    Ok(())
}
