//! SUM and AVG with Redshift's types of results, the same on the leader and on compute nodes. They fail where the engine's own
//! would wrap around.
//!
//! Exact numbers are added up in 128 bits; floats (and intervals) are left to the engine's functions.

mod distinct;
mod exact;
mod extreme;
mod groups;
mod overflow;
mod percentile;
mod sliding;
mod spread;
#[cfg(test)]
mod tests;

use crate::functions::no_such_call;
use crate::numeric::{average_type, number, sum_type};
use crate::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::min_max;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use distinct::Distinct;
use exact::Running;
use groups::Groups;
use overflow::{Bounded, BoundedGroups};
use std::sync::{Arc, LazyLock};

/// Every function of this module: SUM, AVG, SUM of SMALLINT and INTEGER, MIN, MAX, VARIANCE and STDDEV, PERCENTILE_DISC.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    static FUNCTIONS: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
        [Kind::Sum, Kind::Average, Kind::SumOfIntegers]
            .into_iter()
            .map(|kind| AggregateUDF::from(Total { kind, signature: Signature::user_defined(Volatility::Immutable) }))
            .map(Arc::new)
            .chain([min_udaf(), max_udaf()])
            .chain(spread::all())
            .chain([percentile::percentile_disc_udaf()])
            .collect()
    });
    FUNCTIONS.clone()
}

pub use percentile::{PERCENTILE_DISC, percentile_letter};

/// MIN.
pub fn min_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(extreme::Extreme::new(min_max::min_udaf())))
}

/// MAX.
pub fn max_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(extreme::Extreme::new(min_max::max_udaf())))
}

/// SUM of SMALLINT and INTEGER under a name of its own. The engine adds up sums of parts by the name "sum": that is right only
/// where the sum of a sum has the type of the sum, and SUM of BIGINT is NUMERIC.
pub fn sum_of_integers() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(Total { kind: Kind::SumOfIntegers, signature }))
    });
    Arc::clone(&FUNCTION)
}

/// What becomes of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    SumOfIntegers,
    Average,
}

impl Kind {
    fn engine(self) -> Arc<AggregateUDF> {
        match self {
            Self::Sum | Self::SumOfIntegers => sum_udaf(),
            Self::Average => avg_udaf(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::SumOfIntegers => "slipher_sum",
            Self::Average => "avg",
        }
    }
}

#[derive(Debug)]
struct Total {
    kind: Kind,
    signature: Signature,
}

told_apart_by!(Total, kind);

/// Types whose values are added up here.
fn is_exact(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..))
}

/// The type that exact values are added up in.
fn wide(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL_PRECISION_MAX_DIGITS, *scale),
        _ => DataType::Decimal128(DECIMAL_PRECISION_MAX_DIGITS, 0),
    }
}

fn input(arguments: &AccumulatorArgs<'_>) -> DataType {
    arguments.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone())
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let one = match types {
            [DataType::Null] => Some(DataType::Int64),
            [span @ DataType::Duration(_)] => Some(span.clone()),
            // The engine adds intervals up, but has no average of them.
            [span @ DataType::Interval(_)] if self.kind == Kind::Sum => Some(span.clone()),
            [one] => number(one).map(|one| if is_exact(&one) { one } else { DataType::Float64 }),
            _ => None,
        };
        let name = self.kind.engine().name().to_owned();
        let usage = match types {
            [DataType::Interval(_)] => "sum(an_interval) / count(an_interval)".to_owned(),
            _ => format!("{name}(a_number)"),
        };
        one.map(|one| vec![one]).ok_or_else(|| no_such_call(&name, types, &usage).into())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let known = types.first().and_then(|of| match self.kind {
            Kind::Sum => sum_type(of),
            Kind::SumOfIntegers => Some(DataType::Int64),
            Kind::Average => average_type(of),
        });
        match known {
            Some(known) => Ok(known),
            None => self.kind.engine().return_type(types),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let of = input(&arguments);
        if !is_exact(&of) {
            let distinct = arguments.is_distinct;
            let engine = self.kind.engine().accumulator(arguments)?;
            return Ok(if distinct { engine } else { Box::new(Bounded::new(engine)) });
        }
        let result = arguments.return_field.data_type().clone();
        if arguments.is_distinct {
            return Ok(Box::new(Distinct::new(self.kind, &of, result)));
        }
        Ok(Box::new(Running::new(self.kind, &of, result)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let of = arguments.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        if !is_exact(&of) {
            return self.kind.engine().state_fields(arguments);
        }
        let field = |what: &str, data_type| Arc::new(Field::new(format!("{}[{what}]", arguments.name), data_type, true));
        if arguments.is_distinct {
            return Ok(vec![field("values", distinct::list_type(&of))]);
        }
        Ok(match self.kind {
            Kind::Sum | Kind::SumOfIntegers => vec![field("sum", arguments.return_field.data_type().clone())],
            Kind::Average => vec![field("count", DataType::UInt64), field("sum", wide(&of))],
        })
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        if is_exact(&input(&arguments)) {
            return !arguments.is_distinct;
        }
        self.kind.engine().groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let of = input(&arguments);
        if !is_exact(&of) {
            return Ok(Box::new(BoundedGroups::new(self.kind.engine().create_groups_accumulator(arguments)?)));
        }
        Ok(Box::new(Groups::new(self.kind, &of, arguments.return_field.data_type().clone())))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_exact(&input(&arguments)) {
            return self.accumulator(arguments);
        }
        if input(&arguments) == DataType::Float64 && !arguments.is_distinct {
            return Ok(match self.kind {
                Kind::Average => Box::new(sliding::Frame::new(|sum: f64, count| Some(sum / count as f64))),
                Kind::Sum | Kind::SumOfIntegers => Box::new(sliding::Frame::new(|sum: f64, _| Some(sum))),
            });
        }
        self.kind.engine().create_sliding_accumulator(arguments)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}
