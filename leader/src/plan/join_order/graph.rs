//! The inner joins of one region of a plan, taken apart into inputs and conditions, and put together in another order.

use crate::plan::join_order::estimate::{Relation, Spread, compared_column, distinct_of, estimate, share_of};
use crate::plan::semantics::call;
use datafusion::common::tree_node::{TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, JoinConstraint, JoinType, LogicalPlan, Projection};
use slipher_common::functions::TIGHT;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A set of inputs, one bit each.
pub(super) type Inputs = u32;

/// Most inputs of one region; larger ones keep their order.
const INPUTS_MAX: usize = Inputs::BITS as usize;

/// One input of a region: whatever is not an inner join.
#[derive(Debug)]
pub(super) struct Input {
    plan: Arc<LogicalPlan>,
    pub(super) relation: Relation,
    /// Class of each column that is compared for equality.
    pub(super) classes: HashMap<usize, usize>,
    /// Those of them that are compared without their trailing blanks.
    tight: HashSet<usize>,
}

impl Input {
    pub(super) fn plan(&self) -> &Arc<LogicalPlan> {
        &self.plan
    }

    /// The class whose values tell where the rows lie.
    pub(super) fn spread_class(&self) -> Option<usize> {
        match self.relation.spread {
            Spread::Key(column) => self.classes.get(&column).copied(),
            _ => None,
        }
    }
}

/// An equality of two expressions that are not both plain columns.
#[derive(Debug)]
pub(super) struct Edge {
    left: Expr,
    pub(super) left_inputs: Inputs,
    right: Expr,
    pub(super) right_inputs: Inputs,
    /// Different values of the side that has more.
    pub(super) distinct: f64,
}

/// Any other condition.
#[derive(Debug)]
pub(super) struct Condition {
    expr: Expr,
    pub(super) inputs: Inputs,
    /// Share of the rows that pass.
    pub(super) share: f64,
}

/// The order of the joins: a binary tree over the inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Input(usize),
    /// Shared: the search tries each partial order in many others.
    Join(Arc<Shape>, Arc<Shape>),
}

impl Shape {
    pub(super) fn inputs(&self) -> Inputs {
        match self {
            Shape::Input(index) => 1 << index,
            Shape::Join(left, right) => left.inputs() | right.inputs(),
        }
    }
}

/// A region of inner joins.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) inputs: Vec<Input>,
    /// Columns (input, index) that are equal wherever all their inputs are joined; at most one of each input.
    pub(super) classes: Vec<Vec<(usize, usize)>>,
    pub(super) edges: Vec<Edge>,
    pub(super) conditions: Vec<Condition>,
    /// The order it came in.
    pub(super) shape: Shape,
}

/// Whether `plan` is a join whose inputs may be joined in any order.
pub(super) fn is_inner(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => {
            join.join_type == JoinType::Inner
                && join.null_equality == NullEquality::NullEqualsNothing
                && !join.null_aware
                && !join.on.is_empty()
                && join.on.iter().all(|(left, right)| !left.is_volatile() && !right.is_volatile())
                && join.filter.as_ref().is_none_or(|filter| !filter.is_volatile())
        }
        _ => false,
    }
}

/// Whether `plan` only passes on or filters the rows of such a join.
pub(super) fn is_passed_through(plan: &LogicalPlan) -> bool {
    let passes = match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))),
        LogicalPlan::Filter(filter) => !filter.predicate.is_volatile() && !has_subquery(&filter.predicate),
        _ => false,
    };
    passes && plan.inputs().into_iter().all(|input| is_inner(input) || is_passed_through(input))
}

