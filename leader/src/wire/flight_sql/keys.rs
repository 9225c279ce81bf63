//! Answers to the calls about primary and foreign keys. Slipher keeps such constraints and, as Redshift, does not enforce them.

use crate::frontend::{CatalogListing, TableListing};
use arrow::array::{ArrayRef, Int32Array, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use slipher_common::Result;
use slipher_common::catalog::{Constraint, ConstraintKind, Table};
use std::sync::{Arc, LazyLock};

/// Flight SQL's code of the rule NO ACTION.
const RULE_NO_ACTION: u8 = 3;

/// A table as key calls name one. What is `None` fits every table.
#[derive(Clone, Debug, Default)]
pub(super) struct TableFilter {
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
}

impl TableFilter {
    fn fits(&self, database: &str, schema: &str, table: &str) -> bool {
        self.catalog.as_deref().is_none_or(|name| name == database)
            && self.schema.as_deref().is_none_or(|name| name == schema)
            && self.table.as_deref().is_none_or(|name| name == table)
    }
}

pub(super) static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

pub(super) static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

/// The primary key's columns of the tables that fit.
pub(super) fn primary_keys(listing: &CatalogListing, filter: &TableFilter) -> Result<RecordBatch> {
    let mut rows: Vec<(&TableListing, String, Option<&str>, i32)> = Vec::new();
    for listed in listing.tables.iter().filter(|listed| filter.fits(&listing.database, &listed.schema, &listed.name)) {
        let Some((table, key)) = listed.table.as_deref().and_then(|table| Some((table, primary_key(table)?))) else { continue };
        for (sequence, column) in (1..).zip(column_names(table, key)) {
            rows.push((listed, column, name_of(key), sequence));
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| &listing.database))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0.schema))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0.name))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.3))),
    ];
    Ok(RecordBatch::try_new(PRIMARY_KEYS.clone(), columns)?)
}

struct Reference<'a> {
    pk_schema: &'a str,
    pk_table: &'a str,
    pk_column: String,
    pk_name: Option<&'a str>,
    fk: &'a TableListing,
    fk_column: String,
    fk_name: Option<&'a str>,
    sequence: i32,
}

/// The references from tables that fit `referencing` to tables that fit `referenced`.
pub(super) fn foreign_keys(listing: &CatalogListing, referenced: &TableFilter, referencing: &TableFilter) -> Result<RecordBatch> {
    let tables = listing.tables.iter().filter(|listed| referencing.fits(&listing.database, &listed.schema, &listed.name));
    let mut rows: Vec<Reference<'_>> = tables.flat_map(|listed| references(listing, listed)).collect();
    rows.retain(|row| referenced.fits(&listing.database, row.pk_schema, row.pk_table));
    let rule = || -> ArrayRef { Arc::new(UInt8Array::from_iter_values(rows.iter().map(|_| RULE_NO_ACTION))) };
    let database = || -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|_| &listing.database))) };
    let columns: Vec<ArrayRef> = vec![
        database(),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.pk_schema))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.pk_table))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.pk_column))),
        database(),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.fk.schema))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.fk.name))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.fk_column))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.sequence))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.fk_name))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.pk_name))),
        rule(),
        rule(),
    ];
    Ok(RecordBatch::try_new(FOREIGN_KEYS.clone(), columns)?)
}

fn references<'a>(listing: &'a CatalogListing, listed: &'a TableListing) -> Vec<Reference<'a>> {
    let Some(table) = listed.table.as_deref() else { return Vec::new() };
    let mut rows = Vec::new();
    for constraint in &table.constraints {
        let ConstraintKind::ForeignKey { schema, table: other, columns } = &constraint.kind else { continue };
        let target = listing.tables.iter().find(|target| target.schema == *schema && target.name == *other);
        let target = target.and_then(|target| target.table.as_deref());
        let key = target.and_then(|target| Some((target, primary_key(target)?)));
        // REFERENCES without columns means the other table's primary key.
        let pk_columns = match key {
            Some((target, key)) if columns.is_empty() => column_names(target, key),
            _ => columns.clone(),
        };
        let pairs = pk_columns.into_iter().zip(column_names(table, constraint));
        rows.extend((1..).zip(pairs).map(|(sequence, (pk_column, fk_column))| Reference {
            pk_schema: schema,
            pk_table: other,
            pk_column,
            pk_name: key.and_then(|(_, key)| name_of(key)),
            fk: listed,
            fk_column,
            fk_name: name_of(constraint),
            sequence,
        }));
    }
    rows
}

fn primary_key(table: &Table) -> Option<&Constraint> {
    table.constraints.iter().find(|constraint| constraint.kind == ConstraintKind::PrimaryKey)
}

fn column_names(table: &Table, constraint: &Constraint) -> Vec<String> {
    let positions = constraint.columns.iter().filter_map(|id| table.index_of(*id));
    positions.map(|position| table.columns[position].name.clone()).collect()
}

fn name_of(constraint: &Constraint) -> Option<&str> {
    Some(constraint.name.as_str()).filter(|name| !name.is_empty())
}
