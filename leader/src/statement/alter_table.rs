//! ALTER TABLE: the definition that a table gets. Segments stay as they are; a scan finds renamed columns under their stored names and
//! fills in what segments from before a column do not have.

use super::names::{check_move, known_schema, known_user};
use super::{Effect, Executes, Running, view};
use crate::context::{Block, Context, Requires};
use crate::frontend::Outcome;
use crate::load;
use crate::plan::parameters::written;
use crate::run::Attempt;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{ParamValues, ScalarValue};
use futures::TryStreamExt;
use slipher_common::catalog::{Column, ConstraintKind, Distribution, Table, ViewReference};
use slipher_common::error::did_you_mean;
use slipher_common::ids::{ColumnId, TableId};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_meta::{Relation, State, TableState, changed_definition};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::create_table::{COLUMNS_MAX, CreateTableSpec};
use slipher_sql::{Name, QualifiedName, TableChange};
use tokio_util::sync::CancellationToken;

/// ALTER TABLE, ALTER VIEW.
pub(super) struct AlterTable<'a> {
    pub(super) table: &'a QualifiedName,
    pub(super) change: &'a TableChange,
}

impl Executes for AlterTable<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("ALTER TABLE")
    }

    fn requires(&self) -> Requires<'_> {
        let names = match self.change {
            TableChange::Swap(other) | TableChange::Append { source: other, .. } => vec![self.table, other],
            _ => vec![self.table],
        };
        Requires::Tables { names, adds_rows: false }
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let (table, runner) = (self.table, &context.shared.runner);
            if let TableChange::Append { source, ignore_extra, fill_target } = self.change {
                if !matches!(*context.block.lock(), Block::None) {
                    let message = "ALTER TABLE ... APPEND cannot run inside a transaction block";
                    return Err(Error::new(ErrorKind::ActiveTransaction, message).with_hint("INSERT INTO ... SELECT can"));
                }
                let allowed = load::Allowed { ignore_extra: *ignore_extra, fill_target: *fill_target };
                let rows = load::append_from(runner, &context.scope()?, table, source, allowed).await?;
                let notice = format!("{rows} rows moved from \"{}\" to \"{}\"", source.name, table.name);
                return Ok(Outcome::done("ALTER TABLE", vec![notice]));
            }
            let attempt = context.attempt(false)?;
            if let Some(change) = rewriting(&attempt, table, self.change).await? {
                drop(attempt);
                load::rewrite(runner, &context.scope()?, table, change).await?;
                return Ok(Outcome::done("ALTER TABLE", Vec::new()));
            }
            let (changes, notices) = operations(&attempt, table, self.change).await?;
            if changes.is_empty() {
                return Ok(Outcome::done("ALTER TABLE", notices));
            }
            context.define("ALTER TABLE", &attempt, changes).await
        })
    }
}

/// A change of a table's definition. It may be made several times: once per attempt to commit.
type Redefine<'a> = Box<dyn Fn(&mut Table) -> Result<()> + Send + Sync + 'a>;

/// How a change is made that needs the table's rows written anew; None for one that does not.
async fn rewriting<'a>(attempt: &Attempt, name: &QualifiedName, change: &'a TableChange) -> Result<Option<Redefine<'a>>> {
    match change {
        TableChange::Layout(attributes)
            if attributes.dist_style.is_some() || attributes.dist_key.is_some() || attributes.sort_key.is_some() =>
        {
            Ok(Some(Box::new(|table: &mut Table| attributes.alter(table))))
        }
        TableChange::ColumnType { name: column, sql_type } => {
            let found = attempt.snapshot.table(name)?;
            let index = found.table.index_of_name(&column.value).map_err(|error| error.at(column.position))?;
            if grows(&found.table.columns[index], *sql_type) {
                return Ok(None);
            }
            if let Some(text) = &found.table.columns[index].default_expression {
                // It must be a value of the new type, too.
                constant(attempt, text, *sql_type).await.map_err(|error| error.at(column.position))?;
            }
            Ok(Some(Box::new(move |table: &mut Table| {
                retype(table, &column.value, *sql_type).map_err(|error| error.at(column.position))
            })))
        }
        _ => Ok(None),
    }
}

