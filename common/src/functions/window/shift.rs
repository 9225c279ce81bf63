//! LAG and LEAD.

use super::{common_type, constant, field_of, no_value, numbers, signature, whole_number};
use crate::Result;
use crate::functions::no_such_call;
use arrow::array::{Array, ArrayRef, UInt64Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// LAG IGNORE NULLS over so many values keeps them beside the rows; over more, the whole partition is read first.
const REMEMBERED_VALUES_MAX: i64 = 1024;

/// Which way a positive offset looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Back,
    Ahead,
}

/// `lag(value [, offset [, default]])` and `lead(…)`: the value that stands so many rows before or behind the current one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shift {
    name: &'static str,
    direction: Direction,
    ignores_nulls: bool,
    signature: Signature,
}

impl Shift {
    pub(super) fn new(name: &'static str, direction: Direction, ignores_nulls: bool) -> Self {
        Self { name, direction, ignores_nulls, signature: signature() }
    }

    /// How far back an offset looks; ahead when negative.
    fn back(&self, offset: i64) -> i64 {
        match self.direction {
            Direction::Back => offset,
            Direction::Ahead => offset.saturating_neg(),
        }
    }

    /// How far back all rows look: `None` when each row has its own offset, and NULL when that is NULL.
    fn constant_back(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> Option<Option<i64>> {
        let offset = arguments.get(1).map_or(Some(Some(1)), constant)?;
        Some(offset.map(|offset| self.back(offset)))
    }
}

impl WindowUDFImpl for Shift {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> EngineResult<Vec<DataType>> {
        let usage = match self.direction {
            Direction::Back => "LAG(value [, offset [, default]])",
            Direction::Ahead => "LEAD(value [, offset [, default]])",
        };
        Ok(match types.len() {
            1 => types.to_vec(),
            2 => vec![types[0].clone(), whole_number(self.name, types, 1, usage)?],
            3 => {
                let value = common_type(self.name, types, usage)?;
                vec![value.clone(), whole_number(self.name, types, 1, usage)?, value]
            }
            _ => return Err(no_such_call(self.name, types, usage).into()),
        })
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> EngineResult<FieldRef> {
        let field = field_of(arguments.input_fields().first(), arguments.name())?;
        // With a default the length of the column is not the length of the result.
        let widened = arguments.input_fields().len() > 2;
        Ok(if widened { Arc::new(Field::clone(&field).with_metadata(Default::default())) } else { field })
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs<'_>) -> EngineResult<Box<dyn PartitionEvaluator>> {
        let back = self.constant_back(arguments.input_exprs());
        let has_default = arguments.input_exprs().len() > 2;
        Ok(Box::new(Evaluator {
            direction: self.direction,
            ignores_nulls: self.ignores_nulls,
            back,
            has_default,
            remembered: VecDeque::new(),
        }))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        match self.constant_back(arguments) {
            Some(None) => LimitEffect::None,
            Some(Some(back)) if back >= 0 => LimitEffect::None,
            Some(Some(back)) if !self.ignores_nulls => {
                usize::try_from(back.unsigned_abs()).map_or(LimitEffect::Unknown, LimitEffect::Relative)
            }
            _ => LimitEffect::Unknown,
        }
    }
}

#[derive(Debug)]
struct Evaluator {
    direction: Direction,
    ignores_nulls: bool,
    /// How far back all rows look; NULL for all; or `None`: each as its own offset says.
    back: Option<Option<i64>>,
    has_default: bool,
    /// The last values before the current row that are not NULL, at most as many as are looked back.
    remembered: VecDeque<ScalarValue>,
}

impl Evaluator {
    fn default_at(&self, values: &[ArrayRef], row: usize) -> EngineResult<ScalarValue> {
        match values.get(2).filter(|_| self.has_default) {
            Some(defaults) => ScalarValue::try_from_array(defaults, row),
            None => no_value(values[0].data_type()),
        }
    }

    /// The answer for the current row, whose `back` last values that are not NULL are remembered.
    fn remembered_answer(&mut self, values: &[ArrayRef], row: usize, back: usize) -> EngineResult<ScalarValue> {
        let found = if self.remembered.len() == back { self.remembered.front().cloned() } else { None };
        if values[0].is_valid(row) {
            if self.remembered.len() == back {
                self.remembered.pop_front();
            }
            self.remembered.push_back(ScalarValue::try_from_array(&values[0], row)?);
        }
        found.map_or_else(|| self.default_at(values, row), Ok)
    }

