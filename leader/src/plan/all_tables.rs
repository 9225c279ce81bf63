//! Joins with DISTSTYLE ALL tables run where the other side is.

use super::replaced::replaced;
use datafusion::common::JoinType;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use slipher_common::plan::SliceScanExec;
use std::sync::Arc;

/// Runs after join selection, before shuffles are put in: a join with a side that every node has a copy of builds on that copy.
///
/// ```text
/// before: HashJoin mode=Partitioned        after: HashJoin mode=CollectLeft
///           lineitem (KEY)                          supplier (ALL)
///           supplier (ALL)                          lineitem (KEY)     <- does not move
/// ```
#[derive(Debug)]
pub(crate) struct JoinAllTablesLocally;

impl PhysicalOptimizerRule for JoinAllTablesLocally {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, local_form)
    }

    fn name(&self) -> &str {
        "join_all_tables_locally"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn local_form(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    use JoinType::*;
    if join.null_aware || !matches!(join.partition_mode(), PartitionMode::Partitioned) {
        return Ok(None);
    }
    let (left, right) = (is_replicated(join.left()), is_replicated(join.right()));
    let builds_left = left && (right || matches!(join.join_type(), Inner | Right | RightSemi | RightAnti | RightMark));
    if builds_left {
        let local = join.builder().with_partition_mode(PartitionMode::CollectLeft).recompute_properties().build_exec()?;
        return Ok(Some(local));
    }
    if right && matches!(join.join_type(), Inner | Left | LeftSemi | LeftAnti | LeftMark) {
        return join.swap_inputs(PartitionMode::CollectLeft).map(Some);
    }
    Ok(None)
}

/// Whether every task will have all rows of `plan`.
fn is_replicated(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(scan) = plan.downcast_ref::<SliceScanExec>() {
        return scan.source().replicated;
    }
    if plan.is::<FilterExec>() || plan.is::<ProjectionExec>() {
        return plan.output_partitioning().partition_count() > 0 && plan.children().iter().all(|child| is_replicated(child));
    }
    plan.downcast_ref::<HashJoinExec>().is_some_and(|join| {
        matches!(join.partition_mode(), PartitionMode::CollectLeft) && is_replicated(join.left()) && is_replicated(join.right())
    })
}
