//! Columns of outer joins that the engine takes for constant.
//!
//! What it knows of a column below a join it takes for known above (DataFusion 55.2). But a row without a partner shows NULL in it: so it
//! would leave out `ORDER BY b.x` above `a LEFT JOIN (SELECT id, 5 AS x FROM t) b`. Such columns are computed anew above the join, in a way that
//! it cannot follow.

use super::held::held;
use arrow::datatypes::Field;
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// The rule. It runs before anything asks for an order.
#[derive(Debug)]
pub(super) struct OuterColumns;

impl PhysicalOptimizerRule for OuterColumns {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        plan.transform_up(|node| {
            let above = if fills_with_nulls(&node) { with_plain_columns(&node, &config)? } else { None };
            Ok(above.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "outer_columns"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn fills_with_nulls(node: &Arc<dyn ExecutionPlan>) -> bool {
    let hash = node.downcast_ref::<HashJoinExec>().map(|join| *join.join_type());
    let merge = node.downcast_ref::<SortMergeJoinExec>().map(|join| join.join_type());
    let loops = node.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type());
    matches!(hash.or(merge).or(loops), Some(JoinType::Left | JoinType::Right | JoinType::Full))
}

fn with_plain_columns(join: &Arc<dyn ExecutionPlan>, config: &Arc<ConfigOptions>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (schema, known) = (join.schema(), join.equivalence_properties());
    let mut any = false;
    let column = |(index, field): (usize, &Arc<Field>)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        let expr = match known.is_expr_constant(&column) {
            Some(_) => {
                any = true;
                held(column, &schema, config)?
            }
            None => column,
        };
        Ok(ProjectionExpr { expr, alias: field.name().clone() })
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    if !any {
        return Ok(None);
    }
    Ok(Some(Arc::new(ProjectionExec::try_new(columns, Arc::clone(join))?)))
}
