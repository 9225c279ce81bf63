//! VAR_SAMP (VARIANCE), VAR_POP, STDDEV_SAMP, STDDEV_POP. The engine's are taken but for frames that move: there it subtracts what leaves. What does
//! not fit into a float is an error.

use super::overflow::{Bounded, BoundedGroups};
use super::sliding::{Frame, Moments};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature};
use std::sync::Arc;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Sample,
    Population,
    SampleRoot,
    PopulationRoot,
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
        let distinct = arguments.is_distinct;
        let engine = self.engine.accumulator(arguments)?;
        Ok(if distinct { engine } else { Box::new(Bounded::new(engine)) })
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.engine.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.engine.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(BoundedGroups::new(self.engine.create_groups_accumulator(arguments)?)))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct {
            return self.engine.create_sliding_accumulator(arguments);
        }
        Ok(Box::new(Frame::new(match self.of {
            Of::Sample => sample,
            Of::Population => population,
            Of::SampleRoot => |kept, count| sample(kept, count).map(f64::sqrt),
            Of::PopulationRoot => |kept, count| population(kept, count).map(f64::sqrt),
        })))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.engine.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.engine.reverse_udf()
    }
}
