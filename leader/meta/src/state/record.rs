//! Records as a leader that starts reads them: the segments that they add, which are most of them, are not made messages first, of which
//! each bound of a column would have memory of its own.

use prost::Message as _;
use slipher_common::manifest::{Segment, SegmentReader, take_apart};
use slipher_common::{Error, Result};
use slipher_proto::meta::{self as proto, operation::Kind};

/// The field of a [`proto::Record`] that has its operations.
const RECORD_OPERATIONS: u32 = 4;
/// The field of a [`proto::Operation`] that has a [`proto::ReplaceSegments`].
const OPERATION_REPLACE_SEGMENTS: u32 = 8;
/// The field of a [`proto::ReplaceSegments`] that has the segments that come.
const REPLACE_SEGMENTS_ADD: u32 = 2;

/// A record that was read.
#[derive(Debug)]
pub(crate) struct ReadRecord {
    /// Itself, without the segments below.
    pub(super) record: proto::Record,
    /// For each of its operations the segments that it adds and that are not in it; nothing where the record has all.
    pub(super) added: Vec<Vec<Segment>>,
}

impl ReadRecord {
    /// Reads a record, encoded.
    pub(crate) fn decode(encoded: &[u8]) -> std::result::Result<Self, prost::DecodeError> {
        if let Ok(read) = Self::decode_apart(encoded) {
            return Ok(read);
        }
        // What is wrong with it, and whether it is the message or what the message says, is known of the whole.
        Ok(Self { record: proto::Record::decode(encoded)?, added: Vec::new() })
    }

    /// Its transaction.
    pub(crate) fn transaction_id(&self) -> &[u8] {
        &self.record.transaction_id
    }

    fn decode_apart(encoded: &[u8]) -> Result<Self> {
        let (rest, operations) = take_apart(encoded, RECORD_OPERATIONS)?;
        let mut read = Self { record: decode(&rest)?, added: Vec::with_capacity(operations.len()) };
        let mut reader = SegmentReader::default();
        for encoded in operations {
            let (others, replaces) = take_apart(encoded, OPERATION_REPLACE_SEGMENTS)?;
            let (operation, added) = match (&others[..], &replaces[..]) {
                ([], [replace]) => {
                    let (rest, added) = take_apart(replace, REPLACE_SEGMENTS_ADD)?;
                    let kind = Kind::ReplaceSegments(decode(&rest)?);
                    let added = added.into_iter().map(|segment| reader.read(segment)).collect::<Result<_>>()?;
                    (proto::Operation { kind: Some(kind) }, added)
                }
                _ => (decode(encoded)?, Vec::new()),
            };
            read.record.operations.push(operation);
            read.added.push(added);
        }
        Ok(read)
    }
}

fn decode<M: prost::Message + Default>(encoded: &[u8]) -> Result<M> {
    M::decode(encoded).map_err(unreadable)
}

/// XX000: a message that cannot be read.
pub(super) fn unreadable(error: prost::DecodeError) -> Error {
    Error::internal(error.to_string())
}
