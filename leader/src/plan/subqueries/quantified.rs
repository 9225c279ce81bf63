//! IN, NOT IN, ANY and ALL as EXISTS.
//!
//! `x IN (S)` is true where a row of S equals x, else NULL where comparing one with x is NULL, else false. EXISTS is never NULL, so
//! the answer can be put together from it: `CASE WHEN EXISTS (S: x = y) THEN true WHEN ... THEN NULL ELSE false END`. Comparing is
//! NULL where x is and S has rows, or where S has a NULL: tests of one side each, which cost no join of every row with every row.

use super::outer::as_outer;
use super::{has_subqueries, holds_subquery};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, Spans};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, disjunction, merge_schema};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Subquery, lit, when,
};
use slipher_common::Error;
use std::sync::Arc;

/// The name of a compared subquery, whose columns must not be taken for those of a table outside.
const COMPARED: &str = "__compared";
/// The name of a compared value that is computed once.
const VALUE: &str = "__value";
/// How several columns travel in one.
const ROW: &str = "struct";
/// Of a row value's columns at most so many may be NULL: each set of them is looked up by the other columns.
const NULLABLE_COLUMNS_MAX: usize = 3;

/// `plan` without IN, ANY and ALL over subqueries.
pub(crate) fn without_quantifiers(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match has_quantifiers(&node)? {
        true => rewritten(node).map(Transformed::yes),
        false => Ok(Transformed::no(node)),
    })
    .data()
}

fn is_quantifier(expr: &Expr) -> bool {
    matches!(expr, Expr::InSubquery(_) | Expr::SetComparison(_))
}

fn has_quantifiers(plan: &LogicalPlan) -> Result<bool> {
    if !has_subqueries(plan)? {
        return Ok(false);
    }
    let mut found = false;
    for expr in plan.expressions() {
        found |= expr.exists(|inner| Ok(is_quantifier(inner)))?;
    }
    Ok(found)
}

fn rewritten(node: LogicalPlan) -> Result<LogicalPlan> {
    let node = with_values_computed(node)?;
    let schema = merge_schema(&node.inputs());
    match node {
        LogicalPlan::Filter(filter) => Ok(LogicalPlan::Filter(Filter::try_new(holds(filter.predicate, &schema)?, filter.input)?)),
        LogicalPlan::Join(mut join) => {
            join.filter = join.filter.map(|filter| holds(filter, &schema)).transpose()?;
            Ok(LogicalPlan::Join(join))
        }
        other => {
            let names = NamePreserver::new(&other);
            other
                .map_expressions(|expr| {
                    let name = names.save(&expr);
                    Ok(Transformed::yes(name.restore(three_valued(expr, &schema)?)))
                })
                .data()
        }
    }
}

/// `expr` for a place where NULL is as good as false: its top is AND and OR.
fn holds(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(both) if matches!(both.op, Operator::And | Operator::Or) => {
            let (left, right) = (holds(*both.left, schema)?, holds(*both.right, schema)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), both.op, Box::new(right))))
        }
        Expr::Not(inner) => fails(*inner, schema),
        Expr::InSubquery(_) | Expr::SetComparison(_) => {
            let (tests, negated) = tests_of(expr, schema)?;
            if negated { tests.all_false() } else { Ok(tests.found) }
        }
        other => three_valued(other, schema),
    }
}

/// `NOT expr` for a place where NULL is as good as false.
fn fails(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(both) if matches!(both.op, Operator::And | Operator::Or) => {
            let op = if both.op == Operator::And { Operator::Or } else { Operator::And };
            let (left, right) = (fails(*both.left, schema)?, fails(*both.right, schema)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Not(inner) => holds(*inner, schema),
        Expr::InSubquery(_) | Expr::SetComparison(_) => {
            let (tests, negated) = tests_of(expr, schema)?;
            if negated { Ok(tests.found) } else { tests.all_false() }
        }
        other => Ok(Expr::Not(Box::new(three_valued(other, schema)?))),
    }
}

/// `expr` with true, false and NULL each where they belong.
fn three_valued(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|inner| {
        if !is_quantifier(&inner) {
            return Ok(Transformed::no(inner));
        }
        let (tests, negated) = tests_of(inner, schema)?;
        let answer = tests.answer()?;
        Ok(Transformed::yes(if negated { Expr::Not(Box::new(answer)) } else { answer }))
    })
    .data()
}

