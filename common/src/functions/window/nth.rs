//! FIRST_VALUE, LAST_VALUE and NTH_VALUE.

use super::{constant, field_of, no_value, not_positive, number_at, signature, whole_number};
use crate::ErrorKind;
use crate::functions::no_such_call;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use std::ops::Range;
use std::sync::Arc;

/// Which row of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Which {
    First,
    Last,
    /// The one that the second argument says, from 1.
    Counted,
}

/// `first_value(value)`, `last_value(value)`, `nth_value(value, n)`: the value of one row of the frame.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Nth {
    name: &'static str,
    which: Which,
    ignores_nulls: bool,
    signature: Signature,
}

impl Nth {
    pub(super) fn new(name: &'static str, which: Which, ignores_nulls: bool) -> Self {
        Self { name, which, ignores_nulls, signature: signature() }
    }
}

impl WindowUDFImpl for Nth {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let usage = match self.which {
            Which::First => "FIRST_VALUE(value)",
            Which::Last => "LAST_VALUE(value)",
            Which::Counted => "NTH_VALUE(value, n)",
        };
        match (self.which, types.len()) {
            (Which::First | Which::Last, 1) => Ok(types.to_vec()),
            (Which::Counted, 2) => Ok(vec![types[0].clone(), whole_number(self.name, types, 1, usage)?]),
            _ => Err(no_such_call(self.name, types, usage).into()),
        }
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        field_of(arguments.input_fields().first(), arguments.name())
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        let count = match (self.which, arguments.input_exprs().get(1)) {
            (Which::Counted, Some(argument)) => constant(argument),
            _ => Some(None),
        };
        Ok(Box::new(Evaluator {
            which: self.which,
            ignores_nulls: self.ignores_nulls,
            count,
            row: 0,
            valid: None,
            found: None,
            settled: None,
            carried: None,
        }))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, _arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        // No row behind the frame is looked at.
        LimitEffect::None
    }
}

#[derive(Debug)]
struct Evaluator {
    which: Which,
    ignores_nulls: bool,
    /// The number of NTH_VALUE for all rows, or `None`: each row has its own.
    count: Option<Option<i64>>,
    /// The current row, in the partition.
    row: usize,
    /// The rows of a column that have a value, as long as the column stays the same.
    valid: Option<(ArrayRef, Vec<usize>)>,
    /// The value found last.
    found: Option<ScalarValue>,
    /// The value of all frames from here on.
    settled: Option<ScalarValue>,
    /// The last value of rows that are gone.
    carried: Option<ScalarValue>,
}

impl Evaluator {
    /// The number of NTH_VALUE for the current row, from 0.
    fn skipped(&self, values: &[ArrayRef]) -> Result<Option<usize>> {
        let count = match self.count {
            Some(count) => count,
            None => number_at(&values[1], self.row)?,
        };
        match count {
            Some(count) if count <= 0 => Err(not_positive(ErrorKind::InvalidNthValueArgument, "nth_value").into()),
            Some(count) => Ok(usize::try_from(count - 1).ok()),
            None => Ok(None),
        }
    }

    /// The row that is asked for, if it is in `frame`.
    fn find(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> Result<Option<usize>> {
        let nth = match self.which {
            Which::First => Some(0),
            Which::Last => None,
            Which::Counted => match self.skipped(values)? {
                Some(skipped) => Some(skipped),
                None => return Ok(None),
            },
        };
        if !self.ignores_nulls || values[0].null_count() == 0 {
            let row = nth.map_or(frame.end.checked_sub(1), |nth| frame.start.checked_add(nth));
            return Ok(row.filter(|row| frame.contains(row)));
        }
        let valid = self.valid_rows(&values[0]);
        let inside = valid.partition_point(|row| *row < frame.start)..valid.partition_point(|row| *row < frame.end);
        let index = nth.map_or(inside.end.checked_sub(1), |nth| inside.start.checked_add(nth));
        Ok(index.filter(|index| inside.contains(index)).and_then(|index| valid.get(index).copied()))
    }

    fn valid_rows(&mut self, column: &ArrayRef) -> &[usize] {
        let known = self.valid.take().filter(|(known, _)| Arc::ptr_eq(known, column));
        let known = known.unwrap_or_else(|| {
            let rows = (0..column.len()).filter(|row| column.is_valid(*row)).collect();
            (Arc::clone(column), rows)
        });
        &self.valid.insert(known).1
    }
}

impl PartitionEvaluator for Evaluator {
    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> Result<ScalarValue> {
        if let Some(settled) = &self.settled {
            return Ok(settled.clone());
        }
        let found = self.find(values, frame)?;
        self.row += 1;
        match (found, &self.carried) {
            (Some(row), _) => {
                let value = ScalarValue::try_from_array(&values[0], row)?;
                self.found = Some(value.clone());
                Ok(value)
            }
            (None, Some(carried)) => Ok(carried.clone()),
            (None, None) => no_value(values[0].data_type()),
        }
    }

    /// Called between batches where every frame begins with the partition: which rows are not needed any more?
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        let frame = &mut state.window_frame_range;
        match self.which {
            Which::First | Which::Counted if self.found.is_some() => self.settled = self.found.take(),
            // Without NULLs it is the frame's last row; with them the last value is kept aside.
            Which::Last if self.ignores_nulls => self.carried = self.found.clone(),
            Which::Last => {}
            Which::First | Which::Counted => return Ok(()),
        }
        frame.start = frame.end.saturating_sub(1);
        Ok(())
    }

    fn supports_bounded_execution(&self) -> bool {
        self.count.is_some()
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}
