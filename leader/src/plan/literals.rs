//! Literals get Redshift's types: a whole number is an INTEGER where it fits, else a BIGINT, else a NUMERIC. Then numbers that meet get
//! one type (`common_types.rs`).
//!
//! The SQL planner reads whole numbers as 64 bits and types every node above them. This runs right behind it, before values are
//! bound to parameters (they have types of their own), and types the plan again from below. Literals stay literals, so that
//! filters on them still prune.

use super::common_types::{unified, unified_branches, unified_join, unified_rows};
use super::parameters::bare;
use super::semantics::typed_literal;
use arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, Placeholder};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Join, Union, Values};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, WindowFunctionDefinition};
use slipher_common::functions::{BITWISE_NOT, CHECKED_NEGATE, arithmetic_operation};
use std::collections::HashMap;
use std::sync::Arc;

/// Functions whose result has the type of their arguments, or depends on it; others take whole numbers of 64 bits.
const AS_ARGUMENTS: &[&str] =
    &["coalesce", "nullif", "greatest", "least", "nvl2", "abs", "to_hex", "fnv_hash", CHECKED_NEGATE, BITWISE_NOT];

/// The plan with its literals typed.
pub(crate) fn with_typed_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    typed(plan, &mut Vec::new())
}

/// `outer`: the columns that the expressions around a subquery see, innermost last.
fn typed(plan: LogicalPlan, outer: &mut Vec<DFSchemaRef>) -> Result<LogicalPlan> {
    match plan {
        // The part that repeats reads what the first part makes, under types that are settled by now.
        recursive @ LogicalPlan::RecursiveQuery(_) => Ok(recursive),
        LogicalPlan::Values(values) => typed_values(values, outer),
        LogicalPlan::Join(join) => typed_join(join, outer),
        LogicalPlan::Limit(_) => {
            let plan = plan.map_children(|child| typed(child, outer).map(Transformed::yes))?.data;
            plan.map_expressions(counted).map(|done| done.data)
        }
        plan => {
            let plan = plan.map_children(|child| typed(child, outer).map(Transformed::yes))?.data;
            typed_node(plan, outer)
        }
    }
}

/// LIMIT and OFFSET count: a parameter there is a BIGINT.
fn counted(expression: Expr) -> Result<Transformed<Expr>> {
    bare(expression)?.transform_data(|bare| match bare {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Some(Arc::new(Field::new(id.clone(), DataType::Int64, true)));
            Ok(Transformed::yes(Expr::Placeholder(Placeholder { id, field })))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn typed_join(mut join: Join, outer: &mut Vec<DFSchemaRef>) -> Result<LogicalPlan> {
    join.left = Arc::new(typed(Arc::unwrap_or_clone(join.left), outer)?);
    // A lateral subquery on the right sees the left.
    outer.push(Arc::clone(join.left.schema()));
    let right = typed(Arc::unwrap_or_clone(join.right), outer);
    outer.pop();
    join.right = Arc::new(right?);
    typed_node(LogicalPlan::Join(join), outer)
}

fn typed_values(values: Values, outer: &mut Vec<DFSchemaRef>) -> Result<LogicalPlan> {
    let Values { schema, values } = values;
    let rows = values.into_iter().map(|row| {
        row.into_iter()
            .map(|cell| match cell {
                // The planner has given NULL the type of the whole numbers beside it.
                Expr::Literal(ScalarValue::Int64(None), _) => Ok(Expr::Literal(ScalarValue::Null, None)),
                cell => typed_expression(cell, &schema, outer),
            })
            .collect::<Result<Vec<Expr>>>()
    });
    LogicalPlanBuilder::values(unified_rows(rows.collect::<Result<Vec<_>>>()?)?)?.build()
}

/// The expressions of a node whose inputs are done, and its schema.
fn typed_node(plan: LogicalPlan, outer: &mut Vec<DFSchemaRef>) -> Result<LogicalPlan> {
    let inputs = Arc::new(merge_schema(&plan.inputs()));
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(Transformed::yes(name.restore(typed_expression(expression, &inputs, outer)?)))
    })?;
    match plan.data {
        LogicalPlan::Union(Union { inputs, .. }) => {
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(unified_branches(inputs)?)?))
        }
        LogicalPlan::Join(join) => LogicalPlan::Join(unified_join(join)?).recompute_schema(),
        LogicalPlan::Subquery(subquery) => Ok(LogicalPlan::Subquery(typed_references(subquery, outer)?)),
        plan => plan.recompute_schema(),
    }
}

