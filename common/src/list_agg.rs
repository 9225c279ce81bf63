//! `listagg(x, delimiter [, order, key, ...])`: LISTAGG, for any number of groups.
//!
//! What it sorts by stands in its arguments: `order` has a letter for each key (see [`SortLetter`]). So the engine neither sorts the input nor
//! keeps an object per group, nothing of it is lost on the way to compute nodes, and what it holds is counted and can be spilled.

use crate::error::{Error, ErrorKind};
use crate::functions::tight_key;
use crate::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder, LargeStringBuilder, ListArray, StringViewArray, StringViewBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_plan::expressions::Literal;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

/// The name under which the function is registered.
pub const LIST_AGG: &str = "listagg";

const MAX_BYTES: u64 = VARCHAR_LENGTH_MAX_BYTES as u64;
/// Arguments before the keys: the text, the delimiter, and the letters.
const FIRST_KEY: usize = 3;

/// How a key is sorted, as a letter of the third argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortLetter {
    /// From large to small.
    pub descending: bool,
    /// NULLs come before all others.
    pub nulls_first: bool,
}

impl SortLetter {
    /// Its letter.
    pub fn letter(self) -> char {
        match (self.descending, self.nulls_first) {
            (false, false) => 'a',
            (false, true) => 'A',
            (true, true) => 'd',
            (true, false) => 'D',
        }
    }

    fn parse(letter: char) -> Result<SortOptions> {
        match letter {
            'a' => Ok(SortOptions { descending: false, nulls_first: false }),
            'A' => Ok(SortOptions { descending: false, nulls_first: true }),
            'd' => Ok(SortOptions { descending: true, nulls_first: true }),
            'D' => Ok(SortOptions { descending: true, nulls_first: false }),
            other => Err(Error::internal(format!("listagg sorts by \"{other}\"")).into()),
        }
    }
}

/// The function that leaders plan and workers register.
pub fn list_agg_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(ListAgg { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListAgg {
    signature: Signature,
}

impl AggregateUDFImpl for ListAgg {
    fn name(&self) -> &str {
        LIST_AGG
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() < 2 || types.len() == FIRST_KEY {
            return Err(Error::new(ErrorKind::UndefinedFunction, format!("listagg does not take {} arguments", types.len()))
                .with_hint("write LISTAGG(a_text, ', ') WITHIN GROUP (ORDER BY a_column)")
                .into());
        }
        // Keys are compared as text views or as they are; what must be constant stays a literal.
        let coerced = types.iter().enumerate().map(|(index, known)| match (index, known) {
            (0, _) | (FIRST_KEY.., DataType::Utf8 | DataType::LargeUtf8) => DataType::Utf8View,
            (_, other) => other.clone(),
        });
        Ok(coerced.collect())
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneList(Lists::new(&arguments)?)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |name: &str, of: DataType| {
            let item = Arc::new(Field::new_list_field(of, false));
            Arc::new(Field::new(format!("{}[{name}]", arguments.name), DataType::List(item), true))
        };
        Ok(vec![list("texts", DataType::LargeUtf8), list("keys", DataType::LargeBinary)])
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Lists::new(&arguments)?))
    }
}

/// Byte strings behind each other.
#[derive(Debug, Default)]
struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// The texts of all groups as they came, with what they are sorted by.
#[derive(Debug)]
struct Lists {
    delimiter: String,
    distinct: bool,
    sorted_by: Vec<SortField>,
    /// Makes keys of what it is sorted by; None without.
    keys_of: Option<RowConverter>,
    /// Of each text, in the order in which they came.
    groups: Vec<u32>,
    texts: Strings,
    /// In a form that compares as bytes; empty without keys.
    keys: Strings,
    /// Bytes that each group's result has at least.
    lengths: Vec<u64>,
}

impl Lists {
    fn new(arguments: &AccumulatorArgs<'_>) -> Result<Self> {
        if !arguments.order_bys.is_empty() {
            return Err(
                Error::not_supported("ORDER BY among the arguments of listagg", "write WITHIN GROUP (ORDER BY ...)").into()
            );
        }
        let sorted_by = match arguments.expr_fields.get(FIRST_KEY..) {
            Some(keys) if !keys.is_empty() => {
                let letters = literal(arguments, FIRST_KEY - 1)?;
                let fields = keys
                    .iter()
                    .zip(letters.chars())
                    .map(|(key, letter)| Ok(SortField::new_with_options(key.data_type().clone(), SortLetter::parse(letter)?)));
                fields.collect::<Result<Vec<_>>>()?
            }
            _ => Vec::new(),
        };
        let mut lists = Self { delimiter: literal(arguments, 1)?, sorted_by, ..Self::empty(arguments.is_distinct) };
        lists.keys_of = lists.converter()?;
        Ok(lists)
    }

