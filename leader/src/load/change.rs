//! UPDATE and DELETE. The rows they are about are found by a query that yields row ids; DELETE adds those to the segments' delete
//! vectors, UPDATE also writes the rows anew. All of it is one change: others see the old rows or the new ones.

use super::{
    add_segments, always_generated, find, identity_fills, missing_value, plan_sink, remove_as_read, run_sink, target_columns,
    write_rows,
};
use crate::run::{Attempt, Runner, guarded};
use crate::transaction::Scope;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::ParamValues;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use roaring::RoaringBitmap;
use slipher_common::catalog::Table;
use slipher_common::manifest::{DeleteVector, Segment, Segments, bitmap_to_bytes};
use slipher_common::plan::row_of_id;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::TableState;
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{Change, ChangeSpec, MergeInsert, MergeSpec, Name};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Rows by the number of their segment.
struct Found {
    rows: BTreeMap<u32, RoaringBitmap>,
    /// One row was found more than once.
    any_twice: bool,
}

impl Found {
    fn count(&self) -> u64 {
        self.rows.values().map(RoaringBitmap::len).sum()
    }

    /// Whether a row is in both.
    fn meets(&self, other: &Self) -> bool {
        self.rows.iter().any(|(segment, rows)| other.rows.get(segment).is_some_and(|others| !rows.is_disjoint(others)))
    }

    fn add(&mut self, other: &Self) {
        for (segment, rows) in &other.rows {
            *self.rows.entry(*segment).or_default() |= rows;
        }
    }
}

/// Runs UPDATE or DELETE; answers how many rows. `only_one_source`: a row that several rows of FROM would change is an error.
pub(crate) async fn change(
    runner: &Runner,
    scope: &Scope,
    spec: &ChangeSpec,
    parameters: Option<ParamValues>,
    only_one_source: bool,
) -> Result<u64> {
    replayed!(scope, change_once(runner, scope, spec, parameters.clone(), only_one_source))
}

async fn change_once(
    runner: &Runner,
    scope: &Scope,
    spec: &ChangeSpec,
    parameters: Option<ParamValues>,
    only_one_source: bool,
) -> Result<u64> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let table = find(&attempt.snapshot, &spec.table)?;
    scope.note_changing(table.table.id);
    if matches!(spec.change, Change::Delete) && !spec.filtered {
        return delete_all(scope, &attempt, &table).await;
    }
    let (kinds, count) = matched(scope, &attempt, &table, std::slice::from_ref(spec), parameters, only_one_source).await?;
    if !kinds.is_empty() {
        scope.change(kinds, &attempt.snapshot.state, Some(load)).await?;
    }
    Ok(count)
}

/// MERGE; answers how many rows it changed and inserted.
pub(crate) async fn merge(runner: &Runner, scope: &Scope, spec: &MergeSpec, parameters: Option<ParamValues>) -> Result<u64> {
    replayed!(scope, merge_once(runner, scope, spec, parameters.clone()))
}

/// The plan that finds the rows of an UPDATE or DELETE, for EXPLAIN.
pub(crate) async fn plan_change(
    attempt: &Attempt,
    spec: &ChangeSpec,
    parameters: Option<ParamValues>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let table = find(&attempt.snapshot, &spec.table)?;
    attempt.plan_statement(&spec.query(table.table.id), parameters).await
}

/// The plans of a MERGE: of the rows that match, and of those that come, a plan for each clause.
pub(crate) async fn plan_merge(
    attempt: &Attempt,
    spec: &MergeSpec,
    parameters: Option<ParamValues>,
) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
    let mut plans = Vec::new();
    for change in &spec.matched {
        plans.push(plan_change(attempt, change, parameters.clone()).await?);
    }
    let table = find(&attempt.snapshot, &spec.target)?;
    for insert in &spec.inserts {
        let (_, source) = unmatched(attempt, &table.table, insert, parameters.clone()).await?;
        plans.push(plan_sink(attempt, attempt.snapshot.provider(&table)?, source).await?);
    }
    Ok(plans)
}

