//! Values are built in two steps: a list of nodes in written order, then the bytes. So no byte is copied once for each level around it.

use super::number::Number;
use super::{DEPTH_MAX_LEVELS, STRING_MAX_BYTES, VALUE_MAX_BYTES, string_too_long, tag, too_deep, too_large, varint};
use super::{Node, damaged};
use crate::{Error, ErrorKind, Result};
use std::ops::Range;

/// Bytes of an offset in arrays and objects.
const OFFSET_BYTES: usize = 4;

/// One node, in the order in which nodes are written.
struct Item {
    /// Where its name lies in the scratch, if it stands in an object.
    name: Option<Range<usize>>,
    /// Bytes of its encoding, known when it is closed.
    size: usize,
    kind: Kind,
}

enum Kind {
    /// Its bytes lie there in the scratch.
    Bytes(Range<usize>),
    /// An array or object.
    Open(Container),
}

struct Container {
    is_object: bool,
    /// Levels of arrays and objects in it, its own included.
    depth: u32,
    children: u32,
    /// Bytes behind its length, known when it is closed.
    body: usize,
    /// Behind its last descendant.
    end: usize,
    /// For objects: the numbers of its entries by their names.
    sorted: Vec<u32>,
}

/// Builds one value.
#[derive(Default)]
pub struct Builder {
    scratch: Vec<u8>,
    items: Vec<Item>,
    open: Vec<usize>,
    name: Option<Range<usize>>,
    /// Of several entries with one name the last one stays, instead of an error.
    pub last_of_equal_names: bool,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Builder({} items)", self.items.len())
    }
}

impl Builder {
    /// Bytes of names and scalars up to now.
    fn check_size(&self) -> Result<()> {
        if self.scratch.len() > VALUE_MAX_BYTES { Err(too_large()) } else { Ok(()) }
    }

    fn push(&mut self, start: usize) -> Result<()> {
        self.check_size()?;
        let item =
            Item { name: self.name.take(), size: self.scratch.len() - start, kind: Kind::Bytes(start..self.scratch.len()) };
        self.add(item);
        Ok(())
    }

    fn add(&mut self, item: Item) {
        let parent = self.open.last().and_then(|parent| self.items.get_mut(*parent));
        if let Some(Item { kind: Kind::Open(container), .. }) = parent {
            container.children += 1;
        }
        self.items.push(item);
    }

    /// The name of what comes next.
    pub fn name(&mut self, name: &str) -> Result<()> {
        if name.len() > STRING_MAX_BYTES {
            return Err(string_too_long(name.len()));
        }
        let start = self.scratch.len();
        self.scratch.extend_from_slice(name.as_bytes());
        self.name = Some(start..self.scratch.len());
        self.check_size()
    }

    /// Null.
    pub fn null(&mut self) -> Result<()> {
        let start = self.scratch.len();
        self.scratch.push(tag::NULL);
        self.push(start)
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) -> Result<()> {
        let start = self.scratch.len();
        self.scratch.push(if value { tag::TRUE } else { tag::FALSE });
        self.push(start)
    }

    /// A number.
    pub fn number(&mut self, value: Number) -> Result<()> {
        let start = self.scratch.len();
        value.write(&mut self.scratch);
        self.push(start)
    }

    /// A string.
    pub fn string(&mut self, value: &str) -> Result<()> {
        if value.len() > STRING_MAX_BYTES {
            return Err(string_too_long(value.len()));
        }
        let start = self.scratch.len();
        self.scratch.push(tag::STRING);
        varint::write(&mut self.scratch, value.len() as u32);
        self.scratch.extend_from_slice(value.as_bytes());
        self.push(start)
    }

    /// A value that is there already.
    pub fn value(&mut self, value: Node<'_>) -> Result<()> {
        let deep = self.open.len() as u32 + value.depth()?;
        if deep > DEPTH_MAX_LEVELS {
            return Err(too_deep());
        }
        // What is open becomes as deep as what it holds.
        let levels = value.depth()?;
        for (above, place) in self.open.iter().rev().enumerate() {
            if let Some(Item { kind: Kind::Open(container), .. }) = self.items.get_mut(*place) {
                container.depth = container.depth.max(levels + above as u32 + 1);
            }
        }
        let start = self.scratch.len();
        self.scratch.extend_from_slice(value.bytes());
        self.push(start)
    }

    /// Begins an array.
    pub fn open_array(&mut self) -> Result<()> {
        self.open_container(false)
    }

    /// Begins an object; each of its values has a [`Builder::name`].
    pub fn open_object(&mut self) -> Result<()> {
        self.open_container(true)
    }

    fn open_container(&mut self, is_object: bool) -> Result<()> {
        if self.open.len() as u32 >= DEPTH_MAX_LEVELS {
            return Err(too_deep());
        }
        let container = Container { is_object, depth: 1, children: 0, body: 0, end: 0, sorted: Vec::new() };
        let place = self.items.len();
        let item = Item { name: self.name.take(), size: 0, kind: Kind::Open(container) };
        self.add(item);
        self.open.push(place);
        Ok(())
    }

    /// Places of a container's children.
    fn children(&self, place: usize, end: usize) -> Vec<usize> {
        let mut children = Vec::new();
        let mut at = place + 1;
        while at < end {
            children.push(at);
            at = match &self.items[at].kind {
                Kind::Bytes(_) => at + 1,
                Kind::Open(container) => container.end,
            };
        }
        children
    }

    fn name_of(&self, place: usize) -> &[u8] {
        self.items[place].name.clone().map_or(&[], |name| &self.scratch[name])
    }

