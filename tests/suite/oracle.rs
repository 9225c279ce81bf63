//! The oracle: single-process DataFusion over the same rows in memory, asked with the same SQL.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::MemTable;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::prelude::{SessionConfig, SessionContext};
use slipher_common::functions::arithmetic_function;
use slipher_common::numeric::{Operation, computation};
use std::sync::Arc;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Rows as text, NULL as `None`; floats in Rust's shortest form, booleans as `t` and `f`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Single-process DataFusion.
pub struct Oracle {
    context: SessionContext,
}

/// Computes with Slipher's functions, which have unit tests of their own: the engine's decimals have other scales.
#[derive(Debug)]
struct Arithmetic(Vec<Arc<ScalarUDF>>);

impl ExprPlanner for Arithmetic {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        let operation = Operation::ALL.into_iter().find(|operation| operation.symbol() == raw.op.to_string());
        let (left, right) = (raw.left.get_type(schema)?, raw.right.get_type(schema)?);
        let Some(operation) = operation.filter(|operation| computation(*operation, &left, &right).is_some()) else {
            return Ok(PlannerResult::Original(raw));
        };
        let function = self.0.iter().find(|function| function.name() == arithmetic_function(operation)).expect("its function");
        let call = ScalarFunction::new_udf(Arc::clone(function), vec![raw.left, raw.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// What a query answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its rows, in order.
    pub rows: Rows,
    /// Which columns hold floats.
    pub floats: Vec<bool>,
}

impl Oracle {
    /// Without tables. One partition: the plainest plans there are.
    pub fn new() -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1);
        // As Slipher reads them.
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        let mut context = SessionContext::new_with_config(config);
        for function in slipher_common::aggregates::all() {
            context.register_udaf(function.as_ref().clone());
        }
        let functions = slipher_common::functions::all();
        context.register_expr_planner(Arc::new(Arithmetic(functions))).expect("registering a planner");
        Self { context }
    }

    /// Adds a table.
    pub fn add(&self, name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) {
        let table = MemTable::try_new(schema, vec![batches]).expect("a table in memory");
        self.context.register_table(name, Arc::new(table)).expect("registering a table");
    }

    /// The answer of a query.
    pub async fn ask(&self, sql: &str) -> Result<Answer, DataFusionError> {
        let frame = self.context.sql(sql).await?;
        let floats = frame.schema().fields().iter().map(|field| is_float(field.data_type())).collect();
        let mut rows = Vec::new();
        for batch in frame.collect().await? {
            append(&batch, &mut rows)?;
        }
        Ok(Answer { rows, floats })
    }
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

fn append(batch: &RecordBatch, rows: &mut Rows) -> Result<(), DataFusionError> {
    let options = FormatOptions::default();
    let formatters =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let cells = batch.columns().iter().zip(&formatters).map(|(column, formatter)| {
            (!column.is_null(row)).then(|| {
                let text = formatter.value(row).to_string();
                match column.data_type() {
                    DataType::Boolean => text[..1].to_owned(),
                    other if is_float(other) => canonical_float(&text),
                    _ => text,
                }
            })
        });
        rows.push(cells.collect());
    }
    Ok(())
}

fn canonical_float(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(value) => format!("{value:?}"),
        Err(_) => text.to_owned(),
    }
}

/// The rows that Slipher answers, in the oracle's form. `floats` as the oracle has them.
pub async fn ask_slipher(client: &Client, sql: &str, floats: &[bool]) -> Result<Rows, tokio_postgres::Error> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let cell = |index: usize| {
                let text = row.get(index)?;
                Some(if floats.get(index) == Some(&true) { canonical_float(text) } else { text.to_owned() })
            };
            rows.push((0..row.len()).map(cell).collect());
        }
    }
    Ok(rows)
}

/// `None` if both hold the same rows as often, whatever their order; else what differs.
pub fn difference(expected: &Answer, actual: &Rows) -> Option<String> {
    let (mut expected, mut actual) = (expected.rows.clone(), actual.clone());
    expected.sort();
    actual.sort();
    if expected == actual {
        return None;
    }
    let missing = without(&expected, &actual);
    let extra = without(&actual, &expected);
    let some = |rows: &[Vec<Option<String>>]| rows.iter().take(5).map(|row| format!("    {row:?}\n")).collect::<String>();
    Some(format!(
        "{} rows instead of {}\n  {} missing:\n{}  {} too many:\n{}",
        actual.len(),
        expected.len(),
        missing.len(),
        some(&missing),
        extra.len(),
        some(&extra)
    ))
}

/// The rows of the sorted `left` that the sorted `right` has not, or not as often.
fn without(left: &Rows, right: &Rows) -> Rows {
    let mut right = right.iter().peekable();
    let mut kept = Vec::new();
    for row in left {
        while right.next_if(|other| *other < row).is_some() {}
        if right.next_if(|other| *other == row).is_none() {
            kept.push(row.clone());
        }
    }
    kept
}

#[test]
fn a_difference_counts_duplicates() {
    let row = |text: &str| vec![Some(text.to_owned())];
    let expected = Answer { rows: vec![row("a"), row("b"), row("b")], floats: vec![false] };
    assert_eq!(difference(&expected, &vec![row("b"), row("a"), row("b")]), None);
    assert!(difference(&expected, &vec![row("a"), row("b")]).is_some_and(|text| text.contains("1 missing")));
    assert!(difference(&expected, &vec![row("a"), row("a"), row("b"), row("b")]).is_some_and(|text| text.contains("1 too many")));
}
