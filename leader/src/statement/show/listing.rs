//! What SHOW lists, with the columns that Redshift documents.

use crate::context::Context;
use crate::statement::columns_of_view;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, StringBuilder};
use arrow::compute::{filter_record_batch, like};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use slipher_common::catalog::{Distribution, SortStyle, Table, View};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_meta::{Commented, DatabaseState, Relation, State};
use slipher_sql::{ListedObjects, Name, QualifiedName};
use std::sync::Arc;

const DATABASES: &[&str] =
    &["database_name", "database_owner", "database_type", "database_acl", "parameters", "database_isolation_level"];
const SCHEMAS: &[&str] =
    &["database_name", "schema_name", "schema_owner", "schema_type", "schema_acl", "source_database", "schema_option"];
const TABLES: &[&str] = &[
    "database_name",
    "schema_name",
    "table_name",
    "table_type",
    "table_acl",
    "remarks",
    "owner",
    "last_altered_time",
    "last_modified_time",
    "dist_style",
    "table_subtype",
];
const COLUMNS: &[&str] = &[
    "database_name",
    "schema_name",
    "table_name",
    "column_name",
    "ordinal_position",
    "column_default",
    "is_nullable",
    "data_type",
    "character_maximum_length",
    "numeric_precision",
    "numeric_scale",
    "remarks",
    "sort_key_type",
    "sort_key",
    "dist_key",
    "encoding",
    "collation",
];
/// Those of all lists that are numbers.
const NUMBERS: &[&str] = &[
    "database_owner",
    "schema_owner",
    "ordinal_position",
    "character_maximum_length",
    "numeric_precision",
    "numeric_scale",
    "sort_key",
    "dist_key",
];
/// More rows than so many must be narrowed.
const ROWS_MAX_COUNT: usize = 10_000;

/// The names of a list's columns, and which of them LIKE looks at.
fn columns_of(objects: &ListedObjects) -> (&'static [&'static str], usize) {
    match objects {
        ListedObjects::Databases => (DATABASES, 0),
        ListedObjects::Schemas(_) => (SCHEMAS, 1),
        ListedObjects::Tables(_) => (TABLES, 2),
        ListedObjects::Columns(_) => (COLUMNS, 3),
    }
}

/// What a list is before anybody makes it.
pub(super) fn schema_of(objects: &ListedObjects) -> SchemaRef {
    let field = |name: &&str| {
        let data_type = if NUMBERS.contains(name) { DataType::Int32 } else { DataType::Utf8 };
        Field::new(*name, data_type, true)
    };
    Arc::new(Schema::new(columns_of(objects).0.iter().map(field).collect::<Vec<_>>()))
}

/// One cell.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Text(String),
    Number(i32),
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn number(number: impl TryInto<i32>) -> Cell {
    number.try_into().map_or(Cell::Null, Cell::Number)
}

fn maybe(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, text)
}

/// The list.
pub(super) async fn of(
    context: &Context,
    objects: &ListedObjects,
    pattern: Option<&str>,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let state = context.scope()?.state();
    let rows = match objects {
        ListedObjects::Databases => state.databases().values().map(|database| of_database(&state, database)).collect(),
        ListedObjects::Schemas(database) => schemas(context, &state, database)?,
        ListedObjects::Tables(schema) => {
            let other = in_database(context, &state, schema.database.as_ref())?;
            let found = other.find_schema(&schema.name.value).ok().filter(|schema| context.sees(&schema.name));
            let found = found.ok_or_else(|| no_schema(&schema.name))?;
            let tables = found.tables.values().filter_map(|id| other.tables().get(id));
            let views = found.views.values().filter_map(|id| other.views().get(id));
            let tables = tables.map(|known| of_table(&other, &known.table));
            let mut rows: Vec<_> = tables.chain(views.map(|known| of_view(&other, &known.view))).collect();
            rows.sort_by_key(|row| match row.get(2) {
                Some(Cell::Text(name)) => name.clone(),
                _ => String::new(),
            });
            rows
        }
        ListedObjects::Columns(table) => columns(context, &state, table).await?,
    };
    let all = batch(objects, &rows)?;
    let kept = match pattern {
        Some(pattern) => {
            let names = all.column(columns_of(objects).1);
            let like = like(names, &StringArray::new_scalar(pattern))?;
            filter_record_batch(&all, &like)?
        }
        None => all,
    };
    if limit.is_none() && kept.num_rows() > ROWS_MAX_COUNT {
        let message = format!("SHOW finds {} objects, more than {ROWS_MAX_COUNT}", kept.num_rows());
        return Err(Error::new(ErrorKind::ProgramLimit, message).with_hint("add LIKE 'pattern' or LIMIT n"));
    }
    Ok(kept.slice(0, limit.unwrap_or(usize::MAX).min(kept.num_rows())))
}

