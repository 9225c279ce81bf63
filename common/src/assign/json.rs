//! JSON texts into SUPER columns: what COPY reads, and what clients send.

use super::fault::{Fault, OnFault, shorten};
use crate::error::Result;
use crate::super_value::{Node, ParseOptions, parse_json};
use arrow::array::{ArrayRef, BinaryViewBuilder};
use std::sync::Arc;

/// JSON texts as SUPER.
pub(super) fn read_json<'a>(values: impl Iterator<Item = Option<&'a str>>, on_fault: OnFault<'_>) -> Result<ArrayRef> {
    let mut builder = BinaryViewBuilder::with_capacity(values.size_hint().0);
    for (row, text) in values.enumerate() {
        match text.map(|text| (text, parse_json(text, ParseOptions::default()))) {
            None => builder.append_null(),
            Some((_, Ok(value))) => append(&mut builder, &value),
            Some((text, Err(error))) => {
                let message = match error.detail {
                    Some(detail) => format!("{}: {detail}", error.message),
                    None => error.message,
                };
                on_fault(row, Fault { kind: error.kind, message, value: Some(shorten(text)) })?;
                builder.append_null();
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Appends a value; null is NULL.
pub fn append(builder: &mut BinaryViewBuilder, value: &[u8]) {
    match Node::new(value).is_null() {
        true => builder.append_null(),
        false => builder.append_value(value),
    }
}