/// Gives a column another type. Its rows get it as an INSERT would.
fn retype(table: &mut Table, name: &str, sql_type: SqlType) -> Result<()> {
    let index = table.index_of_name(name)?;
    let column = &mut table.columns[index];
    // A default is cast to the column's type whenever it is used.
    if column.identity.is_some() && !matches!(sql_type, SqlType::Integer | SqlType::BigInt) {
        let message = format!("column \"{name}\" is an identity: its type must be INTEGER or BIGINT");
        return Err(Error::new(ErrorKind::InvalidColumnDefinition, message));
    }
    column.sql_type = sql_type;
    column.encoding = None;
    Ok(())
}

/// The operations of one ALTER TABLE, and messages.
async fn operations(attempt: &Attempt, name: &QualifiedName, change: &TableChange) -> Result<(Vec<Kind>, Vec<String>)> {
    let snapshot = &attempt.snapshot;
    if let Ok(Relation::View(view)) = snapshot.named(name) {
        return Ok((vec![view::changed(view, change, snapshot).map_err(|error| error.at(name.name.position))?], Vec::new()));
    }
    let found = snapshot.table(name)?;
    let mut table = Table::clone(&found.table);
    let mut first = Vec::new();
    match change {
        TableChange::Rename(to) => table.name.clone_from(&to.value),
        TableChange::SetSchema(schema) => table.schema = known_schema(&snapshot.state, schema)?,
        TableChange::Owner(user) => table.owner = known_user(&snapshot.state, user)?,
        TableChange::Swap(other) => {
            let other_found = snapshot.table(other)?;
            check_move(&found.table.schema, &other_found.table.schema).map_err(|error| error.at(other.name.position))?;
            return Ok((swapped(found, other_found, &snapshot.state), Vec::new()));
        }
        TableChange::RenameColumn { from, to } => {
            if table.column(&to.value).is_some() {
                return Err(duplicate_column(&table, &to.value).at(to.position));
            }
            let index = table.index_of_name(&from.value).map_err(|error| error.at(from.position))?;
            let column = &mut table.columns[index];
            column.stored_name.get_or_insert_with(|| column.name.clone());
            column.name.clone_from(&to.value);
        }
        TableChange::AddColumn { column, position, if_not_exists } => {
            if table.column(&column.name).is_some() {
                if *if_not_exists {
                    let notice = format!("column \"{}\" of relation \"{}\" already exists, skipping", column.name, table.name);
                    return Ok((Vec::new(), vec![notice]));
                }
                return Err(duplicate_column(&table, &column.name).at(*position));
            }
            if table.columns.len() >= COLUMNS_MAX {
                return Err(Error::new(ErrorKind::ProgramLimit, format!("tables can have at most {COLUMNS_MAX} columns")));
            }
            let added = added(attempt, &mut table, column).await.map_err(|error| error.at(*position))?;
            table.columns.push(added);
        }
        TableChange::DropColumn { name, if_exists, cascade } => {
            if *if_exists && table.column(&name.value).is_none() {
                let notice = format!("column \"{name}\" of relation \"{}\" does not exist, skipping", table.name);
                return Ok((Vec::new(), vec![notice]));
            }
            let id = table.column(&name.value).map(|column| column.id);
            drop_column(&mut table, &name.value).map_err(|error| error.at(name.position))?;
            if let Some(id) = id.filter(|_| *cascade) {
                first.extend(drop_users_of(&snapshot.state, table.id, id));
            }
        }
        TableChange::AddConstraint(spec) => {
            spec.referenced_databases().try_for_each(|name| attempt.snapshot.check_database(Some(name)))?;
            add_constraint(&mut table, spec)?;
        }
        TableChange::DropConstraint(name) => drop_constraint(&mut table, name)?,
        TableChange::Append { .. } => return Err(Error::internal("ALTER TABLE ... APPEND is no change of a definition")),
        TableChange::ColumnType { name, sql_type } => {
            let index = table.index_of_name(&name.value).map_err(|error| error.at(name.position))?;
            table.columns[index].sql_type = *sql_type;
        }
        TableChange::Layout(attributes) => attributes.alter(&mut table)?,
        TableChange::Encoding { name, encoding } => {
            let index = table.index_of_name(&name.value).map_err(|error| error.at(name.position))?;
            let word = encoding.value.to_lowercase();
            let column = &mut table.columns[index];
            column.encoding = slipher_sql::create_table::checked_encoding(&word, &column.name, column.sql_type)
                .map_err(|error| error.at(encoding.position))?;
            table.encode_auto &= column.encoding.is_none();
        }
    }
    if table.schema != found.table.schema {
        check_move(&found.table.schema, &table.schema).map_err(|error| error.at(name.name.position))?;
    }
    first.push(changed_definition(found, &table, &snapshot.state));
    Ok((first, Vec::new()))
}