    /// For each row how far back it looks, `None` for NULL.
    fn backs(&self, values: &[ArrayRef], rows: usize) -> Result<Vec<Option<i64>>> {
        if let Some(back) = self.back {
            return Ok(vec![back; rows]);
        }
        let back = |offset: i64| match self.direction {
            Direction::Back => offset,
            Direction::Ahead => offset.saturating_neg(),
        };
        Ok(numbers(&values[1])?.iter().map(|offset| offset.map(back)).collect())
    }
}

impl PartitionEvaluator for Evaluator {
    fn get_range(&self, row: usize, rows: usize) -> EngineResult<Range<usize>> {
        let back = self.back.flatten().unwrap_or(0);
        let distance = usize::try_from(back.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(match back {
            _ if self.ignores_nulls => row..row + 1,
            0.. => row.saturating_sub(distance)..row + 1,
            // It ends with the last row that is there as long as more are needed: then more are waited for.
            _ => row..row.saturating_add(distance).min(rows),
        })
    }

    fn is_causal(&self) -> bool {
        self.back.is_some_and(|back| back.is_none_or(|back| back >= 0))
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> EngineResult<ScalarValue> {
        let Some(back) = self.back.flatten() else { return no_value(values[0].data_type()) };
        let distance = usize::try_from(back.unsigned_abs()).unwrap_or(usize::MAX);
        let row = if back >= 0 { range.end.saturating_sub(1) } else { range.start };
        if self.ignores_nulls && distance > 0 {
            return self.remembered_answer(values, row, distance);
        }
        let found = if back >= 0 { row.checked_sub(distance) } else { row.checked_add(distance) };
        match found.filter(|found| *found < values[0].len()) {
            Some(found) => ScalarValue::try_from_array(&values[0], found),
            None => self.default_at(values, row),
        }
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> EngineResult<ArrayRef> {
        let backs = self.backs(values, rows)?;
        let found = if self.ignores_nulls { without_nulls(&values[0], &backs) } else { among_all(&backs) };
        let defaults = values.get(2).filter(|_| self.has_default);
        Ok(gathered(&values[0], defaults, &backs, &found)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        match self.back {
            Some(Some(back)) if self.ignores_nulls => (0..=REMEMBERED_VALUES_MAX).contains(&back),
            Some(_) => true,
            None => false,
        }
    }
}

/// The row that each row asks for, if it is in the partition.
fn among_all(backs: &[Option<i64>]) -> Vec<Option<usize>> {
    let in_partition = |row: usize, back: i64| {
        let asked = i128::try_from(row).ok()? - i128::from(back);
        usize::try_from(asked).ok().filter(|asked| *asked < backs.len())
    };
    backs.iter().enumerate().map(|(row, back)| in_partition(row, (*back)?)).collect()
}

/// The same where only rows with a value count.
fn without_nulls(values: &ArrayRef, backs: &[Option<i64>]) -> Vec<Option<usize>> {
    let valid: Vec<usize> = (0..values.len()).filter(|row| values.is_valid(*row)).collect();
    let mut before = 0_usize;
    let mut found = Vec::with_capacity(backs.len());
    for (row, back) in backs.iter().enumerate() {
        let own = usize::from(values.is_valid(row));
        found.push(back.and_then(|back| {
            let distance = usize::try_from(back.unsigned_abs()).unwrap_or(usize::MAX);
            match back {
                0 => Some(row),
                1.. => before.checked_sub(distance).and_then(|at| valid.get(at).copied()),
                _ => (before + own).checked_add(distance - 1).and_then(|at| valid.get(at).copied()),
            }
        }));
        before += own;
    }
    found
}

/// The values at `found`; where there is none the row's default, or NULL where the offset is NULL.
fn gathered(values: &ArrayRef, defaults: Option<&ArrayRef>, backs: &[Option<i64>], found: &[Option<usize>]) -> Result<ArrayRef> {
    let Some(defaults) = defaults else {
        let rows: UInt64Array = found.iter().map(|row| row.map(|row| row as u64)).collect();
        return Ok(take(values, &rows, None)?);
    };
    let nothing = new_null_array(values.data_type(), 1);
    let rows: Vec<(usize, usize)> = std::iter::zip(backs, found)
        .enumerate()
        .map(|(row, (back, found))| match (back, found) {
            (_, Some(found)) => (0, *found),
            (Some(_), None) => (1, row),
            (None, None) => (2, 0),
        })
        .collect();
    Ok(interleave(&[values.as_ref(), defaults.as_ref(), nothing.as_ref()], &rows)?)
}
