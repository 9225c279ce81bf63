//! Values of several types meet in one: in CASE, COALESCE and their like, in the columns of VALUES, UNION, INTERSECT and EXCEPT; numbers where
//! they are compared, too, in the type that Redshift gives them ([`slipher_common::numeric`]).
//!
//! The engine would make a DECIMAL with 15 digits behind the point of a DECIMAL and a DOUBLE PRECISION, in which small numbers are zero and
//! large ones do not fit. And it takes the type of a CASE from its first branch and that of a UNION from its first input until it brings types
//! together itself, when what stands above and in subqueries has been planned for another one (DataFusion 55.2): dates for timestamps, strings
//! for views of strings. What has one type already is none of its business, so everything gets one here.

use crate::plan::semantics::{
    all_compared, as_type, cannot_be_matched, condition, is_comparison, is_text, marked_condition, planned_anew, texts, together,
    type_of,
};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, InSubquery, ScalarFunction, SetComparison};
use datafusion::logical_expr::{Case, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery};
use slipher_common::casts::{self, Meeting};
use slipher_common::functions::CONDITION;
use slipher_common::numeric::{common_type, compared_as};
use slipher_common::{Error, SqlType};
use std::sync::Arc;

/// Functions whose arguments have one type.
const OF_ONE_TYPE: &[&str] = &["coalesce", "greatest", "least"];

/// Types that have a common one.
#[derive(Clone, Copy)]
struct Family {
    holds: fn(&DataType) -> bool,
    /// Two types of it become one.
    meet: fn(&DataType, &DataType) -> Option<DataType>,
}

/// What stands in one column.
const VALUES: &[Family] = &[
    Family { holds: DataType::is_numeric, meet: common_type },
    Family { holds: is_moment, meet: common_moment },
    Family { holds: is_text, meet: |_, _| Some(DataType::Utf8View) },
];

fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// A day is its midnight.
fn common_moment(one: &DataType, other: &DataType) -> Option<DataType> {
    let zoned = [one, other].into_iter().any(|moment| matches!(moment, DataType::Timestamp(_, Some(_))));
    Some(if zoned { SqlType::TimestampTz } else { SqlType::Timestamp }.to_arrow())
}

/// An expression whose operands have been looked at, with values in it of one type where they meet.
pub(super) fn unified(node: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match node {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let [left, right] = same([*left, *right], &op.to_string(), schema)?;
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if matches!(op, Operator::And | Operator::Or) => {
            let what = op.to_string();
            let (left, right) = (condition(*left, &what, schema)?, condition(*right, &what, schema)?);
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
        }
        Expr::Not(inner) => Ok(Transformed::yes(Expr::Not(Box::new(condition(*inner, "NOT", schema)?)))),
        Expr::Like(mut like) => {
            let symbol = if like.case_insensitive { "ILIKE" } else { "LIKE" };
            let [value, pattern] = texts([*like.expr, *like.pattern], symbol, schema)?;
            (like.expr, like.pattern) = (Box::new(value), Box::new(pattern));
            Ok(Transformed::yes(Expr::Like(like)))
        }
        Expr::BinaryExpr(computed) => planned_anew(computed, schema),
        Expr::Between(Between { expr, negated, low, high }) => {
            let [expr, low, high] = same([*expr, *low, *high], "BETWEEN", schema)?;
            Ok(Transformed::yes(Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high)))))
        }
        Expr::InList(InList { expr, mut list, negated }) => {
            list.push(*expr);
            let mut list = all_compared(list, "IN", schema)?;
            let Some(expr) = list.pop() else { return Err(Error::internal("IN lost its left side").into()) };
            Ok(Transformed::yes(Expr::InList(InList::new(Box::new(expr), list, negated))))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let (expr, subquery) = beside_subquery(*expr, subquery, schema)?;
            Ok(Transformed::yes(Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, negated))))
        }
        Expr::SetComparison(mut test) => {
            let (expr, subquery) = beside_subquery(*test.expr, test.subquery, schema)?;
            (test.expr, test.subquery) = (Box::new(expr), subquery);
            Ok(Transformed::yes(Expr::SetComparison(SetComparison { ..test })))
        }
        Expr::Case(case) => unified_case(case, schema).map(|case| Transformed::yes(Expr::Case(case))),
        Expr::ScalarFunction(mut call) if OF_ONE_TYPE.contains(&call.name()) => {
            let what = call.name().to_uppercase();
            call.args = together(call.args, &what, schema)?;
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::ScalarFunction(call) if call.name() == "nullif" => null_if(call, schema),
        Expr::ScalarFunction(call) if call.name() == CONDITION => marked_condition(call, schema),
        Expr::ScalarFunction(mut call) if call.name() == "nvl2" && call.args.len() == 3 => {
            let values = together(call.args.split_off(1), "NVL2", schema)?;
            call.args.extend(values);
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        // The value, and what stands for it where there is no such row.
        Expr::WindowFunction(mut call) if matches!(call.fun.name(), "lag" | "lead") && call.params.args.len() == 3 => {
            let (default, offset) = (call.params.args.pop(), call.params.args.pop());
            let what = call.fun.name().to_uppercase();
            let values = together(call.params.args.drain(..).chain(default).collect(), &what, schema)?;
            let mut values = values.into_iter();
            call.params.args = values.next().into_iter().chain(offset).chain(values).collect();
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// NULLIF has the type of its first argument, whatever it is compared with.
fn null_if(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let [value, other] = call.args.as_slice() else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
    let [one, two] = same([value.clone(), other.clone()], "NULLIF", schema)?;
    let known = |expr: &Expr| type_of(expr, schema).filter(|known| *known != DataType::Null);
    let (own, met, beside) = (known(value), known(&one), known(&two));
    match own {
        // Text in quotes that has become something else stays that.
        Some(own) if !is_text(&own) && beside.is_some() && (met.as_ref() != Some(&own) || beside != met) => {
            let null = Expr::Literal(ScalarValue::try_from(&own)?, None);
            let equal = Expr::BinaryExpr(BinaryExpr::new(Box::new(one), Operator::Eq, Box::new(two)));
            let branches = vec![(Box::new(equal), Box::new(null))];
            Ok(Transformed::yes(Expr::Case(Case::new(None, branches, Some(Box::new(value.clone()))))))
        }
        _ => Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { args: vec![one, two], ..call }))),
    }
}