/// What drops the views that use a column.
fn drop_users_of(state: &State, table: TableId, column: ColumnId) -> Option<Kind> {
    let uses = |reference: &ViewReference| {
        reference.relation == table && reference.columns.iter().any(|seen| seen.id == column && seen.used)
    };
    let users = state.views().values().filter(|state| state.view.references.iter().any(uses));
    let view_ids: Vec<u64> = users.map(|state| state.view.id.0).collect();
    (!view_ids.is_empty()).then_some(Kind::DropViews(proto::DropViews { view_ids, cascade: true }))
}

/// PRIMARY KEY, UNIQUE or FOREIGN KEY, none of them enforced. The columns of a primary key must be NOT NULL already, as in Redshift.
fn add_constraint(table: &mut Table, spec: &CreateTableSpec) -> Result<()> {
    let before = table.clone();
    let schema = table.schema.clone();
    spec.add_constraints(table, &schema)?;
    let Some((added, position)) = table.constraints.last().zip(spec.constraints.first().map(|added| added.position)) else {
        return Err(Error::internal("ALTER TABLE ... ADD CONSTRAINT has none"));
    };
    if added.kind == ConstraintKind::PrimaryKey {
        if before.constraints.iter().any(|other| other.kind == ConstraintKind::PrimaryKey) {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
            return Err(Error::new(ErrorKind::InvalidTableDefinition, message).at(position));
        }
        let nullable = before.columns.iter().find(|column| added.columns.contains(&column.id) && !column.not_null);
        if let Some(column) = nullable {
            let message = format!("column \"{}\" of a primary key must be NOT NULL", column.name);
            return Err(Error::new(ErrorKind::InvalidTableDefinition, message)
                .with_hint("make the table anew with CREATE TABLE, or declare it UNIQUE")
                .at(position));
        }
    }
    let name = added.shown_name(&before);
    if before.constraints.iter().any(|other| other.shown_name(&before) == name) {
        let message = format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
        return Err(Error::new(ErrorKind::DuplicateObject, message).at(position));
    }
    Ok(())
}

fn drop_constraint(table: &mut Table, name: &Name) -> Result<()> {
    let names: Vec<String> = table.constraints.iter().map(|constraint| constraint.shown_name(table)).collect();
    let Some(index) = names.iter().position(|known| *known == name.value) else {
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name);
        return Err(Error::new(ErrorKind::UndefinedObject, message)
            .with_hint(did_you_mean(&name.value, names.iter().map(String::as_str)))
            .at(name.position));
    };
    table.constraints.remove(index);
    Ok(())
}

/// Both tables under each other's names.
fn swapped(one: &TableState, other: &TableState, read: &State) -> Vec<Kind> {
    let named = |table: &Table, like: &Table| Table { schema: like.schema.clone(), name: like.name.clone(), ..table.clone() };
    let aside = Table { name: format!("swapped {}", one.table.id), ..Table::clone(&one.table) };
    let to_other = named(&one.table, &other.table);
    let again = Kind::ChangeTable(proto::ChangeTable { table: Some(to_other.to_proto()), defined_version: 0 });
    vec![changed_definition(one, &aside, read), changed_definition(other, &named(&other.table, &one.table), read), again]
}