    /// Ends the array or object that was begun last.
    pub fn close(&mut self) -> Result<()> {
        let place = self.open.pop().ok_or_else(|| Error::internal("a SUPER value is closed that is not open"))?;
        let end = self.items.len();
        let mut children = self.children(place, end);
        let Kind::Open(container) = &self.items[place].kind else { return Err(Error::internal("a scalar is open")) };
        let is_object = container.is_object;
        let mut sorted = Vec::new();
        if is_object {
            sorted = self.sorted(&children);
            if let Some(pair) = sorted.windows(2).find(|pair| self.same_name(&children, pair[0], pair[1])) {
                if !self.last_of_equal_names {
                    let name = String::from_utf8_lossy(self.name_of(children[pair[0] as usize])).into_owned();
                    return Err(duplicate_name(&name));
                }
                self.drop_earlier(place, &children, &sorted);
                children = self.children(place, self.items.len());
                sorted = self.sorted(&children);
            }
        }
        let depth = children.iter().map(|child| self.depth_of(*child)).max().unwrap_or(0) + 1;
        let mut body = children.iter().map(|child| self.items[*child].size).sum::<usize>();
        if is_object {
            let names = children.iter().map(|child| self.name_of(*child).len()).map(|len| varint::len(len as u32) + len);
            body += names.sum::<usize>() + children.len() * OFFSET_BYTES;
        }
        body += children.len() * OFFSET_BYTES + varint::len(children.len() as u32);
        let end = self.items.len();
        let item = &mut self.items[place];
        if let Kind::Open(container) = &mut item.kind {
            container.depth = container.depth.max(depth);
            body += varint::len(container.depth);
            container.children = children.len() as u32;
            container.end = end;
            container.sorted = sorted;
            container.body = body;
        }
        if body > VALUE_MAX_BYTES {
            return Err(too_large());
        }
        item.size = 1 + varint::len(body as u32) + body;
        Ok(())
    }

    fn depth_of(&self, place: usize) -> u32 {
        match &self.items[place].kind {
            Kind::Bytes(_) => 0,
            Kind::Open(container) => container.depth,
        }
    }

    /// Numbers of entries, by their names; entries of one name in written order.
    fn sorted(&self, children: &[usize]) -> Vec<u32> {
        let mut sorted: Vec<u32> = (0..children.len() as u32).collect();
        sorted.sort_by(|one, other| self.name_of(children[*one as usize]).cmp(self.name_of(children[*other as usize])));
        sorted
    }

    fn same_name(&self, children: &[usize], one: u32, other: u32) -> bool {
        self.name_of(children[one as usize]) == self.name_of(children[other as usize])
    }

    /// Takes away the entries that a later one of the same name replaces.
    fn drop_earlier(&mut self, place: usize, children: &[usize], sorted: &[u32]) {
        let mut gone = vec![false; children.len()];
        for pair in sorted.windows(2).filter(|pair| self.same_name(children, pair[0], pair[1])) {
            gone[pair[0] as usize] = true;
        }
        let kept = self.items.split_off(place + 1);
        let mut removed = 0;
        let mut entry = 0;
        for (at, mut item) in (place + 1..).zip(kept) {
            while children.get(entry + 1).is_some_and(|next| *next <= at) {
                entry += 1;
            }
            if gone.get(entry) == Some(&true) {
                removed += 1;
                continue;
            }
            if let Kind::Open(container) = &mut item.kind {
                container.end -= removed;
            }
            self.items.push(item);
        }
    }

    /// The value's bytes; the builder is empty again.
    pub fn finish(&mut self) -> Result<Vec<u8>> {
        if !self.open.is_empty() || self.items.is_empty() {
            return Err(Error::internal("a SUPER value is not closed"));
        }
        let mut out = Vec::with_capacity(self.items[0].size);
        for place in 0..self.items.len() {
            let item = &self.items[place];
            if let Some(name) = item.name.clone() {
                varint::write(&mut out, name.len() as u32);
                out.extend_from_slice(&self.scratch[name]);
            }
            match &item.kind {
                Kind::Bytes(range) => out.extend_from_slice(&self.scratch[range.clone()]),
                Kind::Open(container) => self.head(place, container, &mut out),
            }
        }
        let expected = self.items[0].size;
        self.items.clear();
        self.scratch.clear();
        self.name = None;
        if out.len() != expected {
            return Err(damaged("it was written with a wrong length"));
        }
        if out.len() > VALUE_MAX_BYTES {
            return Err(too_large());
        }
        Ok(out)
    }

    /// All of a container before its first child.
    fn head(&self, place: usize, container: &Container, out: &mut Vec<u8>) {
        out.push(if container.is_object { tag::OBJECT } else { tag::ARRAY });
        varint::write(out, container.body as u32);
        varint::write(out, container.depth);
        varint::write(out, container.children);
        let mut end = 0usize;
        for child in self.children(place, container.end) {
            let name = if container.is_object {
                let len = self.name_of(child).len();
                varint::len(len as u32) + len
            } else {
                0
            };
            end += name + self.items[child].size;
            out.extend_from_slice(&(end as u32).to_le_bytes());
        }
        for entry in &container.sorted {
            out.extend_from_slice(&entry.to_le_bytes());
        }
    }
}

fn duplicate_name(name: &str) -> Error {
    Error::new(ErrorKind::InvalidText, format!("attribute name \"{}\" occurs more than once in an object", super::shown(name)))
        .with_hint("SET json_parse_dedup_attributes TO on keeps the last one")
}
