//! Semi joins below the joins and aggregates whose input they make small.

use crate::plan::join_order::estimate::{column_index, estimate, scanned_rows};
use crate::plan::join_order::graph::{Graph, is_inner, is_passed_through};
use datafusion::common::{Column, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, Join, JoinConstraint, JoinType, LogicalPlan, LogicalPlanBuilder};
use std::sync::Arc;

/// A semi join moves only if it keeps at most this share of the rows: it is not free where it goes.
const KEPT_SHARE_MAX: f64 = 0.5;
/// Keys are computed a second time only if their inputs have at most this share of the rows that they are to spare.
const SECOND_READ_SHARE_MAX: f64 = 0.5;
/// The name of such keys.
const KEYS: &str = "__keys";

/// `(a JOIN b) SEMI JOIN s` as `(a SEMI JOIN s) JOIN b`, where the condition is on `a` alone and keeps few of its rows.
pub(super) fn pushed(semi: &Join) -> Option<LogicalPlan> {
    let movable = semi.join_type == JoinType::LeftSemi
        && !semi.null_aware
        && !semi.on.is_empty()
        && (is_inner(&semi.left) || is_passed_through(&semi.left))
        && semi.filter.as_ref().is_none_or(|filter| !filter.is_volatile());
    if !movable || estimate(&LogicalPlan::Join(semi.clone()))?.rows > estimate(&semi.left)?.rows * KEPT_SHARE_MAX {
        return None;
    }
    let mut needed: Vec<Column> = semi.on.iter().flat_map(|(left, _)| left.column_refs().into_iter().cloned()).collect();
    if let Some(filter) = &semi.filter {
        let of_left = |column: &&Column| semi.left.schema().has_column(column);
        needed.extend(filter.column_refs().into_iter().filter(of_left).cloned());
    }
    below(&semi.left, semi, &needed)
}

/// `plan` with the semi join on the input that has all of `needed`.
fn below(plan: &LogicalPlan, semi: &Join, needed: &[Column]) -> Option<LogicalPlan> {
    let has_all = |plan: &LogicalPlan| needed.iter().all(|column| plan.schema().has_column(column));
    if is_passed_through(plan) {
        let inner = below(plan.inputs().into_iter().next()?, semi, needed)?;
        return plan.with_new_exprs(plan.expressions(), vec![inner]).ok();
    }
    if let LogicalPlan::Join(join) = plan
        && is_inner(plan)
    {
        let (left, right) = match (has_all(&join.left), has_all(&join.right)) {
            (true, false) => (Arc::new(below(&join.left, semi, needed)?), Arc::clone(&join.right)),
            (false, true) => (Arc::clone(&join.left), Arc::new(below(&join.right, semi, needed)?)),
            _ => return None,
        };
        return Some(LogicalPlan::Join(Join { left, right, ..join.clone() }));
    }
    let moved = semi_join(Arc::new(plan.clone()), Arc::clone(&semi.right), semi.on.clone(), semi.filter.clone());
    moved.ok().map(|join| LogicalPlan::Join(Join { null_equality: semi.null_equality, ..join }))
}

fn semi_join(left: Arc<LogicalPlan>, right: Arc<LogicalPlan>, on: Vec<(Expr, Expr)>, filter: Option<Expr>) -> Result<Join> {
    let nulls = NullEquality::NullEqualsNothing;
    Join::try_new(left, right, on, filter, JoinType::LeftSemi, JoinConstraint::On, nulls, false)
}

/// The region at `root` with its grouped subqueries reading only groups that the rest of the region can want, as
/// magic sets do (Mumick and Pirahesh, "Implementation of magic-sets in a relational database system", SIGMOD 1994). `SELECT ...
/// FROM part, lineitem WHERE ... AND quantity < (SELECT avg(quantity) FROM lineitem WHERE partkey = part.partkey)` groups all of
/// lineitem otherwise, for the few parts that are asked for.
pub(super) fn spared_groups(root: &LogicalPlan, broadcast_rows_max: usize) -> Option<LogicalPlan> {
    let mut graph = Graph::new(root)?;
    let mut changed = false;
    for input in 0..graph.inputs.len() {
        let candidates = (0..graph.inputs.len()).filter(|keys| *keys != input);
        let best = candidates
            .filter_map(|keys| spared(&graph, input, keys, broadcast_rows_max))
            .min_by(|(one, _), (other, _)| one.total_cmp(other));
        if let Some((_, plan)) = best {
            graph.replace_input(input, plan)?;
            changed = true;
        }
    }
    changed.then(|| graph.plan(&graph.shape, root)).flatten()
}

/// `semi` with the same done to its right side: the rows of the left side want the groups.
pub(super) fn spared_subquery(semi: &Join, broadcast_rows_max: usize) -> Option<LogicalPlan> {
    if semi.join_type != JoinType::LeftSemi || semi.null_equality != NullEquality::NullEqualsNothing {
        return None;
    }
    let (left, right) = (Arc::clone(&semi.left), Arc::clone(&semi.right));
    let nulls = NullEquality::NullEqualsNothing;
    let (on, filter) = (semi.on.clone(), semi.filter.clone());
    let as_inner = Join::try_new(left, right, on, filter, JoinType::Inner, JoinConstraint::On, nulls, false).ok()?;
    let graph = Graph::new(&LogicalPlan::Join(as_inner))?;
    let last = graph.inputs.len() - 1;
    if !Arc::ptr_eq(graph.inputs[last].plan(), &semi.right) {
        return None;
    }
    let right = Arc::new(best_spared(&graph, last, broadcast_rows_max)?);
    Some(LogicalPlan::Join(Join { right, ..semi.clone() }))
}

