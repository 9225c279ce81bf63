//! CREATE TABLE and CREATE TABLE AS, with every attribute Redshift has.

use super::Parsed;
use super::embedded::query_to_end;
use super::lex::Cursor;
use super::names::{Name, QualifiedName};
use super::table_attributes::{TableAttributes, find};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::catalog::{Column, Constraint, ConstraintKind, Distribution, Identity, SortStyle, Table};
use slipher_common::ids::{ColumnId, DatabaseId, TableId};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::collections::HashSet;

mod as_query;
mod column;
pub use as_query::CreateTableAsSpec;
pub use column::checked_encoding;
#[cfg(test)]
mod tests;

/// Most columns of a table.
pub const COLUMNS_MAX: usize = 1600;
/// Names that PostgreSQL's clients expect of the system.
const SYSTEM_COLUMNS: &[&str] = &["oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// CREATE TABLE with columns, as it was written.
#[derive(Debug)]
pub struct CreateTableSpec {
    /// Its name.
    pub name: QualifiedName,
    /// No error when it is there.
    pub if_not_exists: bool,
    /// In place of the table of this name.
    pub or_replace: bool,
    /// Only the session sees it, and it goes with the session.
    pub temporary: bool,
    /// Columns and LIKE clauses, in order.
    pub(crate) elements: Vec<Element>,
    /// Keys and references, of columns and of the table.
    pub constraints: Vec<ConstraintSpec>,
    /// DISTSTYLE and the like.
    pub(crate) attributes: TableAttributes,
}

/// What stands in the parentheses of CREATE TABLE, constraints aside.
#[derive(Debug)]
pub(crate) enum Element {
    /// A column.
    Column(ColumnSpec),
    /// LIKE: the columns of another table.
    Like {
        /// The other table.
        table: QualifiedName,
        /// INCLUDING DEFAULTS.
        including_defaults: bool,
    },
}

/// One column as it was written.
#[derive(Debug)]
pub(crate) struct ColumnSpec {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub sql_type: SqlType,
    /// NOT NULL, by itself or by PRIMARY KEY or IDENTITY.
    pub not_null: bool,
    /// SQL text after DEFAULT.
    pub default_expression: Option<String>,
    /// What stood after ENCODE, lower case.
    pub encoding: Option<String>,
    /// IDENTITY.
    pub identity: Option<Identity>,
}

/// A key or reference as it was written.
#[derive(Debug)]
pub struct ConstraintSpec {
    /// Its name; empty when none was given.
    pub(crate) name: String,
    /// Where it stands.
    pub position: usize,
    /// What it says.
    pub(crate) kind: ConstraintSpecKind,
    /// The columns.
    pub(crate) columns: Vec<Name>,
}

/// What a constraint says.
#[derive(Debug)]
pub(crate) enum ConstraintSpecKind {
    /// PRIMARY KEY.
    PrimaryKey,
    /// UNIQUE.
    Unique,
    /// REFERENCES table (columns); no columns: its primary key.
    References(QualifiedName, Vec<Name>),
}

/// Whether CREATE [OR REPLACE | [LOCAL] TEMP] TABLE comes next.
pub(super) fn starts_here(cursor: &Cursor<'_>) -> bool {
    let forms: [&[&str]; 6] = [
        &["CREATE", "TABLE"],
        &["CREATE", "OR", "REPLACE", "TABLE"],
        &["CREATE", "TEMP", "TABLE"],
        &["CREATE", "TEMPORARY", "TABLE"],
        &["CREATE", "LOCAL", "TEMP", "TABLE"],
        &["CREATE", "LOCAL", "TEMPORARY", "TABLE"],
    ];
    forms.iter().any(|form| cursor.looking_at(form))
}

/// Whether a new table is temporary: by its statement, its schema or its name. Such a table's name gets no schema.
fn is_temporary(name: &mut QualifiedName, said_so: bool) -> Result<bool> {
    let by_schema = name.schema.as_ref().is_some_and(|schema| schema.value == "pg_temp");
    if said_so || by_schema || name.name.value.starts_with('#') {
        if let Some(schema) = name.schema.take_if(|_| !by_schema) {
            let message = format!("cannot create a temporary table in schema \"{schema}\"");
            return Err(Error::new(ErrorKind::InvalidTableDefinition, message)
                .with_hint("leave the schema out, or TEMP, or the # before the name")
                .at(schema.position));
        }
        name.schema = None;
        return Ok(true);
    }
    Ok(false)
}

/// Parses CREATE TABLE or CREATE TABLE AS to the end of the statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["CREATE"])?;
    let or_replace = cursor.eat(&["OR", "REPLACE"]);
    cursor.eat(&["LOCAL"]);
    let said_so = cursor.eat_one_of(&["TEMP", "TEMPORARY"]).is_some();
    cursor.expect(&["TABLE"])?;
    let if_not_exists = !or_replace && cursor.eat(&["IF", "NOT", "EXISTS"]);
    let mut name = cursor.qualified_name("a table's name")?;
    let temporary = is_temporary(&mut name, said_so)?;
    let names_only = cursor.looking_at_token(&Token::LParen)
        && matches!(cursor.peek_at(2).map(|lexeme| &lexeme.token), Some(Token::Comma | Token::RParen));
    if cursor.looking_at_token(&Token::LParen) && !names_only {
        return parse_with_columns(
            cursor,
            CreateTableSpec { if_not_exists, or_replace, temporary, ..CreateTableSpec::new(name) },
        );
    }
    let columns = if names_only { cursor.names_in_parentheses("a column")? } else { Vec::new() };
    let mut attributes = TableAttributes::of_query();
    attributes.parse(cursor)?;
    if cursor.looking_at(&["WITH"]) {
        return Err(Error::not_supported(
            "CREATE TABLE WITH (properties)",
            "leave WITH out; segments have a format of their own",
        )
        .at(cursor.position()));
    }
    if !cursor.eat(&["AS"]) {
        let expected =
            if names_only { "expected AS and a query; columns need types" } else { "expected columns in parentheses, or AS" };
        return Err(cursor.error(expected));
    }
    let spec = CreateTableAsSpec { name, if_not_exists, or_replace, temporary, columns, attributes };
    spec.check_names(spec.columns.iter())?;
    let query = query_to_end(cursor)?;
    Ok(Parsed::CreateTableAs { spec: Box::new(spec), query })
}

