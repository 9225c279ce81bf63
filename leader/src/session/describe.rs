//! What is known of a statement before it runs.

use super::commands::{UNKNOWN_PARAMETER_TYPE, look_ahead, output_schema};
use super::leader_session::LeaderSession;
use crate::frontend::{Description, Statement};
use crate::run::Attempt;
use crate::sql::{InsertSource, InsertSpec, Parsed};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast;
use slipher_common::functions::ROUND_TO_WHOLE;
use slipher_common::{Result, SqlType};
use std::collections::HashMap;
use std::sync::Arc;

impl LeaderSession {
    pub(super) async fn description(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description> {
        let text = |names: &[&str]| -> SchemaRef {
            Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect::<Vec<_>>()))
        };
        Ok(match statement.parsed.as_ref() {
            Parsed::Query(query) => {
                let attempt = look_ahead(self)?;
                let mut plan = attempt.plan_typed(query, declared, None).await?;
                let parameters = parameter_types(&plan, declared)?;
                if parameters.len() > declared.iter().flatten().count() {
                    // What was left open is known by now.
                    let types: Vec<Option<SqlType>> = parameters.iter().copied().map(Some).collect();
                    plan = attempt.plan_typed(query, &types, None).await?;
                }
                let schema = output_schema(query, &row_schema(&attempt, &plan).await);
                Description { parameters, rows: Some(schema) }
            }
            Parsed::Insert(spec) => Description { parameters: self.insert_parameters(spec, declared).await?, rows: None },
            Parsed::Change(spec) => {
                let attempt = look_ahead(self)?;
                let id = attempt.snapshot.table(&spec.table)?.table.id;
                let plan = attempt.plan_typed(&spec.query(id), declared, None).await?;
                Description { parameters: parameter_types(&plan, declared)?, rows: None }
            }
            Parsed::CreateTableAs { query, .. } => {
                let plan = look_ahead(self)?.plan_typed(query, declared, None).await?;
                Description { parameters: parameter_types(&plan, declared)?, rows: None }
            }
            Parsed::Declare { query, .. } => {
                let plan = look_ahead(self)?.plan_typed(query, declared, None).await?;
                Description { parameters: parameter_types(&plan, declared)?, rows: None }
            }
            Parsed::Fetch { name, .. } => Description { parameters: Vec::new(), rows: Some(self.cursors.schema(&name.value)?) },
            Parsed::Explain { .. } => Description { parameters: given(declared), rows: Some(text(&["QUERY PLAN"])) },
            Parsed::Show { name } if name == "all" => {
                Description { parameters: Vec::new(), rows: Some(text(&["name", "setting"])) }
            }
            Parsed::ShowView { .. } => {
                Description { parameters: Vec::new(), rows: Some(text(&[super::views::SHOW_VIEW_COLUMN])) }
            }
            Parsed::Show { name } => Description { parameters: Vec::new(), rows: Some(text(&[name])) },
            _ => Description { parameters: Vec::new(), rows: None },
        })
    }

    /// `VALUES ($1, ...)` takes the types of the columns it fills.
    async fn insert_parameters(&self, spec: &InsertSpec, declared: &[Option<SqlType>]) -> Result<Vec<SqlType>> {
        let attempt = look_ahead(self)?;
        let table = Arc::clone(&attempt.snapshot.table(&spec.table)?.table);
        let InsertSource::Query(query) = &spec.source else {
            return Ok(given(declared));
        };
        let plan = attempt.plan_typed(query, declared, None).await?;
        let mut known: HashMap<usize, SqlType> = HashMap::new();
        if let ast::Statement::Query(query) = query.as_ref()
            && let ast::SetExpr::Values(values) = query.body.as_ref()
        {
            for row in &values.rows {
                for (index, value) in row.iter().enumerate() {
                    let column = match spec.columns.get(index) {
                        Some(name) => table.column(&name.value),
                        None => table.columns.get(index),
                    };
                    if let (Some(number), Some(column)) = (placeholder(value), column) {
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
}

/// The schema of the rows as they will come: types are settled by the optimizer.
async fn row_schema(attempt: &Attempt, plan: &LogicalPlan) -> SchemaRef {
    match attempt.optimize(plan).await {
        Ok(optimized) => Arc::clone(optimized.schema().inner()),
        // A parameter whose type only its value will tell.
        Err(_) => Arc::clone(plan.schema().inner()),
    }
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

fn given(declared: &[Option<SqlType>]) -> Vec<SqlType> {
    declared.iter().map(|known| known.unwrap_or(UNKNOWN_PARAMETER_TYPE)).collect()
}

/// The types of parameters that stand in a cast: `$1::int` is an integer.
fn cast_parameters(plan: &LogicalPlan) -> Result<HashMap<String, DataType>> {
    let mut types = HashMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                let cast = match inner {
                    Expr::Cast(cast) => Some((&cast.expr, &cast.field)),
                    Expr::TryCast(cast) => Some((&cast.expr, &cast.field)),
                    _ => None,
                };
                if let Some((operand, field)) = cast
                    && let Expr::Placeholder(placeholder) = rounded(operand)
                {
                    types.entry(placeholder.id.clone()).or_insert_with(|| field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// What a cast to a whole number rounds first, or the operand itself.
fn rounded(operand: &Expr) -> &Expr {
    match operand {
        Expr::ScalarFunction(call) if call.name() == ROUND_TO_WHOLE => call.args.first().unwrap_or(operand),
        other => other,
    }
}

/// Declared types first, then what the plan says, then text.
fn parameter_types(plan: &LogicalPlan, declared: &[Option<SqlType>]) -> Result<Vec<SqlType>> {
    let mut inferred = plan.get_parameter_types()?;
    for (name, data_type) in cast_parameters(plan)? {
        inferred.entry(name).and_modify(|known| *known = known.take().or(Some(data_type.clone()))).or_insert(Some(data_type));
    }
    let numbers = inferred.keys().filter_map(|name| name.strip_prefix('$')?.parse::<usize>().ok());
    let count = numbers.max().unwrap_or(0).max(declared.len());
    let mut types = Vec::with_capacity(count);
    for index in 0..count {
        let from_plan = inferred.get(&format!("${}", index + 1)).cloned().flatten();
        types.push(match (declared.get(index).copied().flatten(), from_plan) {
            (Some(known), _) => known,
            (None, Some(data_type)) => SqlType::from_arrow(&data_type).unwrap_or(UNKNOWN_PARAMETER_TYPE),
            (None, None) => UNKNOWN_PARAMETER_TYPE,
        });
    }
    Ok(types)
}
