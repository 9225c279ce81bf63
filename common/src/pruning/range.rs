//! Between what the values of an expression lie in each segment, and what follows for comparisons.

use super::truth::Truth;
use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, Datum};
use arrow::array::{AsArray, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::ArrowPrimitiveType;
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use std::sync::Arc;

/// One after the other.
pub(super) fn joined(first: &BooleanBuffer, further: &BooleanBuffer) -> BooleanBuffer {
    let mut both = BooleanBufferBuilder::new(first.len() + further.len());
    both.append_buffer(first);
    both.append_buffer(further);
    both.finish()
}

/// The bounds of an expression's values, one for each segment. NULL is a bound that is not known.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) low: ArrayRef,
    pub(super) high: ArrayRef,
    /// Some row may have a value.
    pub(super) values: BooleanBuffer,
    /// Some row may have NULL.
    pub(super) nulls: BooleanBuffer,
}

impl Range {
    pub(super) fn new(low: ArrayRef, high: ArrayRef, values: BooleanBuffer, nulls: BooleanBuffer) -> Result<Self> {
        let (low, high) = match low.data_type() {
            DataType::Float32 => around_zero::<Float32Type>(&low, &high, 0.0, f32::is_nan),
            DataType::Float64 => around_zero::<Float64Type>(&low, &high, 0.0, f64::is_nan),
            _ => (low, high),
        };
        Ok(Self { low, high, values, nulls })
    }

    /// The bounds of these segments, and of those behind them.
    pub(super) fn followed_by(&self, further: &Self) -> Result<Self> {
        Ok(Self {
            low: concat(&[&self.low, &further.low])?,
            high: concat(&[&self.high, &further.high])?,
            values: joined(&self.values, &further.values),
            nulls: joined(&self.nulls, &further.nulls),
        })
    }

    /// The same value in all rows of all segments.
    pub(super) fn of_literal(value: &ScalarValue, segments: usize) -> Result<Self> {
        let (all, none) = (BooleanBuffer::new_set(segments), BooleanBuffer::new_unset(segments));
        let array = value.to_array_of_size(segments)?;
        let (values, nulls) = if value.is_null() { (none, all) } else { (all, none) };
        Self::new(Arc::clone(&array), array, values, nulls)
    }

    /// What a condition yields, as values.
    pub(super) fn of_truth(truth: &Truth) -> Self {
        Self {
            low: Arc::new(BooleanArray::new(!&truth.no, None)),
            high: Arc::new(BooleanArray::new(truth.yes.clone(), None)),
            values: &truth.yes | &truth.no,
            nulls: truth.null.clone(),
        }
    }

    /// A value that is a condition.
    pub(super) fn truth(&self) -> Option<Truth> {
        let (low, high) = (self.low.as_boolean_opt()?, self.high.as_boolean_opt()?);
        let never = |bound: &BooleanArray, unknown: bool| {
            (0..bound.len())
                .map(|place| if bound.is_null(place) { unknown } else { bound.value(place) })
                .collect::<BooleanBuffer>()
        };
        let (yes, no) = (&never(high, true) & &self.values, &!&never(low, false) & &self.values);
        Some(Truth { yes, no, null: self.nulls.clone() })
    }

    /// The values after a conversion that keeps their order; None for others. What cannot be converted has no bound.
    pub(super) fn cast(&self, target: &DataType, may_fail_to_null: bool) -> Option<Self> {
        if !keeps_order(self.low.data_type(), target) {
            return None;
        }
        let options = CastOptions { safe: true, ..Default::default() };
        let (low, high) =
            (cast_with_options(&self.low, target, &options).ok()?, cast_with_options(&self.high, target, &options).ok()?);
        let nulls = if may_fail_to_null { BooleanBuffer::new_set(self.nulls.len()) } else { self.nulls.clone() };
        Self::new(low, high, self.values.clone(), nulls).ok()
    }

