//! The engine's rule that makes joins of cross joins, where it loses conditions (DataFusion 55.2).
//!
//! It takes a chain of inner joins apart and puts it together anew, each input where one of the keys allows it. A key of which one side has columns of
//! several inputs may find no place then, and is lost: `a CROSS JOIN b JOIN c ON a.x - b.y = c.z AND a.k = c.k`. Such keys are conditions above
//! the chain instead, from where another rule takes them down.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The engine's rule.
const CROSS_JOINS: &str = "eliminate_cross_join";

/// Around the engine's rule.
#[derive(Debug)]
struct KeptKeys(Arc<dyn OptimizerRule + Send + Sync>);

/// `rules` with this one around the engine's.
pub(super) fn with_kept_keys(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let around = |rule: Arc<dyn OptimizerRule + Send + Sync>| match rule.name() {
        CROSS_JOINS => Arc::new(KeptKeys(rule)) as _,
        _ => rule,
    };
    rules.into_iter().map(around).collect()
}

type Key = (Expr, Expr);

impl OptimizerRule for KeptKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let keys = keys_of(&plan)?;
        if keys.is_empty() {
            return self.0.rewrite(plan, config);
        }
        let done = self.0.rewrite(plan.clone(), config)?;
        if !done.transformed {
            return Ok(done);
        }
        let left = keys_of(&done.data)?;
        let is_left =
            |key: &Key| left.iter().any(|(one, other)| (one, other) == (&key.0, &key.1) || (one, other) == (&key.1, &key.0));
        let lost: Vec<Key> = keys.into_iter().filter(|key| !is_left(key)).collect();
        match lost.is_empty() {
            true => Ok(done),
            false => self.0.rewrite(plan.transform_up(|node| Ok(as_conditions(node, &lost))).data()?, config),
        }
    }
}

/// The keys of all inner joins of a plan.
fn keys_of(plan: &LogicalPlan) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::Join(join) = node
            && join.join_type == JoinType::Inner
        {
            keys.extend(join.on.iter().cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(keys)
}

/// An inner join with those of its keys as conditions that are in `keys`.
fn as_conditions(node: LogicalPlan, keys: &[Key]) -> Transformed<LogicalPlan> {
    match node {
        LogicalPlan::Join(mut join) if join.join_type == JoinType::Inner && join.on.iter().any(|key| keys.contains(key)) => {
            let (moved, on): (Vec<Key>, Vec<Key>) = join.on.into_iter().partition(|key| keys.contains(key));
            let conditions = moved.into_iter().map(|(one, other)| one.eq(other)).chain(join.filter.take());
            let filter = conjunction(conditions);
            Transformed::yes(LogicalPlan::Join(Join { on, filter, ..join }))
        }
        other => Transformed::no(other),
    }
}
