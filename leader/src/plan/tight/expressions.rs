//! Expressions whose comparisons do not see trailing blanks.

use super::Tightening;
use crate::plan::semantics::is_comparison;
use crate::plan::tight::scope::{Scope, ends_in_blank, is_keyed as is_keyed_type};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    AggregateFunction, Cast, InList, InSubquery, ScalarFunction, SetComparison, WindowFunction,
};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Projection, SortExpr, Subquery, WindowFunctionDefinition,
};
use slipher_common::functions::{BLANK_KEY, BLANK_VALUE, TIGHT};
use std::sync::Arc;

/// A call of one of Slipher's functions.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    crate::plan::semantics::call(name, arguments).data()
}

/// The string without its trailing blanks, if it may have some: as it is compared.
pub(super) fn tight(expr: Expr, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Literal(value, metadata) if ends_in_blank(&value) => {
            Ok(Transformed::yes(Expr::Literal(without_blanks(value), metadata)))
        }
        // What is right there under a cast.
        Expr::Cast(cast) if matches!(*cast.expr, Expr::Literal(..)) || is_row(&cast.expr) => {
            let inner = tight(*cast.expr, scope)?;
            Ok(inner.update_data(|expr| Expr::Cast(Cast { expr: Box::new(expr), ..cast })))
        }
        // A row of values is compared value by value.
        expr if is_row(&expr) => {
            let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return Ok(Transformed::no(expr)) };
            let args = tight_all(args, scope)?;
            Ok(args.update_data(|args| Expr::ScalarFunction(ScalarFunction { func, args })))
        }
        Expr::Alias(alias) => {
            let inner = tight(*alias.expr.clone(), scope)?;
            Ok(inner.update_data(|expr| Expr::Alias(datafusion::logical_expr::expr::Alias { expr: Box::new(expr), ..alias })))
        }
        expr if scope.is_text(&expr) && !scope.is_tight(&expr) => Ok(Transformed::yes(call(TIGHT, vec![expr])?)),
        expr => Ok(Transformed::no(expr)),
    }
}

fn is_row(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if matches!(call.name(), "struct" | "named_struct"))
}

/// Each of `exprs` as it is compared.
fn tight_all(exprs: Vec<Expr>, scope: &Scope<'_>) -> Result<Transformed<Vec<Expr>>> {
    let mut changed = false;
    let mut all = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let one = tight(expr, scope)?;
        changed |= one.transformed;
        all.push(one.data);
    }
    Ok(Transformed::new_transformed(all, changed))
}

fn without_blanks(value: ScalarValue) -> ScalarValue {
    let short = |text: String| Some(text.trim_end_matches(' ').to_owned());
    match value {
        ScalarValue::Utf8(Some(text)) => ScalarValue::Utf8(short(text)),
        ScalarValue::LargeUtf8(Some(text)) => ScalarValue::LargeUtf8(short(text)),
        ScalarValue::Utf8View(Some(text)) => ScalarValue::Utf8View(short(text)),
        other => other,
    }
}

/// All columns of a scope, as they are compared and under their own names.
pub(super) fn tight_columns(scope: &Scope<'_>) -> Result<Transformed<Vec<Expr>>> {
    let mut changed = false;
    let mut columns = Vec::new();
    for (index, (qualifier, field)) in scope.schema.iter().enumerate() {
        let column = Expr::Column(Column::from((qualifier, field)));
        if !is_keyed_type(field.data_type()) || scope.tight.get(index) == Some(&true) {
            columns.push(column);
            continue;
        }
        changed = true;
        columns.push(call(TIGHT, vec![column])?.alias_qualified(qualifier.cloned(), field.name()));
    }
    Ok(Transformed::new_transformed(columns, changed))
}

impl Tightening {
    /// `expr` with all comparisons inside it as they should be.
    pub(super) fn value(&self, expr: Expr, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
        expr.transform_up(|expr| self.one(expr, scope))
    }

    /// The same, as something that is compared.
    pub(super) fn compared(&self, expr: Expr, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
        self.value(expr, scope)?.transform_data(|expr| tight(expr, scope))
    }

