//! `slipher_member(x)`: the value that a group shows of strings that differ in trailing blanks only: the one with the fewest.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::Min;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature};
use std::sync::{Arc, LazyLock};

/// Its name.
pub const MEMBER: &str = "slipher_member";

/// The function that leaders plan and workers register.
pub fn member_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::from(Member { min: Min::new() })));
    Arc::clone(&FUNCTION)
}

/// Among such strings the one with the fewest blanks is the first by bytes. Not `min` itself: that is a comparison of strings in general.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Member {
    min: Min,
}

impl AggregateUDFImpl for Member {
    fn name(&self) -> &str {
        MEMBER
    }

    fn signature(&self) -> &Signature {
        self.min.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.min.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.min.return_type(types)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.min.accumulator(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.min.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.min.create_groups_accumulator(arguments)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
