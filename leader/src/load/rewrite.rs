//! ALTER TABLE with rows written anew: another distribution, sort key or column type. Readers keep the old rows until it is committed;
//! writers that commit in between make it lose, and it runs again.

use super::{LOAD_ATTEMPTS_MAX, add_segments, check_rows, find, plan_sink, run_sink};
use crate::meta::TableState;
use crate::sql::QualifiedName;
use crate::transaction::Scope;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::Result;
use slipher_common::catalog::Table;
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
    check_rows("rewriting", &table, current.segments.values(), &written)?;
    let old = &current.segments;
    let removal = proto::ReplaceSegments {
        table_id: table.id.0,
        add: Vec::new(),
        remove: old.keys().map(|id| id.to_vec()).collect(),
        removed_deleted_rows: old.values().map(|segment| segment.deleted_rows()).collect(),
    };
    let definition = crate::session::changed_definition(&current, &table, &attempt.snapshot.state);
    let mut kinds = vec![Kind::ReplaceSegments(removal), definition];
    kinds.extend(add_segments(table.id, &written));
    scope.change(kinds, &attempt.snapshot.state, Some(&load)).await?;
    Ok(())
}