fn parse_with_columns(cursor: &mut Cursor<'_>, mut spec: CreateTableSpec) -> Result<Parsed> {
    cursor.expect_token(&Token::LParen)?;
    loop {
        spec.parse_element(cursor)?;
        if !cursor.eat_token(&Token::Comma) {
            break;
        }
    }
    if !cursor.eat_token(&Token::RParen) {
        let error = super::embedded::explain_syntax(cursor.lexed, cursor.next);
        return Err(error.with_detail("expected \",\", \")\" or an attribute of the column"));
    }
    spec.attributes.parse(cursor)?;
    if cursor.looking_at(&["AS"]) {
        return Err(cursor.error("CREATE TABLE AS takes column names without types"));
    }
    if !cursor.at_end() {
        return Err(cursor.error("expected DISTSTYLE, DISTKEY, SORTKEY, ENCODE AUTO, BACKUP or the end of the statement"));
    }
    if !spec.elements.iter().any(|element| matches!(element, Element::Like { .. })) {
        // Contradictions come to light now; LIKE has to wait for the catalog.
        spec.to_table("public", "", |_| Err(Error::internal("a table without LIKE asked for another")))?;
    }
    Ok(Parsed::CreateTable(Box::new(spec)))
}

/// The constraint of ALTER TABLE ... ADD.
pub(super) fn parse_added_constraint(cursor: &mut Cursor<'_>, table: &QualifiedName) -> Result<CreateTableSpec> {
    let mut spec = CreateTableSpec::new(table.clone());
    spec.parse_element(cursor)?;
    Ok(spec)
}

/// One column of ALTER TABLE ... ADD, its id still 0.
pub(super) fn parse_added_column(cursor: &mut Cursor<'_>, table: &QualifiedName) -> Result<Column> {
    let position = cursor.position();
    let mut spec = CreateTableSpec::new(table.clone());
    spec.parse_column(cursor)?;
    let made = spec.to_table("public", "", |_| Err(Error::internal("a column asked for another table")))?;
    let keys = made.dist_key_index().is_some() || !made.sort_key.is_empty() || !made.constraints.is_empty();
    let column = made.columns.into_iter().next().filter(|column| column.identity.is_none() && !keys);
    column.ok_or_else(|| {
        Error::not_supported("ADD COLUMN with a key, a constraint or IDENTITY", "make the table anew with CREATE TABLE AS")
            .at(position)
    })
}

