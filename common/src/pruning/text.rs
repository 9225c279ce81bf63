//! Bounds of strings: without their trailing blanks, and under patterns.

use super::range::Range;
use super::truth::Truth;
use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// The bounds of `tight(value)`, which is no greater than the value, and may be less than the value's lower bound.
pub(super) fn tight(range: &Range) -> Option<Range> {
    let low = views(&range.low)?;
    let low = low.iter().map(|bound| bound.map(tight_low)).collect::<StringViewArray>();
    let low = cast(&low, range.low.data_type()).ok()?;
    Some(Range { low, ..range.clone() })
}

/// The least that values of at least `low` are without their trailing blanks. Where what follows some beginning of `low` is no greater than
/// blanks, that beginning with enough blanks behind it is such a value.
fn tight_low(low: &str) -> &str {
    let bytes = low.as_bytes();
    let is_end = |place: &usize| {
        let rest = &bytes[*place..];
        rest.iter().find(|byte| **byte != b' ').is_none_or(|byte| *byte < b' ')
    };
    // The bytes of longer characters are greater than a blank.
    let end = (0..bytes.len()).find(is_end).unwrap_or(bytes.len());
    low.get(..end).unwrap_or_default()
}

/// What `value LIKE pattern` may yield.
pub(super) fn like(range: &Range, pattern: &str) -> Option<Truth> {
    let prefix = &pattern[..pattern.find(['%', '_', '\\']).unwrap_or(pattern.len())];
    let only_prefix = pattern.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte == b'%'));
    let (low, high) = (views(&range.low)?, views(&range.high)?);
    let bound = |bounds: &StringViewArray, place: usize| bounds.is_valid(place).then(|| bounds.value(place).to_owned());
    let (mut yes, mut no) = (Vec::with_capacity(low.len()), Vec::with_capacity(low.len()));
    for place in 0..low.len() {
        let (low, high) = (bound(&low, place), bound(&high, place));
        let below = high.as_deref().is_some_and(|high| high < prefix);
        let above = low.as_deref().is_some_and(|low| low > prefix && !low.starts_with(prefix));
        let begins = |bound: &Option<String>| bound.as_deref().is_some_and(|bound| bound.starts_with(prefix));
        yes.push(!below && !above);
        no.push(!(only_prefix && begins(&low) && begins(&high)));
    }
    let of_values = |some: Vec<bool>| &BooleanBuffer::from(some) & &range.values;
    Some(Truth { yes: of_values(yes), no: of_values(no), null: range.nulls.clone() })
}

fn views(texts: &ArrayRef) -> Option<StringViewArray> {
    let views: ArrayRef = match texts.data_type() {
        DataType::Utf8View => Arc::clone(texts),
        DataType::Utf8 | DataType::LargeUtf8 => cast(texts, &DataType::Utf8View).ok()?,
        _ => return None,
    };
    views.as_string_view_opt().cloned()
}