    fn empty(distinct: bool) -> Self {
        Self {
            delimiter: String::new(),
            distinct,
            sorted_by: Vec::new(),
            keys_of: None,
            groups: Vec::new(),
            texts: Strings::default(),
            keys: Strings::default(),
            lengths: Vec::new(),
        }
    }

    fn converter(&self) -> Result<Option<RowConverter>> {
        match self.sorted_by.is_empty() {
            true => Ok(None),
            false => Ok(Some(RowConverter::new(self.sorted_by.clone())?)),
        }
    }

    /// One more text of a group.
    fn push(&mut self, group: usize, text: &str, key: &[u8]) -> Result<()> {
        let length = &mut self.lengths[group];
        let between = if *length == 0 { 0 } else { self.delimiter.len() };
        *length += (between + text.len()) as u64;
        if *length > MAX_BYTES && !self.distinct {
            return Err(too_long());
        }
        self.groups.push(group as u32);
        self.texts.push(text.as_bytes());
        if self.keys_of.is_some() {
            self.keys.push(key);
        }
        Ok(())
    }

    fn add(
        &mut self,
        values: &[ArrayRef],
        group_of: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.lengths.resize(groups, 0);
        let texts = text_column(values)?;
        let keys = match (&self.keys_of, values.get(FIRST_KEY..)) {
            (Some(converter), Some(keys)) => {
                Some(converter.convert_columns(&keys.iter().map(tight_key).collect::<crate::Result<Vec<_>>>()?)?)
            }
            _ => None,
        };
        for (row, text) in texts.iter().enumerate() {
            // Redshift leaves empty strings out, too.
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            if filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                let key = keys.as_ref().map(|keys| keys.row(row));
                self.push(group_of(row), text, key.as_ref().map_or(&[][..], |key| key.as_ref()))?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], group_of: impl Fn(usize) -> usize, groups: usize) -> Result<()> {
        self.lengths.resize(groups, 0);
        let (texts, keys) = (list_column(states, 0)?, list_column(states, 1)?);
        for row in 0..texts.len() {
            if texts.is_null(row) {
                continue;
            }
            let (texts, keys) = (texts.value(row), keys.value(row));
            let texts = texts.as_string_opt::<i64>().ok_or_else(|| torn(Some(texts.data_type())))?;
            let keys = keys.as_binary_opt::<i64>().ok_or_else(|| torn(Some(keys.data_type())))?;
            for index in 0..texts.len() {
                let key = if self.keys_of.is_some() { keys.value(index) } else { &[] };
                self.push(group_of(row), texts.value(index), key)?;
            }
        }
        Ok(())
    }

    /// The texts of the first groups, group by group, and where each group's end.
    fn grouped(&self, groups: usize) -> (Vec<u32>, Vec<usize>) {
        let mut ends = vec![0; groups];
        for group in &self.groups {
            if let Some(count) = ends.get_mut(*group as usize) {
                *count += 1;
            }
        }
        let mut sum = 0;
        let mut next: Vec<usize> = Vec::with_capacity(groups);
        for end in &mut ends {
            next.push(sum);
            sum += *end;
            *end = sum;
        }
        let mut order = vec![0; sum];
        for (index, group) in self.groups.iter().enumerate() {
            if let Some(place) = next.get_mut(*group as usize) {
                order[*place] = index as u32;
                *place += 1;
            }
        }
        (order, ends)
    }

    /// The results of the first groups.
    fn joined(&self, groups: usize) -> Result<ArrayRef> {
        let (mut order, ends) = self.grouped(groups);
        let mut answer = StringViewBuilder::with_capacity(groups);
        let mut joined = String::new();
        let mut start = 0;
        for end in ends {
            let texts = &mut order[start..end];
            start = end;
            if texts.is_empty() {
                answer.append_null();
                continue;
            }
            if self.keys_of.is_some() {
                texts.sort_by(|a, b| self.keys.get(*a).cmp(self.keys.get(*b)));
            }
            self.join(texts, &mut joined)?;
            answer.append_value(&joined);
        }
        Ok(Arc::new(answer.finish()))
    }

    fn join(&self, texts: &[u32], joined: &mut String) -> Result<()> {
        joined.clear();
        let mut known = HashSet::new();
        for (nth, index) in texts.iter().enumerate() {
            let text = std::str::from_utf8(self.texts.get(*index)).map_err(|_| torn(None))?;
            // Trailing blanks do not make a text another one.
            if self.distinct && !known.insert(text.trim_end_matches(' ')) {
                continue;
            }
            if nth > 0 {
                joined.push_str(&self.delimiter);
            }
            joined.push_str(text);
            if joined.len() as u64 > MAX_BYTES {
                return Err(too_long());
            }
        }
        Ok(())
    }

