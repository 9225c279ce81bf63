//! Rows that a client sends.

use super::{assign_parts, commit, identity_fills, into_table_order, plan_sink, run_sink, target_columns};
use crate::run::Runner;
use crate::transaction::Scope;
use arrow::array::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use slipher_common::Result;
use slipher_proto::meta::{self as proto, operation::Kind};
use std::sync::Arc;

/// Ingested rows are sent to compute nodes in portions of about this size.
const INGEST_PORTION_MAX_BYTES: usize = 64 << 20;

/// Rows from a client, sent on in portions; one commit for all of them.
pub(crate) async fn ingest(
    runner: &Runner,
    scope: &Scope,
    schema: Option<&str>,
    table: &str,
    mut rows: SendableRecordBatchStream,
) -> Result<u64> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let table = Arc::clone(attempt.snapshot.resolve(schema, table)?);
    let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let targets = target_columns(&table.table, &names.iter().map(|name| (name.as_str(), 0)).collect::<Vec<_>>())?;
    let mut identities = identity_fills(scope, &table.table, &targets);
    let first_identities = identities.clone();
    let mut receipts = Vec::new();
    let mut portion: Vec<RecordBatch> = Vec::new();
    let mut bytes = 0;
    loop {
        let batch = rows.next().await.transpose()?;
        let ended = batch.is_none();
        if let Some(batch) = batch {
            bytes += batch.get_array_memory_size();
            portion.push(batch);
        }
        if !portion.is_empty() && (ended || bytes >= INGEST_PORTION_MAX_BYTES) {
            bytes = 0;
            let batches = vec![std::mem::take(&mut portion)];
            let memory = MemTable::try_new(rows.schema(), batches)?;
            let scan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(memory)), None)?.build()?;
            let source = into_table_order(&attempt, &table.table, &targets, scan)?;
            let provider = attempt.snapshot.provider(&table)?.with_identities(identities.clone());
            let physical = plan_sink(&attempt, provider, source).await?;
            let parts = assign_parts(&physical, 1).unwrap_or(1) as u64;
            let written = run_sink(&attempt, physical).await?;
            let rows: u64 = written.iter().map(|segment| segment.rows).sum();
            identities.iter_mut().for_each(|fill| fill.base += rows.saturating_mul(parts));
            receipts.extend(written);
        }
        if ended {
            break;
        }
    }
    let advances = first_identities.iter().zip(&identities).filter(|(before, after)| after.base > before.base);
    let advances = advances.map(|(before, after)| {
        Kind::AdvanceIdentity(proto::AdvanceIdentity {
            table_id: table.table.id.0,
            column_id: table.table.columns[before.column].id.0,
            expected_next: before.base,
            count: after.base - before.base,
        })
    });
    commit(scope, &attempt, load, &table, advances.collect(), receipts).await
}
