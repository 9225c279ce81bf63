//! Order: what the planner relied on is still there after rows have moved.
//!
//! The planner leaves a sort out where its input is sorted already, and limits take the first rows of what they are given. Boundaries
//! lose the order of rows, or at least the knowledge of it: a shipped plan knows of a boundary's rows only their types.

use super::{Aligned, Plan};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion_distributed::NetworkBoundaryExt;
use std::sync::Arc;

/// `aligned`, which took the place of `original`, with a sort on top where it lost the order of `original`.
pub(super) fn restored(original: &Plan, aligned: Aligned) -> Result<Aligned> {
    let Some(order) = original.output_ordering() else {
        return Ok(aligned);
    };
    if as_shipped(&aligned.plan)?.equivalence_properties().ordering_satisfy(order.clone())? {
        return Ok(aligned);
    }
    // A node that keeps its first rows only was told so because they are the first ones of this order.
    let fetch = aligned.plan.fetch();
    let (unsorted, fetch) = match fetch.and_then(|_| aligned.plan.with_fetch(None)) {
        Some(all) => (all, fetch),
        None => (aligned.plan, None),
    };
    let sort = SortExec::new(order.clone(), unsorted).with_preserve_partitioning(true).with_fetch(fetch);
    Ok(Aligned { plan: Arc::new(sort), spread: aligned.spread })
}

/// `child` with a sort on top where it lacks the order that `parent` requires of it.
pub(in crate::plan) fn as_required(parent: &Plan, index: usize, child: Plan) -> Result<Plan> {
    let Some(Some(required)) = parent.required_input_ordering().into_iter().nth(index) else {
        return Ok(child);
    };
    let required = required.into_single();
    if as_shipped(&child)?.equivalence_properties().ordering_satisfy_requirement(required.clone())? {
        return Ok(child);
    }
    // Nothing else says how many rows are enough.
    let fetch = parent.downcast_ref::<SortPreservingMergeExec>().and_then(|merge| merge.fetch()).filter(|fetch| *fetch > 0);
    Ok(Arc::new(SortExec::new(required.into(), child).with_preserve_partitioning(true).with_fetch(fetch)))
}

/// A merge by all that its rows are sorted by, where `node` is one by less: the engine takes it for the same.
pub(in crate::plan) fn merged_by_all(node: &Plan) -> Result<Option<Plan>> {
    let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() else { return Ok(None) };
    let mut keys = merge.expr().clone();
    for more in merge.input().output_ordering().into_iter().flatten() {
        if !keys.iter().any(|key| key.expr.eq(&more.expr)) {
            keys.push(more.clone());
        }
    }
    let is_sorted = || merge.input().equivalence_properties().ordering_satisfy(keys.clone());
    if keys.len() == merge.expr().len() || !is_sorted()? {
        return Ok(None);
    }
    let by_all = SortPreservingMergeExec::new(keys, Arc::clone(merge.input())).with_fetch(merge.fetch());
    Ok(Some(Arc::new(by_all)))
}

/// A sort below a shuffle is for nothing.
pub(super) fn without_useless_sort(child: Aligned) -> Aligned {
    match child.plan.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() => Aligned { plan: Arc::clone(sort.input()), spread: child.spread },
        _ => child,
    }
}

/// `plan` as it knows itself where it is run: without what the rows below its boundaries are known to be.
fn as_shipped(plan: &Plan) -> Result<Plan> {
    let shipped = Arc::clone(plan).transform_down(|node| {
        if node.as_network_boundary().is_none() {
            return Ok(Transformed::no(node));
        }
        let partitions = node.output_partitioning().partition_count();
        let arrived: Plan = Arc::new(EmptyExec::new(node.schema()).with_partitions(partitions));
        Ok(Transformed::new(arrived, true, TreeNodeRecursion::Jump))
    })?;
    Ok(shipped.data)
}
