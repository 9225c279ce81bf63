//! SUM, AVG, VARIANCE and STDDEV of floats over a frame that moves along with the rows of a window.
//!
//! What has left a frame cannot be subtracted: 1e20 takes the small numbers beside it along, and Infinity or NaN never go again. So a frame
//! is kept in two parts. What comes is taken together in the one; once values leave, those that are there get what each and all after it
//! are together, and the last of those goes with its value. Each value is moved once.

use super::overflow::overflow;
use crate::Error;
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use std::fmt::Debug;

/// What is kept of values that stand beside each other.
pub(super) trait Kept: Copy + Debug + Send + Sync + 'static {
    /// Of one value.
    fn of(value: f64) -> Self;

    /// Of these, and of `later` ones.
    fn with(self, later: Self) -> Self;
}

/// A sum.
impl Kept for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn with(self, later: Self) -> Self {
        self + later
    }
}

/// How many there are, their mean, and the sum of the squares of their distances from it. Parts are put together as in Chan, Golub and
/// LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) count: f64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Kept for Moments {
    fn of(value: f64) -> Self {
        // Infinity and NaN have no distance from anything.
        let squares = if value.is_finite() { 0.0 } else { f64::NAN };
        Self { count: 1.0, mean: value, squares }
    }

    fn with(self, later: Self) -> Self {
        let count = self.count + later.count;
        let apart = later.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * (later.count / count),
            squares: self.squares + later.squares + apart * apart * (self.count * later.count / count),
        }
    }
}

/// The values of a frame, without NULLs.
#[derive(Debug)]
pub(super) struct Frame<K> {
    /// What each of the first values and all after it among them are together, the first value last.
    leaving: Vec<K>,
    /// The values that came since.
    came: Vec<f64>,
    /// What these are together.
    together: Option<K>,
    /// How many values are Infinity or NaN.
    boundless: usize,
    /// The answer for what is kept of so many values; NULL where there is none.
    answer: fn(K, usize) -> Option<f64>,
}

impl<K: Kept> Frame<K> {
    pub(super) fn new(answer: fn(K, usize) -> Option<f64>) -> Self {
        Self { leaving: Vec::new(), came: Vec::new(), together: None, boundless: 0, answer }
    }

    fn leave(&mut self) {
        if self.leaving.is_empty() {
            let mut after: Option<K> = None;
            self.leaving.extend(self.came.drain(..).rev().map(|value| {
                let kept = after.map_or(K::of(value), |after| K::of(value).with(after));
                after = Some(kept);
                kept
            }));
            self.together = None;
        }
        self.leaving.pop();
    }
}

fn floats(values: &[ArrayRef]) -> Result<&Float64Array> {
    let floats = values.first().and_then(|values| values.as_primitive_opt::<Float64Type>());
    floats.ok_or_else(|| Error::internal("an aggregate of floats got something else").into())
}

impl<K: Kept> Accumulator for Frame<K> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in floats(values)?.iter().flatten() {
            self.came.push(value);
            self.boundless += usize::from(!value.is_finite());
            self.together = Some(self.together.map_or(K::of(value), |kept| kept.with(K::of(value))));
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = floats(values)?;
        for value in values.iter().flatten() {
            self.leave();
            self.boundless -= usize::from(!value.is_finite());
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let kept = match (self.leaving.last(), self.together) {
            (Some(leaving), Some(together)) => Some(leaving.with(together)),
            (Some(leaving), None) => Some(*leaving),
            (None, together) => together,
        };
        let count = self.leaving.len() + self.came.len();
        let answer = kept.and_then(|kept| (self.answer)(kept, count));
        match answer {
            Some(answer) if !answer.is_finite() && self.boundless == 0 => Err(overflow().into()),
            answer => Ok(ScalarValue::Float64(answer)),
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.leaving.capacity() * size_of::<K>() + self.came.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(Error::internal("a frame has no state that travels").into())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(Error::internal("a frame has no state that travels").into())
    }
}
