//! Casts to SUPER and from it.

use super::{Function, SUPER, documents, is_super, no_such_call, put_type};
use crate::assign::{Fault, canonical, from_super, super_of};
use crate::{Error, ErrorKind, Result, SqlType};
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `slipher_super(x)`: what CAST(x AS SUPER) becomes.
pub const TO_SUPER: &str = "slipher_super";
/// `slipher_super_as(x, NULL::type, strict)`: what CAST(x AS type) becomes; what cannot be cast is NULL, or an error if it is strict.
pub const SUPER_AS: &str = "slipher_super_as";

pub(super) fn functions() -> Vec<Function> {
    let mut to_super = Function::new(TO_SUPER, coerce_to, is_super, to_super);
    to_super.simplify = Some(|arguments, data_type| match arguments {
        [only] if *data_type == SUPER => Some(only.clone()),
        _ => None,
    });
    vec![to_super, Function::new(SUPER_AS, coerce_from, |types| Ok(types[1].clone()), cast_from)]
}

/// What brings types together inserts this after arguments were brought to theirs.
fn to_super(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if *arguments[0].data_type() == SUPER {
        return Ok(Arc::clone(&arguments[0]));
    }
    let mut refuse = |_: usize, fault: Fault| Err(Error::new(fault.kind, fault.message));
    super_of(&canonical(&arguments[0], &mut refuse)?)
}

fn coerce_to(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Null] => Ok(vec![SUPER]),
        [only] => put_type(only).map(|known| vec![known]).ok_or_else(|| {
            let message = format!("cannot cast type {} to super", super::name_of(only));
            Error::new(ErrorKind::CannotCoerce, message).with_hint("cast it to VARCHAR first")
        }),
        _ => Err(no_such_call(TO_SUPER, types, "CAST(a_value AS SUPER)")),
    }
}

fn coerce_from(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::BinaryView | DataType::Null, target, DataType::Boolean] => Ok(vec![SUPER, target.clone(), DataType::Boolean]),
        _ => Err(no_such_call(SUPER_AS, types, "CAST(a_super AS a_type)")),
    }
}

fn cast_from(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let target = SqlType::from_arrow(arguments[1].data_type())?;
    let strict = arguments[2].as_boolean().iter().next().flatten() == Some(true);
    let mut on_fault = |_: usize, fault: Fault| match strict {
        true => Err(Error::new(fault.kind, fault.message)),
        false => Ok(()),
    };
    from_super(documents(&arguments[0])?, target, &mut on_fault)
}
