//! What the session's time zone and clock mean in expressions: casts and functions of timestamps with time zone get the zone as an argument,
//! since compute nodes know nothing of sessions, and texts that ask for the time (`now`, `today`) become it.
//!
//! The analyzer's very last rule: it looks at casts that all others have left. What it makes it does not look at again.

use super::semantics::{call, is_text};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;
use slipher_common::SqlType;
use slipher_common::assign::{UTC, Zone, special_moment};
use slipher_common::functions::{IN_ZONE, MINUS_IN, PLUS_IN, text_parser, zoned_form};
use slipher_common::time_units::MICROS_PER_DAY;
use std::sync::Arc;

/// Gives expressions the session's zone.
#[derive(Debug)]
pub(crate) struct InZone {
    /// None: UTC, which functions mean without a word.
    pub(crate) zone: Option<Arc<Zone>>,
    /// When the block began, in microseconds since 1970.
    pub(crate) now_micros: i64,
}

/// Whether a literal is another moment each time, where a date or a timestamp is read of it.
pub(crate) fn asks_for_the_time(literal: &ScalarValue) -> bool {
    literal.try_as_str().flatten().is_some_and(|text| special_moment(text, 0, None).is_some())
}

/// The text that an expression is, whatever kind of text it was made.
fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        Expr::Cast(cast) if is_text(cast.field.data_type()) => literal_text(&cast.expr),
        _ => None,
    }
}

impl AnalyzerRule for InZone {
    fn name(&self) -> &str {
        "in_zone"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut changed = false;
        Ok(plan.transform_up_with_subqueries(|plan| self.rewrite_plan(plan, &mut changed))?.data)
    }
}

impl InZone {
    fn rewrite_plan(&self, plan: LogicalPlan, changed_below: &mut bool) -> Result<Transformed<LogicalPlan>> {
        let mut may_change = *changed_below;
        plan.apply_expressions(|expr| {
            may_change |= self.may_change(expr)?;
            Ok(if may_change { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !may_change {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| self.rewrite(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        if !rewritten.transformed && !*changed_below {
            return Ok(rewritten);
        }
        *changed_below = true;
        Ok(Transformed::yes(rewritten.data.recompute_schema()?))
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(function) => self.function(function, schema),
            Expr::Cast(cast) => self.cast(cast, schema),
            Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Plus | Operator::Minus) => self.sum(binary, schema),
            other => Ok(Transformed::no(other)),
        }
    }

    fn function(&self, function: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
        if let Some(moment) = self.moment(&function) {
            return Ok(Transformed::yes(Expr::Literal(moment, None)));
        }
        let Some(zone) = &self.zone else { return Ok(Transformed::no(Expr::ScalarFunction(function))) };
        let types: Vec<DataType> = function.args.iter().filter_map(|argument| argument.get_type(schema).ok()).collect();
        match zoned_form(function.name(), &types) {
            Some(form) => call(form, std::iter::once(lit(zone.name())).chain(function.args).collect()),
            None => Ok(Transformed::no(Expr::ScalarFunction(function))),
        }
    }

    /// The date or moment that a reader of text finds in a word.
    fn moment(&self, function: &ScalarFunction) -> Option<ScalarValue> {
        let [only] = function.args.as_slice() else { return None };
        let text = literal_text(only)?;
        let local = special_moment(text, self.now_micros, self.zone.as_deref())?;
        let reads = |sql_type: SqlType| text_parser(&sql_type.to_arrow()) == Some(function.name());
        if reads(SqlType::Date) {
            Some(ScalarValue::Date32(i32::try_from(local.div_euclid(MICROS_PER_DAY)).ok()))
        } else if reads(SqlType::Timestamp) {
            Some(ScalarValue::TimestampMicrosecond(Some(local), None))
        } else if reads(SqlType::TimestampTz) {
            let instant = match text.trim().to_ascii_lowercase().as_str() {
                "now" => Some(self.now_micros),
                "epoch" => Some(0),
                _ => self.zone.as_ref().map_or(Some(local), |zone| zone.to_instant(local)),
            };
            Some(ScalarValue::TimestampMicrosecond(instant, Some(Arc::from(UTC))))
        } else {
            None
        }
    }

    /// Between instants and wall clocks.
    fn cast(&self, cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let Some(zone) = &self.zone else { return Ok(Transformed::no(Expr::Cast(cast))) };
        let (Ok(source), target) = (cast.expr.get_type(schema), cast.field.data_type()) else {
            return Ok(Transformed::no(Expr::Cast(cast)));
        };
        let in_zone = |expr: Expr| call(IN_ZONE, vec![lit(zone.name()), expr]);
        let as_type = |expr: Expr, target: &DataType| Expr::Cast(Cast::new(Box::new(expr), target.clone()));
        let wall_clock = DataType::Timestamp(TimeUnit::Microsecond, None);
        match (&source, target) {
            (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, None))
            | (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_))) => in_zone(*cast.expr),
            (DataType::Date32, DataType::Timestamp(_, Some(_))) => in_zone(as_type(*cast.expr, &wall_clock)),
            (DataType::Timestamp(_, Some(_)), DataType::Date32 | DataType::Time64(_)) => {
                let target = target.clone();
                Ok(in_zone(*cast.expr)?.update_data(|local| as_type(local, &target)))
            }
            _ => Ok(Transformed::no(Expr::Cast(cast))),
        }
    }

    /// An instant and an interval: days and months are those of the zone's calendar.
    fn sum(&self, binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let Some(zone) = &self.zone else { return Ok(Transformed::no(Expr::BinaryExpr(binary))) };
        let is_instant = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Timestamp(_, Some(_))));
        let is_interval = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Interval(_)));
        let BinaryExpr { left, op, right } = binary;
        if is_instant(&left) && is_interval(&right) {
            let form = if op == Operator::Plus { PLUS_IN } else { MINUS_IN };
            return call(form, vec![lit(zone.name()), *left, *right]);
        }
        if op == Operator::Plus && is_interval(&left) && is_instant(&right) {
            return call(PLUS_IN, vec![lit(zone.name()), *right, *left]);
        }
        Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr::new(left, op, right))))
    }

    /// Whether an expression may be one that changes: in UTC, only one with a word for the time.
    fn may_change(&self, expr: &Expr) -> Result<bool> {
        if self.zone.is_some() {
            return Ok(true);
        }
        expr.exists(|part| Ok(matches!(part, Expr::Literal(value, _) if asks_for_the_time(value))))
    }
}