fn unified_case(case: Case, schema: &DFSchema) -> Result<Case> {
    let Case { expr, when_then_expr, else_expr } = case;
    let (mut whens, mut thens): (Vec<Expr>, Vec<Expr>) = when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
    let expr = match expr {
        Some(expr) => {
            whens.push(*expr);
            whens = all_compared(whens, "CASE", schema)?;
            whens.pop()
        }
        None => {
            whens = whens.into_iter().map(|when| condition(when, "CASE WHEN", schema)).collect::<Result<_>>()?;
            None
        }
    };
    let otherwise = else_expr.is_some();
    thens.extend(else_expr.map(|otherwise| *otherwise));
    let mut thens = together(thens, "CASE", schema)?;
    let otherwise = if otherwise { thens.pop() } else { None };
    let branches = whens.into_iter().map(Box::new).zip(thens.into_iter().map(Box::new)).collect();
    Ok(Case::new(expr.map(Box::new), branches, otherwise.map(Box::new)))
}

/// The left side of IN, ANY or ALL, and the subquery.
fn beside_subquery(expr: Expr, subquery: Subquery, schema: &DFSchema) -> Result<(Expr, Subquery)> {
    let plan = &subquery.subquery;
    let [field] = plan.schema().fields().as_ref() else { return Ok((expr, subquery)) };
    // A value of the subquery's type says what the expression becomes, and the expression what the value does.
    let value = Expr::Literal(ScalarValue::try_new_null(field.data_type())?, None);
    let [expr, value] = same([expr, value], "IN", schema)?;
    let wanted = type_of(&value, schema).filter(|wanted| wanted != field.data_type());
    let plan = with_types(Arc::clone(plan), &[wanted])?;
    Ok((expr, Subquery { subquery: plan, ..subquery }))
}

/// Operands that are compared with each other.
fn same<const N: usize>(exprs: [Expr; N], what: &str, schema: &DFSchema) -> Result<[Expr; N]> {
    let all = all_compared(exprs.to_vec(), what, schema)?;
    all.try_into().map_err(|_| Error::internal("an operand was lost").into())
}

/// The first family that has several of the types, and what these meet in; `None` where there is nothing to do.
fn met<'a>(types: impl Iterator<Item = &'a DataType> + Clone, families: &[Family]) -> Option<(Family, DataType)> {
    families.iter().find_map(|family| {
        let mut members = types.clone().filter(|data_type| (family.holds)(data_type));
        let first = members.next()?;
        let (mut all, mut differ) = (first.clone(), false);
        for other in members {
            differ |= other != first;
            all = (family.meet)(&all, other)?;
        }
        differ.then_some((*family, all))
    })
}

/// Rows of VALUES with one type in each column.
pub(super) fn unified_rows(mut rows: Vec<Vec<Expr>>) -> Result<Vec<Vec<Expr>>> {
    let empty = DFSchema::empty();
    for column in 0..rows.first().map_or(0, Vec::len) {
        let null = || Expr::Literal(ScalarValue::Null, None);
        let cells = rows.iter_mut().filter_map(|row| row.get_mut(column)).map(|cell| std::mem::replace(cell, null()));
        let cells = together(cells.collect(), "VALUES", &empty)?;
        rows.iter_mut().filter_map(|row| row.get_mut(column)).zip(cells).for_each(|(place, cell)| *place = cell);
    }
    Ok(rows)
}

