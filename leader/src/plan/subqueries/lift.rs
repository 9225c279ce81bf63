//! Subqueries of a node as joins below it.

use super::outer::{as_inner, columns_of, reads, with_columns};
use super::pull::{Pulled, Puller};
use super::push::{Pusher, same_values};
use super::scalar::{checked, is_null, one_row, values_of_nothing};
use super::values::values_as_union;
use super::{has_subqueries, holds_subquery};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, NullEquality};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Filter, Join, JoinConstraint, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
    SkipType, lit, when,
};
use slipher_common::Error;
use std::sync::Arc;

/// The name of a subquery whose rows are looked for.
const EXISTING: &str = "__correlated_sq";
/// The name of a scalar subquery.
const SCALAR: &str = "__scalar_sq";
/// The column of a mark join.
const MARK: &str = "mark";

/// Makes subqueries joins.
#[derive(Debug, Default)]
pub(super) struct Lifter {
    existing: usize,
    scalars: usize,
    /// Other names.
    names: usize,
}

/// A node's input on the way to having all columns that its subqueries stand for.
struct Input {
    plan: LogicalPlan,
    /// The rows outside, before anything was joined to them: the outer values of every subquery come from these.
    rows: Arc<LogicalPlan>,
    /// Of the input as the node knew it.
    schema: Arc<DFSchema>,
}

impl Input {
    fn new(plan: &Arc<LogicalPlan>) -> Self {
        Self { schema: Arc::clone(plan.schema()), plan: LogicalPlan::clone(plan), rows: Arc::clone(plan) }
    }

    fn join(&mut self, right: LogicalPlan, join_type: JoinType, conditions: Vec<Expr>) -> Result<()> {
        // The builder would look names up anew, on both sides.
        let left = Arc::new(std::mem::take(&mut self.plan));
        let filter = conjunction(conditions).or_else(|| Some(lit(true)));
        let nulls = NullEquality::NullEqualsNothing;
        let joined = Join::try_new(left, Arc::new(right), Vec::new(), filter, join_type, JoinConstraint::On, nulls, false)?;
        self.plan = LogicalPlan::Join(joined);
        Ok(())
    }

    /// `plan`, made over this input, with the columns of the input only.
    fn restored(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if plan.schema().fields().len() == self.schema.fields().len() {
            return Ok(plan);
        }
        let columns = self.schema.columns().into_iter().map(Expr::Column).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
    }
}

