//! Loads: INSERT, CREATE TABLE AS, COPY and ingest. All are one plan with a sink on top, and one commit. Of few constant rows, the leader
//! runs the plan itself.

mod files;
mod literals;

use crate::catalog::Snapshot;
use crate::plan::output_types::column_types;
use crate::plan::table::SliceTable;
use crate::plan::write_rows::yields_few_constants;
use crate::run::{Attempt, Runner, guarded};
use crate::transaction::{Load, Scope};
use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::sql::sqlparser::ast;
use datafusion_distributed::NetworkBoundaryExt;
use futures::StreamExt;
use slipher_common::catalog::{Column, Table};
use slipher_common::ids::{ColumnId, TableId, TransactionId, Version};
use slipher_common::manifest::Segment;
use slipher_common::plan::{AssignExec, IdentityFill, SliceSinkExec};
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{State, TableState};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{CreateTableAsSpec, InsertSpec, QualifiedName, ValuesOf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A load that lost against a concurrent change is run so often.
pub(crate) const LOAD_ATTEMPTS_MAX: usize = 8;
/// Up to so long it waits before it runs again, for others to come through.
pub(crate) const LOAD_PAUSE_MAX_MS: u64 = 40;

/// A load that a node broke off is run so often: nothing of it is visible before its one commit, and what it wrote is swept.
pub(crate) const BROKEN_ATTEMPTS_MAX: usize = 3;
/// It waits so long before it runs again, longer each time: until a node that was only busy answers, or one that is gone is known to be.
pub(crate) const BROKEN_PAUSE_MS: u64 = 250;

/// Runs `one_attempt` again while it loses against concurrent changes, where `scope` allows, and when a node breaks off. A commit whose
/// outcome is not known is neither ([`slipher_common::ErrorKind::OutcomeUnknown`]).
macro_rules! replayed {
    ($scope:expr, $attempt:expr) => {{
        let mut tries = if $scope.can_run_again() { 1 } else { crate::load::LOAD_ATTEMPTS_MAX };
        let mut broken = 0;
        let mut _gives_way = None;
        loop {
            match $attempt.await {
                Err(error)
                    if error.kind == slipher_common::ErrorKind::SerializationFailure
                        && tries < crate::load::LOAD_ATTEMPTS_MAX =>
                {
                    tries += 1;
                    // Not against the background again.
                    if _gives_way.is_none() {
                        let open = $scope.cluster.open_block();
                        _gives_way = Some((open.run(), open));
                    }
                    let pause = rand::random_range(0..crate::load::LOAD_PAUSE_MAX_MS);
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                }
                Err(error) if crate::load::broke_off(&error) && broken + 1 < crate::load::BROKEN_ATTEMPTS_MAX => {
                    broken += 1;
                    tracing::warn!(reason = error.message, "running a load again");
                    let pause = crate::load::BROKEN_PAUSE_MS << broken;
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                }
                Err(error) if $scope.saves_memory_after(&error) => {
                    tracing::info!(reason = error.message, "running a load again with joins that can be spilled");
                }
                other => break other,
            }
        }
    }};
}

pub(crate) use replayed;

/// Whether a node went away or was too busy to answer, before anything was committed.
pub(crate) fn broke_off(error: &Error) -> bool {
    error.kind == ErrorKind::NodeUnavailable
}

mod change;
mod copy;
mod ingest;
mod rewrite;
pub(crate) use change::{change, merge, plan_change, plan_merge};
pub(crate) use copy::copy;
pub(crate) use ingest::ingest;
pub(crate) use rewrite::{Allowed, append_from, rewrite};

/// INSERT; answers how many rows.
pub(crate) async fn insert(runner: &Runner, scope: &Scope, spec: &InsertSpec, parameters: Option<ParamValues>) -> Result<u64> {
    replayed!(scope, async {
        let load = scope.start_load();
        let attempt = runner.attempt(scope, load.id(), false)?;
        let table = find(&attempt.snapshot, &spec.table)?;
        let (targets, source) = insert_source(&attempt, &table.table, spec, parameters.clone()).await?;
        append(scope, &attempt, load, &table, &targets, source).await
    })
}

/// The plan of an INSERT, for EXPLAIN.
pub(crate) async fn plan_insert(
    attempt: &Attempt,
    spec: &InsertSpec,
    parameters: Option<ParamValues>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let table = find(&attempt.snapshot, &spec.table)?;
    let (_, source) = insert_source(attempt, &table.table, spec, parameters).await?;
    plan_sink(attempt, attempt.snapshot.provider(&table)?, source).await
}

/// TRUNCATE; answers messages.
pub(crate) async fn truncate(runner: &Runner, scope: &Scope, name: &QualifiedName) -> Result<Vec<String>> {
    replayed!(scope, async {
        let attempt = runner.attempt(scope, TransactionId(Uuid::nil()), false)?;
        let table = find(&attempt.snapshot, name)?;
        scope.change(vec![remove_segments(&table)], &attempt.snapshot.state, None).await
    })
}

/// CREATE TABLE AS; answers how many rows, and messages.
pub(crate) async fn create_table_as(
    runner: &Runner,
    scope: &Scope,
    spec: &CreateTableAsSpec,
    query: &ast::Statement,
    parameters: Option<ParamValues>,
) -> Result<(u64, Vec<String>)> {
    replayed!(scope, create_table_as_once(runner, scope, spec, query, parameters.clone()))
}

async fn create_table_as_once(
    runner: &Runner,
    scope: &Scope,
    spec: &CreateTableAsSpec,
    query: &ast::Statement,
    parameters: Option<ParamValues>,
) -> Result<(u64, Vec<String>)> {
    let load = scope.start_load();
    let attempt = runner.attempt(scope, load.id(), false)?;
    let snapshot = &attempt.snapshot;
    let (schema, mut first) = snapshot.place_of(&scope.cluster, &spec.name, spec.temporary)?;
    let name = &spec.name.name.value;
    let mut replaced_version = 0;
    if spec.or_replace {
        let replaced = snapshot.replaced_table(&schema, name).map_err(|error| error.at(spec.name.name.position))?;
        replaced_version = replaced.map_or(0, |table| scope.committed_version_of(table));
    } else if snapshot.state.relation(&schema, name).is_some() {
        if spec.if_not_exists {
            return Ok((0, vec![format!("relation \"{name}\" already exists, skipping")]));
        }
        let message = format!("relation \"{name}\" already exists in schema \"{schema}\"");
        return Err(Error::new(ErrorKind::DuplicateTable, message).at(spec.name.name.position));
    }
    let source = attempt.plan_query(query, parameters).await?;
    let optimized = attempt.optimize(&source).await?;
    let mut table = spec.to_table(&schema, &scope.user, &column_types(&optimized)?)?;
    table.id = TableId(scope.cluster.allocate_object_id());
    table.database = scope.database;
    let table = Arc::new(table);
    let made = TableState {
        table: Arc::clone(&table),
        created_version: snapshot.state.version(),
        changed_version: snapshot.state.version(),
        // Nobody else's record can change it: it is made in the same one.
        defined_version: Version(0),
        layout_version: Version(0),
        segments: Arc::default(),
        totals: Arc::default(),
    };
    let receipts = write(&attempt, snapshot.provider(&made)?, source).await?;
    let create = proto::CreateTable {
        table: Some(table.to_proto()),
        if_not_exists: false,
        allocated_id: true,
        or_replace: spec.or_replace,
        replaced_version,
    };
    first.push(Kind::CreateTable(create));
    let rows = commit(scope, &attempt, load, &made, first, receipts).await?;
    Ok((rows, Vec::new()))
}

fn find(snapshot: &Snapshot, name: &QualifiedName) -> Result<Arc<TableState>> {
    snapshot.table(name).map(Arc::clone)
}

/// The positions of the columns a load names; all of them when it names none.
fn target_columns(table: &Table, names: &[(&str, usize)]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut targets = Vec::new();
    for (name, position) in names {
        let index = table.index_of_name(name).map_err(|error| if *position > 0 { error.at(*position) } else { error })?;
        if targets.contains(&index) {
            return Err(Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        targets.push(index);
    }
    Ok(targets)
}

/// The columns an INSERT gives values to, and its rows with one column per column of the table.
async fn insert_source(
    attempt: &Attempt,
    table: &Table,
    spec: &InsertSpec,
    parameters: Option<ParamValues>,
) -> Result<(Vec<usize>, LogicalPlan)> {
    let names: Vec<(&str, usize)> = spec.columns.iter().map(|column| (column.value.as_str(), column.position)).collect();
    let targets = target_columns(table, &names)?;
    let default = |index: usize| -> Result<ast::Expr> {
        let column = targets.get(index).and_then(|target| table.columns.get(*target));
        match column.and_then(|column| column.default_expression.as_deref()) {
            Some(text) => slipher_sql::embedded::parse_expression(text),
            None => Ok(ast::Expr::Value(ast::Value::Null.into())),
        }
    };
    let values_of = |target: &usize| ValuesOf::column(table.columns.get(*target).map(|column| column.sql_type));
    let typed: Vec<ValuesOf> = targets.iter().map(values_of).collect();
    let Some(source) = literals::source(attempt, spec, default, &typed, parameters).await? else {
        let one_row = LogicalPlanBuilder::empty(true).build()?;
        return Ok((Vec::new(), into_table_order(attempt, table, &[], one_row)?));
    };
    let given = source.schema().fields().len();
    if given > targets.len() {
        return Err(Error::new(ErrorKind::Syntax, "INSERT has more expressions than target columns").with_detail(format!(
            "table \"{}\" takes {}, the source has {given}",
            table.name,
            targets.len()
        )));
    }
    if given < targets.len() && !spec.columns.is_empty() {
        return Err(Error::new(ErrorKind::Syntax, "INSERT has more target columns than expressions")
            .with_detail(format!("{} columns are named, the source has {given}", targets.len())));
    }
    let given = targets[..given].to_vec();
    let ordered = into_table_order(attempt, table, &given, source)?;
    Ok((given, ordered))
}

/// `source`, whose n-th column is for column `targets[n]`, with one column per column of `table`.
fn into_table_order(attempt: &Attempt, table: &Table, targets: &[usize], source: LogicalPlan) -> Result<LogicalPlan> {
    if let Some(column) = targets.iter().map(|index| &table.columns[*index]).find(|column| column.is_always_generated()) {
        return Err(always_generated(&column.name).with_hint("leave the column out"));
    }
    in_table_order(attempt, table, targets, source)
}

/// Refuses a value for a column that only the system gives values to.
fn always_generated(column: &str) -> Error {
    let message = format!("cannot set an identity column to a value: column \"{column}\"");
    Error::new(ErrorKind::InvalidColumnDefinition, message)
}

/// The same, IDENTITY columns too.
fn in_table_order(attempt: &Attempt, table: &Table, targets: &[usize], source: LogicalPlan) -> Result<LogicalPlan> {
    let columns = source.schema().columns();
    let mut expressions = Vec::with_capacity(table.columns.len());
    for (index, column) in table.columns.iter().enumerate() {
        let value = match targets.iter().position(|target| *target == index) {
            Some(nth) => Expr::Column(columns[nth].clone()),
            None => missing_value(attempt, column)?,
        };
        expressions.push(value.alias(column.name.clone()));
    }
    Ok(LogicalPlanBuilder::from(source).project(expressions)?.build()?)
}

/// What a column gets that a load does not name.
fn missing_value(attempt: &Attempt, column: &Column) -> Result<Expr> {
    if let Some(text) = &column.default_expression {
        // The default is kept as it was written.
        let rewritten = slipher_sql::embedded::parse_expression(text)?.to_string();
        let empty = datafusion::common::DFSchema::empty();
        return Ok(attempt.session.create_logical_expr(&rewritten, &empty)?);
    }
    Ok(lit(ScalarValue::try_from(&column.sql_type.to_arrow())?))
}

async fn append(
    scope: &Scope,
    attempt: &Attempt,
    load: Load,
    table: &TableState,
    targets: &[usize],
    source: LogicalPlan,
) -> Result<u64> {
    let identities = identity_fills(scope, &table.table, targets);
    let (receipts, advances) = write_rows(attempt, table, identities, source).await?;
    commit(scope, attempt, load, table, advances, receipts).await
}

/// Writes rows for `table`; answers their segments, and the numbers that IDENTITY columns used.
async fn write_rows(
    attempt: &Attempt,
    table: &TableState,
    identities: Vec<IdentityFill>,
    source: LogicalPlan,
) -> Result<(Vec<Segment>, Vec<Kind>)> {
    let target = attempt.snapshot.provider(table)?.with_identities(identities.clone());
    let physical = plan_sink(attempt, target, source).await?;
    let parts = assign_parts(&physical, 1).unwrap_or(1) as u64;
    let receipts = run_sink(attempt, physical).await?;
    let rows: u64 = receipts.iter().map(|segment| segment.rows).sum();
    // No part has more rows than all have together: these numbers cover every part.
    let advances = identities.iter().filter(|_| rows > 0).map(|fill| {
        Kind::AdvanceIdentity(proto::AdvanceIdentity {
            table_id: table.table.id.0,
            column_id: table.table.columns[fill.column].id.0,
            expected_next: fill.base,
            count: rows.saturating_mul(parts),
        })
    });
    let advances = advances.collect();
    Ok((receipts, advances))
}

/// The IDENTITY columns that a load of `targets` leaves out. Their numbers go on where the last committed ones end, whatever version a
/// block reads.
fn identity_fills(scope: &Scope, table: &Table, targets: &[usize]) -> Vec<IdentityFill> {
    let latest = scope.cluster.meta().state();
    let latest = latest.table_by_id(table.id);
    let committed = |id: ColumnId| {
        let column = latest?.table.columns.iter().find(|column| column.id == id)?;
        column.identity.as_ref().map(|identity| identity.next)
    };
    let left_out = table.columns.iter().enumerate().filter(|(column, _)| !targets.contains(column));
    left_out
        .filter_map(|(column, definition)| {
            let identity = definition.identity.as_ref()?;
            let base = identity.next.max(committed(definition.id).unwrap_or(0));
            Some(IdentityFill { column, seed: identity.seed, step: identity.step, base })
        })
        .collect()
}

/// How many parts the source of a load has: the tasks and partitions that its assignment runs in.
fn assign_parts(plan: &Arc<dyn ExecutionPlan>, tasks: usize) -> Option<usize> {
    if plan.is::<AssignExec>() {
        return Some(tasks * plan.output_partitioning().partition_count());
    }
    if let Some(boundary) = plan.as_network_boundary() {
        let stage = boundary.input_stage();
        return stage.local_plan().and_then(|below| assign_parts(below, stage.task_count()));
    }
    plan.children().into_iter().find_map(|child| assign_parts(child, tasks))
}

/// The plan that writes the rows of `source` to a table.
pub(crate) async fn plan_sink(attempt: &Attempt, target: SliceTable, source: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let definition = target.definition();
    let name = TableReference::partial(definition.schema.clone(), definition.name.clone());
    let short = yields_few_constants(&source);
    let plan = LogicalPlanBuilder::insert_into(source, name, provider_as_source(Arc::new(target)), InsertOp::Append)?.build()?;
    match short {
        true => attempt.plan_on_leader(&plan).await,
        false => attempt.plan_physical(&plan).await,
    }
}

/// Writes the rows of `source` to segments; nothing of it is visible before the commit.
async fn write(attempt: &Attempt, target: SliceTable, source: LogicalPlan) -> Result<Vec<Segment>> {
    let physical = plan_sink(attempt, target, source).await?;
    run_sink(attempt, physical).await
}

/// Runs a plan that writes; answers the segments.
pub(crate) async fn run_sink(attempt: &Attempt, physical: Arc<dyn ExecutionPlan>) -> Result<Vec<Segment>> {
    let rows = attempt.runner.start(attempt, physical)?;
    let mut rows = guarded(rows, Arc::clone(&attempt.runner.cluster), attempt.query_id.clone(), CancellationToken::new());
    let mut receipts = Vec::new();
    while let Some(batch) = rows.next().await {
        match batch {
            Ok(batch) => receipts.extend(SliceSinkExec::receipts(&batch)?),
            Err(error) => return Err(attempt.runner.explain_failure(attempt, error.into()).await),
        }
    }
    Ok(receipts)
}

/// No row may be lost or doubled by what writes segments anew, whatever the plan did.
pub(crate) fn check_rows<'a>(
    doing: &str,
    table: &Table,
    old: impl Iterator<Item = &'a Arc<Segment>>,
    new: &[Segment],
) -> Result<()> {
    let before: u64 = old.map(|segment| segment.live_rows()).sum();
    let after: u64 = new.iter().map(|segment| segment.rows).sum();
    match before == after {
        true => Ok(()),
        false => Err(Error::internal(format!("{doing} table \"{table}\": {before} rows became {after}"))),
    }
}

/// The operation that adds segments to a table which were written by the definition that `read` has; None when there are none.
fn add_segments(table: &TableState, read: &State, added: &[Segment]) -> Option<Kind> {
    let replace = proto::ReplaceSegments {
        table_id: table.table.id.0,
        add: added.iter().map(Segment::to_proto).collect(),
        defined_version: read.committed_or_zero(table.defined_version),
        ..Default::default()
    };
    (!added.is_empty()).then_some(Kind::ReplaceSegments(replace))
}

/// The operation that removes all segments of a table, whatever rows of them are deleted by then.
fn remove_segments(table: &TableState) -> Kind {
    let remove = table.segments.keys().map(|id| id.to_vec()).collect();
    Kind::ReplaceSegments(proto::ReplaceSegments { table_id: table.table.id.0, remove, ..Default::default() })
}

/// Takes the segments of a table out as they were read: rows that were deleted since make it lose.
fn remove_as_read(table: &TableState) -> Kind {
    Kind::ReplaceSegments(proto::ReplaceSegments {
        table_id: table.table.id.0,
        remove: table.segments.keys().map(|id| id.to_vec()).collect(),
        removed_deleted_rows: table.segments.values().map(|segment| segment.deleted_rows()).collect(),
        ..Default::default()
    })
}

/// One record: `first` and the new segments of `table`. Answers how many rows it added.
async fn commit(
    scope: &Scope,
    attempt: &Attempt,
    load: Load,
    table: &TableState,
    first: Vec<Kind>,
    receipts: Vec<Segment>,
) -> Result<u64> {
    let rows = receipts.iter().map(|segment| segment.rows).sum();
    let mut kinds = first;
    kinds.extend(add_segments(table, &attempt.snapshot.state, &receipts));
    if kinds.is_empty() {
        return Ok(rows);
    }
    scope.change(kinds, &attempt.snapshot.state, Some(load)).await?;
    Ok(rows)
}
