//! Strings are bounded where they are made.

use super::{call, is_text, type_of};
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};
use slipher_common::functions::CONCAT;

/// `a || b || c` becomes one call, however long the chain is: its types are not worked out anew for each link.
pub(super) fn concat(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    if let Expr::ScalarFunction(mut chain) = *left {
        if chain.name() == CONCAT {
            chain.args.push(*right);
            return Ok(Transformed::yes(Expr::ScalarFunction(chain)));
        }
        return joined(Expr::ScalarFunction(chain), op, *right, schema);
    }
    joined(*left, op, *right, schema)
}

fn joined(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is = |expr: &Expr| type_of(expr, schema).is_some_and(|known| is_text(&known) || known == DataType::Null);
    // NULL || NULL is a string, too.
    if is(&left) || is(&right) {
        return call(CONCAT, vec![left, right]);
    }
    // Lists, or an error that names the types.
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
}
