//! INSERT.

use super::parameters::{given, parameter_types};
use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::{Description, Outcome};
use crate::load;
use crate::run::Attempt;
use datafusion::common::ParamValues;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast;
use slipher_common::{Result, SqlType};
use slipher_sql::{InsertSource, InsertSpec, ValuesOf};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// INSERT.
pub(super) struct Insert<'a>(pub(super) &'a InsertSpec);

impl Executes for Insert<'_> {
    fn effect(&self) -> Effect {
        Effect::Load("INSERT")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: vec![&self.0.table], adds_rows: true }
    }

    fn describe<'a>(&'a self, context: &'a Context, declared: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move { Ok(Description { parameters: insert_parameters(context, self.0, declared).await?, rows: None }) })
    }

    fn plans<'a>(&'a self, attempt: &'a Attempt, parameters: Option<ParamValues>) -> Running<'a, Vec<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move { Ok(vec![load::plan_insert(attempt, self.0, parameters).await?]) })
    }

    fn run<'a>(
        &'a self,
        context: &'a Context,
        parameters: Option<ParamValues>,
        _: &'a CancellationToken,
    ) -> Running<'a, Outcome> {
        Box::pin(async move {
            let rows = load::insert(&context.shared.runner, &context.scope()?, self.0, parameters).await?;
            Ok(Outcome::Done { tag: format!("INSERT 0 {rows}"), rows: Some(rows), notices: Vec::new() })
        })
    }
}

/// `VALUES ($1, ...)` takes the types of the columns it fills.
async fn insert_parameters(context: &Context, spec: &InsertSpec, declared: &[Option<SqlType>]) -> Result<Vec<SqlType>> {
    let attempt = context.look_ahead()?;
    let table = Arc::clone(&attempt.snapshot.table(&spec.table)?.table);
    let InsertSource::Query(query) = &spec.source else {
        return Ok(given(declared));
    };
    let column = |index: usize| match spec.columns.get(index) {
        Some(name) => table.column(&name.value),
        None => table.columns.get(index),
    };
    let values_of = |index: usize| ValuesOf::column(column(index).map(|column| column.sql_type));
    let typed: Vec<ValuesOf> = (0..table.columns.len()).map(values_of).collect();
    let values = spec.query(&typed, |_| Ok(ast::Expr::value(ast::Value::Null)))?;
    let plan = attempt.plan_typed(values.as_ref().unwrap_or(query), declared, None).await?;
    let mut known: HashMap<usize, SqlType> = HashMap::new();
    if let ast::Statement::Query(query) = query.as_ref()
        && let ast::SetExpr::Values(values) = query.body.as_ref()
    {
        for row in &values.rows {
            for (index, value) in row.iter().enumerate() {
                if let (Some(number), Some(column)) = (placeholder(value), column(index)) {
                    known.insert(number, column.sql_type);
                }
            }
        }
    }
    let mut types = parameter_types(&plan, declared)?;
    for (number, sql_type) in known {
        if let Some(slot) = number.checked_sub(1).and_then(|index| types.get_mut(index))
            && declared.get(number - 1).is_none_or(Option::is_none)
        {
            *slot = sql_type;
        }
    }
    Ok(types)
}

fn placeholder(value: &ast::Expr) -> Option<usize> {
    match value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
