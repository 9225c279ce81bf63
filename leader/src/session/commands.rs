//! One function per kind of statement.

use super::Outcome;
use super::leader_session::{Block, LeaderSession};
use super::settings::{ISOLATION, READ_ONLY};
use super::{Signal, alter_table, cursors, databases, locking, views};
use crate::catalog::{RESERVED_SCHEMA_PREFIX, is_temp_schema};
use crate::load::{self, Choice};
use crate::plan::explain;
use crate::run::{Attempt, guarded};
use crate::sql::{Parsed, Password, QualifiedName, SchemaName, TableChange, TransactionModes, UserSpec};
use crate::transaction::Scope;
use crate::users::new_verifier;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use slipher_common::catalog::{ADMIN_USER, Table};
use slipher_common::ids::{TableId, TransactionId};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A read-only statement is tried so often when compute nodes die before its first row.
pub(super) const READ_ATTEMPTS_MAX: usize = 3;

/// Values for `$1`, `$2`, ...; None where there are none.
pub(super) fn bound(parameters: Vec<ScalarValue>) -> Option<ParamValues> {
    (!parameters.is_empty()).then(|| ParamValues::from(parameters))
}

/// Runs `parsed`; while no compute node has joined yet, waits for the first ones where it needs them.
pub(super) async fn run(
    session: &LeaderSession,
    parsed: &Parsed,
    parameters: Vec<ScalarValue>,
    token: &CancellationToken,
) -> Result<Outcome> {
    session.shared.cluster.with_first_nodes(|| run_now(session, parsed, parameters.clone(), token)).await
}

