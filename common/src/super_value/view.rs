//! Values as they lie in memory: every access checks what it reads, and none calls itself.

use super::number::Number;
use super::{damaged, tag, varint};
use crate::Result;

/// One node: the bytes of a value, from its tag to its end.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a>(&'a [u8]);

/// What a node is.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// JSON's null.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(&'a str),
    /// An array.
    Array(ArrayView<'a>),
    /// An object.
    Object(ObjectView<'a>),
}

/// The elements of an array.
#[derive(Clone, Copy, Debug)]
pub struct ArrayView<'a> {
    depth: u32,
    ends: &'a [u8],
    data: &'a [u8],
}

/// The entries of an object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectView<'a> {
    entries: ArrayView<'a>,
    sorted: &'a [u8],
}

fn u32_at(bytes: &[u8], index: usize) -> Result<u32> {
    let four = bytes.get(index * 4..index * 4 + 4).and_then(|four| four.try_into().ok());
    four.map(u32::from_le_bytes).ok_or_else(|| damaged("an offset is missing"))
}

impl<'a> Node<'a> {
    /// The node that these bytes are.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Reads it.
    pub fn read(self) -> Result<Value<'a>> {
        let (first, mut rest) = self.0.split_first().ok_or_else(|| damaged("it has no bytes"))?;
        let fixed = match *first {
            tag::NULL => Some(Value::Null),
            tag::FALSE => Some(Value::Boolean(false)),
            tag::TRUE => Some(Value::Boolean(true)),
            _ => None,
        };
        if let Some(value) = fixed {
            return if rest.is_empty() { Ok(value) } else { Err(damaged("bytes are left")) };
        }
        if let tag::INT8..=tag::DOUBLE = *first {
            return Number::read(*first, rest).map(Value::Number).ok_or_else(|| damaged("a number is torn"));
        }
        let length = varint::read(&mut rest).ok_or_else(|| damaged("a length is torn"))?;
        if length as usize != rest.len() {
            return Err(damaged("a length is wrong"));
        }
        match *first {
            tag::STRING => Ok(Value::String(std::str::from_utf8(rest).map_err(|_| damaged("a string is not UTF-8"))?)),
            tag::ARRAY => Ok(Value::Array(ArrayView::read(&mut rest, 0)?.0)),
            tag::OBJECT => {
                let (entries, sorted) = ArrayView::read(&mut rest, 4)?;
                Ok(Value::Object(ObjectView { entries, sorted }))
            }
            other => Err(damaged(&format!("its tag is {other:#04x}"))),
        }
    }

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        self.0 == [tag::NULL]
    }

    /// Levels of arrays and objects in it.
    pub fn depth(self) -> Result<u32> {
        Ok(match self.read()? {
            Value::Array(array) => array.depth,
            Value::Object(object) => object.entries.depth,
            _ => 0,
        })
    }
}

impl<'a> ArrayView<'a> {
    /// Depth, count, end offsets, `more` bytes for each element, elements.
    fn read(body: &mut &'a [u8], more: usize) -> Result<(Self, &'a [u8])> {
        let depth = varint::read(body).ok_or_else(|| damaged("a depth is torn"))?;
        let count = varint::read(body).ok_or_else(|| damaged("a count is torn"))? as usize;
        let table = count.checked_mul(4 + more).filter(|table| *table <= body.len());
        let (tables, data) = body.split_at(table.ok_or_else(|| damaged("a table of offsets is torn"))?);
        let (ends, rest) = tables.split_at(count * 4);
        Ok((Self { depth, ends, data }, rest))
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.ends.len() / 4
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn bytes_at(&self, index: usize) -> Result<&'a [u8]> {
        let start = if index == 0 { 0 } else { u32_at(self.ends, index - 1)? as usize };
        let end = u32_at(self.ends, index)? as usize;
        self.data.get(start..end).ok_or_else(|| damaged("an offset is wrong"))
    }

    /// The element at a place, from 0.
    pub fn get(&self, index: usize) -> Result<Option<Node<'a>>> {
        if index >= self.len() { Ok(None) } else { Ok(Some(Node(self.bytes_at(index)?))) }
    }

    /// All elements.
    pub fn iter(&self) -> impl Iterator<Item = Result<Node<'a>>> + use<'a> {
        let array = *self;
        (0..array.len()).map(move |index| Ok(Node(array.bytes_at(index)?)))
    }
}

impl<'a> ObjectView<'a> {
    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry at a place, in written order.
    pub fn entry(&self, index: usize) -> Result<(&'a str, Node<'a>)> {
        let mut bytes = self.entries.bytes_at(index)?;
        let length = varint::read(&mut bytes).ok_or_else(|| damaged("a name is torn"))? as usize;
        let (name, value) = bytes.split_at_checked(length).ok_or_else(|| damaged("a name is torn"))?;
        Ok((std::str::from_utf8(name).map_err(|_| damaged("a name is not UTF-8"))?, Node(value)))
    }

    /// The entry at a place, in the order of names.
    pub fn entry_by_name(&self, index: usize) -> Result<(&'a str, Node<'a>)> {
        self.entry(u32_at(self.sorted, index)? as usize)
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Result<Option<Node<'a>>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, value) = self.entry_by_name(middle)?;
            match found.cmp(name) {
                std::cmp::Ordering::Equal => return Ok(Some(value)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// The value of the first name that is the same but for the case of letters of ASCII.
    pub fn get_in_any_case(&self, name: &str) -> Result<Option<Node<'a>>> {
        for index in 0..self.len() {
            let (found, value) = self.entry(index)?;
            if found.eq_ignore_ascii_case(name) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// All entries, in written order.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&'a str, Node<'a>)>> + use<'a> {
        let object = *self;
        (0..object.len()).map(move |index| object.entry(index))
    }
}
