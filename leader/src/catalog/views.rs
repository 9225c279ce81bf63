//! Views as the engine sees them: the plan of their query, in place of their name.

use super::Snapshot;
use crate::plan::planner::logical_plan;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use slipher_common::catalog::{ReferencedColumn, Table, View};
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Views that read views that read views: so many deep.
const VIEW_DEPTH_MAX: usize = 64;

/// The provider of a view: the engine puts its plan where the name stands.
pub(super) async fn provider(snapshot: &Arc<Snapshot>, view: &Arc<View>) -> Result<ViewTable> {
    let plan = plan(snapshot, view).await.map_err(|error| in_view(error, view))?;
    Ok(ViewTable::new(plan, Some(view.query.clone())))
}

/// What went wrong in a view's query; a position in its text says nothing to the reader of another text.
pub(super) fn in_view(mut error: Error, view: &View) -> Error {
    error.position = None;
    let place = format!("in the query of view \"{view}\"");
    error.detail = Some(match error.detail.take() {
        Some(detail) if detail.contains("in the query of view") => detail,
        Some(detail) => format!("{detail}; {place}"),
        None => place,
    });
    error
}

/// The plan of a view's query.
pub(crate) async fn plan(snapshot: &Arc<Snapshot>, view: &Arc<View>) -> Result<LogicalPlan> {
    if snapshot.inside.iter().any(|outer| outer.id == view.id) {
        return Err(Error::new(
            ErrorKind::InvalidObjectDefinition,
            format!("infinite recursion detected: view \"{view}\" reads itself"),
        )
        .with_hint("create one of the views anew"));
    }
    if snapshot.inside.len() >= VIEW_DEPTH_MAX {
        return Err(Error::new(ErrorKind::ProgramLimit, format!("views nest more than {VIEW_DEPTH_MAX} deep"))
            .with_hint("keep the rows of one of them in a table"));
    }
    let mut inside = snapshot.inside.clone();
    inside.push(Arc::clone(view));
    let inner = Arc::new(Snapshot { inside, part: None, ..Snapshot::clone(snapshot) });
    let session = snapshot.engine.session(&inner, false)?;
    let query = snapshot.engine.query_of(view)?;
    let bound = super::bound(&inner, &query).await?;
    let plan = logical_plan(&session, Box::new(bound.statement)).await?;
    let columns = plan.schema().columns();
    if view.columns.len() > columns.len() {
        let message = format!("view \"{view}\" names {} columns, its query has {}", view.columns.len(), columns.len());
        return Err(Error::new(ErrorKind::Syntax, message));
    }
    let names = slipher_sql::output::column_names(&query, plan.schema().fields().iter().map(|field| field.name().as_str()));
    let given = view.columns.iter().map(|column| column.name.clone());
    let names = given.chain(names.into_iter().skip(view.columns.len()));
    renamed(plan, columns, names)
}

/// The columns a view sees of something that it reads, by the names that it knows.
pub(super) fn seen_by_view(
    base: Arc<dyn TableProvider>,
    plan: LogicalPlan,
    seen: &[(Column, &str)],
) -> Result<Arc<dyn TableProvider>> {
    let schema = base.schema();
    let same = schema.fields().len() == seen.len()
        && schema.fields().iter().zip(seen).all(|(field, (column, name))| field.name() == name && column.name == *name);
    if same {
        return Ok(base);
    }
    let (columns, names): (Vec<_>, Vec<_>) = seen.iter().map(|(column, name)| (column.clone(), (*name).to_owned())).unzip();
    Ok(Arc::new(ViewTable::new(renamed(plan, columns, names.into_iter())?, None)))
}

fn renamed(plan: LogicalPlan, columns: Vec<Column>, names: impl Iterator<Item = String>) -> Result<LogicalPlan> {
    let expressions = columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name));
    Ok(LogicalPlanBuilder::from(plan).project(expressions.collect::<Vec<_>>())?.build()?)
}

/// What a view sees of a table: the columns that were there when it was made and still are, under their names of then.
pub(super) fn columns_of<'a>(table: &Table, columns: &'a [ReferencedColumn]) -> Vec<(String, &'a str)> {
    let now = |column: &ReferencedColumn| table.columns.iter().find(|other| other.id == column.id);
    columns.iter().filter_map(|column| Some((now(column)?.name.clone(), column.name.as_str()))).collect()
}
