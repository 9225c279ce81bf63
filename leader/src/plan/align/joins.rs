//! Joins: which side moves, if any.

use super::order::{as_required, without_useless_sort};
use super::{
    Aligned, Aligner, Plan, Spread, defect, has_volatile_expression, is_partitioned, unmasked, with_children, without_tight,
};
use datafusion::common::JoinType;
use datafusion::error::Result;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use slipher_common::plan::OnlyTask0Exec;
use std::sync::Arc;

/// Whether a build row's fate depends on all probe rows: it is emitted unmatched, once, or with a mark.
fn emits_build_rows(join_type: JoinType) -> bool {
    use JoinType::*;
    matches!(join_type, Left | Full | LeftSemi | LeftAnti | LeftMark)
}

/// Whether a probe row's fate depends on all build rows.
fn emits_probe_rows(join_type: JoinType) -> bool {
    use JoinType::*;
    matches!(join_type, Right | Full | RightSemi | RightAnti | RightMark)
}

impl Aligner<'_> {
    pub(super) fn hash_join(&self, plan: Plan) -> Result<Aligned> {
        let Some(join) = plan.downcast_ref::<HashJoinExec>() else {
            return Err(defect("a hash join is none"));
        };
        if is_partitioned(join) {
            return self.partitioned_join(join);
        }
        let build = self.walk_collected(join.left())?;
        let probe = self.walk(Arc::clone(join.right()))?;
        let probe = once_if_volatile(&plan, &build, probe)?;
        // One limit over several tasks would count in each of them.
        let single_limit = join.fetch().is_some() && plan.output_partitioning().partition_count() == 1;
        if join.null_aware || single_limit {
            return match (build.spread, probe.spread) {
                (Spread::Replicated, Spread::Replicated) => self.join_in_place(&plan, build, probe, Spread::Replicated),
                _ => self.join_on_head(&plan, build, probe),
            };
        }
        match self.collected(&plan, *join.join_type(), &build, &probe)? {
            Some(aligned) => Ok(aligned),
            None => self.join_by_key(join, build, probe),
        }
    }

    pub(super) fn collect_join(&self, plan: Plan) -> Result<Aligned> {
        let (left, right, join_type) = if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            (join.left(), join.right(), *join.join_type())
        } else if let Some(join) = plan.downcast_ref::<CrossJoinExec>() {
            (join.left(), join.right(), JoinType::Inner)
        } else {
            return Err(defect("a nested loop join is none"));
        };
        let build = self.walk_collected(left)?;
        let probe = self.walk(Arc::clone(right))?;
        let probe = once_if_volatile(&plan, &build, probe)?;
        match self.collected(&plan, join_type, &build, &probe)? {
            Some(aligned) => Ok(aligned),
            None => self.join_on_head(&plan, build, probe),
        }
    }

    /// A join of two sorted sides, which holds the rows of one key at a time.
    pub(super) fn merge_join(&self, plan: Plan) -> Result<Aligned> {
        let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() else {
            return Err(defect("a merge join is none"));
        };
        let (left_keys, right_keys): (Keys, Keys) =
            join.on().iter().map(|(left, right)| (Arc::clone(left), Arc::clone(right))).unzip();
        let left = without_useless_sort(self.walk(Arc::clone(join.left()))?);
        let right = without_useless_sort(self.walk(Arc::clone(join.right()))?);
        let (left, right, spread) = match (left.spread, right.spread) {
            (Spread::Single, Spread::Single) => {
                let left = self.hashed_in_place(left.plan, left_keys)?;
                (left, self.hashed_in_place(right.plan, right_keys)?, Spread::Single)
            }
            _ => (self.by_keys(left, &left_keys)?.plan, self.by_keys(right, &right_keys)?.plan, Spread::Partitioned),
        };
        let sides = vec![as_required(&plan, 0, left)?, as_required(&plan, 1, right)?];
        Ok(Aligned { plan: with_children(plan, sides)?, spread })
    }

    /// The join with its build side collected in each task, where that is right; `None` where it is not.
    fn collected(&self, plan: &Plan, join_type: JoinType, build: &Aligned, probe: &Aligned) -> Result<Option<Aligned>> {
        use Spread::*;
        let (build_waits, probe_waits) = (emits_build_rows(join_type), emits_probe_rows(join_type));
        let local = |spread| self.join_in_place(plan, build.clone(), probe.clone(), spread).map(Some);
        match (build.spread, probe.spread) {
            (Single, Single) => local(Single),
            (Replicated, Replicated) => local(Replicated),
            (Replicated, Partitioned) if !build_waits => local(Partitioned),
            (Partitioned, Replicated) if !probe_waits => local(Partitioned),
            (Partitioned | Single, Partitioned) if !build_waits && !self.co_located(plan, build, probe) => {
                let copied = self.broadcast(build.clone())?;
                let copied = Aligned { plan: copied, spread: Replicated };
                self.join_in_place(plan, copied, probe.clone(), Partitioned).map(Some)
            }
            (Single, Replicated) => self.join_on_head(plan, build.clone(), probe.clone()).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether `plan` is a hash join whose sides both lie by its keys.
    fn co_located(&self, plan: &Plan, build: &Aligned, probe: &Aligned) -> bool {
        plan.downcast_ref::<HashJoinExec>().is_some_and(|join| {
            let (left, right) = keys_of(join);
            build.spread == Spread::Partitioned
                && probe.spread == Spread::Partitioned
                && lies_by(&build.plan, &left)
                && lies_by(&probe.plan, &right)
        })
    }

    /// A hash join partition by partition; sides that do not lie by the keys are shuffled.
    fn join_by_key(&self, join: &HashJoinExec, build: Aligned, probe: Aligned) -> Result<Aligned> {
        let (left, right) = keys_of(join);
        let build = self.by_keys(build, &left)?;
        let probe = self.by_keys(probe, &right)?;
        let children = vec![build.plan, probe.plan];
        let joined =
            join.builder().with_partition_mode(PartitionMode::Partitioned).recompute_properties().with_new_children(children)?;
        Ok(Aligned { plan: joined.recompute_properties().build_exec()?, spread: Spread::Partitioned })
    }

    fn partitioned_join(&self, join: &HashJoinExec) -> Result<Aligned> {
        let build = self.walk(Arc::clone(join.left()))?;
        let probe = self.walk(Arc::clone(join.right()))?;
        if (build.spread, probe.spread) == (Spread::Single, Spread::Single) {
            let (left, right) = keys_of(join);
            let children = vec![self.hashed_in_place(build.plan, left)?, self.hashed_in_place(probe.plan, right)?];
            let joined =
                join.builder().recompute_properties().with_new_children(children)?.recompute_properties().build_exec()?;
            return Ok(Aligned { plan: joined, spread: Spread::Single });
        }
        self.join_by_key(join, build, probe)
    }

    /// `plan`, all in one task, partitioned there by the engine's own hash: what it was partitioned by before, storage or shuffles,
    /// need not hold on the other side of the join.
    fn hashed_in_place(&self, plan: Plan, keys: Keys) -> Result<Plan> {
        match plan.downcast_ref::<RepartitionExec>().map(RepartitionExec::partitioning) {
            Some(Partitioning::Hash(_, lanes)) if *lanes == self.lanes() => Ok(plan),
            _ => Ok(Arc::new(RepartitionExec::try_new(plan, Partitioning::Hash(keys, self.lanes()))?)),
        }
    }

    fn by_keys(&self, child: Aligned, keys: &[Arc<dyn PhysicalExpr>]) -> Result<Aligned> {
        if child.spread == Spread::Partitioned && lies_by(&child.plan, keys) {
            return Ok(child);
        }
        // A repartition inside one process has no use below a shuffle.
        let child = match child.plan.downcast_ref::<RepartitionExec>() {
            Some(repartition) if child.spread == Spread::Single => {
                Aligned { plan: Arc::clone(repartition.input()), spread: child.spread }
            }
            _ => child,
        };
        self.shuffle(child, keys)
    }

    /// The build side below the node that collects it.
    fn walk_collected(&self, build: &Plan) -> Result<Aligned> {
        match build.downcast_ref::<CoalescePartitionsExec>() {
            Some(collect) if collect.fetch().is_none() => self.walk(Arc::clone(collect.input())),
            _ => self.walk(Arc::clone(build)),
        }
    }

    fn join_in_place(&self, plan: &Plan, build: Aligned, probe: Aligned, spread: Spread) -> Result<Aligned> {
        let build = collected_into_one(build.plan);
        Ok(Aligned { plan: with_children(Arc::clone(plan), vec![build, probe.plan])?, spread })
    }

    /// Both sides to the one task above.
    fn join_on_head(&self, plan: &Plan, build: Aligned, probe: Aligned) -> Result<Aligned> {
        let build = Aligned { plan: self.gather(build)?, spread: Spread::Single };
        let mut probe = self.gather(probe)?;
        if plan.input_distribution_requirements().child_distribution(1).is_some_and(is_single) {
            probe = collected_into_one(probe);
        }
        self.join_in_place(plan, build, Aligned { plan: probe, spread: Spread::Single }, Spread::Single)
    }
}

/// Copies of random() in a join's filter would differ between tasks: with both sides everywhere, the probe side is read once.
fn once_if_volatile(plan: &Plan, build: &Aligned, probe: Aligned) -> Result<Aligned> {
    if (build.spread, probe.spread) == (Spread::Replicated, Spread::Replicated) && has_volatile_expression(plan)? {
        return Ok(Aligned { plan: Arc::new(OnlyTask0Exec::new(probe.plan)), spread: Spread::Partitioned });
    }
    Ok(probe)
}

fn is_single(distribution: &datafusion::physical_expr::Distribution) -> bool {
    matches!(distribution, datafusion::physical_expr::Distribution::SinglePartition)
}

fn collected_into_one(plan: Plan) -> Plan {
    match plan.output_partitioning().partition_count() {
        1 => plan,
        _ => Arc::new(CoalescePartitionsExec::new(plan)),
    }
}

type Keys = Vec<Arc<dyn PhysicalExpr>>;

fn keys_of(join: &HashJoinExec) -> (Keys, Keys) {
    join.on().iter().map(|(left, right)| (Arc::clone(left), Arc::clone(right))).unzip()
}

/// Whether `plan` is hash-partitioned by exactly `keys`, in this order, up to columns known to be equal.
fn lies_by(plan: &Plan, keys: &[Arc<dyn PhysicalExpr>]) -> bool {
    let Partitioning::Hash(actual, _) = unmasked(plan.output_partitioning()) else {
        return false;
    };
    let equalities = plan.equivalence_properties().eq_group();
    // Either form of a key may be known to be equal to another one.
    let normal = |key: &Arc<dyn PhysicalExpr>| {
        let known = without_tight(&equalities.normalize_expr(Arc::clone(key)));
        without_tight(&equalities.normalize_expr(known))
    };
    actual.len() == keys.len() && actual.iter().zip(keys).all(|(actual, key)| normal(actual).eq(&normal(key)))
}