/// Branches of UNION with one type in each column; text in quotes is read as what stands in the others.
pub(super) fn unified_branches(inputs: Vec<Arc<LogicalPlan>>) -> Result<Vec<Arc<LogicalPlan>>> {
    let columns = inputs.first().map_or(0, |input| input.schema().fields().len());
    if inputs.iter().any(|input| input.schema().fields().len() != columns) {
        return Ok(inputs);
    }
    let mut wanted: Vec<Vec<Option<DataType>>> = vec![Vec::with_capacity(columns); inputs.len()];
    for column in 0..columns {
        let types = column_types(&inputs, column)?;
        wanted.iter_mut().zip(types).for_each(|(wanted, data_type)| wanted.push(data_type));
    }
    inputs.into_iter().zip(wanted).map(|(input, wanted)| with_types(input, &wanted)).collect()
}

/// The type that a column of each branch gets, if it is not to keep its own.
fn column_types(inputs: &[Arc<LogicalPlan>], column: usize) -> Result<Vec<Option<DataType>>> {
    let types: Vec<DataType> = inputs.iter().map(|input| input.schema().field(column).data_type().clone()).collect();
    if let Some(all) = super_of(&types)? {
        return Ok(vec![Some(all); types.len()]);
    }
    let common = met(types.iter(), VALUES);
    let known = types.iter().filter(|data_type| **data_type != DataType::Null);
    let (texts, others): (Vec<&DataType>, Vec<&DataType>) = known.partition(|data_type| is_text(data_type));
    let wanted = |own: &DataType| common.as_ref().filter(|(family, _)| (family.holds)(own)).map(|(_, wanted)| wanted.clone());
    let read_as = others.first().map(|other| wanted(other).unwrap_or_else(|| (*other).clone()));
    let of = |(input, own): (&Arc<LogicalPlan>, &DataType)| match own {
        text if is_text(text) && !others.is_empty() => match is_literal(input, column) {
            true => Ok(read_as.clone()),
            false => Err(cannot_be_matched(texts[0], others[0]).with_hint("cast one of them").into()),
        },
        own => Ok(wanted(own)),
    };
    inputs.iter().zip(&types).map(of).collect()
}

/// SUPER, where one of the types is that; 42804 where another one cannot become it.
fn super_of(types: &[DataType]) -> Result<Option<DataType>> {
    let Some(all) = types.iter().find(|known| **known == DataType::BinaryView) else { return Ok(None) };
    match types.iter().find(|known| casts::together(all, known) == Meeting::Never) {
        Some(other) => Err(cannot_be_matched(all, other).with_hint("cast one of them").into()),
        None => Ok(Some(all.clone())),
    }
}

/// Whether a column is text in quotes, which has no type of its own.
fn is_literal(input: &LogicalPlan, column: usize) -> bool {
    let LogicalPlan::Projection(projection) = input else { return false };
    projection.expr.get(column).is_some_and(|expr| matches!(expr.clone().unalias(), Expr::Literal(..)))
}

/// The plan with columns of other types where there are some.
fn with_types(plan: Arc<LogicalPlan>, wanted: &[Option<DataType>]) -> Result<Arc<LogicalPlan>> {
    let fields: Vec<_> = plan.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    let differs = |(index, wanted): (usize, &Option<DataType>)| {
        wanted.as_ref().is_some_and(|wanted| fields.get(index).is_some_and(|(_, field)| field.data_type() != wanted))
    };
    if !wanted.iter().enumerate().any(differs) {
        return Ok(plan);
    }
    let exprs = fields.into_iter().zip(wanted.iter().chain(std::iter::repeat(&None))).map(|((qualifier, field), wanted)| {
        let column = Expr::Column(Column::new(qualifier.clone(), field.name()));
        match wanted {
            Some(wanted) if field.data_type() != wanted => {
                Expr::Cast(Cast::new(Box::new(column), wanted.clone())).alias_qualified(qualifier, field.name())
            }
            _ => column,
        }
    });
    let exprs: Vec<Expr> = exprs.collect();
    Ok(Arc::new(LogicalPlanBuilder::from(plan).project(exprs)?.build()?))
}

/// A join whose keys have one type on both sides. INTERSECT and EXCEPT are joins, too, by all columns: their sides are branches.
pub(super) fn unified_join(mut join: Join) -> Result<Join> {
    let is_semi = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
    let columns = join.left.schema().fields().len();
    if is_semi && join.null_equality == NullEquality::NullEqualsNull && join.on.len() == columns {
        let mut sides = unified_branches(vec![join.left, join.right])?;
        let (Some(right), Some(left)) = (sides.pop(), sides.pop()) else {
            return Err(Error::internal("a join lost a side").into());
        };
        (join.left, join.right) = (left, right);
    }
    let (left, right) = (join.left.schema(), join.right.schema());
    let keys = join.on.into_iter().map(|(one, other)| match (type_of(&one, left), type_of(&other, right)) {
        (Some(own), Some(its)) => match compared_as(&own, &its) {
            Some(wanted) => Ok((as_type(one, &own, &wanted)?, as_type(other, &its, &wanted)?)),
            None => Ok((one, other)),
        },
        _ => Ok((one, other)),
    });
    join.on = keys.collect::<Result<_>>()?;
    Ok(join)
}
