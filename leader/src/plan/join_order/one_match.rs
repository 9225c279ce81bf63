//! Semi, anti and mark joins that look each key up once.
//!
//! The engine's join walks all pairs of rows with equal keys, though the first one answers EXISTS. Where keys repeat on both sides, that
//! is many more pairs than rows: the looked-up side is made to have each key once. A condition that compares one more column needs
//! only the smallest and largest value of each key; without keys, of all.

use super::estimate::{Relation, column_index, distinct_of, estimate};
use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, BinaryExpr, Expr, ExprSchemable, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use slipher_common::aggregates::{max_udaf, min_udaf};
use slipher_common::histogram::ColumnHistogram;
use std::sync::Arc;

/// Grouping the looked-up rows costs about as much as walking so many pairs for each.
const PAIRS_PER_ROW_MIN: f64 = 4.0;
/// Keys that repeat less often on average are not worth grouping.
const REPEATS_MIN: f64 = 1.5;
/// The names of the smallest and largest value.
const LEAST: &str = "__least";
const GREATEST: &str = "__greatest";
/// The name of a key, before its number.
const KEY: &str = "__key";

/// The rule.
#[derive(Debug)]
pub(crate) struct OneMatch;

impl OptimizerRule for OneMatch {
    fn name(&self) -> &str {
        "one_match"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down(|node| match &node {
            LogicalPlan::Join(join) => match looked_up_once(join)? {
                Some(join) => Ok(Transformed::yes(LogicalPlan::Join(join))),
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        })
    }
}

fn looked_up_once(join: &Join) -> Result<Option<Join>> {
    let asks = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
    if !asks || join.null_aware || is_grouped(&join.right) {
        return Ok(None);
    }
    match &join.filter {
        None if !join.on.is_empty() && walks_many_pairs(join) => with_keys_once(join),
        Some(filter) if join.on.is_empty() || walks_many_pairs(join) => match compared(join, filter) {
            Some(compared) => with_extremes(join, &compared),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Whether this rule was here before, or the query groups by itself.
fn is_grouped(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => {
            plan.inputs().into_iter().all(is_grouped)
        }
        _ => false,
    }
}

/// Whether the join has many more pairs of equal keys than the looked-up side has rows. Who knows nothing expects the worst.
fn walks_many_pairs(join: &Join) -> bool {
    let (Some(left), Some(right)) = (estimate(&join.left), estimate(&join.right)) else { return true };
    let (evenly, skewed) = pairs(join, &left, &right);
    let many = right.rows * PAIRS_PER_ROW_MIN;
    skewed > many || (evenly > many && repeats(join, &right) >= REPEATS_MIN)
}

/// How often a key stands in the looked-up side, on average.
fn repeats(join: &Join, right: &Relation) -> f64 {
    let distinct: f64 = join.on.iter().map(|(_, key)| distinct_of(key, &join.right, right)).product();
    right.rows / distinct.min(right.rows).max(1.0)
}

/// Pairs of equal keys if those lie evenly, and of the values that are known to be frequent.
fn pairs(join: &Join, left: &Relation, right: &Relation) -> (f64, f64) {
    let combined = |distinct: f64, rows: f64| distinct.min(rows).max(1.0);
    let of_left = join.on.iter().map(|(one, _)| distinct_of(one, &join.left, left)).product();
    let of_right = join.on.iter().map(|(_, other)| distinct_of(other, &join.right, right)).product();
    let evenly = left.rows * right.rows / f64::max(combined(of_left, left.rows), combined(of_right, right.rows));
    let skewed = match join.on.as_slice() {
        [(one, other)] => pairs_of_frequent(one, other, join, left, right).unwrap_or(0.0),
        _ => 0.0,
    };
    (evenly, skewed)
}

/// Pairs of the values that are frequent on one of the sides.
fn pairs_of_frequent(one: &Expr, other: &Expr, join: &Join, left: &Relation, right: &Relation) -> Option<f64> {
    let histogram = |expr: &Expr, plan: &LogicalPlan, relation: &Relation| match expr {
        Expr::Column(column) => relation.columns.get(column_index(plan, column)?)?.histogram.clone(),
        _ => None,
    };
    let (of_left, of_right) = (histogram(one, &join.left, left), histogram(other, &join.right, right));
    let mut points = of_left.as_ref().map(|known| known.frequent()).unwrap_or_default();
    points.extend(of_right.as_ref().map(|known| known.frequent()).unwrap_or_default());
    points.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    points.dedup();
    // A side without a histogram has its values evenly.
    let (even_left, even_right) = (1.0 / distinct_of(one, &join.left, left), 1.0 / distinct_of(other, &join.right, right));
    let share = |known: &Option<Arc<ColumnHistogram>>, even: f64, point| match known {
        Some(known) => known.equal(point),
        None => Some(even),
    };
    let mut pairs = 0.0;
    for point in &points {
        pairs += left.rows * share(&of_left, even_left, point)? * right.rows * share(&of_right, even_right, point)?;
    }
    Some(pairs)
}

/// The right side with each key once.
fn with_keys_once(join: &Join) -> Result<Option<Join>> {
    let groups: Vec<Expr> = join.on.iter().map(|(_, key)| key.clone()).collect();
    if groups.iter().any(Expr::is_volatile) {
        return Ok(None);
    }
    let Some((right, columns)) = grouped(join, groups, Vec::new())? else { return Ok(None) };
    joined(join, right, &columns, None).map(Some)
}

/// The right side, grouped, under its old name, which is also the name of the join's mark. None where it has no name.
fn grouped(join: &Join, groups: Vec<Expr>, calls: Vec<Expr>) -> Result<Option<(LogicalPlan, Vec<Column>)>> {
    let name = match join.join_type {
        JoinType::LeftMark => join.schema.iter().last().and_then(|(qualifier, _)| qualifier),
        _ => join.right.schema().iter().find_map(|(qualifier, _)| qualifier),
    };
    let Some(name) = name else { return Ok(None) };
    let wanted = groups.len() + calls.len();
    let groups = named_apart(groups);
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&join.right), groups, calls)?);
    let fields = plan.schema().fields();
    let repeated =
        fields.iter().enumerate().any(|(index, field)| fields[..index].iter().any(|other| other.name() == field.name()));
    if repeated || fields.len() != wanted {
        return Ok(None);
    }
    let plan = LogicalPlanBuilder::from(plan).alias(name.clone())?.build()?;
    let columns = plan.schema().columns();
    Ok(Some((plan, columns)))
}