fn has_subquery(expr: &Expr) -> bool {
    let subquery = |inner: &Expr| matches!(inner, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    expr.contains_outer() || expr.exists(|inner| Ok(subquery(inner))).unwrap_or(true)
}

#[derive(Default)]
struct Parts {
    plans: Vec<Arc<LogicalPlan>>,
    equalities: Vec<(Expr, Expr)>,
    conditions: Vec<Expr>,
}

impl Graph {
    /// Takes the region below `root` apart. None if its columns or sizes are not known well enough.
    pub(super) fn new(root: &LogicalPlan) -> Option<Self> {
        let mut parts = Parts::default();
        let shape = parts.collect(&Arc::new(root.clone()));
        if !(2..=INPUTS_MAX).contains(&parts.plans.len()) {
            return None;
        }
        let relations = parts.plans.iter().map(|plan| estimate(plan)).collect::<Option<Vec<_>>>()?;
        let inputs: Vec<Input> = parts
            .plans
            .into_iter()
            .zip(relations)
            .map(|(plan, relation)| Input { plan, relation, classes: HashMap::new(), tight: HashSet::new() })
            .collect();
        let columns = columns_of(&inputs)?;
        let mut graph = Self { inputs, classes: Vec::new(), edges: Vec::new(), conditions: Vec::new(), shape };
        for (left, right) in parts.equalities {
            graph.add_equality(left, right, &columns)?;
        }
        for expr in parts.conditions {
            let inputs = inputs_of(&expr, &columns)?;
            let share = graph.share(&expr, inputs);
            graph.conditions.push(Condition { expr, inputs, share });
        }
        // A class that was merged into another is empty; nothing points to it.
        Some(graph)
    }

    fn add_equality(&mut self, left: Expr, right: Expr, columns: &HashMap<Column, (usize, usize)>) -> Option<()> {
        if let (Some(one), Some(other)) = (compared_column(&left), compared_column(&right)) {
            let (one, other) = (*columns.get(one)?, *columns.get(other)?);
            if self.type_of(one) == self.type_of(other) && self.unite(one, other) {
                for ((input, column), expr) in [(one, &left), (other, &right)] {
                    if !matches!(expr, Expr::Column(_)) {
                        self.inputs[input].tight.insert(column);
                    }
                }
                return Some(());
            }
        }
        let (left_inputs, right_inputs) = (inputs_of(&left, columns)?, inputs_of(&right, columns)?);
        if left_inputs == 0 || right_inputs == 0 || left_inputs & right_inputs != 0 {
            return None;
        }
        let distinct = self.distinct(&left, left_inputs).max(self.distinct(&right, right_inputs));
        self.edges.push(Edge { left, left_inputs, right, right_inputs, distinct });
        Some(())
    }

    fn type_of(&self, (input, column): (usize, usize)) -> &arrow::datatypes::DataType {
        self.inputs[input].plan.schema().field(column).data_type()
    }

    /// Puts two columns into one class; false if that would bring two columns of one input together.
    fn unite(&mut self, one: (usize, usize), other: (usize, usize)) -> bool {
        let class = |of: (usize, usize)| self.inputs[of.0].classes.get(&of.1).copied();
        let members = |of: (usize, usize)| class(of).map_or_else(|| vec![of], |class| self.classes[class].clone());
        if class(one).is_some() && class(one) == class(other) {
            return true;
        }
        let mut all = members(one);
        let more = members(other);
        if all.iter().any(|(input, _)| more.iter().any(|(other, _)| input == other)) {
            return false;
        }
        let old = class(other);
        all.extend(more);
        let target = match class(one) {
            Some(target) => target,
            None => {
                self.classes.push(Vec::new());
                self.classes.len() - 1
            }
        };
        for (input, column) in &all {
            self.inputs[*input].classes.insert(*column, target);
        }
        self.classes[target] = all;
        if let Some(old) = old {
            self.classes[old].clear();
        }
        true
    }

    fn distinct(&self, expr: &Expr, inputs: Inputs) -> f64 {
        match one_of(inputs) {
            Some(index) => distinct_of(expr, &self.inputs[index].plan, &self.inputs[index].relation),
            None => members(inputs).map(|index| self.inputs[index].relation.rows).fold(1.0, f64::max),
        }
    }

    fn share(&self, expr: &Expr, inputs: Inputs) -> f64 {
        let mut schema = DFSchema::empty();
        let mut columns = Vec::new();
        for index in members(inputs) {
            schema.merge(self.inputs[index].plan.schema());
            columns.extend(self.inputs[index].relation.columns.iter().cloned());
        }
        share_of(expr, &schema, &columns)
    }

    /// Columns of two inputs that are equal in every row of the region.
    pub(super) fn common_columns(&self, one: usize, other: usize) -> Vec<(Column, Column)> {
        let column = |class: &[(usize, usize)], wanted: usize| {
            let (_, position) = class.iter().find(|(input, _)| *input == wanted)?;
            // Columns themselves are compared by who asks.
            if self.inputs[wanted].tight.contains(position) {
                return None;
            }
            self.inputs[wanted].plan.schema().columns().into_iter().nth(*position)
        };
        self.classes.iter().filter_map(|class| column(class, one).zip(column(class, other))).collect()
    }

    /// Puts another plan with the same columns in the place of an input. None if its size is not known.
    pub(super) fn replace_input(&mut self, index: usize, plan: LogicalPlan) -> Option<()> {
        self.inputs[index].relation = estimate(&plan)?;
        self.inputs[index].plan = Arc::new(plan);
        Some(())
    }

    /// The region in the order of `shape`, with the columns of `root`. None if the engine does not take it.
    pub(super) fn plan(&self, shape: &Shape, root: &LogicalPlan) -> Option<LogicalPlan> {
        let joined = self.join(shape).ok()?;
        let columns = root.schema().columns().into_iter().map(Expr::Column).collect();
        Projection::try_new(columns, joined).ok().map(LogicalPlan::Projection)
    }

    fn join(&self, shape: &Shape) -> Result<Arc<LogicalPlan>> {
        let (left, right) = match shape {
            Shape::Input(index) => return self.filtered_input(*index),
            Shape::Join(left, right) => (left, right),
        };
        let (left_inputs, right_inputs) = (left.inputs(), right.inputs());
        let mut on = Vec::new();
        for class in &self.classes {
            if let (Some(one), Some(other)) = (self.member(class, left_inputs), self.member(class, right_inputs)) {
                on.push((one, other));
            }
        }
        let (left, right) = (self.join(left)?, self.join(right)?);
        let mut filters = Vec::new();
        for edge in
            self.edges.iter().filter(|edge| newly_covered(edge.left_inputs | edge.right_inputs, left_inputs, right_inputs))
        {
            if within(edge.left_inputs, left_inputs) && within(edge.right_inputs, right_inputs) {
                on.push((edge.left.clone(), edge.right.clone()));
            } else if within(edge.right_inputs, left_inputs) && within(edge.left_inputs, right_inputs) {
                on.push((edge.right.clone(), edge.left.clone()));
            } else {
                filters.push(edge.left.clone().eq(edge.right.clone()));
            }
        }
        let conditions = self.conditions.iter().filter(|condition| newly_covered(condition.inputs, left_inputs, right_inputs));
        filters.extend(conditions.map(|condition| condition.expr.clone()));
        let filter = conjunction(filters);
        let nulls = NullEquality::NullEqualsNothing;
        let join = Join::try_new(left, right, on, filter, JoinType::Inner, JoinConstraint::On, nulls, false)?;
        Ok(Arc::new(LogicalPlan::Join(join)))
    }

    /// An input with the conditions that concern it alone.
    fn filtered_input(&self, index: usize) -> Result<Arc<LogicalPlan>> {
        let plan = Arc::clone(&self.inputs[index].plan);
        let own = self.conditions.iter().filter(|condition| within(condition.inputs, 1 << index));
        match conjunction(own.map(|condition| condition.expr.clone())) {
            Some(predicate) => Ok(Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, plan)?))),
            None => Ok(plan),
        }
    }

    /// A column of the class among `inputs`; rather the one by which its input is distributed.
    fn member(&self, class: &[(usize, usize)], inputs: Inputs) -> Option<Expr> {
        let among = || class.iter().filter(|(input, _)| within(1 << input, inputs));
        let placed = among().find(|(input, column)| self.inputs[*input].relation.spread == Spread::Key(*column));
        let (input, column) = placed.or_else(|| among().min())?;
        let (qualifier, field) = self.inputs[*input].plan.schema().qualified_field(*column);
        let expr = Expr::Column(Column::from((qualifier, field)));
        match self.inputs[*input].tight.contains(column) {
            true => call(TIGHT, vec![expr]).data().ok(),
            false => Some(expr),
        }
    }
}

