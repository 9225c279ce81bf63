//! COPY: rows of files, and what became of those that do not fit.

use super::{always_generated, commit, files, find, identity_fills, in_table_order, target_columns, write_rows};
use crate::run::Runner;
use crate::transaction::Scope;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use slipher_common::catalog::Table;
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::{CopyFormat, CopySpec};
use std::path::Path;
use std::sync::Arc;

/// COPY; answers how many rows, and messages.
pub(crate) async fn copy(runner: &Runner, scope: &Scope, spec: &CopySpec, load_dir: Option<&Path>) -> Result<(u64, Vec<String>)> {
    replayed!(scope, copy_once(runner, scope, spec, load_dir))
}

async fn copy_once(runner: &Runner, scope: &Scope, spec: &CopySpec, load_dir: Option<&Path>) -> Result<(u64, Vec<String>)> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let table = find(&attempt.snapshot, &spec.table)?;
    let targets = copy_targets(&table.table, spec)?;
    let files = files::plan_files(load_dir, spec, &table.table, &targets, attempt.snapshot.query.clone()?).await?;
    let scan = LogicalPlanBuilder::scan("files", provider_as_source(Arc::new(files)), None)?.build()?;
    let source = in_table_order(&attempt, &table.table, &targets, scan)?;
    let identities = identity_fills(scope, &table.table, &targets);
    let (receipts, advances) = write_rows(&attempt, &table, identities, source).await?;
    let notices = match &spec.format {
        CopyFormat::Csv(options) if options.max_error > 1 => {
            rejections(scope, &attempt.query_id, &spec.table.name.value, options.max_error).await?
        }
        CopyFormat::Csv(_) | CopyFormat::Parquet => Vec::new(),
    };
    let rows = commit(scope, &attempt, load, &table, advances, receipts).await?;
    Ok((rows, notices))
}

/// The columns that the files' fields go to: those of the list, or all; IDENTITY columns only with EXPLICIT_IDS.
fn copy_targets(table: &Table, spec: &CopySpec) -> Result<Vec<usize>> {
    let own = |index: &usize| table.columns[*index].is_always_generated();
    let targets: Vec<usize> = match spec.columns.is_empty() {
        true => (0..table.columns.len()).filter(|index| spec.explicit_ids || !own(index)).collect(),
        false => {
            let names: Vec<_> = spec.columns.iter().map(|column| (column.value.as_str(), column.position)).collect();
            target_columns(table, &names)?
        }
    };
    match targets.iter().find(|index| own(index)) {
        Some(index) if !spec.explicit_ids => {
            Err(always_generated(&table.columns[*index].name).with_hint("leave the column out, or add EXPLICIT_IDS"))
        }
        None if spec.explicit_ids => {
            let message = format!("EXPLICIT_IDS: the load has no IDENTITY column of table \"{table}\"");
            Err(Error::new(ErrorKind::InvalidParameter, message).with_hint("name the IDENTITY column, or leave EXPLICIT_IDS out"))
        }
        _ => Ok(targets),
    }
}

/// What the nodes left out; an error when all of them together left out too much.
async fn rejections(scope: &Scope, query_id: &str, table: &str, max_error: u64) -> Result<Vec<String>> {
    let seen = scope.cluster.query_progress(query_id).await;
    if seen.rejected_rows == 0 {
        return Ok(Vec::new());
    }
    tracing::warn!(table, rows = seen.rejected_rows, first = ?seen.rejections, "a load left rows out");
    if seen.rejected_rows >= max_error {
        let message = format!("loading into table \"{table}\": {} rows do not fit", seen.rejected_rows);
        return Err(Error::new(ErrorKind::BadFileFormat, message)
            .with_detail(seen.rejections.join("; "))
            .with_hint(format!("MAXERROR {max_error} is reached")));
    }
    let summary = format!("Load into table '{table}': {} record(s) could not be loaded.", seen.rejected_rows);
    let more = seen.rejected_rows.saturating_sub(seen.rejections.len() as u64);
    let rest = (more > 0).then(|| format!("and {more} more"));
    Ok(std::iter::once(summary).chain(seen.rejections).chain(rest).collect())
}
