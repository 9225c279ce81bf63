//! SUM(DISTINCT x) and AVG(DISTINCT x) of exact numbers.

use super::exact::{finish, overflow, scalar, strange};
use super::{Kind, wide};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use std::collections::HashSet;
use std::sync::Arc;

/// The type of the values seen so far.
pub(super) fn list_type(of: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(wide(of), true)))
}

#[derive(Debug)]
pub(super) struct Distinct {
    kind: Kind,
    values: HashSet<i128>,
    result: DataType,
    wide: DataType,
}

impl Distinct {
    pub(super) fn new(kind: Kind, of: &DataType, result: DataType) -> Self {
        Self { kind, values: HashSet::new(), result, wide: wide(of) }
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        // Integers are decimals without digits behind the point.
        let values = if values.data_type() == &self.wide { Arc::clone(values) } else { cast(values, &self.wide)? };
        let values = values.as_primitive_opt::<Decimal128Type>().ok_or_else(|| strange(&values))?;
        self.values.extend(values.iter().flatten());
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.iter().try_for_each(|values| self.add(values))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in states {
            let lists = state.as_list_opt::<i32>().ok_or_else(|| strange(state))?;
            for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
                self.add(&lists.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return Ok(scalar(None, &self.result));
        }
        let sum = self.values.iter().try_fold(0_i128, |sum, value| sum.checked_add(*value));
        let sum = sum.ok_or_else(|| overflow(&self.wide))?;
        Ok(scalar(Some(finish(self.kind, sum, self.values.len() as u64, &self.result)?), &self.result))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.iter().map(|value| scalar(Some(*value), &self.wide)).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.wide))])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<(i128, u8)>()
    }
}
