//! Scans whose lanes may share their rows: those of which nobody needs to know which lane a row is in.

use super::{Plan, with_children};
use datafusion::error::Result;
use datafusion::physical_expr::{Distribution, Partitioning};
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion_distributed::NetworkBoundaryExt;
use slipher_common::plan::{SliceScanExec, SliceSinkExec};
use std::sync::Arc;

/// What something above relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reliance {
    Nothing,
    /// Rows with equal keys are in one lane, where the plan says so.
    Keys,
    /// Each lane has the rows of its slices: a sink writes them there.
    Slices,
}

/// `plan`, whose boundaries are placed, with shared lanes where that is right.
pub(super) fn with_shared_lanes(plan: Plan) -> Result<Plan> {
    with_lanes(plan, Reliance::Nothing)
}

fn with_lanes(plan: Plan, reliance: Reliance) -> Result<Plan> {
    let by_keys = matches!(plan.output_partitioning(), Partitioning::Hash(..));
    let reliance = match reliance {
        Reliance::Keys if !by_keys => Reliance::Nothing,
        _ if plan.as_network_boundary().is_some() => Reliance::Nothing,
        other => other,
    };
    if let Some(scan) = plan.downcast_ref::<SliceScanExec>() {
        return Ok(if reliance == Reliance::Nothing { Arc::new(scan.with_shared_lanes()?) } else { plan });
    }
    let requirements = plan.input_distribution_requirements();
    let on_child = |index: usize| match requirements.child_distribution(index) {
        _ if reliance == Reliance::Slices || plan.is::<SliceSinkExec>() => Reliance::Slices,
        Some(required) if is_of_keys(required) => Reliance::Keys,
        _ => reliance,
    };
    let children: Vec<Plan> = plan.children().into_iter().map(Arc::clone).collect();
    let changed = children.iter().enumerate().map(|(index, child)| with_lanes(Arc::clone(child), on_child(index)));
    let changed = changed.collect::<Result<Vec<_>>>()?;
    match changed.iter().zip(&children).all(|(one, other)| Arc::ptr_eq(one, other)) {
        true => Ok(plan),
        false => with_children(plan, changed),
    }
}

fn is_of_keys(distribution: &Distribution) -> bool {
    #[expect(deprecated, reason = "still accepted beside KeyPartitioned")]
    match distribution {
        Distribution::KeyPartitioned(_) | Distribution::HashPartitioned(_) => true,
        Distribution::UnspecifiedDistribution | Distribution::SinglePartition => false,
    }
}
