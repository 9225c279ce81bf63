//! What binding has to know of functions.

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{Expr, Function, Visit, Visitor};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

/// Names of aggregates: the engine's, some of which have our own in their place, and one that only we have.
static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_aggregate_functions();
    let names = functions
        .iter()
        .flat_map(|function| std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)));
    names.chain([slipher_common::list_agg::LIST_AGG, slipher_common::aggregates::PERCENTILE_DISC]).map(str::to_owned).collect()
});

/// Names of functions that answer something else each time.
static VOLATILE: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_scalar_functions();
    let volatile = functions.iter().filter(|function| function.signature().volatility == Volatility::Volatile);
    let names =
        volatile.flat_map(|function| std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)));
    names.map(str::to_owned).collect()
});

fn name_of(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [only] => only.as_ident().map(slipher_sql::names::folded),
        _ => None,
    }
}

/// Whether an expression is an aggregate, and none over a window.
pub(super) fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => function.over.is_none() && name_of(function).is_some_and(|name| AGGREGATES.contains(&name)),
        _ => false,
    }
}

/// Whether a query or an expression calls a function that answers something else each time.
pub(super) fn calls_volatile<T: Visit>(piece: &T) -> bool {
    struct Calls;
    impl Visitor for Calls {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if name_of(function).is_some_and(|name| VOLATILE.contains(&name)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    piece.visit(&mut Calls).is_break()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_all_their_names() {
        assert!(["sum", "count", "mean", "listagg", "stddev_samp", "median"].iter().all(|name| AGGREGATES.contains(*name)));
        assert!(VOLATILE.contains("random") && !VOLATILE.contains("abs"));
    }
}
