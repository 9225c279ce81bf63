//! MIN and MAX. The engine's are taken but for floats by groups: those it compares in a way in which NaN is neither smaller nor larger than
//! anything, so that the answer depends on the order of rows. One group alone it compares rightly: NaN is the largest.

use crate::SqlType;
use crate::sql_type::TYPE_METADATA_KEY;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The engine's MIN or MAX.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme {
    engine: Arc<AggregateUDF>,
}

impl Extreme {
    pub(super) fn new(engine: Arc<AggregateUDF>) -> Self {
        Self { engine }
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.engine.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    /// Of the argument's SQL type where that is more than the engine's: CHAR, which is shown with its blanks, and times with a zone. Numbers and
    /// other texts keep none: the engine wants all rows of VALUES to say the same of a column.
    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        let field = self.engine.return_field(arguments)?;
        let declared = arguments.first().filter(|first| first.metadata().contains_key(TYPE_METADATA_KEY));
        let declared = declared.map(|first| SqlType::of_field(first)).transpose()?;
        let Some(kept @ (SqlType::Char(_) | SqlType::TimeTz | SqlType::TimestampTz)) = declared else { return Ok(field) };
        let metadata = HashMap::from([(TYPE_METADATA_KEY.to_owned(), kept.to_string())]);
        Ok(Arc::new(field.as_ref().clone().with_metadata(metadata)))
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.engine.accumulator(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.engine.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !arguments.return_field.data_type().is_floating() && self.engine.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.engine.create_groups_accumulator(arguments)
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.engine.create_sliding_accumulator(arguments)
    }

    fn is_descending(&self) -> Option<bool> {
        self.engine.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.engine.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.engine.reverse_udf()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.engine.value_from_stats(statistics)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.engine.inner().set_monotonicity(data_type)
    }
}