    /// What a comparison with another expression may yield; None for operators that are none, and types that are not compared as they are.
    pub(super) fn compared(&self, op: Operator, other: &Self) -> Option<Truth> {
        let (yes, no) = match op {
            Operator::Lt => (!&surely(cmp::gt_eq, &self.low, &other.high)?, !&surely(cmp::lt, &self.high, &other.low)?),
            Operator::LtEq => (!&surely(cmp::gt, &self.low, &other.high)?, !&surely(cmp::lt_eq, &self.high, &other.low)?),
            Operator::Gt => return other.compared(Operator::Lt, self),
            Operator::GtEq => return other.compared(Operator::LtEq, self),
            Operator::Eq | Operator::IsNotDistinctFrom => self.equal(other)?,
            Operator::NotEq | Operator::IsDistinctFrom => {
                let (equal, different) = self.equal(other)?;
                (different, equal)
            }
            _ => return None,
        };
        let both = &self.values & &other.values;
        let (yes, no) = (&yes & &both, &no & &both);
        let one_null = &(&self.nulls & &other.values) | &(&self.values & &other.nulls);
        let both_null = &self.nulls & &other.nulls;
        let never = BooleanBuffer::new_unset(yes.len());
        Some(match op {
            Operator::IsDistinctFrom => Truth { yes: &yes | &one_null, no: &no | &both_null, null: never },
            Operator::IsNotDistinctFrom => Truth { yes: &yes | &both_null, no: &no | &one_null, null: never },
            _ => Truth { yes, no, null: &self.nulls | &other.nulls },
        })
    }

    /// Where two values may be equal, and where they may be different.
    fn equal(&self, other: &Self) -> Option<(BooleanBuffer, BooleanBuffer)> {
        let apart = &surely(cmp::gt, &self.low, &other.high)? | &surely(cmp::lt, &self.high, &other.low)?;
        let same = &surely(cmp::gt_eq, &self.low, &other.high)? & &surely(cmp::lt_eq, &self.high, &other.low)?;
        Some((!&apart, !&same))
    }
}

type Comparison = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>;

/// Where a comparison of bounds holds; not where one of them is not known. None where the types are not the same.
fn surely(holds: Comparison, left: &ArrayRef, right: &ArrayRef) -> Option<BooleanBuffer> {
    let known = holds(left, right).ok()?;
    Some(match known.nulls() {
        Some(nulls) => known.values() & nulls.inner(),
        None => known.values().clone(),
    })
}

/// Bounds of floats. −0.0 and 0.0 are equal to some and not to others: a bound of zero is taken for the farther one. NaN bounds nothing.
fn around_zero<T: ArrowPrimitiveType>(
    low: &ArrayRef,
    high: &ArrayRef,
    zero: T::Native,
    is_nan: fn(T::Native) -> bool,
) -> (ArrayRef, ArrayRef)
where
    T::Native: PartialEq + std::ops::Neg<Output = T::Native>,
{
    let with = |bounds: &ArrayRef, replaced: T::Native| -> ArrayRef {
        let bounds = bounds.as_primitive::<T>().iter();
        let known = bounds.map(|bound| bound.filter(|bound| !is_nan(*bound)));
        let moved = known.map(|bound| bound.map(|bound| if bound == zero { replaced } else { bound }));
        Arc::new(moved.collect::<PrimitiveArray<T>>())
    };
    (with(low, -zero), with(high, zero))
}

/// Whether a conversion leaves values in their order, or makes neighbours equal.
fn keeps_order(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, Date32, LargeUtf8, Timestamp, Utf8, Utf8View};
    let is_number =
        |data_type: &DataType| data_type.is_integer() || data_type.is_floating() || matches!(data_type, DataType::Decimal128(..));
    let is_text = |data_type: &DataType| matches!(data_type, Utf8 | LargeUtf8 | Utf8View);
    let is_utc = |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00"));
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if is_number(from) && is_number(to) || is_text(from) && is_text(to) => true,
        (Boolean, to) => to.is_integer(),
        (Date32, Timestamp(TimeUnit::Microsecond, zone)) | (Timestamp(TimeUnit::Microsecond, zone), Date32) => is_utc(zone),
        (Timestamp(TimeUnit::Microsecond, from), Timestamp(TimeUnit::Microsecond, to)) => is_utc(from) && is_utc(to),
        _ => false,
    }
}