/// Keys of which no two have one name: the engine calls a cast like what is cast, and a column may be compared twice.
fn named_apart(keys: Vec<Expr>) -> Vec<Expr> {
    let mut apart: Vec<Expr> = Vec::with_capacity(keys.len());
    for (index, key) in keys.into_iter().enumerate() {
        let plain = matches!(key, Expr::Column(_)) && !apart.contains(&key);
        apart.push(if plain { key } else { key.alias(format!("{KEY}{index}")) });
    }
    apart
}

/// A condition that compares one column of the right side.
struct Compared {
    column: Column,
    op: Operator,
    outside: Expr,
}

/// `filter`, if it is one comparison of a column of the right side, whose order is that of its smallest and largest value.
fn compared(join: &Join, filter: &Expr) -> Option<Compared> {
    let [Expr::BinaryExpr(BinaryExpr { left, op, right })] = split_conjunction(filter).as_slice() else { return None };
    let is_inside = |expr: &Expr| match expr {
        Expr::Column(column) => join.right.schema().has_column(column).then(|| column.clone()),
        _ => None,
    };
    let is_outside = |expr: &Expr| {
        let columns = expr.column_refs();
        !expr.is_volatile()
            && columns.iter().all(|column| join.left.schema().has_column(column) && !join.right.schema().has_column(column))
    };
    let (column, op, outside) = match (is_inside(left), is_inside(right)) {
        (Some(column), None) if is_outside(right) => (column, *op, right.as_ref().clone()),
        (None, Some(column)) if is_outside(left) => (column, op.swap()?, left.as_ref().clone()),
        _ => return None,
    };
    let ordered = matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq | Operator::NotEq);
    let data_type = Expr::Column(column.clone()).get_type(join.right.schema()).ok()?;
    let exact =
        data_type.is_integer() || data_type.is_decimal() || matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _));
    (ordered && exact).then_some(Compared { column, op, outside })
}

/// The right side with the smallest and largest compared value of each key.
fn with_extremes(join: &Join, compared: &Compared) -> Result<Option<Join>> {
    let column = Expr::Column(compared.column.clone());
    let groups: Vec<Expr> = join.on.iter().map(|(_, key)| key.clone()).collect();
    let least = matches!(compared.op, Operator::Lt | Operator::LtEq | Operator::NotEq);
    let greatest = matches!(compared.op, Operator::Gt | Operator::GtEq | Operator::NotEq);
    let of = |function: Arc<AggregateUDF>, name: &str| function.call(vec![column.clone()]).alias(name);
    let calls = [least.then(|| of(min_udaf(), LEAST)), greatest.then(|| of(max_udaf(), GREATEST))];
    let Some((right, columns)) = grouped(join, groups, calls.into_iter().flatten().collect())? else { return Ok(None) };
    let (keys, values) = columns.split_at(join.on.len());
    let compare = |value: &Column| {
        let (value, outside) = (Box::new(Expr::Column(value.clone())), Box::new(compared.outside.clone()));
        Expr::BinaryExpr(BinaryExpr::new(value, compared.op, outside))
    };
    let filter = values.iter().map(compare).reduce(Expr::or);
    joined(join, right, keys, filter).map(Some)
}

/// `join` with another right side, whose keys are `keys`.
fn joined(join: &Join, right: LogicalPlan, keys: &[Column], filter: Option<Expr>) -> Result<Join> {
    let on = join.on.iter().zip(keys).map(|((left, _), key)| (left.clone(), Expr::Column(key.clone()))).collect();
    let (left, right) = (Arc::clone(&join.left), Arc::new(right));
    Join::try_new(left, right, on, filter, join.join_type, join.join_constraint, join.null_equality, false)
}
