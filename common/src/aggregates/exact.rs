//! Adding up exact numbers.

use super::{Kind, wide};
use crate::sql_type::DECIMAL_PRECISION_MAX_DIGITS;
use crate::{Error, ErrorKind};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, PrimitiveArray, UInt64Array};
use arrow::datatypes::{DataType, Decimal128Type, Int16Type, Int32Type, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Accumulator;

/// One more than the greatest value of 38 digits.
const LIMIT: i128 = 10_i128.pow(DECIMAL_PRECISION_MAX_DIGITS as u32);
/// A batch of values with at most so many digits cannot leave 128 bits: there are fewer than 10^10 of them.
const DIGITS_OF_SAFE_BATCHES_MAX: u8 = 28;

pub(super) fn overflow(result: &DataType) -> DataFusionError {
    let (name, hint) = match result {
        DataType::Int64 => ("bigint", "sum a DECIMAL: SUM(CAST(... AS DECIMAL(38,0)))"),
        _ => ("numeric", "sum a DOUBLE PRECISION: SUM(CAST(... AS DOUBLE PRECISION))"),
    };
    Error::new(ErrorKind::NumericOutOfRange, format!("{name} out of range"))
        .with_detail("the sum does not fit")
        .with_hint(hint)
        .into()
}

pub(super) fn strange(array: &dyn Array) -> DataFusionError {
    Error::internal(format!("a sum got a column of {}", array.data_type())).into()
}

/// The answer for values of one group; `count` is not zero.
pub(super) fn finish(kind: Kind, sum: i128, count: u64, result: &DataType) -> Result<i128> {
    let answer = match kind {
        Kind::Sum | Kind::SumOfIntegers => sum,
        Kind::Average => sum / i128::from(count),
    };
    let fits = match result {
        DataType::Int64 => i64::try_from(answer).is_ok(),
        _ => answer > -LIMIT && answer < LIMIT,
    };
    if fits { Ok(answer) } else { Err(overflow(result)) }
}

/// A value of a result's or a state's type.
pub(super) fn scalar(value: Option<i128>, data_type: &DataType) -> ScalarValue {
    match data_type {
        DataType::Decimal128(precision, scale) => ScalarValue::Decimal128(value, *precision, *scale),
        // `finish` has looked whether it fits.
        _ => ScalarValue::Int64(value.map(|value| value as i64)),
    }
}

/// Adds up the values of a column that are not NULL; `None` where they leave 128 bits.
fn add_up(values: &ArrayRef) -> Result<Option<i128>> {
    fn each<T: ArrowPrimitiveType<Native: Into<i128>>>(values: &PrimitiveArray<T>) -> Option<i128> {
        if values.null_count() == 0 {
            return values.values().iter().try_fold(0_i128, |sum, value| sum.checked_add((*value).into()));
        }
        values.iter().flatten().try_fold(0_i128, |sum, value| sum.checked_add(value.into()))
    }
    Ok(match values.data_type() {
        DataType::Int16 => each(values.as_primitive::<Int16Type>()),
        DataType::Int32 => each(values.as_primitive::<Int32Type>()),
        DataType::Int64 => each(values.as_primitive::<Int64Type>()),
        DataType::Decimal128(precision, _) if *precision <= DIGITS_OF_SAFE_BATCHES_MAX => {
            Some(arrow::compute::sum(values.as_primitive::<Decimal128Type>()).unwrap_or(0))
        }
        DataType::Decimal128(..) => each(values.as_primitive::<Decimal128Type>()),
        _ => return Err(strange(values)),
    })
}

/// The total of all values; also over a window frame that moves.
#[derive(Debug)]
pub(super) struct Running {
    kind: Kind,
    sum: i128,
    count: u64,
    result: DataType,
    wide: DataType,
}

impl Running {
    pub(super) fn new(kind: Kind, of: &DataType, result: DataType) -> Self {
        Self { kind, sum: 0, count: 0, result, wide: wide(of) }
    }

    fn add(&mut self, more: Option<i128>) -> Result<()> {
        let sum = more.and_then(|more| self.sum.checked_add(more));
        self.sum = sum.ok_or_else(|| overflow(&self.wide))?;
        Ok(())
    }
}

fn first(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().ok_or_else(|| Error::internal("a sum of nothing").into())
}

/// Rows that are not NULL.
fn present(values: &ArrayRef) -> u64 {
    (values.len() - values.null_count()) as u64
}

impl Accumulator for Running {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = first(values)?;
        self.count += present(values);
        self.add(add_up(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = first(values)?;
        self.count = self.count.saturating_sub(present(values));
        self.add(add_up(values)?.and_then(i128::checked_neg))
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        match (self.kind, states) {
            (Kind::Average, [counts, sums]) => {
                let counts = counts.as_primitive_opt::<UInt64Type>().ok_or_else(|| strange(counts))?;
                self.count += arrow::compute::sum(counts).unwrap_or(0);
                self.add(add_up(sums)?)
            }
            _ => self.update_batch(states),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(scalar(None, &self.result));
        }
        Ok(scalar(Some(finish(self.kind, self.sum, self.count, &self.result)?), &self.result))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = Some(self.sum).filter(|_| self.count > 0);
        Ok(match self.kind {
            Kind::Average => vec![ScalarValue::UInt64(Some(self.count)), scalar(sum, &self.wide)],
            // A part of a sum need not fit where the whole does; 64 bits have no room for that.
            Kind::Sum if self.result != DataType::Int64 => vec![scalar(sum, &self.result)],
            Kind::Sum | Kind::SumOfIntegers => vec![self.evaluate()?],
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// A column of a state's or a result's type.
pub(super) fn column(values: Vec<i128>, nulls: Option<arrow::buffer::NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Decimal128(precision, scale) => {
            std::sync::Arc::new(Decimal128Array::new(values.into(), nulls).with_precision_and_scale(*precision, *scale)?)
        }
        _ => {
            let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
            std::sync::Arc::new(arrow::array::Int64Array::new(values.into(), nulls))
        }
    })
}

/// Counts as a column.
pub(super) fn counts(values: Vec<u64>) -> ArrayRef {
    std::sync::Arc::new(UInt64Array::from(values))
}