fn typed_expression(expression: Expr, inputs: &DFSchemaRef, outer: &mut Vec<DFSchemaRef>) -> Result<Expr> {
    expression.transform_down_up(mark_kept, |node| retype(node, inputs, outer)).map(|done| done.data)
}

/// Marks literals that keep 64 bits because of what they stand in.
fn mark_kept(node: Expr) -> Result<Transformed<Expr>> {
    let marked = |argument: Expr| match argument {
        Expr::Literal(value, None) => Expr::Literal(value, Some(FieldMetadata::from(HashMap::from([kept()])))),
        other => other,
    };
    let all = |arguments: Vec<Expr>| arguments.into_iter().map(marked).collect();
    Ok(Transformed::yes(match node {
        Expr::ScalarFunction(mut call) if !follows_arguments(call.name()) => {
            call.args = all(call.args);
            Expr::ScalarFunction(call)
        }
        Expr::WindowFunction(mut call) if matches!(call.fun, WindowFunctionDefinition::WindowUDF(_)) => {
            call.params.args = all(call.params.args);
            Expr::WindowFunction(call)
        }
        // Seconds.
        Expr::Cast(Cast { expr, field }) if field.data_type().is_temporal() => {
            Expr::Cast(Cast { expr: Box::new(marked(*expr)), field })
        }
        other => other,
    }))
}

/// Marks a literal while its parents are on the way.
fn kept() -> (String, String) {
    ("slipher.kept".to_owned(), String::new())
}

fn follows_arguments(name: &str) -> bool {
    AS_ARGUMENTS.contains(&name) || arithmetic_operation(name).is_some()
}

fn retype(node: Expr, inputs: &DFSchemaRef, outer: &mut Vec<DFSchemaRef>) -> Result<Transformed<Expr>> {
    Ok(match node {
        Expr::Literal(ref value, None) => match typed_literal(value)? {
            Some(value) => Transformed::yes(Expr::Literal(value, None)),
            None => Transformed::no(node),
        },
        Expr::Literal(value, Some(metadata)) if metadata.inner().contains_key(&kept().0) => {
            Transformed::yes(Expr::Literal(value, None))
        }
        Expr::OuterReferenceColumn(..) => refreshed(node, outer),
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(typed_subquery(subquery, inputs, outer)?)),
        Expr::Exists(mut exists) => {
            exists.subquery = typed_subquery(exists.subquery, inputs, outer)?;
            Transformed::yes(Expr::Exists(exists))
        }
        Expr::InSubquery(mut test) => {
            test.subquery = typed_subquery(test.subquery, inputs, outer)?;
            unified(Expr::InSubquery(test), inputs)?
        }
        Expr::SetComparison(mut test) => {
            test.subquery = typed_subquery(test.subquery, inputs, outer)?;
            unified(Expr::SetComparison(test), inputs)?
        }
        other => unified(other, inputs)?,
    })
}

/// A column of the query around, with the type it has by now.
fn refreshed(node: Expr, outer: &[DFSchemaRef]) -> Transformed<Expr> {
    let Expr::OuterReferenceColumn(_, column) = &node else { return Transformed::no(node) };
    let field = outer.iter().rev().find_map(|schema: &Arc<DFSchema>| schema.field_from_column(column).ok().cloned());
    match field {
        Some(field) => Transformed::yes(Expr::OuterReferenceColumn(field, column.clone())),
        None => Transformed::no(node),
    }
}

fn typed_subquery(subquery: Subquery, inputs: &DFSchemaRef, outer: &mut Vec<DFSchemaRef>) -> Result<Subquery> {
    outer.push(Arc::clone(inputs));
    let done = typed(subquery.subquery.as_ref().clone(), outer)
        .and_then(|plan| typed_references(Subquery { subquery: Arc::new(plan), ..subquery }, outer));
    outer.pop();
    done
}

fn typed_references(mut subquery: Subquery, outer: &[DFSchemaRef]) -> Result<Subquery> {
    let fresh = |expression: Expr| expression.transform_up(|node| Ok(refreshed(node, outer))).map(|done| done.data);
    subquery.outer_ref_columns = subquery.outer_ref_columns.into_iter().map(fresh).collect::<Result<_>>()?;
    Ok(subquery)
}