fn batch(objects: &ListedObjects, rows: &[Vec<Cell>]) -> Result<RecordBatch> {
    let schema = schema_of(objects);
    let column = |(index, field): (usize, &Arc<Field>)| -> ArrayRef {
        let cells = rows.iter().map(|row| row.get(index).unwrap_or(&Cell::Null));
        match field.data_type() {
            DataType::Int32 => Arc::new(
                cells
                    .map(|cell| match cell {
                        Cell::Number(number) => Some(*number),
                        _ => None,
                    })
                    .collect::<Int32Array>(),
            ),
            _ => {
                let mut texts = StringBuilder::new();
                cells.for_each(|cell| match cell {
                    Cell::Text(text) => texts.append_value(text),
                    _ => texts.append_null(),
                });
                Arc::new(texts.finish())
            }
        }
    };
    let arrays = schema.fields().iter().enumerate().map(column).collect();
    Ok(RecordBatch::try_new(schema, arrays)?)
}

fn user_id(state: &State, user: &str) -> Cell {
    state.user_id(user).map_or(Cell::Null, number)
}

fn of_database(state: &State, database: &DatabaseState) -> Vec<Cell> {
    let isolation = if database.serializable { "Serializable" } else { "Snapshot Isolation" };
    vec![text(&database.name), user_id(state, &database.owner), text("local"), Cell::Null, Cell::Null, text(isolation)]
}

fn no_schema(name: &Name) -> Error {
    Error::new(ErrorKind::UndefinedSchema, format!("schema \"{name}\" does not exist")).at(name.position)
}

/// The state as it is seen from a database.
fn in_database(context: &Context, state: &Arc<State>, database: Option<&Name>) -> Result<Arc<State>> {
    let Some(name) = database else { return Ok(Arc::clone(state)) };
    let known = state.find_database(&name.value).map_err(|error| error.at(name.position))?;
    Ok(if known.id == context.database { Arc::clone(state) } else { state.in_database(known.id) })
}

fn schemas(context: &Context, state: &Arc<State>, database: &Name) -> Result<Vec<Vec<Cell>>> {
    let other = in_database(context, state, Some(database))?;
    let seen = other.schemas().values().filter(|schema| context.sees(&schema.name));
    let row = |schema: &Arc<slipher_meta::SchemaState>| {
        let (name, owner) = (text(&schema.name), user_id(state, &schema.owner));
        vec![text(&database.value), name, owner, text("local"), Cell::Null, Cell::Null, Cell::Null]
    };
    Ok(seen.map(row).collect())
}

fn database_name(state: &State) -> Cell {
    maybe(state.databases().get(&state.database()).map(|database| database.name.as_str()))
}

fn of_table(state: &State, table: &Table) -> Vec<Cell> {
    let key = table.dist_key_index().and_then(|index| table.columns.get(index)).map(|column| column.name.as_str());
    let style = match table.distribution {
        Distribution::Even => "EVEN".to_owned(),
        Distribution::All => "ALL".to_owned(),
        Distribution::Key(_) => format!("KEY({})", key.unwrap_or_default()),
    };
    let style = if table.distribution_auto { format!("AUTO ({style})") } else { style };
    let remarks = maybe(state.comment(Commented::Relation(table.id, None)));
    let (name, owner) = (text(&table.name), text(&table.owner));
    let (altered, modified) = (Cell::Null, Cell::Null);
    let (kind, subtype) = (text("TABLE"), text("REGULAR TABLE"));
    vec![
        database_name(state),
        text(&table.schema),
        name,
        kind,
        Cell::Null,
        remarks,
        owner,
        altered,
        modified,
        text(style),
        subtype,
    ]
}