async fn run_now(
    session: &LeaderSession,
    parsed: &Parsed,
    parameters: Vec<ScalarValue>,
    token: &CancellationToken,
) -> Result<Outcome> {
    let parameters = bound(parameters);
    let _locked = locking::lock_targets(session, parsed).await?;
    match parsed {
        Parsed::Query(query) => select(session, query, parameters, token).await,
        Parsed::Explain { analyze, verbose, inner } => explain_statement(session, *analyze, *verbose, inner, parameters).await,
        Parsed::Insert(spec) => {
            let rows = load::insert(&session.scope()?, spec, parameters).await?;
            Ok(Outcome::Done { tag: format!("INSERT 0 {rows}"), rows: Some(rows), notices: Vec::new() })
        }
        Parsed::Change(spec) => {
            let only_one_source = session.settings.lock().is_on("error_on_nondeterministic_update");
            let rows = load::change(&session.scope()?, spec, parameters, only_one_source).await?;
            Ok(Outcome::Done { tag: format!("{} {rows}", spec.verb()), rows: Some(rows), notices: Vec::new() })
        }
        Parsed::Merge(spec) => {
            let rows = load::merge(&session.scope()?, spec, parameters).await?;
            Ok(Outcome::Done { tag: format!("MERGE {rows}"), rows: Some(rows), notices: Vec::new() })
        }
        Parsed::Copy(spec) => {
            let (rows, rejections) = load::copy(&session.scope()?, spec).await?;
            let mut notices = spec.notices.clone();
            notices.extend(rejections);
            notices.push(format!("Load into table '{}' completed, {rows} record(s) loaded successfully.", spec.table.name));
            Ok(Outcome::Done { tag: format!("COPY {rows}"), rows: Some(rows), notices })
        }
        Parsed::CreateTableAs { spec, query } => {
            session.has_temporary.fetch_or(spec.temporary, Ordering::SeqCst);
            let (rows, notices) = load::create_table_as(&session.scope()?, spec, query, parameters).await?;
            Ok(Outcome::Done { tag: format!("SELECT {rows}"), rows: Some(rows), notices })
        }
        Parsed::CreateSchema { .. }
        | Parsed::DropSchema { .. }
        | Parsed::CreateTable(_)
        | Parsed::DropTable { .. }
        | Parsed::CreateView(_)
        | Parsed::DropView { .. }
        | Parsed::CreateUser(_)
        | Parsed::AlterUser(_)
        | Parsed::CreateDatabase { .. }
        | Parsed::AlterDatabase { .. }
        | Parsed::DropDatabase { .. }
        | Parsed::DropUser { .. } => define(session, parsed).await,
        Parsed::Truncate { table } => {
            let notices = load::truncate(&session.scope()?, table).await?;
            Ok(done("TRUNCATE TABLE", notices))
        }
        Parsed::AlterTable { table, change: TableChange::Append { source, ignore_extra, fill_target } } => {
            if !matches!(*session.block.lock(), Block::None) {
                let message = "ALTER TABLE ... APPEND cannot run inside a transaction block";
                return Err(Error::new(ErrorKind::ActiveTransaction, message).with_hint("INSERT INTO ... SELECT can"));
            }
            let allowed = load::Allowed { ignore_extra: *ignore_extra, fill_target: *fill_target };
            let rows = load::append_from(&session.scope()?, table, source, allowed).await?;
            Ok(done("ALTER TABLE", vec![format!("{rows} rows moved from \"{}\" to \"{}\"", source.name, table.name)]))
        }
        Parsed::AlterTable { table, change } => {
            let attempt = attempt(session, false)?;
            match alter_table::rewriting(&attempt, table, change)? {
                Some(change) => {
                    drop(attempt);
                    load::rewrite(&session.scope()?, table, change).await?;
                    Ok(done("ALTER TABLE", Vec::new()))
                }
                None => define(session, parsed).await,
            }
        }
        Parsed::Declare { name, query } => {
            cursors::check_in_block(session)?;
            session.cursors.check_new(&name.value)?;
            // It outlives the statement, and the statement's time limit.
            let rows = select(session, query, parameters, &CancellationToken::new()).await?;
            session.cursors.open(&name.value, rows)?;
            Ok(done("DECLARE CURSOR", Vec::new()))
        }
        Parsed::Fetch { name, count } => {
            session.cursors.fetch(&name.value, *count, token).map_err(|error| error.at(name.position))
        }
        Parsed::Close { name } => {
            session.cursors.close(name.as_ref().map(|name| name.value.as_str()))?;
            Ok(done("CLOSE CURSOR", Vec::new()))
        }
        Parsed::Lock { tables } => locking::lock(session, tables).await.map(|()| done("LOCK TABLE", Vec::new())),
        Parsed::Cancel { process_id } => {
            let is_superuser = require_superuser(session, "").is_ok();
            session.shared.runner.sessions.signal(*process_id, Signal::Cancel, &session.user, is_superuser)?;
            Ok(done("CANCEL", Vec::new()))
        }
        Parsed::Commit => commit(session).await,
        Parsed::Discard { all, temporary } => discard(session, *all, *temporary).await,
        Parsed::Vacuum { table, kind, sorted_percent, boost } => {
            let choice = Choice::Asked { kind: *kind, sorted_percent: *sorted_percent };
            vacuum(session, table.as_ref(), choice, !boost).await
        }
        _ => control(session, parsed),
    }
}

/// The same as [`attempt`] for a look ahead: a block that has not begun does not begin by it.
pub(super) fn look_ahead(session: &LeaderSession) -> Result<Attempt> {
    session.shared.runner.attempt(&session.scope_without_begin()?, TransactionId(Uuid::nil()), false)
}

/// One version, layout and engine session for a statement that loads nothing.
pub(super) fn attempt(session: &LeaderSession, collect_metrics: bool) -> Result<Attempt> {
    session.shared.runner.attempt(&session.scope()?, TransactionId(Uuid::nil()), collect_metrics)
}

