//! ALTER TABLE with rows written anew: another distribution, sort key or column type. Readers keep the old rows until it is committed;
//! writers that commit in between make it lose, and it runs again.

use super::{LOAD_ATTEMPTS_MAX, find, plan_sink, run_sink};
use crate::meta::TableState;
use crate::sql::QualifiedName;
use crate::transaction::Scope;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::catalog::Table;
use slipher_common::manifest::Segment;
use slipher_common::{Error, Result};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::sync::Arc;

/// Writes all rows of a table under the definition that `change` makes of its own.
pub(crate) async fn rewrite(scope: &Scope, name: &QualifiedName, change: impl Fn(&mut Table) -> Result<()>) -> Result<()> {
    replayed!(scope, rewrite_once(scope, name, &change))
}

async fn rewrite_once(scope: &Scope, name: &QualifiedName, change: &impl Fn(&mut Table) -> Result<()>) -> Result<()> {
    let load = scope.start_load();
    let attempt = scope.shared.runner.attempt(scope, load.id(), false)?;
    let current = find(&attempt.snapshot, name)?;
    let mut table = Table::clone(&current.table);
    change(&mut table)?;
    // Every segment is new: its columns are called what they are, and none is missing.
    for column in &mut table.columns {
        (column.stored_name, column.missing_value) = (None, None);
    }
    let table = Arc::new(table);
    let target = TableState { table: Arc::clone(&table), segments: Arc::default(), ..TableState::clone(&current) };
    let source = provider_as_source(Arc::new(attempt.snapshot.provider(&current)?));
    let source = LogicalPlanBuilder::scan(table.name.clone(), source, None)?.build()?;
    let physical = plan_sink(&attempt, attempt.snapshot.provider(&target)?, source).await?;
    let written = run_sink(&scope.shared, &attempt, physical).await?;
    let before: u64 = current.segments.values().map(|segment| segment.live_rows()).sum();
    let after: u64 = written.iter().map(|segment| segment.rows).sum();
    if before != after {
        return Err(Error::internal(format!("rewriting table \"{table}\": {before} rows became {after}")));
    }
    let replace = |add: Vec<proto::Segment>, remove: Vec<Vec<u8>>, removed_deleted_rows: Vec<u64>| {
        Kind::ReplaceSegments(proto::ReplaceSegments { table_id: table.id.0, add, remove, removed_deleted_rows })
    };
    let old = &current.segments;
    let gone = old.values().map(|segment| segment.deleted_rows()).collect();
    let kinds = vec![
        replace(Vec::new(), old.keys().map(|id| id.to_vec()).collect(), gone),
        crate::session::changed_definition(&current, &table, &attempt.snapshot.state),
        replace(written.iter().map(Segment::to_proto).collect(), Vec::new(), Vec::new()),
    ];
    scope.change(kinds, &attempt.snapshot.state, Some(&load)).await?;
    Ok(())
}
