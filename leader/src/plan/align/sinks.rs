//! Loads: rows move to the slices that will hold them.

use super::order;
use super::{Aligned, Aligner, Plan, Spread, defect, only_child, unmasked, with_children, without_tight};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlanProperties;
use slipher_common::catalog::Distribution;
use slipher_common::plan::{OnlyTask0Exec, SliceSinkExec};
use std::sync::Arc;

impl Aligner<'_> {
    pub(super) fn sink(&self, plan: Plan) -> Result<Aligned> {
        let Some(sink) = plan.downcast_ref::<SliceSinkExec>() else {
            return Err(defect("a sink is none"));
        };
        let table = &sink.target().table;
        let source = self.walk(only_child(&plan)?)?;
        let column = |index: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(&table.columns[index].name, index)) };
        let placed = match (&table.distribution, table.dist_key_index()) {
            (Distribution::Key(_), Some(key)) => {
                let lies_there = source.spread == Spread::Partitioned && lies_by_column(&source.plan, key, self.lanes());
                if lies_there { source } else { self.shuffle(source, &[column(key)])? }
            }
            (Distribution::Key(id), None) => return Err(defect(&format!("table \"{table}\" has no DISTKEY column {id}"))),
            (Distribution::Even | Distribution::All, _) => match source.spread {
                Spread::Partitioned => source,
                // Any lane may write these rows: the hash of all columns spreads them.
                Spread::Single => {
                    let all: Vec<_> = (0..table.columns.len()).map(column).collect();
                    self.shuffle(source, &all)?
                }
                Spread::Replicated => {
                    let once = Arc::new(OnlyTask0Exec::new(source.plan));
                    Aligned { plan: once, spread: Spread::Partitioned }
                }
            },
        };
        let rows = order::as_required(&plan, 0, placed.plan)?;
        Ok(Aligned { plan: with_children(Arc::clone(&plan), vec![rows])?, spread: Spread::Partitioned })
    }
}

fn lies_by_column(plan: &Plan, index: usize, lanes: usize) -> bool {
    let Partitioning::Hash(keys, count) = unmasked(plan.output_partitioning()) else {
        return false;
    };
    count == lanes
        && matches!(keys.as_slice(), [key] if without_tight(key).downcast_ref::<Column>().is_some_and(|key| key.index() == index))
}
