//! The chain through the log: each entry carries a digest of itself and of the chain before it, so that an entry that is missing,
//! doubled or from elsewhere is seen at the next one, and the last digest stands for all entries.

use super::log_store::LogEntry;
use bytes::Bytes;
use slipher_common::{Error, ErrorKind, Result};
use xxhash_rust::xxh3::Xxh3;

const BYTES: usize = 16;

/// XXH3-128 of everything up to a place in the log; all zero before the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain([u8; BYTES]);

impl Chain {
    /// The chain behind an entry that follows.
    pub(super) fn after(self, entry: &LogEntry) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&self.0);
        for number in [entry.index, entry.term, u64::from(entry.kind.unsigned_abs())] {
            hasher.update(&number.to_le_bytes());
        }
        for bytes in [&entry.data, &entry.context] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        Self(hasher.digest128().to_le_bytes())
    }

    /// The chain behind a snapshot that came from elsewhere, without the entries in it.
    pub(super) fn of_snapshot(index: u64, term: u64, digest: Self) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(b"snapshot");
        hasher.update(&index.to_le_bytes());
        hasher.update(&term.to_le_bytes());
        hasher.update(&digest.0);
        Self(hasher.digest128().to_le_bytes())
    }

    /// XXH3-128 of some bytes, which are no entry.
    pub(super) fn digest_of(bytes: &[u8]) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(bytes);
        Self(hasher.digest128().to_le_bytes())
    }

    /// Of bytes that were digested piece by piece.
    pub(super) fn from_digest(digest: u128) -> Self {
        Self(digest.to_le_bytes())
    }

    /// As it is stored; all zero as nothing.
    pub(super) fn to_bytes(self) -> Bytes {
        if self == Self::default() { Bytes::new() } else { Bytes::copy_from_slice(&self.0) }
    }

    /// From its stored form.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match <[u8; BYTES]>::try_from(bytes) {
            Ok(chain) => Ok(Self(chain)),
            Err(_) if bytes.is_empty() => Ok(Self::default()),
            Err(_) => Err(Error::new(ErrorKind::DataCorrupted, format!("a digest has {} bytes instead of {BYTES}", bytes.len()))),
        }
    }
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Of the entry.
    pub(super) index: u64,
    /// Of the entry.
    pub(super) term: u64,
    /// Behind the entry.
    pub(super) chain: Chain,
}

impl Link {
    /// The place of an entry that follows this one.
    pub(super) fn to(self, entry: &LogEntry) -> Self {
        Self { index: entry.index, term: entry.term, chain: self.chain.after(entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_entry_and_all_before_it_count() {
        let entry = LogEntry { index: 7, term: 2, kind: 0, data: "data".into(), context: "c".into(), chain: Bytes::new() };
        let before = Chain::digest_of(b"before");
        let changed = [
            LogEntry { index: 8, ..entry.clone() },
            LogEntry { term: 3, ..entry.clone() },
            LogEntry { kind: 1, ..entry.clone() },
            LogEntry { data: "datac".into(), context: Bytes::new(), ..entry.clone() },
            LogEntry { context: "d".into(), ..entry.clone() },
        ];
        for changed in changed {
            assert_ne!(before.after(&changed), before.after(&entry), "{changed:?}");
        }
        assert_ne!(Chain::default().after(&entry), before.after(&entry));
        // What an entry says of its own chain is compared, not added.
        assert_eq!(before.after(&LogEntry { chain: "x".into(), ..entry.clone() }), before.after(&entry));
        let chain = before.after(&entry);
        assert_eq!(Chain::from_bytes(&chain.to_bytes()).unwrap(), chain);
        assert_eq!(Chain::from_bytes(&Chain::default().to_bytes()).unwrap(), Chain::default());
        assert!(Chain::from_bytes(b"short").is_err());
    }
}
