//! Window functions.

use super::numbers::is_sum;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, WindowFunctionDefinition};
use slipher_common::checked_sum::checked_sum_udaf;

pub(super) fn checked_window(mut call: Box<WindowFunction>, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => is_sum(function, call.params.distinct, &call.params.args, schema),
        WindowFunctionDefinition::WindowUDF(_) => false,
    };
    if changed {
        call.fun = WindowFunctionDefinition::AggregateUDF(checked_sum_udaf());
    }
    Transformed::new_transformed(Expr::WindowFunction(call), changed)
}