async fn select(
    session: &LeaderSession,
    query: &ast::Statement,
    parameters: Option<ParamValues>,
    token: &CancellationToken,
) -> Result<Outcome> {
    let runner = &session.shared.runner;
    let mut attempts = 0;
    let merge_joins = Arc::new(AtomicBool::new(false));
    loop {
        attempts += 1;
        let scope = Scope { merge_joins: Arc::clone(&merge_joins), ..session.scope()? };
        let attempt = runner.attempt(&scope, TransactionId(Uuid::nil()), false)?;
        let logical = attempt.plan_query(query, parameters.clone()).await?;
        let physical = attempt.plan_physical(&logical).await?;
        let rows = runner.start(&attempt, physical)?;
        let mut rows = guarded(rows, Arc::clone(&session.shared.cluster), attempt.query_id.clone(), token.clone());
        match rows.next().await {
            Some(Err(error)) => {
                let error = runner.explain_failure(&attempt, error.into()).await;
                // No row has left for the client: a fresh layout may answer from replicas.
                if error.kind == ErrorKind::NodeUnavailable && attempts < READ_ATTEMPTS_MAX {
                    tracing::warn!(query = attempt.query_id, reason = error.message, "running the query again");
                    continue;
                }
                if scope.saves_memory_after(&error) {
                    tracing::info!(query = attempt.query_id, "running the query again with joins that can be spilled");
                    continue;
                }
                return Err(error);
            }
            first => {
                let schema = output_schema(query, &rows.schema());
                return Ok(rows_outcome(session, attempt, schema, first.transpose()?, rows));
            }
        }
    }
}

/// The schema of a query's rows as a client sees it: an expression is named after what it is, not after its text.
pub(super) fn output_schema(query: &ast::Statement, schema: &SchemaRef) -> SchemaRef {
    let names = crate::sql::output::column_names(query, schema.fields().iter().map(|field| field.name().as_str()));
    let fields = schema.fields().iter().zip(names).map(|(field, name)| Arc::new(field.as_ref().clone().with_name(name)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn rows_outcome(
    session: &LeaderSession,
    attempt: Attempt,
    schema: SchemaRef,
    first: Option<RecordBatch>,
    rows: SendableRecordBatchStream,
) -> Outcome {
    let runner = session.shared.runner.clone();
    let attempt = Arc::new(attempt);
    let rest = rows.then(move |batch| {
        let (runner, attempt) = (runner.clone(), Arc::clone(&attempt));
        async move {
            match batch {
                Ok(batch) => Ok(batch),
                Err(error) => Err(DataFusionError::from(runner.explain_failure(&attempt, error.into()).await)),
            }
        }
    });
    let named = Arc::clone(&schema);
    let stream = futures::stream::iter(first.map(Ok)).chain(rest).map(move |batch| {
        let batch: RecordBatch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&named), batch.columns().to_vec(), &options)?)
    });
    Outcome::Rows { schema: Arc::clone(&schema), stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)), tag: "SELECT" }
}

async fn explain_statement(
    session: &LeaderSession,
    analyze: bool,
    verbose: bool,
    inner: &Parsed,
    parameters: Option<ParamValues>,
) -> Result<Outcome> {
    let attempt = attempt(session, analyze)?;
    let plans: Vec<Arc<dyn ExecutionPlan>> = match inner {
        Parsed::Query(query) => vec![attempt.plan_statement(query, parameters).await?],
        Parsed::CreateTableAs { query, .. } if !analyze => vec![attempt.plan_statement(query, parameters).await?],
        Parsed::Insert(spec) if !analyze => vec![load::plan_insert(&attempt, spec, parameters).await?],
        Parsed::Change(spec) if !analyze => vec![load::plan_change(&attempt, spec, parameters).await?],
        Parsed::Merge(spec) if !analyze => load::plan_merge(&attempt, spec, parameters).await?,
        _ if analyze => {
            let instead = "EXPLAIN shows its plan; EXPLAIN ANALYZE the query of its rows";
            return Err(Error::not_supported("EXPLAIN ANALYZE of a statement that changes something", instead));
        }
        _ => return Err(Error::not_supported("EXPLAIN of this statement", "explain a query, INSERT, UPDATE, DELETE or MERGE")),
    };
    let mut lines = Vec::new();
    for physical in plans {
        lines.extend(match analyze {
            true => explain::analyze(&session.shared.runner, &attempt, physical).await?,
            false => explain::explain(&physical, verbose)?,
        });
    }
    Ok(text_rows("QUERY PLAN", lines, "EXPLAIN"))
}

/// One column of text.
fn text_rows(column: &str, lines: Vec<String>, tag: &'static str) -> Outcome {
    table_of_text(&[column], vec![lines], tag)
}

fn table_of_text(names: &[&str], columns: Vec<Vec<String>>, tag: &'static str) -> Outcome {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|values| Arc::new(StringArray::from(values)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(DataFusionError::from);
    let stream = futures::stream::iter(std::iter::once(batch));
    Outcome::Rows { schema: Arc::clone(&schema), stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)), tag }
}

