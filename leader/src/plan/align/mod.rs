//! `align`: places the network boundaries of a finished physical plan, bottom-up, so that every answer is right on any placement.
//!
//! Each subtree is in one of three states ([`Spread`]):
//! - `Single`: it runs once; its rows are all in one task;
//! - `Replicated`: every task has all of its rows (a DISTSTYLE ALL table, and what is joined from such tables alone);
//! - `Partitioned`: each row is in exactly one task.
//!
//! Rows of a KEY table lie by the slice of their key, and every hash shuffle is rewritten to bucket tokens, which send a row to the
//! (task, lane) that owns the slice of its key. So any two inputs that are hash-partitioned on equal keys are co-located, wherever
//! they come from. After a node got its new children, what it requires of them is checked against what they really deliver, and a
//! shuffle or sort is put in where they do not: the state and the partitioning together are the proof of the plan.

mod joins;
mod lanes;
mod order;
mod sinks;

pub(super) use order::{as_required, merged_by_all};

use crate::plan::context::{DirectResults, QueryContext};
use crate::plan::explain::estimated_rows;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::{Column, Literal, UnKnownColumn};
use datafusion::physical_expr::{Distribution, Partitioning, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions};
use datafusion_distributed::{BroadcastExec, NetworkBoundaryExt, NetworkBroadcastExec, NetworkCoalesceExec, NetworkShuffleExec};
use slipher_common::distribution::{BUCKET_TOKEN_FUNCTION, bucket_token_udf};
use slipher_common::functions::tight_argument;
use slipher_common::plan::{FileScanExec, OnlyTask0Exec, ResultSinkExec, SliceScanExec, SliceSinkExec, TpchScanExec};
use slipher_common::{Error, ErrorKind};
use std::sync::Arc;

/// A physical plan.
pub(super) type Plan = Arc<dyn ExecutionPlan>;

/// Where the rows of a subtree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// All in one task.
    Single,
    /// All in every task.
    Replicated,
    /// Each in one task.
    Partitioned,
}

/// A subtree with its boundaries placed.
#[derive(Clone, Debug)]
pub(super) struct Aligned {
    pub(super) plan: Plan,
    pub(super) spread: Spread,
}

/// Places the boundaries of `plan`; the result has one partition and runs on the leader. Rows for `direct` stay on the compute nodes
/// where they may: each is in one task, in no order, and there are enough of them.
pub(crate) fn align(
    plan: Plan,
    query: &QueryContext,
    options: &Arc<ConfigOptions>,
    direct: Option<&DirectResults>,
) -> Result<Plan> {
    let aligner = Aligner { query, options };
    let ordered = plan.output_ordering().is_some();
    let mut aligned = aligner.walk(plan)?;
    if let Some(direct) = direct
        && aligned.spread == Spread::Partitioned
        && !ordered
        && estimated_rows(&aligned.plan) >= direct.rows_min as f64
    {
        aligned.plan = Arc::new(ResultSinkExec::new(aligned.plan, Arc::clone(&direct.target)));
    }
    lanes::with_shared_lanes(aligner.gather_into_one(aligned)?)
}

/// Nodes that stand above each other in one message: each takes two levels of it, of which there may be a hundred with those of expressions.
const FRAGMENT_HEIGHT_MAX: usize = 32;

/// How many nodes stand above each other down to the next boundaries.
fn height(plan: &Plan) -> usize {
    match plan.as_network_boundary() {
        Some(_) => 0,
        None => 1 + plan.children().into_iter().map(height).max().unwrap_or(0),
    }
}

pub(super) struct Aligner<'a> {
    query: &'a QueryContext,
    options: &'a Arc<ConfigOptions>,
}

