//! How each node keeps what belongs to different outer values apart.

use super::outer::plan_reads;
use super::push::{Pushed, Pusher, named, refused, same_values};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Sort as SortKey, WindowFunction};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Filter, Join, JoinConstraint, JoinType, Limit, LogicalPlan, Projection, SkipType,
    Union, Unnest, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, lit, when,
};
use slipher_common::functions::row_number;
use std::sync::Arc;

/// Counts the rows of a group: NULL where a value has none.
const ROWS: &str = "__group_rows";
/// Numbers the rows of one outer value.
const NUMBER: &str = "__number";
/// The columns of D in the branches of a union.
const BRANCH: &str = "__branch";

/// A number of rows as ROW_NUMBER counts them.
fn bound(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

impl Pusher<'_> {
    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Pushed> {
        let input = self.push(&filter.input)?;
        let predicate = input.bindings.bind(filter.predicate.clone())?;
        Ok(Pushed { plan: LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input.plan))?), bindings: input.bindings })
    }

    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Pushed> {
        // A row of constants: D itself.
        let input = match projection.input.as_ref() {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => self.domain()?,
            other => self.push(other)?,
        };
        let mut exprs = Vec::with_capacity(projection.expr.len());
        for (expr, field) in projection.expr.iter().zip(projection.schema.iter()) {
            exprs.push(named(input.bindings.bind(expr.clone())?, field));
        }
        exprs.extend(input.bindings.columns().into_iter().map(Expr::Column));
        let projection = Projection::try_new(exprs, Arc::new(input.plan))?;
        Ok(Pushed { plan: LogicalPlan::Projection(projection), bindings: input.bindings })
    }

    /// The elements of a row's lists stand beside what the row has of D.
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Pushed> {
        let input = self.push(&unnest.input)?;
        let unnested = Unnest::try_new(Arc::new(input.plan), unnest.exec_columns.clone(), unnest.options.clone())?;
        Ok(Pushed { plan: LogicalPlan::Unnest(unnested), bindings: input.bindings })
    }

    pub(super) fn join(&mut self, join: &Join) -> Result<Pushed> {
        use JoinType::*;
        let (left, right) = (plan_reads(&join.left, &self.outer)?, plan_reads(&join.right, &self.outer)?);
        let (left, right) = match join.join_type {
            Full => (true, true),
            Left | LeftSemi | LeftAnti | LeftMark => (true, right),
            Right | RightSemi | RightAnti | RightMark => (left, true),
            Inner => (left || !right, right),
        };
        let one = left.then(|| self.push(&join.left)).transpose()?;
        let mut other = right.then(|| self.push(&join.right)).transpose()?;
        if join.join_type == LeftMark {
            // Of a side with several names the engine makes a mark without one, and there may be others.
            let mark = join.schema.iter().last().and_then(|(side, _)| side);
            other = other.map(|side| under_one_name(side, mark)).transpose()?;
        }
        let mut conditions = Vec::new();
        if let (Some(one), Some(other)) = (&one, &other) {
            let (a, b) = (one.bindings.columns(), other.bindings.columns());
            conditions = same_values(&a, &b, one.plan.schema(), other.plan.schema())?;
        }
        let from_right = matches!(join.join_type, Right | RightSemi | RightAnti | RightMark);
        let chosen = if from_right { other.as_ref().or(one.as_ref()) } else { one.as_ref().or(other.as_ref()) };
        let Some(bindings) = chosen.map(|side| side.bindings.clone()) else {
            return Err(refused(&LogicalPlan::Join(join.clone())));
        };
        let mut on = Vec::new();
        for (a, b) in &join.on {
            on.push((bindings.bind(a.clone())?, bindings.bind(b.clone())?));
        }
        if let Some(filter) = join.filter.clone() {
            conditions.push(bindings.bind(filter)?);
        }
        let sides = (one.as_ref().map(|side| side.bindings.columns()), other.as_ref().map(|side| side.bindings.columns()));
        let plan_of =
            |side: Option<Pushed>, plan: &Arc<LogicalPlan>| side.map_or_else(|| Arc::clone(plan), |side| Arc::new(side.plan));
        let (one, other) = (plan_of(one, &join.left), plan_of(other, &join.right));
        let filter = conjunction(conditions);
        let new = Join::try_new(one, other, on, filter, join.join_type, JoinConstraint::On, join.null_equality, join.null_aware)?;
        let pushed = Pushed { plan: LogicalPlan::Join(new), bindings };
        self.joined(join, pushed, sides)
    }

    /// The columns of `join` and one set of D's.
    fn joined(&self, join: &Join, pushed: Pushed, sides: (Option<Vec<Column>>, Option<Vec<Column>>)) -> Result<Pushed> {
        let mut exprs = Vec::new();
        let schema = pushed.plan.schema();
        for (index, field) in join.schema.iter().enumerate() {
            let column = Column::from(field);
            // A mark is named by its side, which may have got other names.
            let is_mark =
                matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) && index + 1 == join.schema.fields().len();
            let column = if is_mark { schema.qualified_field(schema.fields().len() - 1).into() } else { column };
            exprs.push(named(Expr::Column(column), field));
        }
        let mut bindings = pushed.bindings;
        match (join.join_type, sides) {
            (JoinType::Full, (Some(left), Some(right))) => {
                for ((_, shown), (left, right)) in bindings.0.iter_mut().zip(left.into_iter().zip(right)) {
                    let (one, other) = (Expr::Column(left.clone()), Expr::Column(right));
                    let either = when(one.clone().is_not_null(), one).otherwise(other)?;
                    exprs.push(either.alias_qualified(left.relation.clone(), left.name.clone()));
                    *shown = left;
                }
            }
            _ => exprs.extend(bindings.columns().into_iter().map(Expr::Column)),
        }
        let projection = Projection::try_new(exprs, Arc::new(pushed.plan))?;
        Ok(Pushed { plan: LogicalPlan::Projection(projection), bindings })
    }

    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Pushed> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(refused(&LogicalPlan::Aggregate(aggregate.clone())));
        }
        let input = self.push(&aggregate.input)?;
        let mut groups = Vec::new();
        let mut calls = Vec::new();
        for (index, field) in aggregate.schema.iter().enumerate() {
            let expr = match aggregate.group_expr.get(index) {
                Some(expr) => expr,
                None => match aggregate.aggr_expr.get(index - aggregate.group_expr.len()) {
                    Some(expr) => expr,
                    None => return Err(refused(&LogicalPlan::Aggregate(aggregate.clone()))),
                },
            };
            let bound = named(input.bindings.bind(expr.clone())?, field);
            if index < aggregate.group_expr.len() { groups.push(bound) } else { calls.push(bound) }
        }
        groups.extend(input.bindings.columns().into_iter().map(Expr::Column));
        if !aggregate.group_expr.is_empty() || aggregate.aggr_expr.is_empty() {
            let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.plan), groups, calls)?);
            return self.named_as(Pushed { plan, bindings: input.bindings }, &aggregate.schema.columns(), &aggregate.schema);
        }
        calls.push(count(lit(1i64)).alias(ROWS));
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.plan), groups, calls)?);
        self.with_empty_groups(aggregate, Pushed { plan, bindings: input.bindings })
    }

    /// An ungrouped aggregate has a row for every outer value, also where it has no rows to aggregate.
    fn with_empty_groups(&mut self, aggregate: &Aggregate, grouped: Pushed) -> Result<Pushed> {
        let domain = self.domain()?;
        let (all, known) = (domain.bindings.columns(), grouped.bindings.columns());
        let condition = same_values(&all, &known, domain.plan.schema(), grouped.plan.schema())?;
        let (one, other) = (Arc::new(domain.plan), Arc::new(grouped.plan));
        let nulls = datafusion::common::NullEquality::NullEqualsNothing;
        let join =
            Join::try_new(one, other, Vec::new(), conjunction(condition), JoinType::Left, JoinConstraint::On, nulls, false)?;
        let empty = empty_values(aggregate)?;
        let mut exprs = Vec::new();
        for (field, value) in aggregate.schema.iter().zip(empty) {
            let column = Expr::Column(field.into());
            let expr = match value.is_null() {
                true => column,
                false => when(Expr::Column(Column::new_unqualified(ROWS)).is_null(), lit(value)).otherwise(column)?,
            };
            exprs.push(named(expr, field));
        }
        exprs.extend(all.into_iter().map(Expr::Column));
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(LogicalPlan::Join(join)))?);
        Ok(Pushed { plan, bindings: domain.bindings })
    }

    pub(super) fn distinct(&mut self, distinct: &Distinct) -> Result<Pushed> {
        let Distinct::All(input) = distinct else { return Err(refused(&LogicalPlan::Distinct(distinct.clone()))) };
        let input = self.push(input)?;
        let schema = distinct.input().schema();
        let input = self.named_as(input, &schema.columns(), schema)?;
        let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(input.plan)));
        Ok(Pushed { plan, bindings: input.bindings })
    }

    pub(super) fn window(&mut self, window: &Window) -> Result<Pushed> {
        let input = self.push(&window.input)?;
        let domain: Vec<Expr> = input.bindings.columns().into_iter().map(Expr::Column).collect();
        let first = window.schema.fields().len() - window.window_expr.len();
        let mut exprs = Vec::new();
        for (expr, field) in window.window_expr.iter().zip(window.schema.iter().skip(first)) {
            let Expr::WindowFunction(mut call) = input.bindings.bind(expr.clone())?.unalias() else {
                return Err(refused(&LogicalPlan::Window(window.clone())));
            };
            call.params.partition_by.extend(domain.iter().cloned());
            exprs.push(named(Expr::WindowFunction(call), field));
        }
        let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input.plan))?);
        Ok(Pushed { plan, bindings: input.bindings })
    }

    /// The first rows of each outer value.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Pushed> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
            return Err(refused(&LogicalPlan::Limit(limit.clone())));
        };
        // ORDER BY a column that is not shown is sorted below a projection.
        let order_by = order_of(&limit.input);
        let input = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => self.push(&sort.input)?,
            LogicalPlan::Projection(projection) if !order_by.is_empty() => return self.limit_below(limit, projection),
            other => self.push(other)?,
        };
        let mut sorted = Vec::new();
        for SortKey { expr, asc, nulls_first } in order_by {
            sorted.push(SortKey { expr: input.bindings.bind(expr)?, asc, nulls_first });
        }
        let mut call = WindowFunction::new(row_number(), Vec::new());
        call.params.partition_by = input.bindings.columns().into_iter().map(Expr::Column).collect();
        call.params.order_by = sorted;
        let start = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
        call.params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, start, WindowFrameBound::CurrentRow);
        let number = Expr::Column(Column::new_unqualified(NUMBER));
        let counted = Expr::WindowFunction(Box::new(call)).alias(NUMBER);
        let plan = LogicalPlan::Window(Window::try_new(vec![counted], Arc::new(input.plan))?);
        let skipped = (skip > 0).then(|| number.clone().gt(lit(bound(skip))));
        let fetched = fetch.map(|fetch| number.lt_eq(lit(bound(skip.saturating_add(fetch)))));
        let plan = match conjunction(skipped.into_iter().chain(fetched)) {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?),
            None => plan,
        };
        let schema = limit.input.schema();
        self.named_as(Pushed { plan, bindings: input.bindings }, &schema.columns(), schema)
    }

    /// A limit changes places with a projection.
    fn limit_below(&mut self, limit: &Limit, projection: &Projection) -> Result<Pushed> {
        let below = Limit { input: Arc::clone(&projection.input), ..limit.clone() };
        let above = Projection::try_new(projection.expr.clone(), Arc::new(LogicalPlan::Limit(below)))?;
        self.projection(&above)
    }

    pub(super) fn union(&mut self, union: &Union) -> Result<Pushed> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        let mut columns = Vec::new();
        // Its branches may hold a union that D went into before: no name twice.
        *self.names += 1;
        let shown = format!("{BRANCH}_{}", self.names);
        for input in &union.inputs {
            let pushed = self.push(input)?;
            let own = input.schema().columns().into_iter().map(Expr::Column);
            columns = pushed.bindings.columns();
            let named = |index: usize| format!("{shown}_{}", index + 1);
            let domain = columns.iter().enumerate().map(|(index, column)| Expr::Column(column.clone()).alias(named(index)));
            let exprs = own.chain(domain).collect();
            inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(pushed.plan))?)));
        }
        let plan = LogicalPlan::Union(Union::try_new(inputs)?);
        let made = plan.schema().columns();
        let own = union.schema.fields().len();
        let mut exprs = Vec::new();
        for (column, field) in made.iter().zip(union.schema.iter()) {
            exprs.push(named(Expr::Column(column.clone()), field));
        }
        // The last branch's names for D are as good as any.
        for (column, name) in made.iter().skip(own).zip(&columns) {
            exprs.push(Expr::Column(column.clone()).alias_qualified(name.relation.clone(), name.name.clone()));
        }
        let bindings = super::outer::Bindings(self.outer.iter().cloned().zip(columns).collect());
        let projection = Projection::try_new(exprs, Arc::new(plan))?;
        Ok(Pushed { plan: LogicalPlan::Projection(projection), bindings })
    }
}