fn done(tag: &str, notices: Vec<String>) -> Outcome {
    Outcome::Done { tag: tag.to_owned(), rows: None, notices }
}

/// Catalog changes: each is one record.
async fn define(session: &LeaderSession, parsed: &Parsed) -> Result<Outcome> {
    let attempt = attempt(session, false)?;
    let snapshot = &attempt.snapshot;
    let state = &snapshot.state;
    let (tag, kinds): (&str, Vec<Kind>) = match parsed {
        Parsed::CreateSchema { name: SchemaName { database, name }, if_not_exists, owner } => {
            snapshot.check_database(database.as_ref())?;
            if name.value.starts_with(RESERVED_SCHEMA_PREFIX) {
                return Err(Error::new(ErrorKind::ReservedName, format!("unacceptable schema name \"{name}\""))
                    .with_detail(format!("the prefix \"{RESERVED_SCHEMA_PREFIX}\" is reserved for system schemas"))
                    .at(name.position));
            }
            let owner = owner.as_ref().map_or_else(|| session.user.clone(), |owner| owner.value.clone());
            let schema = proto::CreateSchema {
                schema_id: session.shared.allocate_object_id(),
                name: name.value.clone(),
                owner,
                if_not_exists: *if_not_exists,
                allocated_id: true,
                database_id: session.database.0,
            };
            ("CREATE SCHEMA", vec![Kind::CreateSchema(schema)])
        }
        Parsed::DropSchema { names, if_exists, cascade } => {
            names.iter().try_for_each(|name| snapshot.check_database(name.database.as_ref()))?;
            let names = || names.iter().map(|name| &name.name);
            if let Some(name) = names().find(|name| is_temp_schema(&name.value)) {
                let message = format!("cannot drop schema \"{name}\" because it holds the temporary tables of a session");
                return Err(Error::new(ErrorKind::InsufficientPrivilege, message)
                    .with_hint("DISCARD TEMP drops your own")
                    .at(name.position));
            }
            let (cascade, if_exists, database_id) = (*cascade, *if_exists, session.database.0);
            let drops = names()
                .map(|name| Kind::DropSchema(proto::DropSchema { name: name.value.clone(), cascade, if_exists, database_id }));
            ("DROP SCHEMA", drops.collect())
        }
        Parsed::CreateTable(spec) => {
            session.has_temporary.fetch_or(spec.temporary, Ordering::SeqCst);
            spec.referenced_databases().try_for_each(|name| snapshot.check_database(Some(name)))?;
            let (schema, mut kinds) = snapshot.place_of(&session.shared, &spec.name, spec.temporary)?;
            let mut table = spec.to_table(&schema, &session.user, |like| {
                let found = snapshot.table(like)?;
                Ok(found.table.as_ref().clone())
            })?;
            table.id = TableId(session.shared.allocate_object_id());
            table.database = session.database;
            let create = proto::CreateTable {
                table: Some(table.to_proto()),
                if_not_exists: spec.if_not_exists,
                allocated_id: true,
                or_replace: spec.or_replace,
                replaced_version: 0,
            };
            kinds.push(Kind::CreateTable(create));
            ("CREATE TABLE", kinds)
        }
        Parsed::DropTable { tables, if_exists, cascade } => {
            let (found, notices) = views::to_drop(snapshot, tables, *if_exists, "table")?;
            if found.is_empty() {
                return Ok(done("DROP TABLE", notices));
            }
            let drop = |id: &TableId| Kind::DropTable(proto::DropTable { table_id: id.0, cascade: *cascade });
            ("DROP TABLE", found.iter().map(drop).collect())
        }
        Parsed::DropView { views, if_exists, cascade } => {
            let (found, notices) = views::to_drop(snapshot, views, *if_exists, "view")?;
            if found.is_empty() {
                return Ok(done("DROP VIEW", notices));
            }
            let view_ids = found.iter().map(|id| id.0).collect();
            ("DROP VIEW", vec![Kind::DropViews(proto::DropViews { view_ids, cascade: *cascade })])
        }
        Parsed::CreateView(spec) => ("CREATE VIEW", vec![views::create(session, &attempt, spec).await?]),
        Parsed::AlterTable { table, change } => {
            let (changes, notices) = alter_table::operations(&attempt, table, change)?;
            if changes.is_empty() {
                return Ok(done("ALTER TABLE", notices));
            }
            ("ALTER TABLE", changes)
        }
        Parsed::CreateUser(spec) => ("CREATE USER", vec![put_user(session, spec, true)?]),
        Parsed::AlterUser(spec) => {
            let drop = Kind::DropUser(proto::DropUser { name: spec.name.value.clone() });
            ("ALTER USER", vec![drop, put_user(session, spec, false)?])
        }
        Parsed::CreateDatabase { .. } | Parsed::AlterDatabase { .. } | Parsed::DropDatabase { .. } => {
            let (kinds, notices) = databases::operations(session, state, parsed)?;
            let tag = parsed.change().unwrap_or_default();
            if kinds.is_empty() {
                return Ok(done(tag, notices));
            }
            (tag, kinds)
        }
        Parsed::DropUser { names, if_exists } => {
            require_superuser(session, "drop users")?;
            let known = |name: &str| state.users().contains_key(name);
            let there = names.iter().filter(|name| !*if_exists || known(&name.value));
            let drops = there.map(|name| Kind::DropUser(proto::DropUser { name: name.value.clone() })).collect();
            ("DROP USER", drops)
        }
        _ => return Err(Error::internal("a definition of an unknown kind")),
    };
    if matches!(parsed, Parsed::DropUser { names, .. } if names.iter().any(|name| name.value == ADMIN_USER)) {
        return Err(Error::new(
            ErrorKind::DependentObjects,
            format!("user \"{ADMIN_USER}\" cannot be dropped: the cluster needs it"),
        ));
    }
    let notices = session.scope()?.change(kinds, state, None).await?;
    Ok(done(tag, notices))
}

