//! Messages of the client, decoded with every bound checked.

use super::error::protocol_violation;
use bytes::{Buf, Bytes};
use slipher_common::{Error, ErrorKind, Result};

/// What a Describe or Close is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement,
    Portal,
}

/// A message of an authenticated client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientMessage {
    Query {
        sql: String,
    },
    Parse {
        statement: String,
        sql: String,
        type_oids: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        target: Target,
        name: String,
    },
    Execute {
        portal: String,
        row_limit: usize,
    },
    Close {
        target: Target,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    FunctionCall,
    /// CopyData, CopyDone, CopyFail outside of COPY: left-overs that the protocol says to ignore.
    Copy,
}

/// Values for a statement's parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub formats: Vec<i16>,
    pub values: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// Whether messages of this type belong to the extended protocol, where an error skips to Sync.
pub(super) fn is_extended(message_type: u8) -> bool {
    matches!(message_type, b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S')
}

/// Decodes a message's body. 08P01 means that the client breaks the protocol and must go; another error that the
/// message is whole but says something impossible.
pub(super) fn decode(message_type: u8, body: Bytes) -> Result<ClientMessage> {
    let mut fields = Fields::new(body);
    let message = match message_type {
        b'Q' => ClientMessage::Query { sql: fields.string()? },
        b'P' => ClientMessage::Parse { statement: fields.string()?, sql: fields.string()?, type_oids: fields.list(Fields::u32)? },
        b'B' => ClientMessage::Bind(Bind {
            portal: fields.string()?,
            statement: fields.string()?,
            formats: fields.list(Fields::i16)?,
            values: fields.list(Fields::value)?,
            result_formats: fields.list(Fields::i16)?,
        }),
        b'D' => ClientMessage::Describe { target: fields.target()?, name: fields.string()? },
        b'E' => ClientMessage::Execute { portal: fields.string()?, row_limit: usize::try_from(fields.i32()?).unwrap_or(0) },
        b'C' => ClientMessage::Close { target: fields.target()?, name: fields.string()? },
        b'H' => ClientMessage::Flush,
        b'S' => ClientMessage::Sync,
        b'X' => ClientMessage::Terminate,
        b'F' => return Ok(ClientMessage::FunctionCall),
        b'd' | b'c' | b'f' => return Ok(ClientMessage::Copy),
        other => return Err(protocol_violation(format!("reading a message: unknown type 0x{other:02x}"))),
    };
    fields.end()?;
    Ok(message)
}

/// Reads the fields of a message's body.
pub(super) struct Fields {
    rest: Bytes,
}

impl Fields {
    pub fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    fn take(&mut self, count: usize) -> Result<Bytes> {
        if self.rest.len() < count {
            return Err(protocol_violation("reading a message: it is shorter than its fields"));
        }
        Ok(self.rest.split_to(count))
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?.get_u8())
    }

    pub fn i16(&mut self) -> Result<i16> {
        Ok(self.take(2)?.get_i16())
    }

    pub fn i32(&mut self) -> Result<i32> {
        Ok(self.take(4)?.get_i32())
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    /// Bytes up to a NUL, which must be UTF-8.
    pub fn string(&mut self) -> Result<String> {
        let Some(end) = self.rest.iter().position(|byte| *byte == 0) else {
            return Err(protocol_violation("reading a message: a string has no end"));
        };
        let bytes = self.rest.split_to(end);
        self.rest.advance(1);
        text(&bytes).map(str::to_owned)
    }

    /// A length and so many bytes, or -1 for NULL.
    pub fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(protocol_violation(format!("reading a message: a value of {length} bytes"))),
            },
        }
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.take(2)?.get_u16();
        (0..count).map(|_| item(self)).collect()
    }

    fn target(&mut self) -> Result<Target> {
        match self.u8()? {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => Err(protocol_violation(format!("reading a message: unknown target 0x{other:02x}"))),
        }
    }

    pub fn end(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(protocol_violation(format!("reading a message: {extra} bytes too many"))),
        }
    }
}

/// Bytes of the client as text.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Error::new(ErrorKind::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\"")
            .with_detail(format!("byte 0x{:02x} at offset {at}", bytes.get(at).copied().unwrap_or_default()))
            .with_hint("the client encoding is always UTF8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn truncated_and_padded_messages_are_refused() {
        let bind = b"p\0s\0\x00\x01\x00\x01\x00\x02\x00\x00\x00\x01x\xff\xff\xff\xff\x00\x00";
        assert!(matches!(decode(b'B', Bytes::from_static(bind)), Ok(ClientMessage::Bind(bind)) if bind.values[1].is_none()));
        for end in 0..bind.len() {
            let error = decode(b'B', Bytes::from_static(&bind[..end])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ProtocolViolation, "{end} bytes");
        }
        assert_eq!(decode(b'S', Bytes::from_static(b"x")).unwrap_err().kind, ErrorKind::ProtocolViolation);
        assert_eq!(decode(b'Q', Bytes::from_static(b"\xff\0")).unwrap_err().kind, ErrorKind::InvalidEncoding);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(message_type: u8, body: Vec<u8>) {
            let _ = decode(message_type, Bytes::from(body));
        }
    }
}