impl Aligner<'_> {
    pub(super) fn tasks(&self) -> usize {
        self.query.layout.tasks()
    }

    pub(super) fn lanes(&self) -> usize {
        self.query.layout.lanes
    }

    fn walk(&self, plan: Plan) -> Result<Aligned> {
        let aligned = self.place(Arc::clone(&plan))?;
        order::restored(&plan, self.in_messages(aligned)?)
    }

    /// `child` with a shuffle on top where it is as high as a message to a compute node can be: what is above it goes in another one.
    /// Rows go where they lie.
    fn in_messages(&self, child: Aligned) -> Result<Aligned> {
        if child.spread != Spread::Partitioned
            || child.plan.schema().fields().is_empty()
            || height(&child.plan) < FRAGMENT_HEIGHT_MAX
        {
            return Ok(child);
        }
        let keys = match unmasked(child.plan.output_partitioning()) {
            // A key that no column shows any more cannot be computed again.
            Partitioning::Hash(keys, _) if !keys.iter().any(|key| key.is::<UnKnownColumn>()) => keys,
            _ => vec![Arc::new(Column::new(child.plan.schema().field(0).name(), 0)) as Arc<dyn PhysicalExpr>],
        };
        self.shuffle(child, &keys)
    }

    fn place(&self, plan: Plan) -> Result<Aligned> {
        if let Some(scan) = plan.downcast_ref::<SliceScanExec>() {
            let spread = if scan.source().replicated { Spread::Replicated } else { Spread::Partitioned };
            return Ok(Aligned { plan, spread });
        }
        if plan.is::<FileScanExec>() || plan.is::<TpchScanExec>() {
            return Ok(Aligned { plan, spread: Spread::Partitioned });
        }
        if plan.is::<RecursiveQueryExec>() {
            return recursive(plan);
        }
        if plan.is::<RepartitionExec>() {
            return self.repartition(plan);
        }
        if plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>() {
            let child = self.walk(only_child(&plan)?)?;
            let sorted = order::as_required(&plan, 0, child.plan)?;
            let gathered = self.gather(Aligned { plan: sorted, spread: child.spread })?;
            let merged = with_children(plan, vec![gathered])?;
            return Ok(Aligned { plan: merged_by_all(&merged)?.unwrap_or(merged), spread: Spread::Single });
        }
        if plan.is::<HashJoinExec>() {
            return self.hash_join(plan);
        }
        if plan.is::<SortMergeJoinExec>() {
            return self.merge_join(plan);
        }
        if plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>() {
            return self.collect_join(plan);
        }
        if plan.is::<UnionExec>() || plan.is::<InterleaveExec>() {
            return self.union(plan);
        }
        if plan.is::<SliceSinkExec>() {
            return self.sink(plan);
        }
        match plan.children().len() {
            // Constants, generated series and the leader's own tables.
            0 => Ok(Aligned { plan, spread: Spread::Single }),
            1 => self.unary(plan),
            _ => self.unknown_join(plan),
        }
    }

    /// A node with one child that keeps rows where they are.
    fn unary(&self, plan: Plan) -> Result<Aligned> {
        let mut child = self.walk(only_child(&plan)?)?;
        if child.spread == Spread::Replicated && has_volatile_expression(&plan)? {
            // Copies of a random() would differ between tasks.
            child = Aligned { plan: Arc::new(OnlyTask0Exec::new(child.plan)), spread: Spread::Partitioned };
        }
        let requirements = plan.input_distribution_requirements();
        let child = match requirements.child_distribution(0) {
            Some(required) => self.deliver(child, required)?,
            None => child,
        };
        let spread = child.spread;
        let sorted = order::as_required(&plan, 0, child.plan)?;
        Ok(Aligned { plan: with_children(plan, vec![sorted])?, spread })
    }

    /// Makes `child` deliver `required`.
    fn deliver(&self, child: Aligned, required: &Distribution) -> Result<Aligned> {
        match required {
            Distribution::UnspecifiedDistribution => Ok(child),
            Distribution::SinglePartition => Ok(Aligned { plan: self.gather_into_one(child)?, spread: Spread::Single }),
            #[expect(deprecated, reason = "still accepted beside KeyPartitioned")]
            Distribution::KeyPartitioned(keys) | Distribution::HashPartitioned(keys) => {
                let satisfied = self.lies_well(&child, keys);
                match (child.spread, satisfied) {
                    (Spread::Single | Spread::Partitioned, true) => Ok(child),
                    (Spread::Single, false) => {
                        let partitioning = Partitioning::Hash(keys.clone(), self.lanes());
                        let plan = Arc::new(RepartitionExec::try_new(child.plan, partitioning)?);
                        Ok(Aligned { plan, spread: Spread::Single })
                    }
                    _ => self.shuffle(child, keys),
                }
            }
        }
    }

    /// Whether rows with equal keys are together in `child`.
    fn lies_well(&self, child: &Aligned, keys: &[Arc<dyn PhysicalExpr>]) -> bool {
        let delivered = unmasked(child.plan.output_partitioning());
        let together = |delivered: &Partitioning, keys: Vec<Arc<dyn PhysicalExpr>>| {
            let required = Distribution::KeyPartitioned(keys);
            delivered.satisfaction(&required, child.plan.equivalence_properties(), true).is_satisfied()
        };
        // In one task the engine's own hash may have put them there, which sees trailing blanks.
        together(&delivered, keys.to_vec())
            || child.spread == Spread::Partitioned
                && matches!(&delivered, Partitioning::Hash(by, lanes)
                    if together(&Partitioning::Hash(by.iter().map(without_tight).collect(), *lanes), keys.iter().map(without_tight).collect()))
    }

    fn repartition(&self, plan: Plan) -> Result<Aligned> {
        let Some(repartition) = plan.downcast_ref::<RepartitionExec>() else {
            return Err(defect("a repartition is none"));
        };
        let child = self.walk(Arc::clone(repartition.input()))?;
        match (repartition.partitioning(), child.spread) {
            (_, Spread::Single) => {
                Ok(Aligned { plan: with_children(Arc::clone(&plan), vec![child.plan])?, spread: Spread::Single })
            }
            (Partitioning::Hash(keys, _), _) => self.shuffle(child, keys),
            // Spreading over the cores of one process: the lanes do that already.
            _ => Ok(child),
        }
    }

    fn union(&self, plan: Plan) -> Result<Aligned> {
        let mut children = Vec::new();
        for child in plan.children() {
            children.push(self.walk(Arc::clone(child))?);
        }
        let first = children.first().map(|child| child.spread).ok_or_else(|| defect("a union has no input"))?;
        let spread = match children.iter().all(|child| child.spread == first) {
            true => first,
            false if children.iter().any(|child| child.spread == Spread::Single) => Spread::Single,
            false => Spread::Partitioned,
        };
        let mut inputs = Vec::new();
        for child in children {
            inputs.push(match (spread, child.spread) {
                (Spread::Single, _) => self.gather(child)?,
                (Spread::Partitioned, Spread::Replicated) => Arc::new(OnlyTask0Exec::new(child.plan)),
                _ => child.plan,
            });
        }
        // An interleave wants equal partitionings, which storage and shuffles name differently; who relies on it asks `deliver`.
        Ok(Aligned { plan: UnionExec::try_new(inputs)?, spread })
    }

    /// Joins that the planner is not configured to choose.
    fn unknown_join(&self, plan: Plan) -> Result<Aligned> {
        let mut inputs = Vec::new();
        for child in plan.children() {
            let child = self.walk(Arc::clone(child))?;
            if child.spread != Spread::Single {
                return Err(defect(&format!("{} over distributed tables cannot be proven right", plan.name())));
            }
            inputs.push(child.plan);
        }
        Ok(Aligned { plan: with_children(plan, inputs)?, spread: Spread::Single })
    }

    /// All rows in the one task above: a network coalesce unless they are there already.
    pub(super) fn gather(&self, child: Aligned) -> Result<Plan> {
        let plan = match child.spread {
            Spread::Single => return Ok(child.plan),
            Spread::Replicated => Arc::new(OnlyTask0Exec::new(child.plan)),
            Spread::Partitioned => child.plan,
        };
        Ok(Arc::new(NetworkCoalesceExec::try_new(plan, self.tasks(), 1)?))
    }

    /// All rows in one partition of the one task above, in the order of the partitions where they have one.
    fn gather_into_one(&self, child: Aligned) -> Result<Plan> {
        let order = child.plan.output_ordering().cloned();
        let gathered = self.gather(child)?;
        Ok(match (gathered.output_partitioning().partition_count(), order) {
            (1, _) => gathered,
            (_, Some(order)) => Arc::new(SortPreservingMergeExec::new(order, gathered)),
            (_, None) => Arc::new(CoalescePartitionsExec::new(gathered)),
        })
    }

    /// Every row to every task.
    pub(super) fn broadcast(&self, child: Aligned) -> Result<Plan> {
        let producers = match child.spread {
            Spread::Replicated => return Ok(child.plan),
            Spread::Single => 1,
            Spread::Partitioned => self.tasks(),
        };
        Ok(Arc::new(NetworkBroadcastExec::try_new(Arc::new(BroadcastExec::new(child.plan, 1)), producers)?))
    }

    /// Each row to the (task, lane) that owns the slice of `keys`.
    pub(super) fn shuffle(&self, child: Aligned, keys: &[Arc<dyn PhysicalExpr>]) -> Result<Aligned> {
        let child = order::without_useless_sort(child);
        let (plan, producers): (Plan, usize) = match child.spread {
            Spread::Single => (child.plan, 1),
            Spread::Replicated => (Arc::new(OnlyTask0Exec::new(child.plan)), self.tasks()),
            Spread::Partitioned => (child.plan, self.tasks()),
        };
        let tokens: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Binary(Some(self.query.tokens.to_bytes()))));
        let arguments = std::iter::once(tokens).chain(keys.iter().cloned()).collect();
        let token = ScalarFunctionExpr::try_new(bucket_token_udf(), arguments, &plan.schema(), Arc::clone(self.options))?;
        let partitioning = Partitioning::Hash(vec![Arc::new(token)], self.lanes());
        let repartition: Plan = Arc::new(RepartitionExec::try_new(plan, partitioning)?);
        if producers > 1 && repartition.output_ordering().is_some() {
            return Err(defect("a shuffle from several tasks claims an order it does not keep"));
        }
        let plan = Arc::new(NetworkShuffleExec::try_new(repartition, producers)?);
        Ok(Aligned { plan, spread: Spread::Partitioned })
    }
}