    /// What the first groups have, for another accumulator.
    fn states(&self, groups: usize) -> Result<Vec<ArrayRef>> {
        let (order, ends) = self.grouped(groups);
        let mut texts = LargeStringBuilder::new();
        let mut keys = LargeBinaryBuilder::new();
        for index in &order {
            texts.append_value(std::str::from_utf8(self.texts.get(*index)).map_err(|_| torn(None))?);
            keys.append_value(if self.keys_of.is_some() { self.keys.get(*index) } else { &[] });
        }
        // Arrow Flight sends the schema of a large list as that of a list.
        let mut offsets = vec![0_i32];
        for end in ends {
            offsets.push(i32::try_from(end).map_err(|_| torn(None))?);
        }
        let offsets = OffsetBuffer::new(offsets.into());
        let list = |values: ArrayRef| -> Result<ArrayRef> {
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), false));
            Ok(Arc::new(ListArray::try_new(item, offsets.clone(), values, None)?))
        };
        Ok(vec![list(Arc::new(texts.finish()))?, list(Arc::new(keys.finish()))?])
    }

    /// Forgets the first groups; the numbers of the others begin at 0 again.
    fn forget(&mut self, groups: usize) {
        let kept: Vec<u32> =
            (0..self.groups.len() as u32).filter(|index| self.groups[*index as usize] as usize >= groups).collect();
        let (mut texts, mut keys) = (Strings::default(), Strings::default());
        for index in &kept {
            texts.push(self.texts.get(*index));
            if self.keys_of.is_some() {
                keys.push(self.keys.get(*index));
            }
        }
        self.groups = kept.iter().map(|index| self.groups[*index as usize] - groups as u32).collect();
        (self.texts, self.keys) = (texts, keys);
        self.lengths = self.lengths.split_off(groups.min(self.lengths.len()));
    }

    fn count(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.lengths.len(),
            EmitTo::First(groups) => groups,
        }
    }

    fn bytes(&self) -> usize {
        let groups = self.groups.capacity() * size_of::<u32>() + self.lengths.capacity() * size_of::<u64>();
        groups + self.texts.size() + self.keys.size()
    }
}

impl GroupsAccumulator for Lists {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add(values, |row| group_indices[row], filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.merge(values, |row| group_indices[row], total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.count(emit_to);
        let joined = self.joined(groups)?;
        self.forget(groups);
        Ok(joined)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.count(emit_to);
        let states = self.states(groups)?;
        self.forget(groups);
        Ok(states)
    }

    /// Each row as the state of a group of its own.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = text_column(values)?.len();
        let mut alone = Self { keys_of: self.converter()?, ..Self::empty(self.distinct) };
        alone.add(values, |row| row, filter, rows)?;
        alone.states(rows)
    }

    fn size(&self) -> usize {
        self.bytes()
    }
}

/// The list of all rows, or of a window's.
#[derive(Debug)]
struct OneList(Lists);

impl Accumulator for OneList {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.add(values, |_| 0, None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(states, |_| 0, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.0.joined(1)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.states(1)?.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.bytes()
    }
}

/// What Redshift says.
fn too_long() -> DataFusionError {
    Error::new(ErrorKind::StringTooLong, "Result size exceeds LISTAGG limit")
        .with_detail(format!("LISTAGG limit: {MAX_BYTES} bytes"))
        .with_hint("group by more, or list fewer or shorter values")
        .into()
}

fn torn(got: Option<&DataType>) -> DataFusionError {
    Error::internal(format!("listagg got a column of another type: {got:?}")).into()
}

fn literal(arguments: &AccumulatorArgs<'_>, index: usize) -> Result<String> {
    match arguments.exprs.get(index).and_then(|argument| argument.downcast_ref::<Literal>()) {
        Some(literal) if literal.value().is_null() => Ok(String::new()),
        Some(literal) if literal.value().try_as_str().is_some() => {
            Ok(literal.value().try_as_str().flatten().unwrap_or_default().to_owned())
        }
        _ => Err(Error::not_supported("a computed delimiter of LISTAGG", "write the delimiter as a string").into()),
    }
}

fn text_column(values: &[ArrayRef]) -> Result<&StringViewArray> {
    let texts = values.first();
    texts.and_then(|texts| texts.as_string_view_opt()).ok_or_else(|| torn(texts.map(|texts| texts.data_type())))
}

fn list_column(states: &[ArrayRef], index: usize) -> Result<&ListArray> {
    let lists = states.get(index);
    lists.and_then(|lists| lists.as_list_opt::<i32>()).ok_or_else(|| torn(lists.map(|lists| lists.data_type())))
}

#[cfg(test)]
mod tests;
