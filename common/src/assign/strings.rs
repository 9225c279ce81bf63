//! Strings into CHAR and VARCHAR: lengths are bytes, blanks beyond the length are cut silently, CHAR is stored without trailing blanks.

use super::fault::{Fault, OnFault};
use crate::error::Result;
use crate::sql_type::SqlType;
use arrow::array::{Array, ArrayRef, ByteView, StringViewArray, StringViewBuilder, make_view};
use arrow::buffer::NullBuffer;
use std::sync::Arc;

/// The length of the longest string a column takes; `None` if it is no string column.
pub fn length_limit(target: SqlType) -> Option<usize> {
    match target {
        SqlType::Char(length) | SqlType::VarChar(length) => Some(length as usize),
        _ => None,
    }
}

/// `text` as `target` stores it, or `None` if it is too long.
pub fn fit(text: &str, target: SqlType, truncate: bool) -> Option<&str> {
    let limit = length_limit(target).unwrap_or(usize::MAX);
    let kept = if text.len() <= limit {
        text
    } else {
        let cut = &text[..text.floor_char_boundary(limit)];
        if !truncate && text.as_bytes()[cut.len()..].iter().any(|byte| *byte != b' ') {
            return None;
        }
        cut
    };
    Some(if matches!(target, SqlType::Char(_)) { kept.trim_end_matches(' ') } else { kept })
}

/// All strings of a column as `target` stores them: the array itself where nothing is to be cut, else new views of the same bytes.
pub fn fit_column(array: &StringViewArray, target: SqlType, truncate: bool, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let limit = length_limit(target).unwrap_or(usize::MAX);
    let fixed = matches!(target, SqlType::Char(_));
    // The lower 32 bits of a view are its length.
    let long = array.views().iter().any(|view| *view as u32 as usize > limit);
    let padded = fixed && array.iter().flatten().any(|text| text.ends_with(' '));
    if !long && !padded {
        return Ok(Arc::new(array.clone()));
    }
    let mut views = Vec::with_capacity(array.len());
    let mut bad = Vec::new();
    for (row, view) in array.views().iter().enumerate() {
        if array.is_null(row) {
            views.push(0);
            continue;
        }
        let text = array.value(row);
        match fit(text, target, truncate) {
            Some(kept) if kept.len() == text.len() => views.push(*view),
            Some(kept) => {
                let place = ByteView::from(*view);
                // A short string's view holds its bytes, not a place: make_view looks at the length first.
                views.push(make_view(kept.as_bytes(), place.buffer_index, place.offset));
            }
            None => {
                on_fault(row, Fault::too_long(target, text))?;
                views.push(0);
                bad.push(row);
            }
        }
    }
    let nulls = without_rows(array.nulls(), array.len(), &bad);
    Ok(Arc::new(StringViewArray::try_new(views.into(), array.data_buffers().to_vec(), nulls)?))
}

/// Strings copied into an array of their own, as `target` stores them.
pub fn copy_column<'a>(
    values: impl Iterator<Item = Option<&'a str>>,
    target: SqlType,
    truncate: bool,
    on_fault: OnFault<'_>,
) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(values.size_hint().0);
    for (row, text) in values.enumerate() {
        match text.map(|text| fit(text, target, truncate).ok_or(text)) {
            None => builder.append_null(),
            Some(Ok(kept)) => builder.append_value(kept),
            Some(Err(text)) => {
                on_fault(row, Fault::too_long(target, text))?;
                builder.append_null();
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// `nulls` with some more rows.
pub fn without_rows(nulls: Option<&NullBuffer>, rows: usize, more: &[usize]) -> Option<NullBuffer> {
    if more.is_empty() {
        return nulls.cloned();
    }
    let mut valid: Vec<bool> = match nulls {
        Some(nulls) => nulls.iter().collect(),
        None => vec![true; rows],
    };
    more.iter().for_each(|row| valid[*row] = false);
    Some(NullBuffer::from(valid))
}
