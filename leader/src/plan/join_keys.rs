//! Keys of joins under names of their own.
//!
//! The engine computes keys that are expressions below the join, as columns under the expressions' names (DataFusion 55.2). But it calls a cast
//! like what is cast, so two keys may have one name, or that of a column. Then they are columns of a projection before it looks.

use crate::plan::grouping_sets::widened;
use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule. It runs after those that make joins.
#[derive(Debug)]
pub(super) struct JoinKeys;

impl OptimizerRule for JoinKeys {
    fn name(&self) -> &str {
        "join_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        if !meet(&join.left, &left_keys) && !meet(&join.right, &right_keys) {
            return Ok(Transformed::no(plan));
        }
        let (left, left_keys) = with_columns(&join.left, left_keys, "__left_key")?;
        let (right, right_keys) = with_columns(&join.right, right_keys, "__right_key")?;
        let Join { filter, join_type, join_constraint, null_equality, null_aware, .. } = join.clone();
        let on = left_keys.into_iter().zip(right_keys).collect();
        let joined =
            Join::try_new(Arc::new(left), Arc::new(right), on, filter, join_type, join_constraint, null_equality, null_aware)?;
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build().map(Transformed::yes)
    }
}

/// Whether a key that is no column has the name of another, or of a column.
fn meet(side: &LogicalPlan, keys: &[Expr]) -> bool {
    let computed: Vec<(&Expr, String)> =
        keys.iter().filter(|key| !matches!(key, Expr::Column(_))).map(|key| (key, key.schema_name().to_string())).collect();
    computed.iter().enumerate().any(|(index, (key, name))| {
        let of_column = side.schema().fields().iter().any(|field| field.name() == name);
        of_column || computed[..index].iter().any(|(other, other_name)| other_name == name && other != key)
    })
}

/// `side` with its keys as columns.
fn with_columns(side: &LogicalPlan, keys: Vec<Expr>, prefix: &str) -> Result<(LogicalPlan, Vec<Expr>)> {
    let name = |index: usize| format!("{prefix}{index}");
    let computed = |key: &Expr| !matches!(key, Expr::Column(_));
    let further: Vec<Expr> =
        keys.iter().enumerate().filter(|(_, key)| computed(key)).map(|(index, key)| key.clone().alias(name(index))).collect();
    if further.is_empty() {
        return Ok((side.clone(), keys));
    }
    let columns = keys.into_iter().enumerate().map(|(index, key)| match computed(&key) {
        true => Expr::Column(Column::from_name(name(index))),
        false => key,
    });
    Ok((widened(side.clone(), further)?, columns.collect()))
}