pub(super) fn require_superuser(session: &LeaderSession, what: &str) -> Result<()> {
    let state = session.scope()?.state();
    if state.users().get(&session.user).is_some_and(|user| user.superuser) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InsufficientPrivilege, format!("must be superuser to {what}")))
}

fn put_user(session: &LeaderSession, spec: &UserSpec, create: bool) -> Result<Kind> {
    let own_password = !create && spec.name.value == session.user && spec.superuser.is_none();
    if !own_password {
        require_superuser(session, if create { "create users" } else { "alter users" })?;
    }
    let state = session.scope()?.state();
    let name = &spec.name.value;
    let known = state.users().get(name);
    match (known, create) {
        (Some(_), true) => {
            return Err(Error::new(ErrorKind::DuplicateObject, format!("user \"{name}\" already exists")).at(spec.name.position));
        }
        (None, false) => {
            return Err(Error::new(ErrorKind::UndefinedObject, format!("user \"{name}\" does not exist")).at(spec.name.position));
        }
        _ => {}
    }
    let scram_verifier = match &spec.password {
        Some(Password::Plain(password)) => new_verifier(password),
        Some(Password::Disabled) => String::new(),
        None => known.map(|user| user.scram_verifier.clone()).unwrap_or_default(),
    };
    Ok(Kind::PutUser(proto::PutUser {
        user: Some(proto::User {
            name: name.clone(),
            superuser: spec.superuser.unwrap_or_else(|| known.is_some_and(|user| user.superuser)),
            scram_verifier,
            can_create_database: spec.can_create_database.unwrap_or_else(|| known.is_some_and(|user| user.can_create_database)),
        }),
    }))
}

/// 42P01 if the table that is named is not there.
fn check_table(session: &LeaderSession, table: Option<&QualifiedName>) -> Result<()> {
    let Some(name) = table else { return Ok(()) };
    let attempt = attempt(session, false)?;
    attempt.snapshot.table(name).map(|_| ())
}