fn of_view(state: &State, view: &View) -> Vec<Cell> {
    let subtype = if view.late_binding { "LATE BINDING VIEW" } else { "REGULAR VIEW" };
    let remarks = maybe(state.comment(Commented::Relation(view.id, None)));
    let (name, owner) = (text(&view.name), text(&view.owner));
    let none = || Cell::Null;
    vec![
        database_name(state),
        text(&view.schema),
        name,
        text("VIEW"),
        none(),
        remarks,
        owner,
        none(),
        none(),
        none(),
        text(subtype),
    ]
}

async fn columns(context: &Context, state: &Arc<State>, name: &QualifiedName) -> Result<Vec<Vec<Cell>>> {
    let other = in_database(context, state, name.database.as_ref())?;
    let same = name.database.as_ref().is_none_or(|database| database.value == context.database_name);
    let position = name.name.position;
    let found = match (same, name.schema_name()) {
        (true, _) => context.attempt(false)?.snapshot.named(&QualifiedName { database: None, ..name.clone() }).map(owned)?,
        (false, schema) => {
            let found = other.find_relation(schema.unwrap_or(slipher_common::catalog::PUBLIC_SCHEMA), &name.name.value);
            owned(found.map_err(|error| error.at(position))?)
        }
    };
    match found {
        Found::Table(table) => Ok(of_columns(&other, &table)),
        Found::View(view) => {
            let fields = columns_of_view(context, &view).await;
            let column = |(place, field): (usize, &Arc<Field>)| {
                let sql_type = SqlType::of_field(field).ok();
                let id = u32::try_from(place + 1).unwrap_or(u32::MAX);
                let remarks = maybe(other.comment(Commented::Relation(view.id, Some(id))));
                let head = [database_name(&other), text(&view.schema), text(&view.name), text(field.name()), number(place + 1)];
                let tail = [remarks, Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null];
                let nullable = [Cell::Null, text("YES")];
                head.into_iter().chain(nullable).chain(of_type(sql_type)).chain(tail).collect()
            };
            Ok(fields.fields().iter().enumerate().map(column).collect())
        }
    }
}

/// A table or view that stays when the snapshot goes.
enum Found {
    Table(Arc<Table>),
    View(Arc<View>),
}

fn owned(relation: Relation<'_>) -> Found {
    match relation {
        Relation::Table(state) => Found::Table(Arc::clone(&state.table)),
        Relation::View(state) => Found::View(Arc::clone(&state.view)),
    }
}

fn of_columns(state: &State, table: &Table) -> Vec<Vec<Cell>> {
    let style = if table.sort_style == SortStyle::Interleaved { "INTERLEAVED" } else { "COMPOUND" };
    let column = |(index, column): (usize, &slipher_common::catalog::Column)| {
        let sort = table.sort_key.iter().position(|id| *id == column.id);
        let default = match &column.identity {
            Some(identity) => Some(format!("\"identity\"({}, {})", identity.seed, identity.step)),
            None => column.default_expression.clone(),
        };
        let head = [
            database_name(state),
            text(&table.schema),
            text(&table.name),
            text(&column.name),
            number(index + 1),
            maybe(default.as_deref()),
            text(if column.not_null { "NO" } else { "YES" }),
        ];
        let tail = [
            maybe(state.comment(Commented::Relation(table.id, Some(column.id.0)))),
            sort.map_or(Cell::Null, |_| text(style)),
            sort.map_or(Cell::Null, |place| number(place + 1)),
            number(i32::from(table.dist_key_index() == Some(index))),
            maybe(column.encoding.as_deref()),
            Cell::Null,
        ];
        head.into_iter().chain(of_type(Some(column.sql_type))).chain(tail).collect()
    };
    table.columns.iter().enumerate().map(column).collect()
}

/// The type's name, the longest text, digits, and those behind the point.
fn of_type(sql_type: Option<SqlType>) -> [Cell; 4] {
    let (length, precision, scale) = match sql_type {
        Some(SqlType::Char(length) | SqlType::VarChar(length)) => (number(length), Cell::Null, Cell::Null),
        Some(SqlType::SmallInt) => (Cell::Null, number(16), number(0)),
        Some(SqlType::Integer) => (Cell::Null, number(32), number(0)),
        Some(SqlType::BigInt) => (Cell::Null, number(64), number(0)),
        Some(SqlType::Decimal { precision, scale }) => (Cell::Null, number(precision), number(scale)),
        _ => (Cell::Null, Cell::Null, Cell::Null),
    };
    [sql_type.map_or(Cell::Null, |known| text(known.to_string())), length, precision, scale]
}