    /// One expression whose parts are as they should be.
    fn one(&self, expr: Expr, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
        let both = |one: Box<Expr>, other: Box<Expr>| -> Result<(Box<Expr>, Box<Expr>, bool)> {
            let (one, other) = (tight(*one, scope)?, tight(*other, scope)?);
            let changed = one.transformed || other.transformed;
            Ok((Box::new(one.data), Box::new(other.data), changed))
        };
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
                let (left, right, changed) = both(left, right)?;
                Ok(Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let expr = tight(*expr, scope)?;
                let (low, high, changed) = both(low, high)?;
                let between = Between { expr: Box::new(expr.data), negated, low, high };
                Ok(Transformed::new_transformed(Expr::Between(between), changed || expr.transformed))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let (expr, list) = (tight(*expr, scope)?, tight_all(list, scope)?);
                let changed = expr.transformed || list.transformed;
                Ok(Transformed::new_transformed(Expr::InList(InList::new(Box::new(expr.data), list.data, negated)), changed))
            }
            Expr::Case(case) if case.expr.is_some() => case_of(case, scope),
            Expr::ScalarFunction(call) => function(call, scope),
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let (expr, subquery) = (tight(*expr, scope)?, self.column(subquery, scope)?);
                let changed = expr.transformed || subquery.transformed;
                let looked_up = InSubquery::new(Box::new(expr.data), subquery.data, negated);
                Ok(Transformed::new_transformed(Expr::InSubquery(looked_up), changed))
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let (expr, subquery) = (tight(*expr, scope)?, self.column(subquery, scope)?);
                let changed = expr.transformed || subquery.transformed;
                let compared = SetComparison::new(Box::new(expr.data), subquery.data, op, quantifier);
                Ok(Transformed::new_transformed(Expr::SetComparison(compared), changed))
            }
            Expr::ScalarSubquery(subquery) => Ok(self.rows(subquery, scope)?.update_data(Expr::ScalarSubquery)),
            Expr::Exists(mut exists) => {
                let subquery = self.rows(exists.subquery, scope)?;
                exists.subquery = subquery.data;
                Ok(Transformed::new_transformed(Expr::Exists(exists), subquery.transformed))
            }
            Expr::AggregateFunction(call) => aggregate(call, scope),
            Expr::WindowFunction(call) => window(*call, scope),
            other => Ok(untouched(other)),
        }
    }

    /// A subquery whose one column is compared.
    fn column(&self, subquery: Subquery, scope: &Scope<'_>) -> Result<Transformed<Subquery>> {
        let compared = self.plan(Arc::unwrap_or_clone(subquery.subquery), Some(scope))?;
        let schema = Arc::clone(compared.plan.schema());
        let columns = tight_columns(&Scope { schema: &schema, tight: &compared.tight, outer: None })?;
        let changed = compared.changed || columns.transformed;
        let plan = match columns.transformed {
            true => LogicalPlan::Projection(Projection::try_new(columns.data, Arc::new(compared.plan))?),
            false => compared.plan,
        };
        Ok(Transformed::new_transformed(Subquery { subquery: Arc::new(plan), ..subquery }, changed))
    }

    fn rows(&self, subquery: Subquery, scope: &Scope<'_>) -> Result<Transformed<Subquery>> {
        let compared = self.plan(Arc::unwrap_or_clone(subquery.subquery), Some(scope))?;
        Ok(Transformed::new_transformed(Subquery { subquery: Arc::new(compared.plan), ..subquery }, compared.changed))
    }
}

