//! CREATE VIEW and what else there is to do with views.

use super::names::{check_move, known_schema, known_user, to_drop};
use super::{Effect, Executes, Running};
use crate::bind::BoundRelation;
use crate::catalog::{Snapshot, TPCH_FUNCTION, is_temp_schema};
use crate::context::Context;
use crate::frontend::{Description, Outcome, text_schema};
use crate::plan::output_types::column_types;
use crate::run::Attempt;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement as EngineStatement;
use slipher_common::catalog::{ReferencedColumn, View, ViewColumn, ViewReference};
use slipher_common::ids::{ColumnId, TableId};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use slipher_meta::{Relation, ViewState, not_a_view};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{CreateViewSpec, QualifiedName, TableChange};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What SHOW VIEW calls its column.
const SHOW_VIEW_COLUMN: &str = "Show View DDL statement";

/// CREATE VIEW.
pub(super) struct CreateView<'a>(pub(super) &'a CreateViewSpec);

impl Executes for CreateView<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("CREATE VIEW")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let kinds = vec![create(context, &attempt, self.0).await?];
            context.define("CREATE VIEW", &attempt, kinds).await
        })
    }
}

/// DROP VIEW.
pub(super) struct DropView<'a> {
    pub(super) views: &'a [QualifiedName],
    pub(super) if_exists: bool,
    pub(super) cascade: bool,
}

impl Executes for DropView<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("DROP VIEW")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let (found, notices) = to_drop(&attempt.snapshot, self.views, self.if_exists, "view")?;
            if found.is_empty() {
                return Ok(Outcome::done("DROP VIEW", notices));
            }
            let view_ids = found.iter().map(|id| id.0).collect();
            let kinds = vec![Kind::DropViews(proto::DropViews { view_ids, cascade: self.cascade })];
            context.define("DROP VIEW", &attempt, kinds).await
        })
    }
}

/// SHOW VIEW.
pub(super) struct ShowView<'a>(pub(super) &'a QualifiedName);

impl Executes for ShowView<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, _: &'a Context, _: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description::of_rows(Some(text_schema(&[SHOW_VIEW_COLUMN])))) })
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let text = show(&context.attempt(false)?.snapshot, self.0)?;
            Ok(Outcome::of_text(&[SHOW_VIEW_COLUMN], vec![vec![text]], "SHOW"))
        })
    }
}

