//! ALTER TABLE: the definition that a table gets. Segments stay as they are; a scan finds renamed columns under their stored names and
//! fills in what segments from before a column do not have.

use crate::catalog::Snapshot;
use crate::meta::{State, TableState};
use crate::run::Attempt;
use crate::sql::create_table::COLUMNS_MAX;
use crate::sql::{QualifiedName, TableChange};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use slipher_common::catalog::{Column, ConstraintKind, Distribution, Table};
use slipher_common::error::did_you_mean;
use slipher_common::ids::ColumnId;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_proto::meta::{self as proto, operation::Kind};

/// A change of a table's definition. It may be made several times: once per attempt to commit.
type Redefine<'a> = Box<dyn Fn(&mut Table) -> Result<()> + Send + Sync + 'a>;

/// How a change is made that needs the table's rows written anew; None for one that does not.
pub(super) fn rewriting<'a>(attempt: &Attempt, name: &QualifiedName, change: &'a TableChange) -> Result<Option<Redefine<'a>>> {
    match change {
        TableChange::Layout(attributes)
            if attributes.dist_style.is_some() || attributes.dist_key.is_some() || attributes.sort_key.is_some() =>
        {
            Ok(Some(Box::new(|table: &mut Table| attributes.alter(table))))
        }
        TableChange::ColumnType { name: column, sql_type } => {
            let found = find(&attempt.snapshot, name)?;
            let index = index_of(&found.table, &column.value).map_err(|error| error.at(column.position))?;
            if grows(&found.table.columns[index], *sql_type) {
                return Ok(None);
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
    let index = index_of(table, name)?;
    let column = &mut table.columns[index];
    if column.identity.is_some() || column.default_expression.is_some() {
        let what = format!("changing the type of column \"{name}\", which has a default or is an identity");
        return Err(Error::not_supported(what, "add a column of the new type, and copy the values with UPDATE"));
    }
    column.sql_type = sql_type;
    column.encoding = None;
    Ok(())
}

/// The operations of one ALTER TABLE, and messages.
pub(super) fn operations(attempt: &Attempt, name: &QualifiedName, change: &TableChange) -> Result<(Vec<Kind>, Vec<String>)> {
    let snapshot = &attempt.snapshot;
    let found = find(snapshot, name)?;
    let mut table = Table::clone(&found.table);
    match change {
        TableChange::Rename(to) => table.name.clone_from(&to.value),
        TableChange::SetSchema(schema) => {
            table.schema.clone_from(&snapshot.state.find_schema(&schema.value).map_err(|error| error.at(schema.position))?.name);
        }
        TableChange::Owner(user) => {
            if !snapshot.state.users().contains_key(&user.value) {
                let known = snapshot.state.users().keys().map(String::as_str);
                return Err(Error::new(ErrorKind::UndefinedObject, format!("user \"{user}\" does not exist"))
                    .with_hint(did_you_mean(&user.value, known))
                    .at(user.position));
            }
            table.owner.clone_from(&user.value);
        }
        TableChange::Swap(other) => return Ok((swapped(found, find(snapshot, other)?, &snapshot.state), Vec::new())),
        TableChange::RenameColumn { from, to } => {
            if table.column(&to.value).is_some() {
                return Err(duplicate_column(&table, &to.value).at(to.position));
            }
            let index = index_of(&table, &from.value).map_err(|error| error.at(from.position))?;
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
            let added = added(attempt, &mut table, column).map_err(|error| error.at(*position))?;
            table.columns.push(added);
        }
        TableChange::DropColumn { name, if_exists } => {
            if *if_exists && table.column(&name.value).is_none() {
                let notice = format!("column \"{name}\" of relation \"{}\" does not exist, skipping", table.name);
                return Ok((Vec::new(), vec![notice]));
            }
            drop_column(&mut table, &name.value).map_err(|error| error.at(name.position))?;
        }
        TableChange::ColumnType { name, sql_type } => {
            let index = index_of(&table, &name.value).map_err(|error| error.at(name.position))?;
            table.columns[index].sql_type = *sql_type;
        }
        TableChange::Layout(attributes) => attributes.alter(&mut table)?,
        TableChange::Encoding { name, encoding } => {
            let index = index_of(&table, &name.value).map_err(|error| error.at(name.position))?;
            let word = encoding.value.to_lowercase();
            let column = &mut table.columns[index];
            column.encoding = crate::sql::create_table::checked_encoding(&word, &column.name, column.sql_type)
                .map_err(|error| error.at(encoding.position))?;
            table.encode_auto &= column.encoding.is_none();
        }
    }
    Ok((vec![changed(found, &table, &snapshot.state)], Vec::new()))
}

fn find<'a>(snapshot: &'a Snapshot, name: &QualifiedName) -> Result<&'a TableState> {
    let schema = name.schema.as_ref().map(|schema| schema.value.as_str());
    let found = snapshot.resolve(schema, &name.name.value).map_err(|error| error.at(name.name.position))?;
    Ok(found)
}

/// The operation that gives `before` the definition `after`.
pub(crate) fn changed(before: &TableState, after: &Table, read: &State) -> Kind {
    // A version that is not committed yet was made by the block that this statement stands in.
    let defined = before.defined_version;
    let defined_version = if read.is_committed(defined) { defined.0 } else { 0 };
    Kind::ChangeTable(proto::ChangeTable { table: Some(after.to_proto()), defined_version })
}

/// Both tables under each other's names.
fn swapped(one: &TableState, other: &TableState, read: &State) -> Vec<Kind> {
    let named = |table: &Table, like: &Table| Table { schema: like.schema.clone(), name: like.name.clone(), ..table.clone() };
    let aside = Table { name: format!("swapped {}", one.table.id), ..Table::clone(&one.table) };
    let to_other = named(&one.table, &other.table);
    let again = Kind::ChangeTable(proto::ChangeTable { table: Some(to_other.to_proto()), defined_version: 0 });
    vec![changed(one, &aside, read), changed(other, &named(&other.table, &one.table), read), again]
}

fn duplicate_column(table: &Table, name: &str) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" of relation \"{}\" already exists", table.name))
}

fn index_of(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let known = table.columns.iter().map(|column| column.name.as_str());
        Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" of relation \"{}\" does not exist", table.name))
            .with_hint(did_you_mean(name, known))
    })
}

/// The column as the table keeps it: rows that are there get its default, or NULL.
fn added(attempt: &Attempt, table: &mut Table, column: &Column) -> Result<Column> {
    let missing_value = match &column.default_expression {
        Some(text) => constant(attempt, text, column.sql_type)?,
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
fn constant(attempt: &Attempt, text: &str, sql_type: SqlType) -> Result<Option<String>> {
    let empty = DFSchema::empty();
    let logical = attempt.session.create_logical_expr(text, &empty)?;
    let physical = attempt.session.create_physical_expr(logical, &empty)?;
    let row = arrow::array::RecordBatch::try_new_with_options(
        std::sync::Arc::new(arrow::datatypes::Schema::empty()),
        Vec::new(),
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let value = match physical.evaluate(&row)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0)?,
    };
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
    Ok(ScalarValue::try_from_array(&text, 0)?.try_as_str().flatten().map(str::to_owned))
}

fn drop_column(table: &mut Table, name: &str) -> Result<()> {
    let index = index_of(table, name)?;
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