/// Expressions that compare no strings. No wildcard: what the engine adds must be decided on.
fn untouched(expr: Expr) -> Transformed<Expr> {
    #[expect(deprecated, reason = "the wildcard is still a variant")]
    match &expr {
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::ScalarVariable(..)
        | Expr::Literal(..)
        | Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::ScalarFunction(_)
        | Expr::AggregateFunction(_)
        | Expr::WindowFunction(_)
        | Expr::InList(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::ScalarSubquery(_)
        | Expr::Wildcard { .. }
        | Expr::GroupingSet(_)
        | Expr::Placeholder(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Unnest(_)
        | Expr::HigherOrderFunction(_)
        | Expr::Lambda(_)
        | Expr::LambdaVariable(_) => {}
    }
    Transformed::no(expr)
}

/// CASE x WHEN y.
fn case_of(case: Case, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
    let Case { expr, when_then_expr, else_expr } = case;
    let mut changed = false;
    let mut side = |expr: Expr| -> Result<Box<Expr>> {
        let one = tight(expr, scope)?;
        changed |= one.transformed;
        Ok(Box::new(one.data))
    };
    let expr = expr.map(|expr| side(*expr)).transpose()?;
    let mut pairs = Vec::with_capacity(when_then_expr.len());
    for (when, then) in when_then_expr {
        pairs.push((side(*when)?, then));
    }
    Ok(Transformed::new_transformed(Expr::Case(Case::new(expr, pairs, else_expr)), changed))
}

/// Functions that compare their arguments.
fn function(function: ScalarFunction, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
    let may_have_blanks = |expr: &Expr| scope.is_text(expr) && !scope.is_tight(expr);
    match (function.name(), function.args.as_slice()) {
        ("nullif", [value, other]) if may_have_blanks(value) || may_have_blanks(other) => {
            let data_type = value.get_type(scope.schema)?;
            let same = tight(value.clone(), scope)?.data.eq(tight(other.clone(), scope)?.data);
            let null = Expr::Literal(ScalarValue::try_new_null(&data_type)?, None);
            let case = Case::new(None, vec![(Box::new(same), Box::new(null))], Some(Box::new(value.clone())));
            Ok(Transformed::yes(Expr::Case(case)))
        }
        ("greatest" | "least", arguments) if arguments.iter().any(may_have_blanks) => {
            let data_type = arguments.first().map(|first| first.get_type(scope.schema)).transpose()?;
            let keys = arguments
                .iter()
                .map(|argument| call(BLANK_KEY, vec![as_view(argument.clone(), scope)]))
                .collect::<Result<_>>()?;
            let found = Expr::ScalarFunction(ScalarFunction { func: function.func, args: keys });
            Ok(Transformed::yes(of_key(found, &data_type.unwrap_or(DataType::Utf8View))?))
        }
        _ => Ok(Transformed::no(Expr::ScalarFunction(function))),
    }
}

fn as_view(expr: Expr, scope: &Scope<'_>) -> Expr {
    if expr.get_type(scope.schema).is_ok_and(|data_type| data_type == DataType::BinaryView) {
        return expr;
    }
    Expr::Cast(Cast::new(Box::new(expr), DataType::Utf8View))
}

/// The string of a key, of the type that is expected.
pub(super) fn of_key(key: Expr, data_type: &DataType) -> Result<Expr> {
    let value = call(BLANK_VALUE, vec![key])?;
    Ok(if matches!(data_type, DataType::Utf8View | DataType::BinaryView) {
        value
    } else {
        Expr::Cast(Cast::new(Box::new(value), data_type.clone()))
    })
}

/// The arguments of an aggregate that compares them. MIN and MAX show what they find: they compare keys that bring the blanks along.
fn arguments(name: &str, distinct: bool, mut arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Transformed<Vec<Expr>>> {
    let Some(first) = arguments.first() else { return Ok(Transformed::no(arguments)) };
    if matches!(name, "min" | "max") {
        if !scope.is_text(first) || scope.is_tight(first) {
            return Ok(Transformed::no(arguments));
        }
        return Ok(Transformed::yes(vec![call(BLANK_KEY, vec![as_view(arguments.swap_remove(0), scope)])?]));
    }
    if name == "count" && distinct {
        return tight_all(arguments, scope);
    }
    if !distinct && name != "approx_distinct" {
        return Ok(Transformed::no(arguments));
    }
    // What follows is no value: the separator of LISTAGG.
    let rest = arguments.split_off(1);
    let mut compared = tight_all(arguments, scope)?;
    compared.data.extend(rest);
    Ok(compared)
}

/// Whether an aggregate or window function answers with a key of [`arguments`].
pub(super) fn is_keyed(expr: &Expr) -> bool {
    let (name, arguments) = match expr {
        Expr::Alias(alias) => return is_keyed(&alias.expr),
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => (call.fun.name(), &call.params.args),
        _ => return false,
    };
    let is_key = |argument: &Expr| matches!(argument, Expr::ScalarFunction(call) if call.name() == BLANK_KEY);
    matches!(name, "min" | "max") && arguments.iter().all(is_key)
}

fn aggregate(mut call: AggregateFunction, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
    let params = &mut call.params;
    let args = arguments(call.func.name(), params.distinct, std::mem::take(&mut params.args), scope)?;
    let order = sorted(std::mem::take(&mut params.order_by), scope)?;
    (params.args, params.order_by) = (args.data, order.data);
    Ok(Transformed::new_transformed(Expr::AggregateFunction(call), args.transformed || order.transformed))
}

fn window(mut call: WindowFunction, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
    let params = &mut call.params;
    let args = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            arguments(function.name(), params.distinct, std::mem::take(&mut params.args), scope)?
        }
        WindowFunctionDefinition::WindowUDF(_) => Transformed::no(std::mem::take(&mut params.args)),
    };
    let partitions = tight_all(std::mem::take(&mut params.partition_by), scope)?;
    let order = sorted(std::mem::take(&mut params.order_by), scope)?;
    let changed = args.transformed || partitions.transformed || order.transformed;
    (params.args, params.partition_by, params.order_by) = (args.data, partitions.data, order.data);
    Ok(Transformed::new_transformed(Expr::WindowFunction(Box::new(call)), changed))
}

fn sorted(sorts: Vec<SortExpr>, scope: &Scope<'_>) -> Result<Transformed<Vec<SortExpr>>> {
    let mut changed = false;
    let mut all = Vec::with_capacity(sorts.len());
    for sort in sorts {
        let key = tight(sort.expr, scope)?;
        changed |= key.transformed;
        all.push(SortExpr { expr: key.data, ..sort });
    }
    Ok(Transformed::new_transformed(all, changed))
}
