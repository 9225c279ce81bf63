//! `slipher_sum(x)`: SUM of BIGINT, which fails where the engine's own would wrap around.

use crate::error::{Error, ErrorKind};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use std::sync::{Arc, LazyLock};

/// The function that leaders plan and workers register.
pub fn checked_sum_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
        Arc::new(AggregateUDF::from(CheckedSum { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    signature: Signature,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "slipher_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Running::default()))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sum]", arguments.name), DataType::Int64, true))])
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::default()))
    }
}

fn overflow() -> DataFusionError {
    Error::new(ErrorKind::NumericOutOfRange, "bigint out of range")
        .with_detail("the sum does not fit")
        .with_hint("sum a DECIMAL: SUM(CAST(... AS DECIMAL(38,0)))")
        .into()
}

fn column(values: &[ArrayRef]) -> Result<&Int64Array> {
    let values = values.first().and_then(|array| array.as_primitive_opt::<Int64Type>());
    values.ok_or_else(|| Error::internal("a sum of BIGINT got another type").into())
}

/// One sum; also over a window frame that moves.
#[derive(Debug, Default)]
struct Running {
    /// Wide enough for every frame: what leaves it is subtracted again.
    sum: i128,
    count: u64,
}

impl Accumulator for Running {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = column(values)?;
        for value in values.iter().flatten() {
            self.sum += i128::from(value);
        }
        self.count += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = column(values)?;
        for value in values.iter().flatten() {
            self.sum -= i128::from(value);
        }
        self.count = self.count.saturating_sub((values.len() - values.null_count()) as u64);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::Int64(None));
        }
        i64::try_from(self.sum).map(|sum| ScalarValue::Int64(Some(sum))).map_err(|_| overflow())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// One sum per group.
#[derive(Debug, Default)]
struct Groups {
    sums: Vec<i64>,
    /// Whether the group has had a value: without one its sum is NULL.
    seen: Vec<bool>,
}

impl Groups {
    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        Arc::new(Int64Array::new(sums.into(), Some(NullBuffer::from(seen))))
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = column(values)?;
        self.sums.resize(total_num_groups, 0);
        self.seen.resize(total_num_groups, false);
        let chosen = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        for (row, (group, value)) in group_indices.iter().zip(values.values()).enumerate() {
            if values.is_valid(row) && chosen(row) {
                let sum = &mut self.sums[*group];
                *sum = sum.checked_add(*value).ok_or_else(overflow)?;
                self.seen[*group] = true;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = column(values)?;
        let Some(filter) = filter else { return Ok(vec![Arc::new(values.clone())]) };
        let kept: NullBuffer = (0..values.len())
            .map(|row| values.is_valid(row) && filter.is_valid(row) && filter.value(row))
            .collect::<Vec<bool>>()
            .into();
        Ok(vec![Arc::new(Int64Array::new(values.values().clone(), Some(kept)))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i64>() + self.seen.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[Option<i64>]) -> [ArrayRef; 1] {
        [Arc::new(Int64Array::from(values.to_vec()))]
    }

    #[test]
    fn one_sum_fails_only_when_its_result_does_not_fit() {
        let mut sum = Running::default();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(None));
        sum.update_batch(&values(&[Some(i64::MAX), None, Some(5)])).unwrap();
        assert!(sum.evaluate().unwrap_err().to_string().contains("bigint out of range"));
        sum.retract_batch(&values(&[Some(5)])).unwrap();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(Some(i64::MAX)));
    }

    #[test]
    fn sums_of_groups_leave_out_nulls_and_what_the_filter_drops() {
        let mut groups = Groups::default();
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(false), None, Some(true)]);
        let input = values(&[Some(1), Some(2), Some(4), Some(8), None]);
        groups.update_batch(&input, &[0, 0, 0, 1, 2], Some(&filter), 4).unwrap();
        let state = groups.convert_to_state(&input, Some(&filter)).unwrap();
        assert_eq!(state[0].as_primitive::<Int64Type>().iter().flatten().sum::<i64>(), 3);
        let sums = groups.evaluate(EmitTo::First(1)).unwrap();
        assert_eq!(sums.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(3)]);
        assert_eq!(groups.evaluate(EmitTo::All).unwrap().null_count(), 3);
        let error = groups.update_batch(&values(&[Some(i64::MIN), Some(-1)]), &[0, 0], None, 1).unwrap_err();
        assert_eq!(crate::Error::from(error).sqlstate(), "22003");
    }
}