/// What `x op ANY (S)` is made of.
struct Tests {
    /// A row of S compares as true.
    found: Expr,
    /// Comparing a row of S is NULL: one of these.
    unknown: Vec<Unknown>,
}

/// Both must hold for a comparison to be NULL.
struct Unknown {
    /// These columns outside are NULL.
    outside: Vec<Expr>,
    exists: Expr,
}

impl Tests {
    fn answer(self) -> Result<Expr> {
        let unknown = self.unknown.into_iter().map(|test| {
            let outside = test.outside.into_iter().map(|column| Expr::IsNull(Box::new(column)));
            outside.chain([test.exists]).reduce(Expr::and)
        });
        match disjunction(unknown.flatten()) {
            Some(unknown) => {
                let null = Expr::Literal(ScalarValue::Boolean(None), None);
                when(self.found, lit(true)).when(unknown, null).otherwise(lit(false))
            }
            None => Ok(self.found),
        }
    }

    /// The condition that the comparison is false for every row of S.
    fn all_false(self) -> Result<Expr> {
        let none = |exists: Expr| Expr::Not(Box::new(exists));
        let unknown = self.unknown.into_iter().map(|test| {
            let outside = test.outside.into_iter().map(|column| Expr::IsNotNull(Box::new(column)));
            disjunction(outside.chain([none(test.exists)]))
        });
        Ok(unknown.flatten().fold(none(self.found), Expr::and))
    }
}

/// The comparison that `expr` makes with any row of its subquery, and whether it is that comparison's opposite.
fn tests_of(expr: Expr, schema: &DFSchema) -> Result<(Tests, bool)> {
    match expr {
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => Ok((tests(*expr, Operator::Eq, subquery, schema)?, negated)),
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier: SetQuantifier::Any }) => {
            Ok((tests(*expr, op, subquery, schema)?, false))
        }
        // x op ALL (S) is NOT (x opposite-op ANY (S)).
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier: SetQuantifier::All }) => {
            let Some(opposite) = op.negate() else {
                let what = format!("{op} ALL with a subquery");
                return Err(Error::not_supported(what, "write NOT EXISTS (SELECT 1 FROM ... WHERE NOT ...)").into());
            };
            Ok((tests(*expr, opposite, subquery, schema)?, true))
        }
        other => Err(Error::internal(format!("{} compares with no subquery", other.variant_name())).into()),
    }
}

/// One side of a comparison: its columns, and which of them may be NULL.
struct Side {
    columns: Vec<Expr>,
    nullable: Vec<usize>,
}

fn tests(expr: Expr, op: Operator, subquery: Subquery, schema: &DFSchema) -> Result<Tests> {
    let (values, inner) = columns_of_rows(expr, subquery.subquery)?;
    let inner = Arc::new(LogicalPlanBuilder::from(Arc::unwrap_or_clone(inner)).alias(COMPARED)?.build()?);
    let mut outside = Side { columns: Vec::new(), nullable: Vec::new() };
    for (index, value) in values.into_iter().enumerate() {
        if value.nullable(schema)? {
            outside.nullable.push(index);
        }
        outside.columns.push(value);
    }
    let mut inside = Side { columns: Vec::new(), nullable: Vec::new() };
    for (index, (qualifier, field)) in inner.schema().iter().take(outside.columns.len()).enumerate() {
        if field.is_nullable() {
            inside.nullable.push(index);
        }
        inside.columns.push(Expr::Column((qualifier, field).into()));
    }
    Compared { outside, inside, inner, op, schema, spans: subquery.spans }.tests()
}