/// The operation of CREATE VIEW.
async fn create(context: &Context, attempt: &Attempt, spec: &CreateViewSpec) -> Result<Kind> {
    let snapshot = &attempt.snapshot;
    let schema = snapshot.creation_schema(&spec.name)?;
    let (columns, references) = match spec.late_binding {
        true => {
            let references = attempt.session.resolve_table_references(&EngineStatement::Statement(spec.query.clone()))?;
            check_qualified(&references)?;
            let named = spec.columns.iter().map(|name| ViewColumn { name: name.value.clone(), sql_type: None });
            (named.collect(), Vec::new())
        }
        false => bind(attempt, spec).await?,
    };
    let state = &snapshot.state;
    let version = |reference: &ViewReference| match state.relation_by_id(reference.relation) {
        Some(Relation::Table(table)) => state.committed_or_zero(table.defined_version),
        Some(Relation::View(view)) => state.committed_or_zero(view.defined_version),
        None => 0,
    };
    let defined_versions = references.iter().map(version).collect();
    let view = View {
        id: TableId(context.shared.cluster.allocate_object_id()),
        database: context.database,
        schema,
        name: spec.name.name.value.clone(),
        owner: context.user.clone(),
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

fn check_qualified(references: &[TableReference]) -> Result<()> {
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
async fn bind(attempt: &Attempt, spec: &CreateViewSpec) -> Result<(Vec<ViewColumn>, Vec<ViewReference>)> {
    let bound = attempt.bind(&spec.query).await?;
    let relations = bound.relations.clone();
    let plan = attempt.plan_bound(bound).await?;
    let types = column_types(&attempt.optimize(&plan).await?)?;
    if spec.columns.len() > types.len() {
        return Err(Error::new(ErrorKind::Syntax, "CREATE VIEW specifies more column names than columns").with_detail(format!(
            "{} names for {} columns",
            spec.columns.len(),
            types.len()
        )));
    }
    let names = slipher_sql::output::column_names(&spec.query, plan.schema().fields().iter().map(|field| field.name().as_str()));
    let given = spec.columns.iter().map(|name| name.value.clone());
    let names = given.chain(names.into_iter().skip(spec.columns.len()));
    let columns = names.zip(&types).map(|(name, (_, sql_type))| ViewColumn { name, sql_type: Some(*sql_type) });
    let uses = uses(&plan)?;
    let mut known: Vec<ViewReference> = Vec::new();
    for relation in &relations {
        let (schema, name) = (relation.written.schema_name(), &relation.written.name.value);
        let own = attempt.snapshot.database_name();
        if relation.written.database.as_ref().is_some_and(|database| database.value != own) {
            let what = format!("a view that reads \"{}\" of another database and is bound to it", relation.written);
            return Err(Error::not_supported(what, "add WITH NO SCHEMA BINDING: then its names are looked up when it is read"));
        }
        let used = uses.get(&relation.alias);
        match known.iter_mut().find(|other| other.schema.as_deref() == schema && other.name == *name) {
            Some(other) => {
                let columns = other.columns.iter_mut();
                columns.for_each(|column| column.used |= used.is_some_and(|used| used.contains(&column.name)));
            }
            None => {
                let found = attempt.snapshot.state.relation_by_id(relation.id);
                let found = found.ok_or_else(|| Error::internal(format!("relation {} is gone", relation.id)))?;
                known.push(reference(attempt, found, relation, used).await?);
            }
        }
    }
    Ok((columns.collect(), known))
}

async fn reference(
    attempt: &Attempt,
    found: Relation<'_>,
    relation: &BoundRelation,
    used: Option<&BTreeSet<String>>,
) -> Result<ViewReference> {
    let column = |id: ColumnId, name: &str| ReferencedColumn {
        id,
        name: name.to_owned(),
        used: used.is_some_and(|used| used.contains(name)),
    };
    let columns = match found {
        Relation::Table(known) if is_temp_schema(&known.table.schema) => return Err(temporary(&known.table.name)),
        Relation::View(known) if is_temp_schema(&known.view.schema) => return Err(temporary(&known.view.name)),
        Relation::Table(table) => table.table.columns.iter().map(|known| column(known.id, &known.name)).collect(),
        // Its columns are found by their names: they may stand elsewhere another time.
        Relation::View(view) if view.view.late_binding => {
            let plan = crate::catalog::plan_view(&attempt.snapshot, &view.view).await?;
            plan.schema().fields().iter().zip(1..).map(|(field, place)| column(ColumnId(place), field.name())).collect()
        }
        Relation::View(view) => {
            view.view.columns.iter().zip(1..).map(|(known, place)| column(ColumnId(place), &known.name)).collect()
        }
    };
    let (schema, name) = (relation.written.schema_name().map(str::to_owned), relation.written.name.value.clone());
    Ok(ViewReference { schema, name, relation: relation.id, columns })
}

fn temporary(name: &str) -> Error {
    let what = format!("a view that reads the temporary table or view \"{name}\"");
    Error::not_supported(what, "read an ordinary table, or write the query as a WITH clause")
}

/// Which columns a plan asks for, by the aliases of what they are columns of: in a bound statement each alias stands for one relation.
fn uses(plan: &LogicalPlan) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = inner
                    && let Some(relation) = &column.relation
                {
                    uses.entry(relation.table().to_owned()).or_default().insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(uses)
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
pub(crate) async fn columns(context: &Context, view: &View) -> SchemaRef {
    let known = view.columns.iter().map(|column| Some(column.sql_type?.to_field(&column.name, true)));
    match known.collect::<Option<Vec<_>>>() {
        Some(fields) if !fields.is_empty() => Arc::new(Schema::new(fields)),
        _ => {
            let attempt = context.look_ahead();
            let planned = async { crate::catalog::plan_view(&attempt?.snapshot, &Arc::new(view.clone())).await };
            let columns = planned.await.and_then(|plan| column_types(&plan)).unwrap_or_else(|error| {
                tracing::info!(view = view.name, %error, "a view is listed without columns: its query cannot be planned now");
                Vec::new()
            });
            let field = |(name, sql_type): (String, SqlType)| sql_type.to_field(&name, true);
            Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
        }
    }
}

/// The statement that makes a view as it is.
fn show(snapshot: &Arc<Snapshot>, name: &QualifiedName) -> Result<String> {
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
