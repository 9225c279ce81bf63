//! Window functions: what a call means is in its function and its arguments alone, as only those travel to compute nodes.

use super::numbers::is_sum_of_integers;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, NullTreatment, WindowFunction};
use datafusion::logical_expr::{Expr, WindowFunctionDefinition};
use slipher_common::aggregates::sum_of_integers;
use slipher_common::functions::ignoring_nulls;
use slipher_common::{Error, ErrorKind};

/// The aggregates that leave NULLs out: a row that FILTER drops is the same to them as a row with NULL.
const LEAVE_NULLS_OUT: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "max",
    "median",
    "min",
    "slipher_sum",
    "stddev",
    "stddev_pop",
    "string_agg",
    "sum",
    "var",
    "var_pop",
];

pub(super) fn checked_window(call: Box<WindowFunction>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let nulls = null_treatment(call)?;
    let filter = filter_in_argument(nulls.data)?;
    let mut call = filter.data;
    let sum = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => is_sum_of_integers(function, &call.params.args, schema),
        WindowFunctionDefinition::WindowUDF(_) => false,
    };
    if sum {
        call.fun = WindowFunctionDefinition::AggregateUDF(sum_of_integers());
    }
    let changed = nulls.transformed || filter.transformed || sum;
    Ok(Transformed::new_transformed(Expr::WindowFunction(call), changed))
}

/// With IGNORE NULLS a function is another one.
fn null_treatment(mut call: Box<WindowFunction>) -> Result<Transformed<Box<WindowFunction>>> {
    let Some(treatment) = call.params.null_treatment.take() else { return Ok(Transformed::no(call)) };
    let other = match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => ignoring_nulls(function.name()),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    };
    match (other, treatment) {
        (Some(other), NullTreatment::IgnoreNulls) => call.fun = WindowFunctionDefinition::WindowUDF(other),
        (Some(_), NullTreatment::RespectNulls) => {}
        (None, _) => {
            let message = format!("function \"{}\" does not accept IGNORE NULLS or RESPECT NULLS", call.fun.name());
            let hint = "LAG, LEAD, FIRST_VALUE, LAST_VALUE and NTH_VALUE do; aggregates leave NULLs out as they are";
            return Err(Error::new(ErrorKind::NotSupported, message).with_hint(hint).into());
        }
    }
    Ok(Transformed::yes(call))
}

/// `f(x) FILTER (WHERE c)` is `f(CASE WHEN c THEN x END)`.
fn filter_in_argument(mut call: Box<WindowFunction>) -> Result<Transformed<Box<WindowFunction>>> {
    let Some(condition) = call.params.filter.take() else { return Ok(Transformed::no(call)) };
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else {
        let message = format!("FILTER specified, but function \"{}\" is not an aggregate function", call.fun.name());
        let hint = "leave FILTER out, or filter in a subquery that the window is computed over";
        return Err(Error::new(ErrorKind::NotSupported, message).with_hint(hint).into());
    };
    if !LEAVE_NULLS_OUT.contains(&function.name()) {
        let what = format!("FILTER of the window function \"{}\"", function.name());
        return Err(Error::not_supported(what, "filter in a subquery that the window is computed over").into());
    }
    let value = call.params.args.first().cloned().unwrap_or_else(|| Expr::Literal(ScalarValue::Int64(Some(1)), None));
    let chosen = Expr::Case(Case::new(None, vec![(condition, Box::new(value))], None));
    match call.params.args.first_mut() {
        Some(first) => *first = chosen,
        None => call.params.args.push(chosen),
    }
    Ok(Transformed::yes(call))
}
