//! Deep expressions are cut into parts (`slipher_common::part`), and long lists of values become one: the engine's passes take time that grows
//! with a power of an expression's depth, and its messages to compute nodes nest a few dozen levels.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{EmptyRelation, Expr, ExprSchemable, LogicalPlan, Operator, Projection, Volatility, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;
use slipher_common::part::{Body, first_udf, is_part_at_home, part_call, to_travel};
use slipher_common::{Error, ErrorKind};
use std::borrow::Cow;
use std::sync::Arc;

/// An expression of more levels is cut.
const HEIGHT_MAX: usize = 12;
/// A part has so many levels.
const PART_HEIGHT: usize = 9;
/// Levels that the engine would write twice: each doubles what is below it.
const DOUBLINGS_MAX: usize = 3;
/// A list of more values becomes a part.
const LIST_VALUES_MAX: usize = 500;
/// What cannot be cut may have so many levels.
const UNCUT_HEIGHT_MAX: usize = 40;

/// A plan may have so many nodes, each counted as often as it stands in it: a WITH query or a view that reads another one twice is twice as
/// large.
const NODES_MAX: usize = 20_000;

/// 54001 for a plan that the engine's passes, which look at every node of it dozens of times, would take long for.
pub(crate) fn check_size(plan: &LogicalPlan) -> Result<()> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if nodes > NODES_MAX {
        return Err(Error::new(ErrorKind::TooComplex, "statement too complex")
            .with_detail(format!(
                "its plan has more than {NODES_MAX} steps, with every WITH query and view as often as it is read"
            ))
            .with_hint("keep the rows of one that is read often in a temporary table")
            .into());
    }
    Ok(())
}

/// The same plan, in which no expression is deep.
pub(crate) fn cut_deep_expressions(plan: LogicalPlan, session: &SessionState) -> Result<LogicalPlan> {
    if !has_deep_expressions(&plan)? {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let deep = is_deep_node(&node)?;
        // Types below may have changed.
        let node = if deep { cut_node(node, session)? } else { node };
        Ok(Transformed::yes(node.recompute_schema()?))
    })
    .map(|transformed| transformed.data)
}

/// The plan as its fragments are made of it: what parts compute travels with them. No pass over logical plans comes behind this one.
pub(crate) fn parts_to_travel(plan: &LogicalPlan) -> Result<Cow<'_, LogicalPlan>> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            found = found || expression.exists(|inner| Ok(is_part_at_home(inner)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    if !found {
        return Ok(Cow::Borrowed(plan));
    }
    let travels = |expression: Expr| expression.transform_up(|inner| Ok(to_travel(inner)));
    let plan = plan.clone().transform_up_with_subqueries(|node| node.map_expressions(travels))?;
    Ok(Cow::Owned(plan.data))
}

