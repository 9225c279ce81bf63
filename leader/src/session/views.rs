//! CREATE VIEW and what else there is to do with views.

use super::alter_table::{check_move, known_schema, known_user};
use super::leader_session::LeaderSession;
use crate::catalog::{Snapshot, TPCH_FUNCTION, is_temp_schema};
use crate::load::column_types;
use crate::meta::{Relation, ViewState, not_a_view};
use crate::run::Attempt;
use crate::sql::{CreateViewSpec, QualifiedName, TableChange};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement as EngineStatement;
use slipher_common::catalog::{ReferencedColumn, View, ViewColumn, ViewReference};
use slipher_common::ids::{ColumnId, TableId};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What SHOW VIEW calls its column.
pub(super) const SHOW_VIEW_COLUMN: &str = "Show View DDL statement";

/// The operation of CREATE VIEW.
pub(super) async fn create(session: &LeaderSession, attempt: &Attempt, spec: &CreateViewSpec) -> Result<Kind> {
    let snapshot = &attempt.snapshot;
    let schema = snapshot.creation_schema(&spec.name)?;
    let references = attempt.session.resolve_table_references(&EngineStatement::Statement(spec.query.clone()))?;
    let (columns, references) = match spec.late_binding {
        true => {
            check_qualified(&references, &session.database_name)?;
            let named = spec.columns.iter().map(|name| ViewColumn { name: name.value.clone(), sql_type: None });
            (named.collect(), Vec::new())
        }
        false => bind(attempt, spec, &references).await?,
    };
    let state = &snapshot.state;
    let version = |reference: &ViewReference| match state.relation_by_id(reference.relation) {
        Some(Relation::Table(table)) => state.committed_or_zero(table.defined_version),
        Some(Relation::View(view)) => state.committed_or_zero(view.defined_version),
        None => 0,
    };
    let defined_versions = references.iter().map(version).collect();
    let view = View {
        id: TableId(session.shared.allocate_object_id()),
        database: session.database,
        schema,
        name: spec.name.name.value.clone(),
        owner: session.user.clone(),
        query: spec.text.clone(),
        columns,
        late_binding: spec.late_binding,
        references,
    };
    let (view, or_replace) = (Some(view.to_proto()), spec.or_replace);
    Ok(Kind::CreateView(proto::CreateView { view, or_replace, allocated_id: true, defined_versions }))
}

fn is_function(reference: &TableReference) -> bool {
    reference.schema().is_none() && reference.table() == TPCH_FUNCTION
}

fn check_qualified(references: &[TableReference], database: &str) -> Result<()> {
    if let Some(other) = references.iter().filter_map(TableReference::catalog).find(|catalog| *catalog != database) {
        return Err(crate::catalog::refused(other, database));
    }
    match references.iter().find(|reference| reference.schema().is_none() && !is_function(reference)) {
        None => Ok(()),
        Some(reference) => {
            let message = format!("relation \"{}\" in a view WITH NO SCHEMA BINDING needs a schema", reference.table());
            Err(Error::new(ErrorKind::InvalidName, message)
                .with_hint(format!("write schema.{0}, for example public.{0}", reference.table())))
        }
    }
}

/// The columns of a view, and what the names in its query mean.
async fn bind(
    attempt: &Attempt,
    spec: &CreateViewSpec,
    references: &[TableReference],
) -> Result<(Vec<ViewColumn>, Vec<ViewReference>)> {
    let plan = attempt.plan_query(&spec.query, None).await?;
    let types = column_types(&attempt.session.optimize(&plan)?)?;
    if spec.columns.len() > types.len() {
        return Err(Error::new(ErrorKind::Syntax, "CREATE VIEW specifies more column names than columns").with_detail(format!(
            "{} names for {} columns",
            spec.columns.len(),
            types.len()
        )));
    }
    let names = crate::sql::output::column_names(&spec.query, plan.schema().fields().iter().map(|field| field.name().as_str()));
    let given = spec.columns.iter().map(|name| name.value.clone());
    let names = given.chain(names.into_iter().skip(spec.columns.len()));
    let columns = names.zip(&types).map(|(name, (_, sql_type))| ViewColumn { name, sql_type: Some(*sql_type) });
    let uses = Uses::of(&plan)?;
    let mut known = Vec::new();
    for reference in references {
        match attempt.snapshot.relation(reference.schema(), reference.table()) {
            Err(_) if is_function(reference) => {}
            found => known.push(bound(attempt, found?, reference, &uses).await?),
        }
    }
    Ok((columns.collect(), known))
}