impl CreateTableSpec {
    fn new(name: QualifiedName) -> Self {
        Self {
            name,
            if_not_exists: false,
            or_replace: false,
            temporary: false,
            elements: Vec::new(),
            constraints: Vec::new(),
            attributes: TableAttributes::default(),
        }
    }

    fn parse_element(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let position = cursor.position();
        if cursor.eat(&["LIKE"]) {
            let table = cursor.qualified_name("a table")?;
            let mut including_defaults = false;
            while let Some(word) = cursor.eat_one_of(&["INCLUDING", "EXCLUDING"]) {
                cursor.expect(&["DEFAULTS"])?;
                including_defaults = word == "INCLUDING";
            }
            self.elements.push(Element::Like { table, including_defaults });
            return Ok(());
        }
        let name = if cursor.eat(&["CONSTRAINT"]) { cursor.name("a constraint's name")?.value } else { String::new() };
        let kind = if cursor.eat(&["PRIMARY", "KEY"]) {
            ConstraintSpecKind::PrimaryKey
        } else if cursor.looking_at(&["UNIQUE"]) {
            cursor.next += 1;
            ConstraintSpecKind::Unique
        } else if cursor.eat(&["FOREIGN", "KEY"]) {
            let columns = cursor.names_in_parentheses("a column")?;
            cursor.expect(&["REFERENCES"])?;
            let kind = column::references(cursor)?;
            self.constraints.push(ConstraintSpec { name, position, kind, columns });
            return Ok(());
        } else if cursor.looking_at(&["CHECK"]) {
            return Err(column::check_constraint(cursor.position()));
        } else if name.is_empty() {
            return self.parse_column(cursor);
        } else {
            return Err(cursor.error("expected PRIMARY KEY, UNIQUE or FOREIGN KEY"));
        };
        let columns = cursor.names_in_parentheses("a column")?;
        self.constraints.push(ConstraintSpec { name, position, kind, columns });
        Ok(())
    }

    /// The table this describes, its id still 0. `schema` is where it goes when its name gives none, `like` finds the
    /// tables of LIKE clauses.
    pub fn to_table(&self, schema: &str, owner: &str, mut like: impl FnMut(&QualifiedName) -> Result<Table>) -> Result<Table> {
        let mut table = empty_table(self.name.schema_or(schema), &self.name, owner);
        let mut positions = Vec::new();
        let mut parent = None;
        for element in &self.elements {
            let at_position = table.columns.len();
            match element {
                Element::Column(column) => table.columns.push(column.to_column(next_id(&table))),
                Element::Like { table: other, including_defaults } => {
                    let other_table = like(other)?;
                    inherit_columns(&mut table, &other_table, *including_defaults);
                    parent.get_or_insert((other_table, at_position, other.position()));
                }
            }
            let position = match element {
                Element::Column(column) => column.name.position,
                Element::Like { table, .. } => table.position(),
            };
            positions.resize(table.columns.len(), position);
        }
        check_columns(&table.columns, &positions, self.name.position())?;
        let schema = table.schema.clone();
        self.add_constraints(&mut table, &schema)?;
        self.attributes.apply(&mut table)?;
        if let Some((other, first, position)) = parent {
            self.inherit_attributes(&mut table, &other, first, position)?;
        }
        Ok(table)
    }

    /// Adds the constraints to a table that has the columns.
    pub fn add_constraints(&self, table: &mut Table, schema: &str) -> Result<()> {
        let mut primary: Option<&ConstraintSpec> = None;
        for spec in &self.constraints {
            let mut columns = Vec::new();
            for name in &spec.columns {
                let id = find(&table.columns, name, "a constraint")?.id;
                if columns.contains(&id) {
                    let message = format!("column \"{name}\" stands twice in a constraint");
                    return Err(Error::new(ErrorKind::DuplicateColumn, message).at(name.position));
                }
                columns.push(id);
            }
            let kind = match &spec.kind {
                ConstraintSpecKind::PrimaryKey => {
                    if primary.replace(spec).is_some() {
                        let message = format!("multiple primary keys for table \"{}\" are not allowed", self.name.name);
                        return Err(Error::new(ErrorKind::InvalidTableDefinition, message).at(spec.position));
                    }
                    for column in table.columns.iter_mut().filter(|column| columns.contains(&column.id)) {
                        column.not_null = true;
                    }
                    ConstraintKind::PrimaryKey
                }
                ConstraintSpecKind::Unique => ConstraintKind::Unique,
                ConstraintSpecKind::References(other, names) => {
                    if !names.is_empty() && names.len() != columns.len() {
                        let message = "number of referencing and referenced columns for foreign key disagree";
                        return Err(Error::new(ErrorKind::InvalidTableDefinition, message).at(spec.position));
                    }
                    ConstraintKind::ForeignKey {
                        schema: other.schema_or(schema).to_owned(),
                        table: other.name.value.clone(),
                        columns: names.iter().map(|name| name.value.clone()).collect(),
                    }
                }
            };
            table.constraints.push(Constraint { name: spec.name.clone(), kind, columns });
        }
        Ok(())
    }