impl Parts {
    fn collect(&mut self, plan: &Arc<LogicalPlan>) -> Shape {
        match plan.as_ref() {
            LogicalPlan::Join(join) if is_inner(plan) => {
                let left = self.collect(&join.left);
                let right = self.collect(&join.right);
                self.equalities.extend(join.on.iter().cloned());
                self.conditions.extend(join.filter.iter().cloned().flat_map(split_conjunction_owned));
                Shape::Join(Arc::new(left), Arc::new(right))
            }
            LogicalPlan::Projection(projection) if is_passed_through(plan) => self.collect(&projection.input),
            LogicalPlan::Filter(filter) if is_passed_through(plan) => {
                self.conditions.extend(split_conjunction_owned(filter.predicate.clone()));
                self.collect(&filter.input)
            }
            _ => {
                self.plans.push(Arc::clone(plan));
                Shape::Input(self.plans.len() - 1)
            }
        }
    }
}

/// Where each column comes from; None if a name occurs twice.
fn columns_of(inputs: &[Input]) -> Option<HashMap<Column, (usize, usize)>> {
    let mut columns = HashMap::new();
    for (index, input) in inputs.iter().enumerate() {
        for (position, column) in input.plan.schema().columns().into_iter().enumerate() {
            if columns.insert(column, (index, position)).is_some() {
                return None;
            }
        }
    }
    Some(columns)
}

fn inputs_of(expr: &Expr, columns: &HashMap<Column, (usize, usize)>) -> Option<Inputs> {
    expr.column_refs()
        .into_iter()
        .map(|column| columns.get(column).map(|(input, _)| 1 << input))
        .try_fold(0, |all, one| Some(all | one?))
}

/// Whether a join of `left` and `right` is the first place where all of `needed` are there.
pub(super) fn newly_covered(needed: Inputs, left: Inputs, right: Inputs) -> bool {
    let one = needed.count_ones() == 1;
    !one && within(needed, left | right) && !within(needed, left) && !within(needed, right)
}

pub(super) fn within(some: Inputs, all: Inputs) -> bool {
    some & !all == 0
}

pub(super) fn members(inputs: Inputs) -> impl Iterator<Item = usize> {
    (0..Inputs::BITS as usize).filter(move |index| inputs & (1 << index) != 0)
}

fn one_of(inputs: Inputs) -> Option<usize> {
    (inputs.count_ones() == 1).then_some(inputs.trailing_zeros() as usize)
}