impl Lifter {
    /// `plan` without subqueries in expressions, innermost first.
    pub(super) fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_up(|node| match has_subqueries(&node)? {
            true => self.node(node).map(Transformed::yes),
            false => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn node(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        match node {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Values(values) => self.plan(values_as_union(&values)?),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                self.expressions(node)
            }
            other => Err(misplaced(&other)),
        }
    }

    /// A node whose expressions are computed from each row of its input.
    fn expressions(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let schema = Arc::clone(node.schema());
        let node = with_columns_to_sort_by(node)?;
        if node.expressions().iter().any(|expr| matches!(expr, Expr::GroupingSet(_)) && holds_subquery(expr).unwrap_or(true)) {
            return Err(misplaced(&node));
        }
        let inputs = node.inputs();
        let Some(first) = inputs.first() else { return Err(misplaced(&node)) };
        let mut input = Input::new(&Arc::new(LogicalPlan::clone(first)));
        let names = NamePreserver::new(&node);
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            let name = names.save(&expr);
            exprs.push(name.restore(self.lifted(expr, &mut input)?));
        }
        match &node {
            LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                let plan = std::mem::take(&mut input.plan);
                let plan = node.with_new_exprs(exprs, vec![plan])?;
                let columns = schema.columns().into_iter().map(Expr::Column).collect();
                Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
            }
            _ => node.with_new_exprs(exprs, vec![input.plan]),
        }
    }

    fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let mut input = Input::new(&filter.input);
        let (mut plain, mut looked_up, mut embedded) = (Vec::new(), Vec::new(), Vec::new());
        for condition in split_conjunction_owned(filter.predicate) {
            if !holds_subquery(&condition)? {
                plain.push(condition);
                continue;
            }
            match existence(condition) {
                Ok(exists) => looked_up.push(exists),
                Err(other) => embedded.push(*other),
            }
        }
        // Below the joins: rules that count what a join costs see its input as it will be, not all pairs of the tables in FROM.
        let (mut plain, stable): (Vec<_>, Vec<_>) = plain.into_iter().partition(Expr::is_volatile);
        if let Some(condition) = conjunction(stable) {
            input.rows = Arc::new(LogicalPlan::Filter(Filter::try_new(condition.clone(), Arc::clone(&input.rows))?));
            let plan = std::mem::take(&mut input.plan);
            input.plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
        }
        for exists in looked_up {
            if let Some(condition) = self.semi(exists, &mut input)? {
                plain.push(condition);
            }
        }
        for condition in embedded {
            plain.push(self.lifted(condition, &mut input)?);
        }
        let plan = std::mem::take(&mut input.plan);
        let plan = match conjunction(plain) {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?),
            None => plan,
        };
        input.restored(plan)
    }

    /// Conditions of ON: what an inner join keeps is filtered above it; otherwise a subquery becomes columns of the side it is about.
    fn join(&mut self, mut join: Join) -> Result<LogicalPlan> {
        let conditions = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
        let (mut plain, mut with_subqueries) = (Vec::new(), Vec::new());
        for condition in conditions {
            if holds_subquery(&condition)? { with_subqueries.push(condition) } else { plain.push(condition) }
        }
        if join.join_type == JoinType::Inner {
            let filtered = conjunction(with_subqueries);
            let plan = LogicalPlan::Join(Join { filter: conjunction(plain), ..join });
            return match filtered {
                Some(condition) => self.filter(Filter::try_new(condition, Arc::new(plan))?),
                None => Ok(plan),
            };
        }
        let schema = Arc::clone(&join.schema);
        let (mut left, mut right) = (Input::new(&join.left), Input::new(&join.right));
        for condition in with_subqueries {
            plain.push(self.of_one_side(condition, &mut left, &mut right)?);
        }
        let (one, other) = (Arc::new(left.plan), Arc::new(right.plan));
        let filter = conjunction(plain);
        let joined = Join::try_new(one, other, join.on, filter, join.join_type, JoinConstraint::On, join.null_equality, false)?;
        let columns = schema.columns().into_iter().map(Expr::Column).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::Join(joined)))?))
    }

    fn of_one_side(&mut self, condition: Expr, left: &mut Input, right: &mut Input) -> Result<Expr> {
        condition
            .transform_up(|inner| {
                if !super::is_subquery(&inner) {
                    return Ok(Transformed::no(inner));
                }
                let plan = match &inner {
                    Expr::Exists(exists) => self.plan(exists.subquery.subquery.as_ref().clone())?,
                    Expr::ScalarSubquery(subquery) => self.plan(subquery.subquery.as_ref().clone())?,
                    _ => return Ok(Transformed::no(inner)),
                };
                let of_left = !columns_of(&plan, &left.schema)?.is_empty();
                let of_right = !columns_of(&plan, &right.schema)?.is_empty();
                if of_left && of_right {
                    let what = "a subquery in the ON of an outer join that reads columns of both sides";
                    return Err(Error::not_supported(what, "join in a subquery in FROM, and filter there").into());
                }
                let input = if of_right { &mut *right } else { &mut *left };
                self.one(inner, input).map(Transformed::yes)
            })
            .data()
    }

    /// `expr` with its subqueries as columns of `input`.
    fn lifted(&mut self, expr: Expr, input: &mut Input) -> Result<Expr> {
        expr.transform_up(|inner| match super::is_subquery(&inner) {
            true => self.one(inner, input).map(Transformed::yes),
            false => Ok(Transformed::no(inner)),
        })
        .data()
    }

    fn one(&mut self, expr: Expr, input: &mut Input) -> Result<Expr> {
        match expr {
            Expr::Exists(exists) => self.mark(exists, input),
            Expr::ScalarSubquery(subquery) => self.value(Arc::unwrap_or_clone(subquery.subquery), input),
            other => Err(Error::internal(format!("{} is still there", other.variant_name())).into()),
        }
    }

    /// EXISTS as a condition of a filter: a semi or anti join, and a condition where that is not all.
    fn semi(&mut self, exists: Exists, input: &mut Input) -> Result<Option<Expr>> {
        let Exists { subquery, negated } = exists;
        let plan = any_rows(self.plan(Arc::unwrap_or_clone(subquery.subquery))?)?;
        let join_type = if negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        match self.matching(plan, input)? {
            Matching::Rows { plan, conditions, outside } if outside.is_empty() => {
                input.join(plan, join_type, conditions)?;
                Ok(None)
            }
            other => self.marked(other, negated, input).map(Some),
        }
    }

    /// EXISTS as a column.
    fn mark(&mut self, exists: Exists, input: &mut Input) -> Result<Expr> {
        let Exists { subquery, negated } = exists;
        let plan = any_rows(self.plan(Arc::unwrap_or_clone(subquery.subquery))?)?;
        let matching = self.matching(plan, input)?;
        self.marked(matching, negated, input)
    }

    fn marked(&mut self, matching: Matching, negated: bool, input: &mut Input) -> Result<Expr> {
        let (mark, outside) = match matching {
            Matching::Rows { plan, conditions, outside } => {
                let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
                let read = |column: &Expr| {
                    conditions.iter().any(|one| one.column_refs().iter().any(|read| *column == Expr::Column((*read).clone())))
                };
                let needed: Vec<Expr> = columns.iter().filter(|column| read(column)).cloned().collect();
                let mark = Column::new(columns.first().and_then(|column| column.qualified_name().0), MARK);
                let plan = LogicalPlan::Projection(Projection::try_new(needed, Arc::new(plan))?);
                input.join(plan, JoinType::LeftMark, conditions)?;
                (Expr::Column(mark), outside)
            }
            Matching::Any { plan, outside } => {
                let mark = Expr::Column(plan.schema().qualified_field(0).into());
                // The one row comes first: joins collect their first side, and copy it to the other one.
                let right = std::mem::take(&mut input.plan);
                input.plan = LogicalPlanBuilder::from(plan).cross_join(right)?.build()?;
                (mark, outside)
            }
        };
        let outside = outside.into_iter().map(|condition| Expr::IsTrue(Box::new(condition)));
        let mark = outside.fold(mark, Expr::and);
        Ok(if negated { Expr::Not(Box::new(mark)) } else { mark })
    }

    /// What `plan`, of EXISTS, is looked up by.
    fn matching(&mut self, plan: LogicalPlan, input: &Input) -> Result<Matching> {
        let outer = columns_of(&plan, &input.schema)?;
        if outer.is_empty() {
            return Ok(Matching::Any { plan: self.has_rows(plan)?, outside: Vec::new() });
        }
        let mut puller = Puller { outer: &outer, any_row: true, keys: self.names };
        let pulled = puller.pull(&plan)?;
        self.names = puller.keys;
        self.existing += 1;
        let name = format!("{EXISTING}_{}", self.existing);
        let Some(pulled) = pulled else { return self.matching_values(&plan, outer, &name, input) };
        let (mixed, outside): (Vec<Expr>, Vec<Expr>) = pulled.conditions.into_iter().partition(Expr::any_column_refs);
        let outside = outside.into_iter().map(|condition| as_inner(condition, &outer)).collect::<Result<Vec<_>>>()?;
        if mixed.is_empty() {
            return Ok(Matching::Any { plan: self.has_rows(pulled.plan)?, outside });
        }
        let (plan, conditions) = renamed(Pulled { plan: pulled.plan, conditions: mixed }, &name, &outer)?;
        Ok(Matching::Rows { plan, conditions, outside })
    }

    /// The outer values for which the subquery has rows.
    fn matching_values(&mut self, plan: &LogicalPlan, outer: Vec<Column>, name: &str, input: &Input) -> Result<Matching> {
        let pushed = Pusher { input: &input.rows, outer, names: &mut self.names }.push(plan)?;
        let columns = pushed.bindings.columns().into_iter().map(Expr::Column).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(pushed.plan))?);
        let plan = LogicalPlanBuilder::from(plan).distinct()?.alias(name)?.build()?;
        let conditions = same_values(&pushed.bindings.outer(), &plan.schema().columns(), &input.schema, plan.schema())?;
        Ok(Matching::Rows { plan, conditions, outside: Vec::new() })
    }

    /// One row that says whether `plan` has any.
    fn has_rows(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.existing += 1;
        let name = format!("{EXISTING}_{}", self.existing);
        let first = LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?;
        let counted = Aggregate::try_new(Arc::new(first), Vec::new(), vec![count(lit(1i64)).alias("rows")])?;
        let mark = Expr::Column(Column::new_unqualified("rows")).gt(lit(0i64)).alias(MARK);
        let plan = LogicalPlan::Projection(Projection::try_new(vec![mark], Arc::new(LogicalPlan::Aggregate(counted)))?);
        LogicalPlanBuilder::from(plan).alias(name)?.build()
    }

    /// A scalar subquery as a column.
    fn value(&mut self, plan: LogicalPlan, input: &mut Input) -> Result<Expr> {
        let (plan, counted) = one_row(self.plan(plan)?)?;
        let outer = columns_of(&plan, &input.schema)?;
        self.scalars += 1;
        let name = format!("{SCALAR}_{}", self.scalars);
        if let Some(value) = self.pulled_value(&plan, &outer, &name, input)? {
            return Ok(value_of(&name, &plan, counted, value));
        }
        let pushed = Pusher { input: &input.rows, outer, names: &mut self.names }.push(&plan)?;
        let below = pushed.plan.schema().columns();
        let (outer, domain) = (pushed.bindings.outer(), pushed.bindings.columns());
        let known: Vec<usize> = domain.iter().filter_map(|column| below.iter().position(|one| one == column)).collect();
        let values = (0..plan.schema().fields().len()).map(|index| Expr::Column(plan.schema().qualified_field(index).into()));
        let exprs = values.chain(known.iter().filter_map(|index| below.get(*index).cloned().map(Expr::Column))).collect();
        let right = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(pushed.plan))?);
        let right = LogicalPlanBuilder::from(right).alias(name.as_str())?.build()?;
        let keys = right.schema().columns().split_off(plan.schema().fields().len());
        let conditions = same_values(&outer, &keys, &input.schema, right.schema())?;
        input.join(right, JoinType::Left, conditions)?;
        Ok(value_of(&name, &plan, counted, None))
    }

    /// A left join with the subquery, by the conditions that moved up. The answer is what stands for its value where nothing matches.
    fn pulled_value(
        &mut self,
        plan: &LogicalPlan,
        outer: &[Column],
        name: &str,
        input: &mut Input,
    ) -> Result<Option<Option<Nothing>>> {
        if outer.is_empty() {
            let right = LogicalPlanBuilder::from(plan.clone()).alias(name)?.build()?;
            input.join(right, JoinType::Left, Vec::new())?;
            return Ok(Some(None));
        }
        let Some(values) = values_of_nothing(plan)? else { return Ok(None) };
        let mut puller = Puller { outer, any_row: false, keys: self.names };
        let pulled = puller.pull(plan)?;
        self.names = puller.keys;
        let Some(pulled) = pulled else { return Ok(None) };
        let Some(key) = pulled.needed().into_iter().next() else { return Ok(None) };
        let nothing = values.into_iter().next().filter(|value| !is_null(value));
        let (plan, conditions) = renamed(pulled, name, outer)?;
        let key = conditions
            .iter()
            .flat_map(|one| one.column_refs())
            .find(|column| plan.schema().has_column(column))
            .cloned()
            .unwrap_or(key);
        input.join(plan, JoinType::Left, conditions)?;
        Ok(Some(nothing.map(|value| Nothing { value, key })))
    }
}

