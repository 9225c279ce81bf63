//! What the engine brings types together with, made Slipher's: text is read and written in one way, and moments have microseconds.
//! Decimals that lose digits are rounded before they are cast: the engine takes the cast off a comparison with a literal, as if each value of
//! the result came from one only (DataFusion 55.2), and `x::decimal(9, 0) = 1` would be `x = 1.0`.
//!
//! The engine's own casts go by way of nanoseconds, which end in 2262, and read and print other forms of dates. Whatever inserted a
//! cast, after this rule there is none of those.

use super::casts::{in_micros, to_float};
use super::intervals::compare_by_value;
use super::{call, is_text, reader_of};
use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection, Union, Values, lit};
use datafusion::optimizer::AnalyzerRule;
use slipher_common::functions::{ROUND_TO_WHOLE, TO_TEXT};
use std::sync::Arc;

/// The analyzer's last word on casts.
#[derive(Debug)]
pub(crate) struct CastsAreOurs;

impl AnalyzerRule for CastsAreOurs {
    fn name(&self) -> &str {
        "casts_are_ours"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        // Nodes above one that changed have another schema.
        let mut changed = false;
        Ok(plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, &mut changed))?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan, changed_below: &mut bool) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite_cast(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    let changed = rewritten.transformed;
    let by_value = compare_by_value(rewritten.data)?;
    let changed = changed || by_value.transformed;
    let rewritten = match by_value.data {
        LogicalPlan::Values(values) => rows_of_one_type(values, changed)?,
        LogicalPlan::Union(union) => branches_of_one_type(union)?,
        plan if changed || *changed_below => Transformed::new_transformed(plan.recompute_schema()?, true),
        plan => Transformed::no(plan),
    };
    *changed_below |= rewritten.transformed;
    Ok(rewritten)
}

/// Types whose text is not the engine's.
fn has_own_text(data_type: &DataType) -> bool {
    data_type.is_temporal() || matches!(data_type, DataType::Interval(_) | DataType::Float32 | DataType::Float64)
}

fn as_type(expr: Expr, own: &DataType, wanted: DataType) -> Expr {
    if *own == wanted { expr } else { Expr::Cast(Cast::new(Box::new(expr), wanted)) }
}

fn rewrite_cast(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Expr::Cast(cast) = &expr
        && let Some(rewritten) = super::supers::cast(&cast.expr, &in_micros(cast.field.data_type()), schema, false)?
    {
        return Ok(Transformed::yes(rewritten));
    }
    let cast = match expr {
        Expr::Cast(cast) => cast,
        Expr::TryCast(cast) => {
            let rounded = rounded_first(*cast.expr, cast.field.data_type(), schema)?;
            return Ok(rounded.update_data(|expr| Expr::TryCast(TryCast { expr: Box::new(expr), field: cast.field })));
        }
        other => return Ok(Transformed::no(other)),
    };
    let Ok(source) = cast.expr.get_type(schema) else { return Ok(Transformed::no(Expr::Cast(cast))) };
    let target = in_micros(cast.field.data_type());
    if is_text(&source)
        && let Some(reader) = reader_of(&target)
    {
        // Nobody brings the arguments' types together any more.
        return reader.read(as_type(*cast.expr, &source, DataType::Utf8View));
    }
    if let Some(name) = to_float(&source, &target) {
        return call(name, vec![*cast.expr]);
    }
    if is_text(&target) && has_own_text(&source) {
        let plain = in_micros(&source);
        let text = call(TO_TEXT, vec![as_type(*cast.expr, &source, plain)])?;
        return Ok(match target {
            DataType::Utf8View => text,
            other => text.update_data(|text| Expr::Cast(Cast::new(Box::new(text), other))),
        });
    }
    if target == *cast.field.data_type() {
        let rounded = rounded_first(*cast.expr, &target, schema)?;
        return Ok(rounded.update_data(|expr| Expr::Cast(Cast { expr: Box::new(expr), field: cast.field })));
    }
    // An engine's function that counts in nanoseconds still needs a cast.
    Ok(Transformed::yes(match source == target {
        true => *cast.expr,
        false => Expr::Cast(Cast::new(cast.expr, target)),
    }))
}

/// What is cast to `target`, rounded to its digits where that has fewer.
fn rounded_first(expr: Expr, target: &DataType, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_rounded = matches!(&expr, Expr::ScalarFunction(function) if function.name() == ROUND_TO_WHOLE);
    match (expr.get_type(schema), target) {
        (Ok(DataType::Decimal128(_, own)), DataType::Decimal128(_, wanted)) if *wanted < own && !is_rounded => {
            call(ROUND_TO_WHOLE, vec![expr, lit(i64::from(*wanted))])
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// VALUES has the types that the planner gave it; each cell must have its column's.
fn rows_of_one_type(values: Values, changed: bool) -> Result<Transformed<LogicalPlan>> {
    let schema = micros_schema(&values.schema)?;
    let changed = changed || !Arc::ptr_eq(&schema, &values.schema);
    let empty = DFSchema::empty();
    let cell = |(index, expr): (usize, Expr)| -> Result<Expr> {
        let wanted = schema.field(index).data_type();
        match expr.get_type(&empty) {
            Ok(own) if own != *wanted && own != DataType::Null => {
                Ok(rewrite_cast(Expr::Cast(Cast::new(Box::new(expr), wanted.clone())), &empty)?.data)
            }
            _ => Ok(expr),
        }
    };
    let rows = values.values.into_iter().map(|row| row.into_iter().enumerate().map(cell).collect::<Result<Vec<_>>>());
    let values = rows.collect::<Result<_>>()?;
    Ok(Transformed::new_transformed(LogicalPlan::Values(Values { values, schema }), changed))
}

fn micros_schema(schema: &DFSchemaRef) -> Result<DFSchemaRef> {
    if schema.fields().iter().all(|field| in_micros(field.data_type()) == *field.data_type()) {
        return Ok(Arc::clone(schema));
    }
    let field = |(qualifier, field): (Option<&datafusion::common::TableReference>, &Arc<Field>)| {
        let micros = field.as_ref().clone().with_data_type(in_micros(field.data_type()));
        (qualifier.cloned(), Arc::new(micros))
    };
    Ok(Arc::new(DFSchema::new_with_metadata(schema.iter().map(field).collect(), schema.metadata().clone())?))
}

/// The branches of UNION have the types of its schema.
fn branches_of_one_type(union: Union) -> Result<Transformed<LogicalPlan>> {
    let schema = micros_schema(&union.schema)?;
    if Arc::ptr_eq(&schema, &union.schema) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let branch = |input: Arc<LogicalPlan>| -> Result<Arc<LogicalPlan>> {
        let columns = input.schema().iter().zip(schema.fields()).map(|((qualifier, own), wanted)| {
            let column = Expr::Column(Column::from((qualifier, own)));
            match own.data_type() == wanted.data_type() {
                true => column,
                false => Expr::Cast(Cast::new(Box::new(column), wanted.data_type().clone()))
                    .alias_qualified(qualifier.cloned(), own.name()),
            }
        });
        let columns = columns.collect::<Vec<_>>();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, input)?)))
    };
    let inputs = union.inputs.into_iter().map(branch).collect::<Result<_>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema })))
}