/// Several columns that travel as one; or the one.
fn columns_of_rows(expr: Expr, inner: Arc<LogicalPlan>) -> Result<(Vec<Expr>, Arc<LogicalPlan>)> {
    let row = |expr: &Expr| match expr {
        Expr::ScalarFunction(call) if call.name() == ROW => Some(call.args.clone()),
        _ => None,
    };
    let Some(values) = row(&expr) else { return Ok((vec![expr], inner)) };
    let columns = match inner.as_ref() {
        LogicalPlan::Projection(projection) => projection.expr.first().and_then(|first| row(&first.clone().unalias())),
        _ => None,
    };
    match (columns, inner.as_ref()) {
        (Some(columns), LogicalPlan::Projection(projection)) if columns.len() == values.len() => {
            let plan = Projection::try_new(columns, Arc::clone(&projection.input))?;
            Ok((values, Arc::new(LogicalPlan::Projection(plan))))
        }
        // As one value it would be equal to a row with NULL at the same place.
        _ => {
            let instead = "write EXISTS (SELECT 1 FROM ... WHERE ...), with a condition for each column";
            Err(Error::not_supported("a row that is compared with a subquery of this form", instead).into())
        }
    }
}

/// A comparison with a subquery.
struct Compared<'a> {
    outside: Side,
    inside: Side,
    inner: Arc<LogicalPlan>,
    op: Operator,
    schema: &'a DFSchema,
    spans: Spans,
}

impl Compared<'_> {
    fn tests(&self) -> Result<Tests> {
        let all: Vec<usize> = (0..self.outside.columns.len()).collect();
        if all.len() > 1 && self.op != Operator::Eq {
            let what = format!("{} ANY and ALL of several columns", self.op);
            return Err(Error::not_supported(what, "write (a, b) IN (SELECT ...) or EXISTS (SELECT 1 FROM ... WHERE ...)").into());
        }
        let found = self.exists(self.compared(&all)?)?;
        if all.len() > 1 {
            return Ok(Tests { found, unknown: self.unknown_of_rows(&all)? });
        }
        let mut unknown = Vec::new();
        for index in &self.outside.nullable {
            unknown.push(Unknown { outside: vec![self.outside.columns[*index].clone()], exists: self.exists(None)? });
        }
        for index in &self.inside.nullable {
            let null = Expr::IsNull(Box::new(self.inside.columns[*index].clone()));
            unknown.push(Unknown { outside: Vec::new(), exists: self.exists(Some(null))? });
        }
        Ok(Tests { found, unknown })
    }

    /// A row comparison is NULL where no part is false and one is NULL. Rows of S with a NULL are few, and compared with each row
    /// outside; the others are looked up by the columns that are not NULL outside.
    fn unknown_of_rows(&self, all: &[usize]) -> Result<Vec<Unknown>> {
        let is_null = |compared: Option<Expr>| compared.map(|compared| Expr::IsNull(Box::new(compared)));
        let nulls = self.inside.nullable.iter().map(|index| Expr::IsNull(Box::new(self.inside.columns[*index].clone())));
        let mut unknown = Vec::new();
        if let Some(has_null) = disjunction(nulls) {
            let condition = is_null(self.compared(all)?).map(|null| has_null.and(null));
            unknown.push(Unknown { outside: Vec::new(), exists: self.exists(condition)? });
        }
        let nullable = &self.outside.nullable;
        if nullable.len() > NULLABLE_COLUMNS_MAX {
            unknown.push(Unknown { outside: Vec::new(), exists: self.exists(is_null(self.compared(all)?))? });
            return Ok(unknown);
        }
        for set in 1..1usize << nullable.len() {
            let chosen: Vec<usize> =
                nullable.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, i)| *i).collect();
            let others: Vec<usize> = all.iter().copied().filter(|index| !chosen.contains(index)).collect();
            let outside = chosen.iter().map(|index| self.outside.columns[*index].clone()).collect();
            unknown.push(Unknown { outside, exists: self.exists(self.compared(&others)?)? });
        }
        Ok(unknown)
    }

    /// The comparison of the columns of `indices`.
    fn compared(&self, indices: &[usize]) -> Result<Option<Expr>> {
        let mut parts = Vec::with_capacity(indices.len());
        for index in indices {
            let left = as_outer(self.outside.columns[*index].clone(), self.schema)?;
            let right = self.inside.columns[*index].clone();
            parts.push(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), self.op, Box::new(right))));
        }
        Ok(conjunction(parts))
    }

    /// Whether S has a row for which `condition` holds.
    fn exists(&self, condition: Option<Expr>) -> Result<Expr> {
        let plan = match condition {
            Some(condition) => Arc::new(LogicalPlan::Filter(Filter::try_new(condition, Arc::clone(&self.inner))?)),
            None => Arc::clone(&self.inner),
        };
        let outer_ref_columns = plan.all_out_ref_exprs();
        let subquery = Subquery { subquery: plan, outer_ref_columns, spans: self.spans.clone() };
        Ok(Expr::Exists(Exists { subquery, negated: false }))
    }
}

