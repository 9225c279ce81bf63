//! VAR_SAMP (VARIANCE), VAR_POP, STDDEV_SAMP, STDDEV_POP. The engine's are taken but for frames that move: there it subtracts what leaves. What does
//! not fit into a float is an error.

use super::overflow::{Bounded, BoundedGroups};
use super::sliding::{Frame, Kept, Moments};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature};
use std::collections::HashSet;
use std::sync::Arc;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Sample,
    Population,
    SampleRoot,
    PopulationRoot,
}

impl Of {
    /// What it is of values that are taken together.
    fn formula(self) -> fn(Moments, usize) -> Option<f64> {
        match self {
            Self::Sample => sample,
            Self::Population => population,
            Self::SampleRoot => |kept, count| sample(kept, count).map(f64::sqrt),
            Self::PopulationRoot => |kept, count| population(kept, count).map(f64::sqrt),
        }
    }
}

/// Each value once, as its bits: floats have one NaN and one zero.
#[derive(Debug)]
struct DistinctValues {
    of: Of,
    values: HashSet<u64>,
}

impl DistinctValues {
    fn add(&mut self, values: &ArrayRef) {
        if let Some(values) = values.as_primitive_opt::<Float64Type>() {
            self.values.extend(values.iter().flatten().map(f64::to_bits));
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.values.iter().copied().map(f64::from_bits).collect();
        // One answer, in whatever order rows came.
        values.sort_by(f64::total_cmp);
        values
    }
}

impl Accumulator for DistinctValues {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.iter().take(1).for_each(|values| self.add(values));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if let Some(lists) = states.first().and_then(|states| states.as_list_opt::<i32>()) {
            (0..lists.len()).filter(|row| lists.is_valid(*row)).for_each(|row| self.add(&lists.value(row)));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: ArrayRef = Arc::new(Float64Array::from(self.sorted()));
        Ok(vec![SingleRowListArrayBuilder::new(values).with_nullable(true).build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.sorted();
        let together = values.iter().copied().map(Moments::of).reduce(Moments::with);
        Ok(ScalarValue::Float64(together.and_then(|kept| self.of.formula()(kept, values.len()))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<u64>()
    }
}

/// One of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Spread {
    of: Of,
    engine: Arc<AggregateUDF>,
    aliases: Vec<String>,
}

pub(super) fn all() -> [Arc<AggregateUDF>; 4] {
    [
        (Of::Sample, var_samp_udaf(), Some("variance")),
        (Of::Population, var_pop_udaf(), None),
        (Of::SampleRoot, stddev_udaf(), None),
        (Of::PopulationRoot, stddev_pop_udaf(), None),
    ]
    .map(|(of, engine, alias)| {
        let aliases = engine.aliases().iter().cloned().chain(alias.map(str::to_owned)).collect();
        Arc::new(AggregateUDF::from(Spread { of, engine, aliases }))
    })
}

fn sample(kept: Moments, count: usize) -> Option<f64> {
    (count > 1).then(|| kept.squares / (kept.count - 1.0))
}

fn population(kept: Moments, _count: usize) -> Option<f64> {
    Some(kept.squares / kept.count)
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct {
            return Ok(Box::new(DistinctValues { of: self.of, values: HashSet::new() }));
        }
        Ok(Box::new(Bounded::new(self.engine.accumulator(arguments)?)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if arguments.is_distinct {
            let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
            return Ok(vec![Arc::new(Field::new(format!("{}[values]", arguments.name), list, true))]);
        }
        self.engine.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !arguments.is_distinct && self.engine.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(BoundedGroups::new(self.engine.create_groups_accumulator(arguments)?)))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct {
            return self.engine.create_sliding_accumulator(arguments);
        }
        Ok(Box::new(Frame::new(self.of.formula())))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.engine.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.engine.reverse_udf()
    }
}