async fn bound(attempt: &Attempt, found: Relation<'_>, reference: &TableReference, uses: &Uses) -> Result<ViewReference> {
    let column =
        |id: ColumnId, name: &str| ReferencedColumn { id, name: name.to_owned(), used: uses.column(reference.table(), name) };
    let (relation, columns) = match found {
        Relation::Table(known) if is_temp_schema(&known.table.schema) => return Err(temporary(&known.table.name)),
        Relation::View(known) if is_temp_schema(&known.view.schema) => return Err(temporary(&known.view.name)),
        Relation::Table(table) => {
            let columns = table.table.columns.iter().map(|known| column(known.id, &known.name));
            (table.table.id, columns.collect())
        }
        // Its columns are found by their names: they may stand elsewhere another time.
        Relation::View(view) if view.view.late_binding => {
            let plan = crate::catalog::plan_view(&attempt.snapshot, &view.view).await?;
            let columns = plan.schema().fields().iter().zip(1..).map(|(field, place)| column(ColumnId(place), field.name()));
            (view.view.id, columns.collect())
        }
        Relation::View(view) => {
            let columns = view.view.columns.iter().zip(1..).map(|(known, place)| column(ColumnId(place), &known.name));
            (view.view.id, columns.collect())
        }
    };
    let (schema, name) = (reference.schema().map(str::to_owned), reference.table().to_owned());
    Ok(ViewReference { schema, name, relation, columns })
}

fn temporary(name: &str) -> Error {
    let what = format!("a view that reads the temporary table or view \"{name}\"");
    Error::not_supported(what, "read an ordinary table, or write the query as a WITH clause")
}

/// Which columns a plan asks for. Where that is not certain, one too many.
#[derive(Debug, Default)]
struct Uses {
    /// Names of columns by their qualifier; without one they may be anybody's.
    columns: BTreeMap<Option<String>, BTreeSet<String>>,
    /// For each table, the aliases it stands under.
    aliases: BTreeMap<String, BTreeSet<String>>,
}

