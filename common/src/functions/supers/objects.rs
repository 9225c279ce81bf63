//! OBJECT and OBJECT_TRANSFORM.

use super::{Function, SUPER, documents, is_super, is_text, no_such_call, object_of, put_or_refuse};
use crate::assign::put_scalar;
use crate::super_value::{Builder, Node, Value};
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, Int64Array};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// `object_transform(x, n, path, ..., path, value, ...)`: n paths that are kept, then paths that are set and their values.
const TRANSFORM: &str = "object_transform";

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("object", coerce_object, is_super, object),
        Function::new(TRANSFORM, coerce_transform, is_super, transform),
    ]
}

fn name_type(known: &DataType) -> Option<DataType> {
    (is_text(known) || *known == DataType::Null).then_some(DataType::Utf8View)
}

fn coerce_object(types: &[DataType]) -> Result<Vec<DataType>> {
    let wrong = || no_such_call("object", types, "object(name, value, name, value, ...)");
    if !types.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let each = |(place, known): (usize, &DataType)| match place % 2 {
        0 => name_type(known).ok_or_else(wrong),
        _ => put_or_refuse("OBJECT", known),
    };
    types.iter().enumerate().map(each).collect()
}

fn object(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    // Without arguments there is one row; the engine repeats it.
    let rows = arguments.first().map_or(1, |first| first.len());
    let mut values = BinaryViewBuilder::with_capacity(rows);
    let mut builder = Builder::default();
    for row in 0..rows {
        builder.open_object()?;
        for pair in arguments.chunks_exact(2) {
            let names = pair[0].as_string_view();
            if names.is_null(row) {
                return Err(Error::new(ErrorKind::InvalidParameter, "OBJECT: an attribute name is NULL"));
            }
            builder.name(names.value(row))?;
            put_scalar(&mut builder, &pair[1], row)?;
        }
        builder.close()?;
        values.append_value(builder.finish()?);
    }
    Ok(Arc::new(values.finish()))
}

fn coerce_transform(types: &[DataType]) -> Result<Vec<DataType>> {
    let usage = "object_transform(a_super [KEEP path, ...] [SET path, value, ...])";
    let wrong = || no_such_call(TRANSFORM, types, usage);
    let [input, count, rest @ ..] = types else { return Err(wrong()) };
    if !count.is_integer() {
        return Err(wrong());
    }
    let input = if *input == DataType::Null { SUPER } else { put_or_refuse("OBJECT_TRANSFORM", input)? };
    let rest = rest.iter().map(|known| put_or_refuse("OBJECT_TRANSFORM", known));
    [Ok(input), Ok(DataType::Int64)].into_iter().chain(rest).collect()
}

/// The parts of `"a"."b"`.
fn path_of(array: &ArrayRef, row: usize) -> Result<Vec<String>> {
    let text = array.as_string_view_opt().filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
    let wrong = || {
        Error::new(ErrorKind::InvalidParameter, format!("OBJECT_TRANSFORM: \"{}\" is no path", text.unwrap_or_default()))
            .with_hint("write the names in double quotes, with points between them: '\"a\".\"b\"'")
    };
    let mut parts = Vec::new();
    let mut rest = text.ok_or_else(wrong)?;
    loop {
        let inner = rest.strip_prefix('"').ok_or_else(wrong)?;
        let end = inner.find('"').ok_or_else(wrong)?;
        parts.push(inner[..end].to_owned());
        match inner[end + 1..].strip_prefix('.') {
            Some(more) => rest = more,
            None if end + 1 == inner.len() => return Ok(parts),
            None => return Err(wrong()),
        }
    }
}

/// An object in the making.
enum Part<'a> {
    Object(Vec<(String, Part<'a>)>),
    Value(Node<'a>),
    /// Of that argument.
    Argument(usize),
}

impl<'a> Part<'a> {
    fn entry(&mut self, name: &str) -> Option<&mut Part<'a>> {
        match self {
            Part::Object(entries) => entries.iter_mut().find(|(known, _)| known == name).map(|(_, part)| part),
            _ => None,
        }
    }

    /// Puts a value at the end of a path; objects on the way are made where there are none.
    fn put(&mut self, path: &[String], value: Part<'a>) -> Result<()> {
        let mut at = self;
        let Some((last, way)) = path.split_last() else { return Ok(()) };
        for name in way {
            at.open()?;
            if at.entry(name).is_none()
                && let Part::Object(entries) = at
            {
                entries.push((name.clone(), Part::Object(Vec::new())));
            }
            at = at.entry(name).ok_or_else(|| Error::internal("an object has lost an attribute"))?;
        }
        at.open()?;
        match at.entry(last) {
            Some(there) => *there = value,
            None => {
                if let Part::Object(entries) = at {
                    entries.push((last.clone(), value));
                }
            }
        }
        Ok(())
    }

    /// Makes an object of it, with the attributes that it has.
    fn open(&mut self) -> Result<()> {
        let entries = match self {
            Part::Object(_) => return Ok(()),
            Part::Value(node) => match object_of(*node)? {
                Some(object) => object
                    .iter()
                    .map(|entry| entry.map(|(name, value)| (name.to_owned(), Part::Value(value))))
                    .collect::<Result<_>>()?,
                None => Vec::new(),
            },
            Part::Argument(_) => Vec::new(),
        };
        *self = Part::Object(entries);
        Ok(())
    }

    /// Paths are written out in statements, so that this is never deep.
    fn write(&self, arguments: &[ArrayRef], row: usize, builder: &mut Builder) -> Result<()> {
        match self {
            Part::Value(node) => builder.value(*node),
            Part::Argument(index) => put_scalar(builder, &arguments[*index], row),
            Part::Object(entries) => {
                builder.open_object()?;
                for (name, part) in entries {
                    builder.name(name)?;
                    part.write(arguments, row, builder)?;
                }
                builder.close()
            }
        }
    }
}

fn find<'a>(node: Node<'a>, path: &[String]) -> Result<Option<Node<'a>>> {
    let mut at = Some(node);
    for name in path {
        at = match at.map(Node::read).transpose()? {
            Some(Value::Object(object)) => object.get(name)?,
            _ => None,
        };
    }
    Ok(at)
}

fn transform(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let input = match arguments[0].as_binary_view_opt() {
        Some(_) => Arc::clone(&arguments[0]),
        None => crate::assign::super_of(&arguments[0])?,
    };
    let values = documents(&input)?;
    let counts: &Int64Array = super::super::downcast(&arguments[1])?;
    let kept = counts.iter().next().flatten().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let (keep, set) = (2..2 + kept, 2 + kept);
    let mut answers = BinaryViewBuilder::with_capacity(values.len());
    let mut builder = Builder::default();
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value else {
            answers.append_null();
            continue;
        };
        let node = Node::new(value);
        if object_of(node)?.is_none() || arguments.len() == 2 {
            answers.append_value(value);
            continue;
        }
        let mut whole = if kept == 0 { Part::Value(node) } else { Part::Object(Vec::new()) };
        for index in keep.clone() {
            let path = path_of(&arguments[index], row)?;
            if let Some(found) = find(node, &path)? {
                whole.put(&path, Part::Value(found))?;
            }
        }
        for index in (set..arguments.len().saturating_sub(1)).step_by(2) {
            whole.put(&path_of(&arguments[index], row)?, Part::Argument(index + 1))?;
        }
        whole.write(arguments, row, &mut builder)?;
        answers.append_value(builder.finish()?);
    }
    Ok(Arc::new(answers.finish()))
}