/// What was pushed, with D's columns under the name of the others.
fn under_one_name(side: Pushed, name: Option<&TableReference>) -> Result<Pushed> {
    let Some(name) = name else { return Ok(side) };
    let columns = side.plan.schema().columns().into_iter();
    let named = columns.map(|column| Expr::Column(column.clone()).alias_qualified(Some(name.clone()), column.name));
    let projection = Projection::try_new(named.collect(), Arc::new(side.plan))?;
    let mut bindings = side.bindings;
    for (_, shown) in &mut bindings.0 {
        shown.relation = Some(name.clone());
    }
    Ok(Pushed { plan: LogicalPlan::Projection(projection), bindings })
}

/// The order that a limit over `plan` counts in.
fn order_of(plan: &LogicalPlan) -> Vec<SortKey> {
    match plan {
        LogicalPlan::Sort(sort) => sort.expr.clone(),
        LogicalPlan::Projection(projection) => order_of(&projection.input),
        _ => Vec::new(),
    }
}

/// What the aggregates of `aggregate`, which has no groups, are over no rows.
pub(super) fn empty_values(aggregate: &Aggregate) -> Result<Vec<ScalarValue>> {
    let fields = aggregate.schema.fields().iter();
    aggregate
        .aggr_expr
        .iter()
        .zip(fields)
        .map(|(expr, field)| match expr.clone().unalias() {
            Expr::AggregateFunction(call) => call.func.default_value(field.data_type()),
            _ => Err(refused(&LogicalPlan::Aggregate(aggregate.clone()))),
        })
        .collect()
}