fn best_spared(graph: &Graph, input: usize, broadcast_rows_max: usize) -> Option<LogicalPlan> {
    let candidates = (0..graph.inputs.len()).filter(|keys| *keys != input);
    let found = candidates.filter_map(|keys| spared(graph, input, keys, broadcast_rows_max));
    found.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, plan)| plan)
}

/// `input` with a semi join below its aggregate, on the columns that it has in common with `keys`, and the share of the rows it keeps.
fn spared(graph: &Graph, input: usize, keys: usize, broadcast_rows_max: usize) -> Option<(f64, LogicalPlan)> {
    let (grouped, wanted) = (graph.inputs[input].plan(), graph.inputs[keys].plan());
    let pairs: Vec<(Column, Column)> = graph.common_columns(input, keys);
    let too_many = graph.inputs[keys].relation.rows > broadcast_rows_max as f64;
    if pairs.is_empty() || too_many || !is_repeatable(wanted) {
        return None;
    }
    let columns = pairs.iter().map(|(_, column)| Expr::Column(column.clone()));
    let named = (0..pairs.len()).map(|index| format!("key{index}"));
    let columns: Vec<Expr> = columns.zip(named).map(|(column, name)| column.alias(name)).collect();
    let keys = LogicalPlanBuilder::from(wanted.as_ref().clone()).project(columns).ok()?.alias(KEYS).ok()?.build().ok()?;
    let names: Vec<Column> = pairs.into_iter().map(|(column, _)| column).collect();
    with_semi_join(grouped, &names, &Arc::new(keys))
}

/// `plan`, an aggregate under projections and names, with only those of its groups whose `columns` are in `keys`.
fn with_semi_join(plan: &LogicalPlan, columns: &[Column], keys: &Arc<LogicalPlan>) -> Option<(f64, LogicalPlan)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = |column: &Column| alias.input.schema().columns().get(column_index(plan, column)?).cloned();
            let columns = columns.iter().map(inner).collect::<Option<Vec<_>>>()?;
            let (share, input) = with_semi_join(&alias.input, &columns, keys)?;
            Some((share, plan.with_new_exprs(plan.expressions(), vec![input]).ok()?))
        }
        LogicalPlan::Projection(projection) => {
            let inner = |column: &Column| match projection.expr.get(column_index(plan, column)?)?.clone().unalias() {
                Expr::Column(column) => Some(column),
                _ => None,
            };
            let columns = columns.iter().map(inner).collect::<Option<Vec<_>>>()?;
            let (share, input) = with_semi_join(&projection.input, &columns, keys)?;
            Some((share, plan.with_new_exprs(plan.expressions(), vec![input]).ok()?))
        }
        LogicalPlan::Aggregate(aggregate) => over_fewer_rows(aggregate, columns, keys),
        _ => None,
    }
}

fn over_fewer_rows(aggregate: &Aggregate, columns: &[Column], keys: &Arc<LogicalPlan>) -> Option<(f64, LogicalPlan)> {
    let output = aggregate.schema.columns();
    let group = |column: &Column| {
        let position = output.iter().position(|known| known == column)?;
        // Grouping sets put more columns in front than there are expressions.
        match aggregate.group_expr.get(position)? {
            Expr::Column(column) => Some(Expr::Column(column.clone())),
            _ => None,
        }
    };
    let groups = columns.iter().map(group).collect::<Option<Vec<_>>>()?;
    if scanned_rows(keys) > scanned_rows(&aggregate.input) * SECOND_READ_SHARE_MAX {
        return None;
    }
    let on = groups.into_iter().zip(keys.schema().columns().into_iter().map(Expr::Column)).collect();
    let semi = LogicalPlan::Join(semi_join(Arc::clone(&aggregate.input), Arc::clone(keys), on, None).ok()?);
    let share = estimate(&semi)?.rows / estimate(&aggregate.input)?.rows;
    if share > KEPT_SHARE_MAX {
        return None;
    }
    let group_expr = aggregate.group_expr.clone();
    let fewer = Aggregate::try_new(Arc::new(semi), group_expr, aggregate.aggr_expr.clone()).ok()?;
    Some((share, LogicalPlan::Aggregate(fewer)))
}

/// Whether reading `plan` a second time yields the same rows.
fn is_repeatable(plan: &LogicalPlan) -> bool {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut repeatable = true;
    let walked = plan.apply(|node| {
        // Which rows a limit keeps may differ from one read to the next.
        let differs = matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Extension(_) | LogicalPlan::RecursiveQuery(_))
            || matches!(node, LogicalPlan::Sort(sort) if sort.fetch.is_some())
            || matches!(node, LogicalPlan::TableScan(scan) if scan.fetch.is_some())
            || node.expressions().iter().any(Expr::is_volatile);
        repeatable &= !differs;
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && repeatable
}
