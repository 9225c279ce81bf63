//! Aggregates of floats fail where finite values come to more than a float can hold, as in Redshift; Infinity and NaN among the values are
//! an answer.
//!
//! Infinity never becomes finite again: it is enough to look at what comes out, and to know of whom Infinity or NaN went in.

use crate::{Error, ErrorKind};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::collections::BTreeSet;

pub(super) fn overflow() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow")
}

/// The last of the columns: the values of an aggregate, and the sum in the states of these aggregates.
fn floats(columns: &[ArrayRef]) -> Option<&Float64Array> {
    columns.last().and_then(|column| column.as_primitive_opt::<Float64Type>())
}

fn is_boundless(value: Option<f64>) -> bool {
    value.is_some_and(|value| !value.is_finite())
}

/// The engine's accumulator of one group.
#[derive(Debug)]
pub(super) struct Bounded {
    engine: Box<dyn Accumulator>,
    /// Whether Infinity or NaN went in.
    boundless: bool,
}

impl Bounded {
    pub(super) fn new(engine: Box<dyn Accumulator>) -> Self {
        Self { engine, boundless: false }
    }

    fn note(&mut self, columns: &[ArrayRef]) {
        self.boundless |= floats(columns).is_some_and(|values| values.iter().any(is_boundless));
    }

    fn checked(&self, answer: &ScalarValue) -> Result<()> {
        match answer {
            ScalarValue::Float64(value) if is_boundless(*value) && !self.boundless => Err(overflow().into()),
            _ => Ok(()),
        }
    }
}

impl Accumulator for Bounded {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.note(values);
        self.engine.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.note(states);
        self.engine.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = self.engine.evaluate()?;
        self.checked(&answer)?;
        Ok(answer)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = self.engine.state()?;
        state.last().map_or(Ok(()), |sum| self.checked(sum))?;
        Ok(state)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.engine.size()
    }
}

/// The engine's accumulator of many groups.
pub(super) struct BoundedGroups {
    engine: Box<dyn GroupsAccumulator>,
    /// The groups into which Infinity or NaN went.
    boundless: BTreeSet<usize>,
}

impl BoundedGroups {
    pub(super) fn new(engine: Box<dyn GroupsAccumulator>) -> Self {
        Self { engine, boundless: BTreeSet::new() }
    }

    fn note(&mut self, columns: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) {
        let Some(values) = floats(columns) else { return };
        // Rare, and quickly seen in a column.
        if values.values().iter().all(|value| value.is_finite()) {
            return;
        }
        let counts = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let rows = values.iter().enumerate().filter(|(row, value)| is_boundless(*value) && counts(*row));
        self.boundless.extend(rows.map(|(row, _)| groups[row]));
    }

    /// Checks what the first groups came to, and forgets them.
    fn checked(&mut self, emitted: EmitTo, answers: &[ArrayRef]) -> Result<()> {
        if let Some(answers) = floats(answers)
            && !answers.values().iter().all(|value| value.is_finite())
            && answers.iter().enumerate().any(|(group, answer)| is_boundless(answer) && !self.boundless.contains(&group))
        {
            return Err(overflow().into());
        }
        self.boundless = match emitted {
            EmitTo::All => BTreeSet::new(),
            EmitTo::First(count) => self.boundless.iter().filter_map(|group| group.checked_sub(count)).collect(),
        };
        Ok(())
    }
}

impl GroupsAccumulator for BoundedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.note(values, groups, filter);
        self.engine.update_batch(values, groups, filter, total_groups)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.note(states, groups, None);
        self.engine.merge_batch(states, groups, total_groups)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let answers = self.engine.evaluate(emit)?;
        self.checked(emit, std::slice::from_ref(&answers))?;
        Ok(answers)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let state = self.engine.state(emit)?;
        self.checked(emit, &state)?;
        Ok(state)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.engine.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.engine.size() + self.boundless.len() * size_of::<usize>()
    }
}
