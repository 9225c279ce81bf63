//! Window functions.

use super::numbers::is_sum_of_integers;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, WindowFunctionDefinition};
use slipher_common::aggregates::sum_of_integers;

pub(super) fn checked_window(mut call: Box<WindowFunction>, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => is_sum_of_integers(function, &call.params.args, schema),
        WindowFunctionDefinition::WindowUDF(_) => false,
    };
    if changed {
        call.fun = WindowFunctionDefinition::AggregateUDF(sum_of_integers());
    }
    Transformed::new_transformed(Expr::WindowFunction(call), changed)
}
