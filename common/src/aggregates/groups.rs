//! Totals of groups, a column at a time.

use super::exact::{column, counts, finish, overflow, strange};
use super::{Kind, wide};
use crate::Error;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int16Type, Int32Type, Int64Type, UInt64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use std::sync::Arc;

/// How many values each group has had. For sums only whether there were any matters.
#[derive(Debug)]
enum Seen {
    /// No row was left out so far: every group has a value.
    All,
    /// Whether the group has had a value.
    Some(Vec<bool>),
    /// How many.
    Counts(Vec<u64>),
}

#[derive(Debug)]
pub(super) struct Groups {
    kind: Kind,
    sums: Vec<i128>,
    seen: Seen,
    result: DataType,
    wide: DataType,
}

/// Rows that count: neither NULL nor left out by FILTER.
fn chosen(nulls: Option<&NullBuffer>, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let kept = filter.map(|filter| {
        let values: BooleanBuffer = match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        };
        NullBuffer::new(values)
    });
    NullBuffer::union(nulls, kept.as_ref()).filter(|rows| rows.null_count() > 0)
}

impl Groups {
    pub(super) fn new(kind: Kind, of: &DataType, result: DataType) -> Self {
        let seen = if kind == Kind::Average { Seen::Counts(Vec::new()) } else { Seen::All };
        Self { kind, sums: Vec::new(), seen, result, wide: wide(of) }
    }

    /// Makes room for groups; those of before keep what they have.
    fn grow(&mut self, groups: usize, some_left_out: bool) {
        if some_left_out && matches!(self.seen, Seen::All) {
            self.seen = Seen::Some(vec![true; self.sums.len()]);
        }
        self.sums.resize(groups, 0);
        match &mut self.seen {
            Seen::All => {}
            Seen::Some(seen) => seen.resize(groups, false),
            Seen::Counts(counts) => counts.resize(groups, 0),
        }
    }

    fn add<T: ArrowPrimitiveType<Native: Into<i128>>>(
        &mut self,
        values: &PrimitiveArray<T>,
        groups: &[usize],
        rows: Option<&NullBuffer>,
    ) -> Result<()> {
        let mut overflowed = false;
        let sums = self.sums.as_mut_slice();
        let mut add = |group: usize, value: T::Native| {
            let (sum, over) = sums[group].overflowing_add(value.into());
            sums[group] = sum;
            overflowed |= over;
        };
        let pairs = groups.iter().zip(values.values());
        match (rows, &mut self.seen) {
            (None, Seen::All) => pairs.for_each(|(group, value)| add(*group, *value)),
            (None, Seen::Some(seen)) => pairs.for_each(|(group, value)| {
                add(*group, *value);
                seen[*group] = true;
            }),
            (None, Seen::Counts(counts)) => pairs.for_each(|(group, value)| {
                add(*group, *value);
                counts[*group] += 1;
            }),
            (Some(rows), seen) => {
                for ((group, value), valid) in pairs.zip(rows.iter()) {
                    if valid {
                        add(*group, *value);
                        match seen {
                            Seen::All => {}
                            Seen::Some(seen) => seen[*group] = true,
                            Seen::Counts(counts) => counts[*group] += 1,
                        }
                    }
                }
            }
        }
        if overflowed { Err(overflow(&self.wide)) } else { Ok(()) }
    }

    fn add_column(&mut self, values: &ArrayRef, groups: &[usize], rows: Option<&NullBuffer>) -> Result<()> {
        match values.data_type() {
            DataType::Int16 => self.add(values.as_primitive::<Int16Type>(), groups, rows),
            DataType::Int32 => self.add(values.as_primitive::<Int32Type>(), groups, rows),
            DataType::Int64 => self.add(values.as_primitive::<Int64Type>(), groups, rows),
            DataType::Decimal128(..) => self.add(values.as_primitive::<Decimal128Type>(), groups, rows),
            _ => Err(strange(values)),
        }
    }

    /// Takes the first groups out: their sums, and which of them have a value, or how many.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<i128>, Option<NullBuffer>, Vec<u64>) {
        let sums = emit_to.take_needed(&mut self.sums);
        match &mut self.seen {
            Seen::All => (sums, None, Vec::new()),
            Seen::Some(seen) => (sums, Some(NullBuffer::from(emit_to.take_needed(seen))), Vec::new()),
            Seen::Counts(counts) => {
                let counts = emit_to.take_needed(counts);
                let nulls = counts.contains(&0).then(|| counts.iter().map(|count| *count > 0).collect::<Vec<bool>>().into());
                (sums, nulls, counts)
            }
        }
    }

    fn state_type(&self) -> &DataType {
        if self.kind == Kind::Average { &self.wide } else { &self.result }
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
        let [values] = values else { return Err(Error::internal("a sum of several columns").into()) };
        let rows = chosen(values.nulls(), filter);
        self.grow(total_num_groups, rows.is_some());
        self.add_column(values, group_indices, rows.as_ref())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let [counted, sums] = states else {
            return self.update_batch(states, group_indices, None, total_num_groups);
        };
        let counted = counted.as_primitive_opt::<UInt64Type>().ok_or_else(|| strange(counted))?;
        self.grow(total_num_groups, false);
        let Seen::Counts(counts) = &mut self.seen else { return Err(Error::internal("counts of a sum").into()) };
        for (group, count) in group_indices.iter().zip(counted.values()) {
            counts[*group] += count;
        }
        // What `add` counts are rows of states, not of values.
        let kept = std::mem::replace(&mut self.seen, Seen::All);
        let added = self.add_column(sums, group_indices, chosen(sums.nulls(), None).as_ref());
        self.seen = kept;
        added
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (mut sums, nulls, counts) = self.take(emit_to);
        for (row, sum) in sums.iter_mut().enumerate() {
            match counts.get(row) {
                Some(0) => {}
                Some(count) => *sum = finish(self.kind, *sum, *count, &self.result)?,
                None => *sum = finish(self.kind, *sum, 1, &self.result)?,
            }
        }
        column(sums, nulls, &self.result)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, nulls, counted) = self.take(emit_to);
        if self.state_type() == &DataType::Int64 {
            for sum in &sums {
                finish(self.kind, *sum, 1, &DataType::Int64)?;
            }
        }
        let sums = column(sums, nulls, self.state_type())?;
        Ok(if self.kind == Kind::Average { vec![counts(counted), sums] } else { vec![sums] })
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let [values] = values else { return Err(Error::internal("a sum of several columns").into()) };
        let rows = chosen(values.nulls(), filter);
        let sums = match (values.data_type(), self.state_type()) {
            (DataType::Decimal128(..), DataType::Decimal128(precision, scale)) => {
                Arc::new(values.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(*precision, *scale)?)
                    as ArrayRef
            }
            (_, state) => cast(values, state)?,
        };
        let counted = || match &rows {
            Some(rows) => rows.iter().map(u64::from).collect(),
            None => vec![1; values.len()],
        };
        let counted = (self.kind == Kind::Average).then(|| counts(counted()));
        let data = sums.to_data().into_builder().nulls(rows).build()?;
        Ok(counted.into_iter().chain(std::iter::once(arrow::array::make_array(data))).collect())
    }

    fn size(&self) -> usize {
        let seen = match &self.seen {
            Seen::All => 0,
            Seen::Some(seen) => seen.capacity(),
            Seen::Counts(counts) => counts.capacity() * size_of::<u64>(),
        };
        self.sums.capacity() * size_of::<i128>() + seen
    }
}
