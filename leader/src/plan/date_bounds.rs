//! A date that is compared with a moment is compared with a day: what is stored can be pruned by that, and needs no cast per row.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use slipher_common::time_units::MICROS_PER_DAY;

/// `CAST(date AS timestamp) < moment` becomes `date < day`, or `<=`.
#[derive(Debug)]
pub(crate) struct DateBounds;

impl OptimizerRule for DateBounds {
    fn name(&self) -> &str {
        "date_bounds"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        plan.map_expressions(|expr| expr.transform_up(|expr| Ok(compared_by_day(expr, &schema))))
    }
}

fn compared_by_day(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(binary) = &expr else { return Transformed::no(expr) };
    let by_day = match (date_of(&binary.left, schema), date_of(&binary.right, schema)) {
        (Some(date), None) => bound(date, binary.op, &binary.right),
        (None, Some(date)) => binary.op.swap().and_then(|op| bound(date, op, &binary.left)),
        _ => None,
    };
    by_day.map_or(Transformed::no(expr), Transformed::yes)
}

/// The date that is made a moment.
fn date_of<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<&'a Expr> {
    let Expr::Cast(cast) = expr else { return None };
    let moment = matches!(cast.field.data_type(), DataType::Timestamp(..));
    (moment && cast.expr.get_type(schema).is_ok_and(|source| source == DataType::Date32)).then_some(cast.expr.as_ref())
}

fn bound(date: &Expr, op: Operator, moment: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), _), _) = moment else { return None };
    let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
    let midnight = micros.rem_euclid(MICROS_PER_DAY) == 0;
    let op = match op {
        Operator::Lt if !midnight => Operator::LtEq,
        Operator::GtEq if !midnight => Operator::Gt,
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => op,
        Operator::Eq | Operator::NotEq if midnight => op,
        _ => return None,
    };
    let day = Expr::Literal(ScalarValue::Date32(Some(days)), None);
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(date.clone()), op, Box::new(day))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::col;

    #[test]
    fn days_bound_what_moments_bound() {
        let noon = MICROS_PER_DAY * 10 + MICROS_PER_DAY / 2;
        let shown = |op: Operator, micros: i64| {
            let moment = Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), None), None);
            match bound(&col("d"), op, &moment) {
                Some(Expr::BinaryExpr(binary)) => Some(binary.op),
                _ => None,
            }
        };
        use Operator::{Eq, Gt, GtEq, Lt, LtEq};
        let at_midnight = [Lt, LtEq, Gt, GtEq, Eq].map(|op| shown(op, MICROS_PER_DAY * 10));
        assert_eq!(at_midnight, [Some(Lt), Some(LtEq), Some(Gt), Some(GtEq), Some(Eq)]);
        assert_eq!([Lt, LtEq, Gt, GtEq, Eq].map(|op| shown(op, noon)), [Some(LtEq), Some(LtEq), Some(Gt), Some(Gt), None]);
    }
}