/// What a scalar subquery is where no row of it matches: `key`, compared by equality, is NULL there.
struct Nothing {
    value: Expr,
    key: Column,
}

/// The value of the scalar subquery `plan`, joined under `name`.
fn value_of(name: &str, plan: &LogicalPlan, counted: bool, nothing: Option<Nothing>) -> Expr {
    let column = |index: usize| Column::new(Some(name), plan.schema().field(index).name());
    let value = match counted {
        true => checked(column(0), column(1)),
        false => Expr::Column(column(0)),
    };
    match nothing {
        Some(Nothing { value: instead, key }) => {
            let unmatched = Expr::Column(key).is_null();
            when(unmatched, instead).otherwise(value.clone()).unwrap_or(value)
        }
        None => value,
    }
}

/// How EXISTS finds rows.
enum Matching {
    /// Rows of `plan` that fit the `conditions`, for outer rows that are as `outside` says.
    Rows { plan: LogicalPlan, conditions: Vec<Expr>, outside: Vec<Expr> },
    /// `plan` is one row: whether there is any.
    Any { plan: LogicalPlan, outside: Vec<Expr> },
}

/// `pulled` under `name`, its conditions as those of a join with the row outside.
fn renamed(pulled: Pulled, name: &str, outer: &[Column]) -> Result<(LogicalPlan, Vec<Expr>)> {
    let mut exprs: Vec<Expr> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let below = pulled.plan.schema().columns();
    for column in &below {
        let mut shown = column.name.clone();
        while names.contains(&shown) {
            shown.push('_');
        }
        let expr = Expr::Column(column.clone());
        exprs.push(if shown == column.name { expr } else { expr.alias(&shown) });
        names.push(shown);
    }
    let plain = names.iter().zip(&below).all(|(name, column)| *name == column.name);
    let plan = match plain {
        true => pulled.plan,
        false => LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(pulled.plan))?),
    };
    let plan = LogicalPlanBuilder::from(plan).alias(name)?.build()?;
    let above = plan.schema().columns();
    let column = |known: &Column| above.get(below.iter().position(|one| one == known)?).cloned().map(Expr::Column);
    let conditions = pulled.conditions.into_iter().map(|condition| as_inner(with_columns(condition, column)?, outer));
    let conditions = conditions.collect::<Result<Vec<_>>>()?;
    debug_assert!(conditions.iter().all(|one| !reads(one, outer).unwrap_or(true)));
    Ok((plan, conditions))
}