/// VACUUM of one table or of all; says what it did.
async fn vacuum(session: &LeaderSession, name: Option<&QualifiedName>, choice: Choice, background: bool) -> Result<Outcome> {
    if !matches!(*session.block.lock(), Block::None) {
        return Err(Error::new(ErrorKind::ActiveTransaction, "VACUUM cannot run inside a transaction block"));
    }
    let scope = Scope { background, ..session.scope()? };
    let tables: Vec<(TableId, String)> = match name {
        Some(name) => {
            let attempt = attempt(session, false)?;
            let found = attempt.snapshot.table(name)?;
            vec![(found.table.id, found.table.to_string())]
        }
        None => {
            let state = scope.state();
            let here = |table: &Table| table.database == session.database && session.sees(&table.schema);
            let seen = state.tables().values().filter(|found| here(&found.table));
            seen.map(|found| (found.table.id, found.table.to_string())).collect()
        }
    };
    let mut notices = Vec::new();
    for (table, shown) in tables {
        let done = match load::vacuum(&scope, table, choice).await {
            // Of all tables, one may be dropped meanwhile.
            Err(error) if name.is_none() && error.kind == ErrorKind::UndefinedTable => continue,
            done => done?,
        };
        if let Some(done) = done {
            let (segments, bytes) = (done.segments, done.bytes);
            notices.push(format!(
                "table \"{shown}\": {} segments became {}, {} deleted rows are gone, {} bytes reclaimed",
                segments.0,
                segments.1,
                done.deleted_rows,
                bytes.0.saturating_sub(bytes.1)
            ));
        }
    }
    Ok(done("VACUUM", notices))
}

/// DISCARD: what the session made for itself goes.
async fn discard(session: &LeaderSession, all: bool, temporary: bool) -> Result<Outcome> {
    if all && !matches!(*session.block.lock(), Block::None) {
        return Err(Error::new(ErrorKind::ActiveTransaction, "DISCARD ALL cannot run inside a transaction block"));
    }
    if temporary {
        let scope = session.scope()?;
        let state = scope.state();
        if let Some(drop) = session.drop_temporary(&state) {
            scope.change(vec![drop], &state, None).await?;
        }
    }
    if all {
        session.settings.lock().reset(None)?;
        session.cursors.clear();
    }
    Ok(done(if all { "DISCARD ALL" } else { "DISCARD" }, Vec::new()))
}

/// SET LOCAL: until the transaction ends.
fn set_local(session: &LeaderSession, name: &str, value: &str) -> Result<Outcome> {
    if matches!(*session.block.lock(), Block::None) {
        return Ok(done("SET", vec!["SET LOCAL can only be used in transaction blocks".to_owned()]));
    }
    let mut settings = session.settings.lock();
    let before = settings.changed(name).map(str::to_owned);
    settings.set(name, value)?;
    let mut local = session.local_settings.lock();
    if !local.iter().any(|(known, _)| known == name) {
        local.push((name.to_owned(), before));
    }
    Ok(done("SET", Vec::new()))
}

/// Statements about the session itself.
fn control(session: &LeaderSession, parsed: &Parsed) -> Result<Outcome> {
    match parsed {
        Parsed::Set { name, value, local: true } => set_local(session, name, value),
        Parsed::Set { name, value, local: false } => {
            session.settings.lock().set(name, value)?;
            // What the session sets outlives the block, whatever SET LOCAL said before.
            session.local_settings.lock().retain(|(local, _)| local != name);
            Ok(done("SET", Vec::new()))
        }
        Parsed::Reset { name } => {
            session.settings.lock().reset(name.as_deref())?;
            Ok(done("RESET", Vec::new()))
        }
        Parsed::Show { name } => show(session, name),
        Parsed::ShowView { name } => {
            let text = views::show(&attempt(session, false)?.snapshot, name)?;
            Ok(text_rows(views::SHOW_VIEW_COLUMN, vec![text], "SHOW"))
        }
        Parsed::Begin { modes } => begin(session, *modes),
        Parsed::SetTransaction { session: for_session, modes } => set_transaction(session, *for_session, *modes),
        Parsed::Rollback => roll_back(session),
        Parsed::Analyze { table } => {
            check_table(session, table.as_ref())?;
            Ok(done("ANALYZE", vec!["statistics are kept by every load; nothing was left to do".to_owned()]))
        }
        Parsed::Deallocate { .. } => Ok(done("DEALLOCATE", Vec::new())),
        Parsed::Refused(error) => Err(error.as_ref().clone()),
        _ => Err(Error::internal("a statement of an unknown kind")),
    }
}

