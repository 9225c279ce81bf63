//! SUM and AVG of floats over a frame that moves along with the rows of a window.
//!
//! What has left a frame cannot be subtracted: 1e20 takes the small numbers beside it along, and Infinity or NaN never go again. So sums are
//! kept in two parts. Values that come are added up in the one; once values leave, those that are there get the sum of each and all after
//! it, and the last of those sums is dropped with its value. Each value is moved once.

use super::Kind;
use crate::Error;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

/// The values of a frame, without NULLs.
#[derive(Debug)]
pub(super) struct Frame {
    kind: Kind,
    /// The sum of each of the first values and all after it among them, the first value last.
    leaving: Vec<f64>,
    /// The values that came since.
    came: Vec<f64>,
    /// Their sum.
    sum: f64,
}

impl Frame {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, leaving: Vec::new(), came: Vec::new(), sum: 0.0 }
    }

    fn leave(&mut self) {
        if self.leaving.is_empty() {
            let mut sum = 0.0;
            self.leaving.extend(self.came.drain(..).rev().map(|value| {
                sum += value;
                sum
            }));
            self.sum = 0.0;
        }
        self.leaving.pop();
    }
}

fn floats(values: &[ArrayRef]) -> Result<&Float64Array> {
    let floats = values.first().and_then(|values| values.as_primitive_opt::<Float64Type>());
    floats.ok_or_else(|| Error::internal("a sum of floats got something else").into())
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in floats(values)?.iter().flatten() {
            self.came.push(value);
            self.sum += value;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = floats(values)?;
        (values.null_count()..values.len()).for_each(|_| self.leave());
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let count = self.leaving.len() + self.came.len();
        if count == 0 {
            return Ok(ScalarValue::Float64(None));
        }
        let sum = self.leaving.last().map_or(self.sum, |leaving| leaving + self.sum);
        Ok(ScalarValue::Float64(Some(match self.kind {
            Kind::Average => sum / count as f64,
            Kind::Sum | Kind::SumOfIntegers => sum,
        })))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + (self.leaving.capacity() + self.came.capacity()) * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(Error::internal("a frame has no state that travels").into())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(Error::internal("a frame has no state that travels").into())
    }
}