/// The compared values stand in several tests: what is volatile, or a subquery itself, becomes a column below `node`.
fn with_values_computed(node: LogicalPlan) -> Result<LogicalPlan> {
    let mut values = Vec::new();
    let node = node
        .map_expressions(|expr| {
            expr.transform_down(|inner| match inner {
                Expr::InSubquery(mut compared) if is_costly(&compared.expr)? => {
                    *compared.expr = take_costly(&mut values, *compared.expr)?;
                    Ok(Transformed::yes(Expr::InSubquery(compared)))
                }
                Expr::SetComparison(mut compared) if is_costly(&compared.expr)? => {
                    *compared.expr = take_costly(&mut values, *compared.expr)?;
                    Ok(Transformed::yes(Expr::SetComparison(compared)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
        .data()?;
    if values.is_empty() {
        return Ok(node);
    }
    below(node, values)
}

fn is_costly(expr: &Expr) -> Result<bool> {
    Ok(expr.is_volatile() || holds_subquery(expr)?)
}

/// A row stays one, of columns: its parts are compared each for itself, as NULL in one of them is no value.
fn take_costly(values: &mut Vec<Expr>, expr: Expr) -> Result<Expr> {
    let mut part = |part: Expr| Ok(if is_costly(&part)? { take(values, part) } else { part });
    match expr {
        Expr::ScalarFunction(mut row) if row.name() == ROW => {
            row.args = row.args.into_iter().map(part).collect::<Result<_>>()?;
            Ok(Expr::ScalarFunction(row))
        }
        other => part(other),
    }
}

fn take(values: &mut Vec<Expr>, expr: Expr) -> Expr {
    let name = format!("{VALUE}_{}", values.len() + 1);
    values.push(expr.alias(&name));
    Expr::Column(Column::new_unqualified(name))
}

/// `node` over its input with `values` as further columns.
fn below(node: LogicalPlan, values: Vec<Expr>) -> Result<LogicalPlan> {
    let instead = "compute the compared value in FROM: SELECT ... FROM (SELECT ... AS v FROM ...) WHERE v IN (...)";
    let refused = || Error::not_supported("IN, ANY or ALL of a subquery or of random values at this place", instead);
    let one_input =
        matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_));
    let Some(input) = node.inputs().into_iter().next().filter(|_| one_input) else {
        return Err(refused().into());
    };
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut with_values = columns.clone();
    // A quantifier in a compared value is one of its own.
    with_values.extend(values);
    let projection = LogicalPlan::Projection(Projection::try_new(with_values, Arc::new(input.clone()))?);
    let projection = if has_quantifiers(&projection)? { rewritten(projection)? } else { projection };
    let expressions = match &node {
        LogicalPlan::Filter(filter) => vec![filter.predicate.clone()],
        other => other.expressions(),
    };
    let passes_through = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Sort(_));
    let node = node.with_new_exprs(expressions, vec![projection])?;
    match passes_through {
        true => Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(node))?)),
        false => Ok(node),
    }
}