/// BEGIN. What came before it in the same text becomes part of the block.
fn begin(session: &LeaderSession, modes: TransactionModes) -> Result<Outcome> {
    let was_implicit = session.is_implicit.swap(false, Ordering::SeqCst);
    let mut block = session.block.lock();
    if matches!(*block, Block::None) {
        *block = session.new_block(modes);
        return Ok(done("BEGIN", Vec::new()));
    }
    drop(block);
    if was_implicit {
        set_transaction(session, false, modes)?;
        return Ok(done("BEGIN", Vec::new()));
    }
    Ok(done("BEGIN", vec!["there is already a transaction in progress".to_owned()]))
}

/// SET TRANSACTION changes the block that is open, SET SESSION CHARACTERISTICS the ones to come.
fn set_transaction(session: &LeaderSession, for_session: bool, modes: TransactionModes) -> Result<Outcome> {
    if for_session {
        let mut settings = session.settings.lock();
        if let Some(serializable) = modes.serializable {
            settings.set(ISOLATION, if serializable { "serializable" } else { "snapshot" })?;
        }
        if let Some(read_only) = modes.read_only {
            settings.set(READ_ONLY, if read_only { "on" } else { "off" })?;
        }
        return Ok(done("SET", Vec::new()));
    }
    let mut block = session.block.lock();
    let Block::Open { transaction, read_only, serializable, .. } = &mut *block else {
        return Ok(done("SET", vec!["SET TRANSACTION can only be used in transaction blocks".to_owned()]));
    };
    if transaction.is_some() && modes.serializable.is_some_and(|wanted| wanted != *serializable) {
        let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
        return Err(Error::new(ErrorKind::ActiveTransaction, message));
    }
    if transaction.is_some() && *read_only && modes.read_only == Some(false) {
        let message = "transaction read-write mode must be set before any query";
        return Err(Error::new(ErrorKind::ActiveTransaction, message));
    }
    *serializable = modes.serializable.unwrap_or(*serializable);
    *read_only = modes.read_only.unwrap_or(*read_only);
    Ok(done("SET", Vec::new()))
}

/// COMMIT: what the block did is there for all, or an error says why it is gone.
pub(super) async fn commit(session: &LeaderSession) -> Result<Outcome> {
    match session.end_block() {
        Block::None => Ok(done("COMMIT", vec!["there is no transaction in progress".to_owned()])),
        Block::Failed => {
            session.undo_settings();
            Ok(done("ROLLBACK", Vec::new()))
        }
        Block::Open { transaction: None, .. } => Ok(done("COMMIT", Vec::new())),
        Block::Open { transaction: Some(transaction), locks, .. } => {
            let committed = transaction.commit(&session.shared.cluster, locks, &session.committing()).await;
            committed.inspect_err(|_| session.undo_settings())?;
            Ok(done("COMMIT", Vec::new()))
        }
    }
}

/// ROLLBACK: data, definitions and settings are what they were.
fn roll_back(session: &LeaderSession) -> Result<Outcome> {
    Ok(match session.end_block() {
        Block::None => done("ROLLBACK", vec!["there is no transaction in progress".to_owned()]),
        Block::Open { .. } | Block::Failed => {
            session.undo_settings();
            done("ROLLBACK", Vec::new())
        }
    })
}

fn show(session: &LeaderSession, name: &str) -> Result<Outcome> {
    if name == "all" {
        let (names, values) = session.settings.lock().all().into_iter().unzip();
        return Ok(table_of_text(&["name", "setting"], vec![names, values], "SHOW"));
    }
    let effective = match name {
        "transaction_isolation" => Some(if session.is_serializable() { "serializable" } else { "snapshot" }.to_owned()),
        _ => session.settings.lock().get(name),
    };
    match effective {
        Some(value) => Ok(text_rows(name, vec![value], "SHOW")),
        None => Err(Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))),
    }
}

/// The SQL type a parameter gets when nothing says what it is.
pub(super) const UNKNOWN_PARAMETER_TYPE: SqlType = SqlType::VarChar(slipher_common::sql_type::VARCHAR_LENGTH_MAX_BYTES);
