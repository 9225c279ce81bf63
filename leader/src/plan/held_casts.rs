//! Casts that lose something are kept from the engine's estimates.
//!
//! It takes the bounds of a column through a cast and back again, finds more values between them than there were, and fails ("Selectivity
//! is out of limit", DataFusion 55.2): `moment::date >= day` lets midnight pass, where the first moment is at ten. So a filter tests the value
//! of such a cast as something unknown. Our own estimates and the pruning of segments see through it.

use super::held::hold;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use slipher_common::functions::{HELD, HELD_FROM_ESTIMATES};

/// The rule. It runs after those that take casts out of comparisons.
#[derive(Debug)]
pub(super) struct HeldCasts;

impl OptimizerRule for HeldCasts {
    fn name(&self) -> &str {
        "held_casts"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = &plan else { return Ok(Transformed::no(plan)) };
        let schema = input.schema();
        if !predicate.exists(|expr| Ok(matches!(expr, Expr::Cast(_))))? {
            return Ok(Transformed::no(plan));
        }
        let held = predicate.clone().transform_down(|expr| match &expr {
            Expr::Cast(Cast { expr: inner, field }) if !keeps_all(&inner.get_type(schema)?, field.data_type()) => {
                Ok(Transformed::new(hold(expr, Some(HELD_FROM_ESTIMATES)), true, TreeNodeRecursion::Jump))
            }
            Expr::ScalarFunction(call) if call.name() == HELD => Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump)),
            _ => Ok(Transformed::no(expr)),
        })?;
        if !held.transformed {
            return Ok(Transformed::no(plan));
        }
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(held.data, input.clone())?)))
    }
}

/// Whether different values stay different and in order, and come back as they were.
fn keeps_all(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float32, Float64, Timestamp};
    let bytes = |data_type: &DataType| data_type.primitive_width().unwrap_or(usize::MAX);
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => bytes(from) <= bytes(to),
        (from, Float64) if from.is_signed_integer() => bytes(from) <= 4,
        (from, Decimal128(precision, scale)) if from.is_signed_integer() => {
            let digits = [(1, 3), (2, 5), (4, 10), (8, 19)].into_iter().find(|(width, _)| *width == bytes(from));
            digits.is_some_and(|(_, digits)| i16::from(*precision) - i16::from(*scale) >= digits)
        }
        (Decimal128(p, s), Decimal128(precision, scale)) => {
            scale >= s && i16::from(*precision) - i16::from(*scale) >= i16::from(*p) - i16::from(*s)
        }
        (Float32, Float64) | (Date32, Timestamp(..)) => true,
        // The engine estimates nothing of texts.
        (from, to) => from.is_string() || to.is_string(),
    }
}