async fn merge_once(runner: &Runner, scope: &Scope, spec: &MergeSpec, parameters: Option<ParamValues>) -> Result<u64> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let table = find(&attempt.snapshot, &spec.target)?;
    scope.note_changing(table.table.id);
    let (mut kinds, changed) = matched(scope, &attempt, &table, &spec.matched, parameters.clone(), true).await?;
    let mut inserted = 0;
    // Where the numbers of an IDENTITY column go on behind those that a clause before took.
    let mut next_number: BTreeMap<usize, u64> = BTreeMap::new();
    for insert in &spec.inserts {
        let (targets, source) = unmatched(&attempt, &table.table, insert, parameters.clone()).await?;
        let mut identities = identity_fills(scope, &table.table, &targets);
        for fill in &mut identities {
            fill.base = next_number.get(&fill.column).copied().unwrap_or(fill.base);
        }
        let columns: Vec<usize> = identities.iter().map(|fill| fill.column).collect();
        let (added, advances) = write_rows(&attempt, &table, identities, source).await?;
        for (column, advance) in columns.into_iter().zip(&advances) {
            if let Kind::AdvanceIdentity(advance) = advance {
                next_number.insert(column, advance.expected_next.saturating_add(advance.count));
            }
        }
        inserted += added.iter().map(|segment| segment.rows).sum::<u64>();
        kinds.extend(advances);
        kinds.extend(add_segments(&table, &attempt.snapshot.state, &added));
    }
    if !kinds.is_empty() {
        scope.change(kinds, &attempt.snapshot.state, Some(load)).await?;
    }
    // Then each row that is inserted is one that was changed or is new.
    Ok(if spec.removes_duplicates() { inserted } else { changed + inserted })
}

/// The columns that an INSERT of MERGE gives values to, and its rows with one column per column of the table.
async fn unmatched(
    attempt: &Attempt,
    table: &Table,
    insert: &MergeInsert,
    parameters: Option<ParamValues>,
) -> Result<(Vec<usize>, LogicalPlan)> {
    let names: Vec<(&str, usize)> = insert.columns.iter().map(|column| (column.value.as_str(), column.position)).collect();
    let targets = target_columns(table, &names)?;
    let source = attempt.plan_query(&insert.query, parameters).await?;
    check_repeatable(&source)?;
    let Some(is_given) = &insert.given else {
        let count = source.schema().fields().len();
        if count != targets.len() {
            let message = format!("MERGE ... REMOVE DUPLICATES: the source has {count} columns, the target {}", targets.len());
            return Err(
                Error::new(ErrorKind::DatatypeMismatch, message).with_hint("both need the same columns in the same order")
            );
        }
        let ordered = super::into_table_order(attempt, table, &targets, source)?;
        return Ok((targets, ordered));
    };
    if is_given.len() > targets.len() {
        return Err(Error::new(ErrorKind::Syntax, "INSERT of MERGE has more expressions than target columns"));
    }
    let given = targets.iter().zip(is_given).filter(|(_, is_given)| **is_given).map(|(target, _)| *target);
    let given: Vec<usize> = given.collect();
    let ordered = super::into_table_order(attempt, table, &given, source)?;
    Ok((given, ordered))
}

