//! What binding promises, looked at on plans of builds with debug assertions: a column of a relation is one field of what is below.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan};
use slipher_common::{Error, Result};

/// Fails where a plan names something that fits two things.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let inputs: Vec<_> = node.inputs().into_iter().map(|input| input.schema()).collect();
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::Column(column) = inner {
                    let fitting: usize = inputs.iter().map(|schema| fields_called(schema, column)).sum();
                    if !inputs.is_empty() && fitting > 1 {
                        return Err(Error::internal(format!("column {column} fits {fitting} fields")).into());
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Fields that the engine may take for the column: it takes a part of a qualifier that is missing for equal.
fn fields_called(schema: &DFSchema, column: &Column) -> usize {
    let Some(relation) = &column.relation else { return 0 };
    let called =
        |(qualifier, field): &(Option<&datafusion::common::TableReference>, &std::sync::Arc<arrow::datatypes::Field>)| {
            field.name() == &column.name && qualifier.is_some_and(|qualifier| qualifier.resolved_eq(relation))
        };
    schema.iter().filter(called).count()
}
