//! INSERT of many rows of literals: columns at once, where a plan would have an expression for each value and look at all of them in each
//! of its passes.

use crate::run::Attempt;
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int32Array, Int64Array, NullArray, RecordBatch, StringArray, StringBuilder,
};
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema};
use datafusion::catalog::MemTable;
use datafusion::common::ParamValues;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;
use slipher_common::Result;
use slipher_sql::literal_rows::{Literal, LiteralRows};
use slipher_sql::{InsertSource, InsertSpec, ValuesOf, values_query};
use std::fmt::Write;
use std::sync::Arc;

/// Rows of one batch.
const BATCH_ROWS: usize = 8_192;

/// Where the rows of an INSERT come from; `None` for DEFAULT VALUES.
pub(super) async fn source(
    attempt: &Attempt,
    spec: &InsertSpec,
    default: impl FnMut(usize) -> Result<ast::Expr>,
    columns: &[ValuesOf],
    parameters: Option<ParamValues>,
) -> Result<Option<LogicalPlan>> {
    if let InsertSource::Literals(rows) = &spec.source
        && columns.iter().all(|of| *of == ValuesOf::Others)
        && let Some(rows) = plan(attempt, rows).await?
    {
        return Ok(Some(rows));
    }
    match spec.query(columns, default)? {
        Some(query) => attempt.plan_query(&query, parameters).await.map(Some),
        None => Ok(None),
    }
}

/// The rows with the types that the same VALUES has as a query; `None` where only that can tell.
async fn plan(attempt: &Attempt, rows: &Arc<LiteralRows>) -> Result<Option<LogicalPlan>> {
    // What is wrong with them is told of all rows.
    let Ok(few) = attempt.plan_query(&values_query(rows.representatives()), None).await else { return Ok(None) };
    let types: Vec<DataType> = few.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let columns = rows.columns().iter().zip(&types).map(|(values, data_type)| column(values, data_type));
    let Some(columns) = columns.collect::<Option<Vec<ArrayRef>>>() else { return Ok(None) };
    let fields: Vec<Field> =
        types.into_iter().enumerate().map(|(index, known)| Field::new(format!("column{}", index + 1), known, true)).collect();
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let batches = (0..all.num_rows()).step_by(BATCH_ROWS);
    let batches = batches.map(|start| all.slice(start, BATCH_ROWS.min(all.num_rows() - start))).collect();
    let memory = MemTable::try_new(all.schema(), vec![batches])?;
    Ok(Some(LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(memory)), None)?.build()?))
}

/// The values as a column; `None` where one of them does not have this type by itself.
fn column(values: &[Literal], data_type: &DataType) -> Option<ArrayRef> {
    Some(match data_type {
        DataType::Null => values.iter().all(|value| *value == Literal::Null).then(|| Arc::new(NullArray::new(values.len())))?,
        DataType::Int32 => {
            let of = |value: &Literal| whole(value).and_then(|known| known.map(i32::try_from).transpose().ok());
            Arc::new(values.iter().map(of).collect::<Option<Int32Array>>()?)
        }
        DataType::Int64 => Arc::new(values.iter().map(whole).collect::<Option<Int64Array>>()?),
        DataType::Boolean => Arc::new(values.iter().map(truth).collect::<Option<BooleanArray>>()?),
        DataType::Decimal128(precision, scale) => {
            let values = values.iter().map(|value| decimal(value, *precision, *scale)).collect::<Option<Decimal128Array>>()?;
            Arc::new(values.with_precision_and_scale(*precision, *scale).ok()?)
        }
        DataType::Utf8 => Arc::new(texts(values)),
        _ => return None,
    })
}

fn whole(value: &Literal) -> Option<Option<i64>> {
    match value {
        Literal::Null => Some(None),
        Literal::Whole(value) => Some(Some(*value)),
        Literal::Number(_) | Literal::Text(_) | Literal::Truth(_) => None,
    }
}

fn truth(value: &Literal) -> Option<Option<bool>> {
    match value {
        Literal::Null => Some(None),
        Literal::Truth(value) => Some(Some(*value)),
        Literal::Whole(_) | Literal::Number(_) | Literal::Text(_) => None,
    }
}

/// A number that needs no rounding.
fn decimal(value: &Literal, precision: u8, scale: i8) -> Option<Option<i128>> {
    let written = match value {
        Literal::Null => return Some(None),
        Literal::Whole(value) => &*value.to_string(),
        Literal::Number(digits) => digits,
        Literal::Text(_) | Literal::Truth(_) => return None,
    };
    let (whole, fraction) = written.split_once('.').unwrap_or((written, ""));
    let scale_digits = usize::try_from(scale).ok()?;
    let fits =
        fraction.len() <= scale_digits && whole.trim_start_matches(['-', '0']).len() + scale_digits <= usize::from(precision);
    fits.then(|| parse_decimal::<Decimal128Type>(written, precision, scale).ok()).flatten().map(Some)
}

fn texts(values: &[Literal]) -> StringArray {
    let mut column = StringBuilder::with_capacity(values.len(), 0);
    for value in values {
        match value {
            Literal::Null => column.append_null(),
            Literal::Text(text) | Literal::Number(text) => column.append_value(text),
            Literal::Whole(value) => {
                // Writing to the column does not fail.
                let _ = write!(column, "{value}");
                column.append_value("");
            }
            Literal::Truth(value) => column.append_value(if *value { "true" } else { "false" }),
        }
    }
    // Offsets of 32 bits reach further than any text of a statement.
    column.finish()
}