fn has_deep_expressions(plan: &LogicalPlan) -> Result<bool> {
    let mut deep = false;
    plan.apply_with_subqueries(|node| {
        deep = is_deep_node(node)?;
        Ok(if deep { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(deep)
}

fn is_deep_node(node: &LogicalPlan) -> Result<bool> {
    let mut deep = false;
    node.apply_expressions(|expression| {
        deep = deep || Shape::of(expression)?.is_deep();
        Ok(if deep { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(deep)
}

/// Cuts the expressions of one node. What is below is analyzed for that, so that the parts know the types of what they get; it stays as it was, as
/// all is analyzed once more, and what that adds has names that are no others' in one analysis only.
fn cut_node(node: LogicalPlan, session: &SessionState) -> Result<LogicalPlan> {
    let analyze = |input: &LogicalPlan| {
        let analyzed = session.analyzer().execute_and_check(input.clone(), session.config_options(), |_, _| {});
        // Where parameters have no types yet, it stays as it is: nothing but a description comes of this plan.
        analyzed.unwrap_or_else(|_| input.clone())
    };
    let inputs: Vec<LogicalPlan> = node.inputs().into_iter().map(analyze).collect();
    let schema = merge_schema(&inputs.iter().collect::<Vec<_>>());
    let names = NamePreserver::new(&node);
    let cutter = Cutter { session, schema };
    let conditions = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
    node.map_expressions(|expression| {
        if !Shape::of(&expression)?.is_deep() {
            return Ok(Transformed::no(expression));
        }
        let name = names.save(&expression);
        let cut = if conditions { cutter.cut_condition(expression)? } else { cutter.cut(expression)?.0 };
        Ok(Transformed::yes(name.restore(cut)))
    })
    .map(|transformed| transformed.data)
}

/// What decides whether an expression is cut.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    height: usize,
    doublings: usize,
    /// The longest list of values.
    list: usize,
    /// It has something that only the engine's plan can work out.
    bound: bool,
}

impl Shape {
    fn of(expression: &Expr) -> Result<Self> {
        let mut below = Self::default();
        if let Some(list) = list_of_values(expression) {
            let tested = Self::of(&list.expr)?.under(expression);
            return Ok(Self { list: tested.list.max(list.list.len()), ..tested });
        }
        expression.apply_children(|child| {
            below = below.beside(Self::of(child)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(below.under(expression))
    }

    fn beside(self, other: Self) -> Self {
        Self {
            height: self.height.max(other.height),
            doublings: self.doublings.max(other.doublings),
            list: self.list.max(other.list),
            bound: self.bound || other.bound,
        }
    }

    /// The shape of `expression`, whose children have this one.
    fn under(mut self, expression: &Expr) -> Self {
        self.height += 1;
        self.doublings += usize::from(is_written_twice(expression));
        self.bound = self.bound || is_bound(expression);
        self
    }

    fn is_deep(&self) -> bool {
        self.height > HEIGHT_MAX || self.doublings > DOUBLINGS_MAX || self.list > LIST_VALUES_MAX
    }
}

/// What the engine replaces by something that has an argument twice.
fn is_written_twice(expression: &Expr) -> bool {
    match expression {
        Expr::ScalarFunction(call) => call.name() == "coalesce",
        Expr::Between(_) => true,
        _ => false,
    }
}

/// What has no meaning outside of its plan, or no type yet.
fn is_bound(expression: &Expr) -> bool {
    #[expect(deprecated, reason = "the engine has it still")]
    let bound = matches!(
        expression,
        Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_)
            | Expr::ScalarVariable(..)
            | Expr::Unnest(_)
            | Expr::GroupingSet(_)
            | Expr::Wildcard { .. }
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_)
            | Expr::Alias(_)
    );
    bound
}

/// The list of values that an expression is, if it is one.
fn list_of_values(expression: &Expr) -> Option<&InList> {
    match expression {
        Expr::InList(list) => list.list.iter().all(|item| matches!(item, Expr::Literal(..))).then_some(list),
        _ => None,
    }
}

struct Cutter<'a> {
    session: &'a SessionState,
    /// Of what the expressions are computed from.
    schema: DFSchema,
}

impl Cutter<'_> {
    /// Cuts what is ANDed each for itself; the condition of a long list also says between which values it lies, which scans can use.
    fn cut_condition(&self, condition: Expr) -> Result<Expr> {
        match condition {
            Expr::BinaryExpr(mut both) if both.op == Operator::And => {
                both.left = Box::new(self.cut_condition(*both.left)?);
                both.right = Box::new(self.cut_condition(*both.right)?);
                Ok(Expr::BinaryExpr(both))
            }
            Expr::InList(list) if list.list.len() > LIST_VALUES_MAX => {
                let bounds = bounds_of(&list);
                let cut = self.cut(Expr::InList(list))?.0;
                Ok(bounds.into_iter().fold(cut, |all, bound| bound.and(all)))
            }
            other => Ok(self.cut(other)?.0),
        }
    }

    /// The same expression with parts, and its shape then.
    fn cut(&self, expression: Expr) -> Result<(Expr, Shape)> {
        let mut below = Shape::default();
        let values = list_of_values(&expression).map(|list| list.list.len());
        let expression = match expression {
            Expr::InList(mut list) if values.is_some() => {
                let (tested, shape) = self.cut(*list.expr)?;
                list.expr = Box::new(tested);
                below = shape;
                Expr::InList(list)
            }
            other => {
                other
                    .map_children(|child| {
                        let (child, shape) = self.cut(child)?;
                        below = below.beside(shape);
                        Ok(Transformed::yes(child))
                    })?
                    .data
            }
        };
        let shape = below.under(&expression);
        let wanted = shape.height >= PART_HEIGHT || shape.doublings > DOUBLINGS_MAX || values > Some(LIST_VALUES_MAX);
        if wanted && !shape.bound {
            let (expression, is_part) = self.part(expression)?;
            if is_part {
                return Ok((expression, Shape { height: 1, ..Shape::default() }));
            }
            return self.uncut(expression, shape);
        }
        self.uncut(expression, shape)
    }

    fn uncut(&self, expression: Expr, shape: Shape) -> Result<(Expr, Shape)> {
        if shape.height > UNCUT_HEIGHT_MAX {
            return Err(too_complex().into());
        }
        Ok((expression, shape))
    }

    /// The expression as one call, or as a constant if it is one; as it is where only the leader knows what it calls.
    fn part(&self, expression: Expr) -> Result<(Expr, bool)> {
        let mut columns: Vec<Column> = expression.column_refs().into_iter().cloned().collect();
        columns.sort();
        let parameters = self.parameters(&columns)?;
        let place = |column: &Column| columns.iter().position(|known| known == column);
        let inside = expression.clone().transform_up(|inner| match &inner {
            Expr::Column(column) => match place(column) {
                Some(index) => Ok(Transformed::yes(Expr::Column(Column::from_name(parameter(index))))),
                None => Ok(Transformed::no(inner)),
            },
            _ => Ok(Transformed::no(inner)),
        })?;
        let body = match self.analyzed_list(&inside.data, &parameters)? {
            Some(list) => list,
            None => self.simplified(self.analyzed(inside.data, &parameters)?, &parameters)?,
        };
        if let Expr::Literal(..) = body {
            return Ok((body, true));
        }
        let result = body.to_field(parameters.as_ref())?.1;
        let volatility = if body.is_volatile() { Volatility::Volatile } else { Volatility::Immutable };
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(&body, &parameters, self.session.execution_props(), &context)?;
        let bytes = Body::encode(parameters.as_arrow(), result, &physical)?;
        let call = part_call(&bytes, columns.into_iter().map(Expr::Column).collect(), volatility);
        Ok(call.map_or((expression, false), |call| (call, true)))
    }

    fn parameters(&self, columns: &[Column]) -> Result<DFSchemaRef> {
        let fields = columns.iter().enumerate().map(|(index, column)| {
            let (_, field) = Expr::Column(column.clone()).to_field(&self.schema)?;
            Ok((None, Arc::new(field.as_ref().clone().with_name(parameter(index)))))
        });
        Ok(Arc::new(DFSchema::new_with_metadata(fields.collect::<Result<Vec<_>>>()?, Default::default())?))
    }

    /// The same for a long list that no rule has anything to do with: that is seen by one of its values.
    fn analyzed_list(&self, expression: &Expr, parameters: &DFSchemaRef) -> Result<Option<Expr>> {
        let Expr::InList(list) = expression else { return Ok(None) };
        let Some(first) = list.list.first().filter(|_| list.expr.any_column_refs() && are_alike(&list.list)) else {
            return Ok(None);
        };
        let one = InList::new(list.expr.clone(), vec![first.clone()], list.negated);
        match self.analyzed(Expr::InList(one), parameters)? {
            Expr::InList(one) if one.negated == list.negated && one.list == [first.clone()] => {
                let tested = self.simplified(*one.expr, parameters)?;
                Ok(Some(Expr::InList(InList::new(Box::new(tested), list.list.clone(), list.negated))))
            }
            _ => Ok(None),
        }
    }

    /// What every rule for expressions makes of it.
    fn analyzed(&self, expression: Expr, parameters: &DFSchemaRef) -> Result<Expr> {
        let nothing = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::clone(parameters) });
        let plan = LogicalPlan::Projection(Projection::try_new(vec![expression], Arc::new(nothing))?);
        let plan = self.session.analyzer().execute_and_check(plan, self.session.config_options(), |_, _| {})?;
        let expression = plan.expressions().into_iter().next();
        Ok(expression.ok_or_else(|| Error::internal("an expression was lost"))?.unalias())
    }

    fn simplified(&self, expression: Expr, parameters: &DFSchemaRef) -> Result<Expr> {
        let expression = expression.transform_up(|inner| match inner {
            Expr::ScalarFunction(call) if call.name() == "coalesce" => {
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(first_udf(), call.args))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(parameters))
            .with_config_options(Arc::clone(self.session.config_options()))
            .with_query_execution_start_time(self.session.execution_props().query_execution_start_time)
            .build();
        ExprSimplifier::new(context).simplify(expression.data)
    }
}

fn parameter(index: usize) -> String {
    format!("p{index}")
}

/// Whether literals are numbers of one type or texts that end with no blank, none of them NULL: whatever a rule makes of one of them, it makes
/// of all.
fn are_alike(list: &[Expr]) -> bool {
    let kind = |item: &Expr| match item {
        Expr::Literal(value @ ScalarValue::Utf8(Some(text)), None) => (!text.ends_with(' ')).then(|| value.data_type()),
        Expr::Literal(value, None) if !value.is_null() && value.data_type().is_numeric() => Some(value.data_type()),
        _ => None,
    };
    let first = list.first().and_then(kind);
    first.is_some() && list.iter().all(|item| kind(item) == first)
}

/// `x >= smallest` and `x <= largest` for a column that is in a list of whole numbers.
fn bounds_of(list: &InList) -> Vec<Expr> {
    if list.negated || !matches!(*list.expr, Expr::Column(_)) {
        return Vec::new();
    }
    let number = |item: &Expr| match item {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
        _ => None,
    };
    // None where an item is something else: NULL, a string, a fraction.
    let numbers: Option<Vec<i64>> = list.list.iter().map(number).collect();
    let Some((least, most)) = numbers.as_deref().and_then(|all| Some((*all.iter().min()?, *all.iter().max()?))) else {
        return Vec::new();
    };
    let column = || list.expr.as_ref().clone();
    vec![column().gt_eq(lit(least)), column().lt_eq(lit(most))]
}

fn too_complex() -> Error {
    Error::new(ErrorKind::TooComplex, "statement too complex")
        .with_detail(format!(
            "an expression nests more than {UNCUT_HEIGHT_MAX} levels around a subquery, an aggregate or a parameter"
        ))
        .with_hint("compute parts of it in a WITH clause")
}

#[cfg(test)]
mod tests;
