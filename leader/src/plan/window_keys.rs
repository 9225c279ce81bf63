//! Keys of PARTITION BY that are expressions become columns of a projection below the window.
//!
//! A running window looks for its keys in the order of its rows (DataFusion 55.2). Where a join below says that two columns are equal, rows
//! are sorted by an expression of the one column and the window looks for that of the other: it finds columns that are equal, but no
//! expressions of them. A key is also computed once this way, not by the exchange, the sort and the window each.

use super::grouping_sets::widened;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// What the column of a key is called, before the key's own name.
pub(super) const PARTITION_KEY: &str = "__partition_by ";

/// The rule. It runs when no subquery is left: joins with their values are what makes columns equal, too.
#[derive(Debug)]
pub(crate) struct PlainPartitions;

impl AnalyzerRule for PlainPartitions {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up(|node| match node {
            LogicalPlan::Window(window) => plain_partitions(window),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "plain_partitions"
    }
}

fn plain_partitions(window: Window) -> Result<Transformed<LogicalPlan>> {
    let mut computed: Vec<(String, Expr)> = Vec::new();
    let node = LogicalPlan::Window(window);
    let names = NamePreserver::new(&node);
    let changed = node.map_expressions(|call| {
        let name = names.save(&call);
        let plain = call.transform_down(|expr| {
            let Expr::WindowFunction(call) = expr else { return Ok(Transformed::no(expr)) };
            let WindowFunction { fun, mut params } = *call;
            params.partition_by = params.partition_by.into_iter().map(|key| plain_key(key, &mut computed)).collect();
            Ok(Transformed::yes(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))))
        })?;
        Ok(plain.update_data(|call| name.restore(call)))
    })?;
    match changed.data {
        LogicalPlan::Window(window) if !computed.is_empty() => over_columns(window, computed).map(Transformed::yes),
        node => Ok(Transformed::no(node)),
    }
}

/// The column in place of a key that is computed from a row; `computed` has what it stands for, under names that no two have.
fn plain_key(key: Expr, computed: &mut Vec<(String, Expr)>) -> Expr {
    if matches!(key, Expr::Column(_) | Expr::Literal(..)) {
        return key;
    }
    if let Some((name, _)) = computed.iter().find(|(_, known)| *known == key) {
        return Expr::Column(Column::new_unqualified(name));
    }
    let mut name = format!("{PARTITION_KEY}{key}");
    if computed.iter().any(|(taken, _)| *taken == name) {
        name = format!("{name} {}", computed.len());
    }
    computed.push((name.clone(), key));
    Expr::Column(Column::new_unqualified(name))
}

/// The window over its input and the columns of its keys, without these in its result: what stands above knows nothing of them.
fn over_columns(window: Window, computed: Vec<(String, Expr)>) -> Result<LogicalPlan> {
    let shown = window.schema.columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let keys = computed.into_iter().map(|(name, key)| key.alias(name));
    let below = widened(Arc::unwrap_or_clone(window.input), keys)?;
    let window = LogicalPlan::Window(Window::try_new(window.window_expr, Arc::new(below))?);
    LogicalPlanBuilder::from(window).project(shown)?.build()
}
