//! Windows that are equal are computed once.
//!
//! Two windows of a query can become one when the engine makes them simpler: `min(x) OVER (...)` and `min(CASE WHEN true THEN x END) OVER (...)`.
//! Its rule for common expressions would then compute them in a projection below, where no window may stand (DataFusion 55.2).

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Window};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule. It runs before that for common expressions.
#[derive(Debug)]
pub(super) struct EqualWindows;

impl OptimizerRule for EqualWindows {
    fn name(&self) -> &str {
        "equal_windows"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Window(window) => computed_once(window),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn computed_once(window: Window) -> Result<Transformed<LogicalPlan>> {
    let inputs = window.input.schema().fields().len();
    // Each call that is kept, and what it computes.
    let mut kept: Vec<(Expr, Expr)> = Vec::with_capacity(window.window_expr.len());
    // Where each call is computed that stands in the result.
    let mut places = Vec::with_capacity(window.window_expr.len());
    for call in &window.window_expr {
        let computed = call.clone().unalias_nested().data;
        let known = if computed.is_volatile() { None } else { kept.iter().position(|(_, known)| *known == computed) };
        places.push(known.unwrap_or(kept.len()));
        if known.is_none() {
            kept.push((call.clone(), computed));
        }
    }
    if kept.len() == window.window_expr.len() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let once = Window::try_new(kept.into_iter().map(|(call, _)| call).collect(), Arc::clone(&window.input))?;
    let computed = once.schema.columns();
    let mut shown: Vec<Expr> = computed[..inputs].iter().cloned().map(Expr::Column).collect();
    for (place, wanted) in places.into_iter().zip(window.schema.columns().into_iter().skip(inputs)) {
        let column = &computed[inputs + place];
        shown.push(if *column == wanted { Expr::Column(wanted) } else { called(column, wanted) });
    }
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(LogicalPlan::Window(once)))?)))
}

/// A column under the name that is looked for above.
fn called(column: &Column, wanted: Column) -> Expr {
    Expr::Column(column.clone()).alias_qualified(wanted.relation, wanted.name)
}
