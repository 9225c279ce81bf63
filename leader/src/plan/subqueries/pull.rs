//! Conditions on the row outside, moved up out of a subquery.
//!
//! `SELECT ... FROM t WHERE t.a = outside.b` yields, for all rows outside at once, what `SELECT ... FROM t` yields when it is joined on
//! `t.a = outside.b`. That is so through the nodes below; where a node would have to see one outer row's rows only (LIMIT, windows,
//! the inner side of outer joins), nothing is moved, and `push` does it another way.

use super::outer::{node_reads, plan_reads, reads, with_columns};
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
};
use std::sync::Arc;

/// The name of a column that a condition needs above a projection.
const KEY: &str = "__key";

/// A subquery without its conditions on the row outside.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) plan: LogicalPlan,
    /// The conditions, with the plan's output columns.
    pub(super) conditions: Vec<Expr>,
}

impl Pulled {
    fn over(mut self, plan: LogicalPlan, columns: impl Fn(&Column) -> Option<Column>) -> Result<Self> {
        let renamed = |column: &Column| columns(column).map(Expr::Column);
        self.conditions = self.conditions.into_iter().map(|one| with_columns(one, renamed)).collect::<Result<_>>()?;
        self.plan = plan;
        Ok(self)
    }

    /// The columns of the plan that conditions read.
    pub(super) fn needed(&self) -> Vec<Column> {
        let mut needed: Vec<Column> = self.conditions.iter().flat_map(|one| one.column_refs().into_iter().cloned()).collect();
        needed.sort();
        needed.dedup();
        needed
    }
}

/// Moves conditions on columns of `outer` up.
pub(super) struct Puller<'a> {
    pub(super) outer: &'a [Column],
    /// Only whether there are rows matters, not how many: conditions may move through DISTINCT.
    pub(super) any_row: bool,
    pub(super) keys: usize,
}