impl Uses {
    fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut uses = Self::default();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::SubqueryAlias(alias) = node
                && let Some(table) = stands_for(&alias.input)
            {
                uses.aliases.entry(table).or_default().insert(alias.alias.table().to_owned());
            }
            node.apply_expressions(|expression| {
                expression.apply(|inner| {
                    if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = inner {
                        let qualifier = column.relation.as_ref().map(|relation| relation.table().to_owned());
                        uses.columns.entry(qualifier).or_default().insert(column.name.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(uses)
    }

    fn column(&self, table: &str, column: &str) -> bool {
        let stands_under =
            |qualifier: &str| qualifier == table || self.aliases.get(table).is_some_and(|aliases| aliases.contains(qualifier));
        let of_another =
            |qualifier: &str| self.aliases.iter().any(|(other, aliases)| other == qualifier || aliases.contains(qualifier));
        self.columns.iter().any(|(qualifier, names)| {
            let possible = qualifier.as_deref().is_none_or(|qualifier| stands_under(qualifier) || !of_another(qualifier));
            possible && names.contains(column)
        })
    }
}

/// The table whose columns a plan hands on as they are.
fn stands_for(plan: &LogicalPlan) -> Option<String> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.table_name.table().to_owned()),
        LogicalPlan::SubqueryAlias(alias) => Some(alias.alias.table().to_owned()),
        _ => None,
    }
}

/// The tables or views that DROP names, and messages about those that are not there.
pub(super) fn to_drop(
    snapshot: &Snapshot,
    names: &[QualifiedName],
    if_exists: bool,
    what: &str,
) -> Result<(Vec<TableId>, Vec<String>)> {
    let (mut found, mut notices) = (Vec::new(), Vec::new());
    for name in names {
        match (snapshot.named(name), what) {
            (Ok(Relation::Table(table)), "table") => found.push(table.table.id),
            (Ok(Relation::View(view)), "view") => found.push(view.view.id),
            (Ok(Relation::Table(_)), _) => return Err(not_a_view(&name.name.value).at(name.name.position)),
            (Ok(Relation::View(_)), _) => {
                return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", name.name))
                    .with_hint("it is a view: use DROP VIEW")
                    .at(name.name.position));
            }
            (Err(error), _) if if_exists && matches!(error.kind, ErrorKind::UndefinedTable | ErrorKind::UndefinedSchema) => {
                notices.push(format!("{what} \"{}\" does not exist, skipping", name.name));
            }
            (Err(error), _) => return Err(error),
        }
    }
    found.dedup();
    Ok((found, notices))
}

/// The operation of an ALTER TABLE or ALTER VIEW of a view.
pub(super) fn changed(before: &ViewState, change: &TableChange, snapshot: &Snapshot) -> Result<Kind> {
    let mut view = View::clone(&before.view);
    match change {
        TableChange::Rename(to) => view.name.clone_from(&to.value),
        TableChange::SetSchema(schema) => view.schema = known_schema(&snapshot.state, schema)?,
        TableChange::Owner(user) => view.owner = known_user(&snapshot.state, user)?,
        _ => {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is a view, not a table", view.name))
                .with_hint("a view can get another name, schema or owner; CREATE OR REPLACE VIEW gives it another query"));
        }
    }
    check_move(&before.view.schema, &view.schema)?;
    let defined_version = snapshot.state.committed_or_zero(before.defined_version);
    Ok(Kind::ChangeView(proto::ChangeView { view: Some(view.to_proto()), defined_version }))
}

/// The columns of a view, for listings; none when its query cannot be read now, as may be with a late-binding one.
pub(super) async fn columns(session: &LeaderSession, view: &View) -> SchemaRef {
    let known = view.columns.iter().map(|column| Some(column.sql_type?.to_field(&column.name, true)));
    match known.collect::<Option<Vec<_>>>() {
        Some(fields) if !fields.is_empty() => Arc::new(Schema::new(fields)),
        _ => {
            let attempt = super::commands::look_ahead(session);
            let planned = async { crate::catalog::plan_view(&attempt?.snapshot, &Arc::new(view.clone())).await };
            let columns = planned.await.and_then(|plan| column_types(&plan));
            let field = |(name, sql_type): (String, SqlType)| sql_type.to_field(&name, true);
            Arc::new(Schema::new(columns.unwrap_or_default().into_iter().map(field).collect::<Vec<_>>()))
        }
    }
}

/// The statement that makes a view as it is.
pub(super) fn show(snapshot: &Arc<Snapshot>, name: &QualifiedName) -> Result<String> {
    let Relation::View(state) = snapshot.named(name)? else { return Err(not_a_view(&name.name.value).at(name.name.position)) };
    let view = &state.view;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns: Vec<String> = view.columns.iter().map(|column| quoted(&column.name)).collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    let binding = if view.late_binding { "\nWITH NO SCHEMA BINDING" } else { "" };
    let mut meanings = String::new();
    for reference in &view.references {
        let now = match snapshot.state.relation_by_id(reference.relation) {
            Some(Relation::Table(table)) => (table.table.schema.as_str(), table.table.name.as_str()),
            Some(Relation::View(view)) => (view.view.schema.as_str(), view.view.name.as_str()),
            None => continue,
        };
        let qualified = reference.schema.as_deref().unwrap_or(now.0);
        if (qualified, reference.name.as_str()) != now {
            meanings += &format!("-- {} is {}.{} now\n", quoted(&reference.name), quoted(now.0), quoted(now.1));
        }
    }
    Ok(meanings
        + &format!(
            "CREATE OR REPLACE VIEW {}.{}{columns} AS\n{}{binding};",
            quoted(&view.schema),
            quoted(&view.name),
            view.query
        ))
}