/// A partitioning with the bucket tokens taken off: `Hash([bucket_token(t, a, b)])` is `Hash([a, b])` on the same placement that
/// storage declares.
pub(super) fn unmasked(partitioning: &Partitioning) -> Partitioning {
    if let Partitioning::Hash(keys, lanes) = partitioning
        && let [key] = keys.as_slice()
        && let Some(token) = key.downcast_ref::<ScalarFunctionExpr>()
        && token.name() == BUCKET_TOKEN_FUNCTION
    {
        return Partitioning::Hash(token.args()[1..].to_vec(), *lanes);
    }
    partitioning.clone()
}

/// The argument of `tight`: it lies where its result lies, as `H` does not see trailing blanks.
pub(super) fn without_tight(key: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::clone(tight_argument(key).unwrap_or(key))
}

/// `plan` over other children; what follows from them is computed anew.
pub(super) fn with_children(plan: Plan, children: Vec<Plan>) -> Result<Plan> {
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

pub(super) fn only_child(plan: &Plan) -> Result<Plan> {
    match plan.children().as_slice() {
        [child] => Ok(Arc::clone(child)),
        children => Err(defect(&format!("{} has {} children instead of one", plan.name(), children.len()))),
    }
}

pub(super) fn defect(what: &str) -> DataFusionError {
    Error::internal(format!("distributing the plan: {what}")).into()
}

pub(super) fn has_volatile_expression(plan: &Plan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(&mut |expression| {
        found |= datafusion::physical_expr_common::physical_expr::is_volatile(expression);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn recursive(plan: Plan) -> Result<Aligned> {
    if plan.exists(|node| Ok(node.is::<SliceScanExec>()))? {
        let error = Error::new(ErrorKind::NotSupported, "WITH RECURSIVE over a distributed table is not supported")
            .with_hint("copy the rows it walks into a VALUES list or unroll the recursion into joins");
        return Err(error.into());
    }
    Ok(Aligned { plan, spread: Spread::Single })
}

/// Whether a hash join runs partition by partition.
pub(super) fn is_partitioned(join: &HashJoinExec) -> bool {
    matches!(join.partition_mode(), PartitionMode::Partitioned)
}
