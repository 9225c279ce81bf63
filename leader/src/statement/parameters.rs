//! Parameters: their values, and what their types are before there are any.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use slipher_common::functions::{CAST_FROM, ROUND_TO_WHOLE};
use slipher_common::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use slipher_common::{Result, SqlType};
use std::collections::HashMap;

/// The SQL type a parameter gets when nothing says what it is.
const UNKNOWN_PARAMETER_TYPE: SqlType = SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES);

/// Values for `$1`, `$2`, ...; None where there are none.
pub(super) fn bound(parameters: Vec<ScalarValue>) -> Option<ParamValues> {
    (!parameters.is_empty()).then(|| ParamValues::from(parameters))
}

/// The types that the client gave, text where it gave none.
pub(super) fn given(declared: &[Option<SqlType>]) -> Vec<SqlType> {
    declared.iter().map(|known| known.unwrap_or(UNKNOWN_PARAMETER_TYPE)).collect()
}

/// Parameters of a statement that is two queries: a type that one of them knows.
pub(super) fn either(first: Vec<SqlType>, second: Vec<SqlType>) -> Vec<SqlType> {
    let known = |types: &[SqlType], index: usize| types.get(index).copied().filter(|known| *known != UNKNOWN_PARAMETER_TYPE);
    (0..first.len().max(second.len()))
        .map(|index| known(&first, index).or_else(|| known(&second, index)).unwrap_or(UNKNOWN_PARAMETER_TYPE))
        .collect()
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

/// What a cast rounds or gives a name first, or the operand itself.
fn rounded(operand: &Expr) -> &Expr {
    match operand {
        Expr::ScalarFunction(call) if [ROUND_TO_WHOLE, CAST_FROM].contains(&call.name()) => {
            call.args.first().map_or(operand, rounded)
        }
        other => other,
    }
}

/// Declared types first, then what the plan says, then text.
pub(super) fn parameter_types(plan: &LogicalPlan, declared: &[Option<SqlType>]) -> Result<Vec<SqlType>> {
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