/// MERGE reads its source once for the rows that match, and once for those that do not: it must yield the same rows both times. What
/// stands in the list of values may be anything.
fn check_repeatable(source: &LogicalPlan) -> Result<()> {
    let mut changing = None;
    for below in source.inputs() {
        below.apply_with_subqueries(|node| {
            if matches!(node, LogicalPlan::Limit(_)) {
                changing = Some("LIMIT");
            } else if node.expressions().iter().any(Expr::is_volatile) {
                changing = Some("a volatile function");
            }
            Ok(if changing.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
    }
    match changing {
        None => Ok(()),
        Some(what) => Err(Error::not_supported(
            format_args!("MERGE from a source with {what}, which may yield other rows when it is read again"),
            "put its rows into a temporary table first",
        )),
    }
}

/// What changes do to the rows that match them, and how many those are. `only_one_source`: a row that several rows would update is an error.
async fn matched(
    scope: &Scope,
    attempt: &Attempt,
    table: &TableState,
    changes: &[ChangeSpec],
    parameters: Option<ParamValues>,
    only_one_source: bool,
) -> Result<(Vec<Kind>, u64)> {
    let mut all = Found { rows: BTreeMap::new(), any_twice: false };
    let mut updated = Found { rows: BTreeMap::new(), any_twice: false };
    let mut written = Vec::new();
    for change in changes {
        let found = found_by(scope, attempt, table, change, parameters.clone()).await?;
        let is_update = matches!(change.change, Change::Update(_));
        // Several rows of the source may delete one of the target, but nothing else may happen to it then.
        if only_one_source && (is_update && (found.any_twice || found.meets(&all)) || found.meets(&updated)) {
            return Err(several_sources(table));
        }
        if is_update {
            updated.add(&found);
        }
        all.add(&found);
        written.extend(rewritten(attempt, table, change, &found, parameters.clone()).await?);
    }
    let deleted = if all.rows.is_empty() { None } else { Some(delete_rows(table, &all)?) };
    Ok((deleted.into_iter().chain(written).collect(), all.count()))
}

/// The rows that a change is about.
async fn found_by(
    scope: &Scope,
    attempt: &Attempt,
    table: &TableState,
    spec: &ChangeSpec,
    parameters: Option<ParamValues>,
) -> Result<Found> {
    let source = attempt.plan_query(&spec.query(table.table.id), parameters).await?;
    if let Change::Update(columns) = &spec.change {
        columns.iter().try_for_each(|(name, _)| assigned_column(&table.table, name).map(|_| ()))?;
    }
    find_rows(scope, attempt, &source).await
}

/// The found rows with their new values, written; nothing for DELETE.
async fn rewritten(
    attempt: &Attempt,
    table: &TableState,
    spec: &ChangeSpec,
    found: &Found,
    parameters: Option<ParamValues>,
) -> Result<Vec<Kind>> {
    let Change::Update(columns) = &spec.change else { return Ok(Vec::new()) };
    if found.rows.is_empty() {
        return Ok(Vec::new());
    }
    let added = new_rows(attempt, table, (spec, columns), found, parameters).await?;
    let written: u64 = added.iter().map(|segment| segment.rows).sum();
    if written != found.count() {
        return Err(no_longer_found(table, found.count(), written));
    }
    Ok(add_segments(table, &attempt.snapshot.state, &added).into_iter().collect())
}

fn several_sources(table: &TableState) -> Error {
    Error::new(ErrorKind::CardinalityViolation, "found multiple matches to update the same row")
        .with_detail(format!("several source rows match one row of table \"{}\"", table.table))
        .with_hint("make the source rows unique in what they are matched by")
}

/// DELETE without a condition: the segments go.
async fn delete_all(scope: &Scope, attempt: &Attempt, table: &TableState) -> Result<u64> {
    let rows = table.totals.all().live_rows();
    if !table.segments.is_empty() {
        scope.change(vec![remove_as_read(table)], &attempt.snapshot.state, None).await?;
    }
    Ok(rows)
}

/// Runs the query for its first column, the row ids.
async fn find_rows(scope: &Scope, attempt: &Attempt, source: &LogicalPlan) -> Result<Found> {
    let id = source.schema().columns().into_iter().next().ok_or_else(|| Error::internal("a change without row ids"))?;
    let ids = LogicalPlanBuilder::from(source.clone()).project([Expr::Column(id)])?.build()?;
    let physical = attempt.plan_physical(&ids).await?;
    let rows = attempt.runner.start(attempt, physical)?;
    let cluster = Arc::clone(&scope.cluster);
    let mut rows = guarded(rows, cluster, attempt.query_id.clone(), CancellationToken::new());
    let mut found = Found { rows: BTreeMap::new(), any_twice: false };
    while let Some(batch) = rows.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Err(attempt.runner.explain_failure(attempt, error.into()).await),
        };
        let ids = batch.column(0).as_primitive_opt::<Int64Type>();
        let ids = ids.ok_or_else(|| Error::internal("row ids of another type"))?;
        for id in ids.values() {
            let (segment, row) = row_of_id(*id);
            found.any_twice |= !found.rows.entry(segment).or_default().insert(row);
        }
    }
    Ok(found)
}

fn delete_rows(table: &TableState, found: &Found) -> Result<Kind> {
    let ids: Vec<_> = table.segments.keys().collect();
    let mut segments = Vec::with_capacity(found.rows.len());
    for (number, rows) in &found.rows {
        let id = ids.get(*number as usize).ok_or_else(|| Error::internal(format!("a row id of segment number {number}")))?;
        segments.push(proto::SegmentRows { segment_id: id.to_vec(), rows: bitmap_to_bytes(rows) });
    }
    Ok(Kind::DeleteRows(proto::DeleteRows { table_id: table.table.id.0, segments }))
}

/// A join that gave other rows when it ran again: LIMIT without an order that decides, random().
fn no_longer_found(table: &TableState, found: u64, written: u64) -> Error {
    let message = format!("updating table \"{}\": {found} rows were found, and {written} when the query ran again", table.table);
    Error::new(ErrorKind::CardinalityViolation, message)
        .with_detail("nothing was changed")
        .with_hint("keep the rows to update with in a table of their own, and join with it")
}

/// Writes the found rows with their new values: each once, and no others, whatever the condition would find now.
async fn new_rows(
    attempt: &Attempt,
    table: &TableState,
    (spec, columns): (&ChangeSpec, &[(Name, bool)]),
    found: &Found,
    parameters: Option<ParamValues>,
) -> Result<Vec<Segment>> {
    let part = attempt.runner.with_part(attempt, part_of(table, found)?)?;
    let source = part.plan_query(&spec.query_of_found(table.table.id), parameters).await?;
    let source = if spec.joins { one_of_each(source)? } else { source };
    let ordered = into_table_order(&part, &table.table, columns, source)?;
    let physical = plan_sink(&part, attempt.snapshot.provider(table)?, ordered).await?;
    run_sink(&part, physical).await
}

/// The table as if it had the found rows only.
fn part_of(table: &TableState, found: &Found) -> Result<TableState> {
    let all: Vec<_> = table.segments.values().collect();
    let mut segments = Segments::new();
    for (number, rows) in &found.rows {
        let segment = all.get(*number as usize).ok_or_else(|| Error::internal(format!("a row id of segment number {number}")))?;
        let mut others = RoaringBitmap::new();
        others.insert_range(0..u32::try_from(segment.rows).unwrap_or(u32::MAX));
        others -= rows;
        let part = Segment { delete_vector: DeleteVector::new(others), ..Segment::clone(segment) };
        segments.insert(segment.id, Arc::new(part));
    }
    Ok(table.with_segments(segments))
}

/// Any one row for each row id.
fn one_of_each(source: LogicalPlan) -> Result<LogicalPlan> {
    let all: Vec<Expr> = source.schema().columns().into_iter().map(Expr::Column).collect();
    let id = all[..1].to_vec();
    Ok(LogicalPlanBuilder::from(source).distinct_on(id, all, None)?.build()?)
}

/// The position of a column that UPDATE may set.
fn assigned_column(table: &Table, name: &Name) -> Result<usize> {
    let index = table.index_of_name(&name.value).map_err(|error| error.at(name.position))?;
    if table.columns[index].is_always_generated() {
        return Err(always_generated(&name.value).at(name.position));
    }
    Ok(index)
}

/// `source` is the row id, the given values, the columns of the table, and the row id again.
fn into_table_order(attempt: &Attempt, table: &Table, assigned: &[(Name, bool)], source: LogicalPlan) -> Result<LogicalPlan> {
    let columns = source.schema().columns();
    let mut given = BTreeMap::new();
    let mut next = 1;
    for (name, is_given) in assigned {
        let index = assigned_column(table, name)?;
        let value = match is_given {
            true => Expr::Column(columns[next].clone()),
            false => missing_value(attempt, &table.columns[index])?,
        };
        next += usize::from(*is_given);
        given.insert(index, value);
    }
    let expressions = table.columns.iter().enumerate().map(|(index, column)| {
        let value = given.remove(&index).unwrap_or_else(|| Expr::Column(columns[next + index].clone()));
        value.alias(column.name.clone())
    });
    let expressions: Vec<Expr> = expressions.collect();
    Ok(LogicalPlanBuilder::from(source).project(expressions)?.build()?)
}