    /// The databases that its references name.
    pub fn referenced_databases(&self) -> impl Iterator<Item = &Name> {
        self.constraints.iter().filter_map(|constraint| match &constraint.kind {
            ConstraintSpecKind::References(other, _) => other.database.as_ref(),
            ConstraintSpecKind::PrimaryKey | ConstraintSpecKind::Unique => None,
        })
    }

    /// Distribution, sort order and BACKUP of LIKE's table; the first LIKE counts.
    fn inherit_attributes(&self, table: &mut Table, other: &Table, first: usize, like_position: usize) -> Result<()> {
        if let Some(position) = self.attributes.first_inherited() {
            return Err(Error::new(
                ErrorKind::InvalidTableDefinition,
                "LIKE and DISTSTYLE, DISTKEY, SORTKEY or BACKUP exclude each other",
            )
            .with_detail("LIKE takes them from the other table")
            .at(position));
        }
        let here = |id: ColumnId| {
            let index = other.index_of(id).map(|index| first + index);
            index
                .and_then(|index| table.columns.get(index))
                .map(|column| column.id)
                .ok_or_else(|| Error::internal(format!("LIKE \"{other}\": its keys name an unknown column")).at(like_position))
        };
        table.distribution = match other.distribution {
            Distribution::Key(id) => Distribution::Key(here(id)?),
            same @ (Distribution::Even | Distribution::All) => same,
        };
        table.sort_key = other.sort_key.iter().map(|id| here(*id)).collect::<Result<_>>()?;
        table.distribution_auto = other.distribution_auto;
        table.sort_style = other.sort_style;
        table.sort_auto = other.sort_auto;
        table.backup = other.backup;
        Ok(())
    }
}

fn inherit_columns(table: &mut Table, other: &Table, including_defaults: bool) {
    for column in &other.columns {
        table.columns.push(Column {
            id: next_id(table),
            default_expression: column.default_expression.clone().filter(|_| including_defaults),
            identity: None,
            stored_name: None,
            missing_value: None,
            ..column.clone()
        });
    }
}

fn empty_table(schema: &str, name: &QualifiedName, owner: &str) -> Table {
    Table {
        id: TableId(0),
        database: DatabaseId::default(),
        schema: schema.to_owned(),
        name: name.name.value.clone(),
        owner: owner.to_owned(),
        columns: Vec::new(),
        distribution: Distribution::Even,
        distribution_auto: false,
        sort_style: SortStyle::Compound,
        sort_key: Vec::new(),
        sort_auto: false,
        encode_auto: false,
        backup: true,
        constraints: Vec::new(),
        next_column_id: 0,
    }
}

/// Ids of a new table's columns count from 1, like attribute numbers.
fn next_id(table: &Table) -> ColumnId {
    ColumnId(table.columns.len() as u32 + 1)
}

fn duplicate(name: &str, position: usize) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once")).at(position)
}

fn check_columns(columns: &[Column], positions: &[usize], table_position: usize) -> Result<()> {
    if columns.is_empty() {
        return Err(Error::new(ErrorKind::InvalidTableDefinition, "a table needs at least one column").at(table_position));
    }
    if columns.len() > COLUMNS_MAX {
        return Err(Error::new(ErrorKind::ProgramLimit, format!("tables can have at most {COLUMNS_MAX} columns"))
            .with_detail(format!("this one has {}", columns.len()))
            .at(table_position));
    }
    let mut seen = HashSet::new();
    for (column, position) in columns.iter().zip(positions) {
        if !seen.insert(column.name.as_str()) {
            return Err(duplicate(&column.name, *position));
        }
        if SYSTEM_COLUMNS.contains(&column.name.as_str()) {
            let message = format!("column name \"{}\" conflicts with a system column name", column.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message).at(*position));
        }
    }
    Ok(())
}