impl Puller<'_> {
    /// `plan` without the conditions; None where they cannot move up.
    pub(super) fn pull(&mut self, plan: &LogicalPlan) -> Result<Option<Pulled>> {
        if !plan_reads(plan, self.outer)? {
            return Ok(Some(Pulled { plan: plan.clone(), conditions: Vec::new() }));
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(plan, projection),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(pulled) = self.pull(&alias.input)? else { return Ok(None) };
                let below = pulled.plan.schema().columns();
                let fields = pulled.plan.schema().fields();
                if fields
                    .iter()
                    .enumerate()
                    .any(|(index, field)| fields[..index].iter().any(|other| other.name() == field.name()))
                {
                    return Ok(None);
                }
                let plan = LogicalPlanBuilder::from(pulled.plan.clone()).alias(alias.alias.clone())?.build()?;
                let above = plan.schema().columns();
                pulled.over(plan, |column| above.get(below.iter().position(|known| known == column)?).cloned()).map(Some)
            }
            LogicalPlan::Join(join) => self.join(plan, join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) if self.any_row => {
                let Some(pulled) = self.pull(input)? else { return Ok(None) };
                let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(pulled.plan.clone())));
                pulled.over(plan, |_| None).map(Some)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() && !node_reads(plan, self.outer)? => self.pull(&sort.input),
            _ => Ok(None),
        }
    }

    fn filter(&mut self, filter: &Filter) -> Result<Option<Pulled>> {
        let Some(mut pulled) = self.pull(&filter.input)? else { return Ok(None) };
        let mut kept = Vec::new();
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            match reads(&condition, self.outer)? {
                true => pulled.conditions.push(condition),
                false => kept.push(condition),
            }
        }
        if let Some(kept) = conjunction(kept) {
            pulled.plan = LogicalPlan::Filter(Filter::try_new(kept, Arc::new(pulled.plan))?);
        }
        Ok(Some(pulled))
    }

    fn projection(&mut self, node: &LogicalPlan, projection: &Projection) -> Result<Option<Pulled>> {
        if node_reads(node, self.outer)? {
            return Ok(None);
        }
        let Some(pulled) = self.pull(&projection.input)? else { return Ok(None) };
        let mut exprs = projection.expr.clone();
        let mut names: Vec<Column> = node.schema().columns();
        let mut above: Vec<(Column, Column)> = Vec::new();
        for needed in pulled.needed() {
            let shown = exprs.iter().position(|expr| matches!(expr.clone().unalias(), Expr::Column(column) if column == needed));
            let column = match shown.and_then(|index| names.get(index)) {
                Some(column) => column.clone(),
                None if names.iter().all(|known| known.name != needed.name) => {
                    exprs.push(Expr::Column(needed.clone()));
                    needed.clone()
                }
                None => {
                    self.keys += 1;
                    let name = format!("{KEY}_{}", self.keys);
                    exprs.push(Expr::Column(needed.clone()).alias(&name));
                    Column::new_unqualified(name)
                }
            };
            names.push(column.clone());
            above.push((needed, column));
        }
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(pulled.plan.clone()))?);
        let renamed = |column: &Column| above.iter().find(|(below, _)| below == column).map(|(_, above)| above.clone());
        pulled.over(plan, renamed).map(Some)
    }

    fn join(&mut self, node: &LogicalPlan, join: &Join) -> Result<Option<Pulled>> {
        use JoinType::*;
        let (left, right) = match join.join_type {
            Inner => (true, true),
            Left | LeftSemi | LeftAnti | LeftMark => (true, false),
            Right | RightSemi | RightAnti | RightMark => (false, true),
            Full => (false, false),
        };
        let on_reads = join.on.iter().map(|(one, other)| Ok(reads(one, self.outer)? || reads(other, self.outer)?));
        let refused = (!left && plan_reads(&join.left, self.outer)?)
            || (!right && plan_reads(&join.right, self.outer)?)
            || has_a_row_anyway(&join.left, self.outer)?
            || has_a_row_anyway(&join.right, self.outer)?
            || on_reads.collect::<Result<Vec<_>>>()?.contains(&true)
            || (join.join_type != Inner && node_reads(node, self.outer)?);
        if refused {
            return Ok(None);
        }
        let (Some(left), Some(right)) = (self.pull(&join.left)?, self.pull(&join.right)?) else { return Ok(None) };
        let clash = |columns: &[Column]| {
            columns.iter().any(|column| left.plan.schema().has_column(column) && right.plan.schema().has_column(column))
        };
        if clash(&left.needed()) || clash(&right.needed()) {
            return Ok(None);
        }
        let mut conditions: Vec<Expr> = left.conditions.into_iter().chain(right.conditions).collect();
        let mut kept = Vec::new();
        for condition in join.filter.clone().map(split_conjunction_owned).unwrap_or_default() {
            match reads(&condition, self.outer)? {
                true => conditions.push(condition),
                false => kept.push(condition),
            }
        }
        let (one, other, on) = (Arc::new(left.plan), Arc::new(right.plan), join.on.clone());
        let joined = Join::try_new(
            one,
            other,
            on,
            conjunction(kept),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        Ok(Some(Pulled { plan: LogicalPlan::Join(joined), conditions }))
    }

    /// Grouped by the columns that the conditions compare, too: each outer row finds the groups of its own values.
    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Option<Pulled>> {
        let node = LogicalPlan::Aggregate(aggregate.clone());
        let sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
        // Whether an ungrouped aggregate has a row does not depend on its input.
        let always_a_row = self.any_row && aggregate.group_expr.is_empty();
        if sets || always_a_row || has_a_row_anyway(&aggregate.input, self.outer)? || node_reads(&node, self.outer)? {
            return Ok(None);
        }
        let Some(pulled) = self.pull(&aggregate.input)? else { return Ok(None) };
        let mut groups = aggregate.group_expr.clone();
        let distinct = aggregate.aggr_expr.is_empty() && self.any_row;
        let mut conditions = Vec::new();
        let mut positions = Vec::new();
        for condition in pulled.conditions {
            if distinct {
                for column in condition.column_refs() {
                    self.position_of(&mut groups, &Expr::Column(column.clone()));
                }
                conditions.push(condition);
                continue;
            }
            let Some((inner, outer)) = key_of(&condition, self.outer)? else { return Ok(None) };
            positions.push((self.position_of(&mut groups, &inner), outer));
        }
        let new = Aggregate::try_new(Arc::new(pulled.plan), groups, aggregate.aggr_expr.clone())?;
        for (position, outer) in positions {
            let column = Expr::Column(new.schema.qualified_field(position).into());
            conditions.push(column.eq(outer));
        }
        Ok(Some(Pulled { plan: LogicalPlan::Aggregate(new), conditions }))
    }

    /// Where `groups` has `expr`, which is added if it is not there. What is computed gets a name of its own: the engine names a cast as it
    /// names the column in it, which may be a group, too.
    fn position_of(&mut self, groups: &mut Vec<Expr>, expr: &Expr) -> usize {
        if let Some(known) = groups.iter().position(|known| known == expr) {
            return known;
        }
        groups.push(match expr {
            Expr::Column(_) => expr.clone(),
            computed => {
                self.keys += 1;
                computed.clone().alias(format!("{KEY}_{}", self.keys))
            }
        });
        groups.len() - 1
    }
}

/// Whether `plan` has a row for outer rows that find nothing, too: an aggregate without groups below. Grouped by what is compared it has
/// none for them, which only the top of a subquery makes up for; an aggregate or join above would miss it.
fn has_a_row_anyway(plan: &LogicalPlan, outer: &[Column]) -> Result<bool> {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => plan_reads(&aggregate.input, outer),
        LogicalPlan::Filter(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Join(_) => {
            let inputs = plan.inputs().into_iter().map(|input| has_a_row_anyway(input, outer));
            Ok(inputs.collect::<Result<Vec<_>>>()?.contains(&true))
        }
        _ => Ok(false),
    }
}

/// The inner and the outer side of an equality, each with columns of its side only.
fn key_of(condition: &Expr, outer: &[Column]) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return Ok(None) };
    let is_outer = |expr: &Expr| Ok::<_, datafusion::error::DataFusionError>(reads(expr, outer)? && !expr.any_column_refs());
    let is_inner = |expr: &Expr| Ok::<_, datafusion::error::DataFusionError>(!expr.contains_outer() && expr.any_column_refs());
    if condition.is_volatile() {
        return Ok(None);
    }
    Ok(match (is_inner(left)? && is_outer(right)?, is_outer(left)? && is_inner(right)?) {
        (true, _) => Some((left.as_ref().clone(), right.as_ref().clone())),
        (_, true) => Some((right.as_ref().clone(), left.as_ref().clone())),
        _ => None,
    })
}