fn duplicate_column(table: &Table, name: &str) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" of relation \"{}\" already exists", table.name))
}

/// The column as the table keeps it: rows that are there get its default, or NULL.
async fn added(attempt: &Attempt, table: &mut Table, column: &Column) -> Result<Column> {
    let missing_value = match &column.default_expression {
        Some(text) => constant(attempt, text, column.sql_type).await?,
        None => None,
    };
    if column.not_null && missing_value.is_none() {
        let message = format!("column \"{}\" is NOT NULL, and rows that are there have no value for it", column.name);
        return Err(Error::new(ErrorKind::InvalidTableDefinition, message).with_hint("give it a DEFAULT that is not NULL"));
    }
    let id = ColumnId(table.next_column_id);
    table.next_column_id += 1;
    // Segments may have a column of this name that was dropped or renamed.
    let stored_name = Some(format!("{}#{id}", column.name));
    Ok(Column { id, stored_name, missing_value, ..column.clone() })
}

/// The text of a constant expression's value as `sql_type`; None for NULL.
async fn constant(attempt: &Attempt, text: &str, sql_type: SqlType) -> Result<Option<String>> {
    let expression = slipher_sql::embedded::parse_expression(text)?;
    let query = slipher_sql::row_of_values(&[expression], vec![written(sql_type)])?;
    let plan = attempt.plan_statement(&query, None).await?;
    let rows = attempt.runner.start(attempt, attempt.short_way(plan)?)?;
    let batches: Vec<_> = rows.try_collect().await?;
    let row = batches.iter().find(|batch| batch.num_rows() == 1).and_then(|batch| batch.columns().first());
    let row = row.ok_or_else(|| Error::internal("the value of a DEFAULT expression is not one row"))?;
    let value = ScalarValue::try_from_array(row, 0)?;
    let typed = value.cast_to(&sql_type.to_arrow())?;
    if typed.is_null() {
        return Ok(None);
    }
    if let (SqlType::VarChar(limit) | SqlType::Char(limit), Some(text)) = (sql_type, typed.try_as_str().flatten())
        && text.len() > limit as usize
    {
        return Err(Error::new(ErrorKind::StringTooLong, format!("the default value is too long for type {sql_type}")));
    }
    let text = cast(&typed.to_array()?, &DataType::Utf8)?;
    let text = ScalarValue::try_from_array(&text, 0)?.try_as_str().flatten().map(str::to_owned);
    // As segments hold it.
    Ok(text.map(|text| if matches!(sql_type, SqlType::Char(_)) { text.trim_end_matches(' ').to_owned() } else { text }))
}

fn drop_column(table: &mut Table, name: &str) -> Result<()> {
    let index = table.index_of_name(name)?;
    let id = table.columns[index].id;
    let refuse = |what: &str| {
        Err(Error::new(ErrorKind::InvalidTableDefinition, format!("cannot drop {what} column \"{name}\""))
            .with_hint("make the table anew with CREATE TABLE AS"))
    };
    if table.distribution == Distribution::Key(id) {
        return refuse("distribution key");
    }
    if table.sort_key.contains(&id) {
        return refuse("sort key");
    }
    if table.columns.len() == 1 {
        return refuse("the only");
    }
    table.constraints.retain(|constraint| !constraint.columns.contains(&id) || is_reference(&constraint.kind));
    if table.constraints.iter().any(|constraint| constraint.columns.contains(&id)) {
        return refuse("the foreign key");
    }
    table.columns.remove(index);
    Ok(())
}

fn is_reference(kind: &ConstraintKind) -> bool {
    matches!(kind, ConstraintKind::ForeignKey { .. })
}

/// Whether a column of the new type holds all that it held as it is stored: a VARCHAR that gets longer.
fn grows(column: &Column, wanted: SqlType) -> bool {
    matches!((column.sql_type, wanted), (SqlType::VarChar(before), SqlType::VarChar(after)) if after >= before)
}
