//! ROW_NUMBER, RANK and DENSE_RANK.

use arrow::array::ArrayRef;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_window::rank;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use std::ops::Range;
use std::sync::Arc;

/// A function of the engine's that numbers rows: BIGINT, while the engine counts without a sign, and what subtracts from such a number
/// or changes its sign would not find a type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Numbered {
    engine: Arc<WindowUDF>,
}

/// The functions that number rows.
pub(super) fn functions() -> [Arc<WindowUDF>; 3] {
    [row_number(), numbered(rank::rank_udwf()), numbered(rank::dense_rank_udwf())]
}

/// ROW_NUMBER.
pub fn row_number() -> Arc<WindowUDF> {
    numbered(row_number_udwf())
}

fn numbered(engine: Arc<WindowUDF>) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::new_from_impl(Numbered { engine }))
}

impl WindowUDFImpl for Numbered {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Int64, false)))
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Numbers(self.engine.partition_evaluator_factory(arguments)?)))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.engine.sort_options()
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.engine.inner().limit_effect(arguments)
    }
}

/// The engine's evaluator, with a sign.
#[derive(Debug)]
struct Numbers(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for Numbers {
    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.0.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.0.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.0.evaluate_all(values, rows)?, &DataType::Int64)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.0.evaluate(values, range)?.cast_to(&DataType::Int64)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(cast(&self.0.evaluate_all_with_rank(rows, ranks)?, &DataType::Int64)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.0.supports_bounded_execution()
    }

    fn include_rank(&self) -> bool {
        self.0.include_rank()
    }
}