/// `plan` without what does not change whether it has rows.
fn any_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => any_rows(Arc::unwrap_or_clone(sort.input)),
        LogicalPlan::Distinct(Distinct::All(input)) => any_rows(Arc::unwrap_or_clone(input)),
        LogicalPlan::Limit(limit) => {
            let keeps_one = matches!(limit.get_skip_type()?, SkipType::Literal(0))
                && !matches!(limit.get_fetch_type()?, FetchType::Literal(Some(0)) | FetchType::UnsupportedExpr);
            match keeps_one {
                true => any_rows(Arc::unwrap_or_clone(limit.input)),
                false => Ok(LogicalPlan::Limit(limit)),
            }
        }
        other => Ok(other),
    }
}

/// ORDER BY may read what is not shown; the engine's planner does not find that in subqueries. A sort puts its columns back.
fn with_columns_to_sort_by(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Sort(mut sort) = node else { return Ok(node) };
    let LogicalPlan::Projection(projection) = sort.input.as_ref() else { return Ok(LogicalPlan::Sort(sort)) };
    let mut hidden = Vec::new();
    for key in &sort.expr {
        key.expr.apply(|inner| {
            if let Expr::Exists(Exists { subquery, .. }) | Expr::ScalarSubquery(subquery) = inner {
                hidden.extend(columns_of(&subquery.subquery, projection.input.schema())?);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    hidden.sort();
    hidden.dedup();
    hidden.retain(|column| !projection.schema.has_column(column));
    if !hidden.is_empty() {
        let exprs = projection.expr.iter().cloned().chain(hidden.into_iter().map(Expr::Column)).collect();
        sort.input = Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&projection.input))?));
    }
    Ok(LogicalPlan::Sort(sort))
}

/// The condition, if it is nothing but EXISTS or its opposite.
fn existence(condition: Expr) -> std::result::Result<Exists, Box<Expr>> {
    match condition {
        Expr::Exists(exists) => Ok(exists),
        Expr::Not(inner) if matches!(inner.as_ref(), Expr::Exists(_) | Expr::Not(_)) => match existence(*inner) {
            Ok(Exists { subquery, negated }) => Ok(Exists { subquery, negated: !negated }),
            Err(other) => Err(Box::new(Expr::Not(other))),
        },
        other => Err(Box::new(other)),
    }
}

fn misplaced(node: &LogicalPlan) -> datafusion::error::DataFusionError {
    let what = match node {
        LogicalPlan::Limit(_) => "a subquery in LIMIT or OFFSET",
        LogicalPlan::Aggregate(_) => "a subquery in GROUPING SETS, ROLLUP or CUBE",
        _ => "a subquery at this place",
    };
    Error::not_supported(what, "compute it in FROM: SELECT ... FROM t, (SELECT ...) AS s(v)").into()
}
