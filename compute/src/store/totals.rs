//! How many finished segment files there are, and their bytes: counted once when the directory is opened, kept up with every file that
//! comes or goes. Whoever asks (each ping does) reads two numbers, however many files there are.

use super::{Store, Usage};
use parking_lot::Mutex;
use slipher_common::Result;
use std::fs;
use std::path::Path;

/// The running totals of a directory.
#[derive(Debug, Default)]
pub(super) struct Totals(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    usage: Usage,
    /// How many files have come, so that whoever walks the directory knows whether any did meanwhile.
    arrivals: u64,
}

impl Totals {
    pub(super) fn new(usage: Usage) -> Self {
        Self(Mutex::new(Counted { usage, arrivals: 0 }))
    }

    pub(super) fn usage(&self) -> Usage {
        self.0.lock().usage
    }

    pub(super) fn arrivals(&self) -> u64 {
        self.0.lock().arrivals
    }

    /// Moves a finished file to its segment's name, where one may be already.
    pub(super) fn bring(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        // Under the lock: two copies of a segment that arrive at once are one file.
        let mut counted = self.0.lock();
        let bytes = fs::metadata(from)?.len();
        let replaced = bytes_of(to)?;
        fs::rename(from, to)?;
        counted.arrivals += 1;
        counted.usage.segments += u64::from(replaced.is_none());
        counted.usage.bytes = counted.usage.bytes.saturating_sub(replaced.unwrap_or(0)) + bytes;
        Ok(())
    }

    /// Takes a segment's file away with `take`; answers its bytes, or None if it is not there any more.
    pub(super) fn take(&self, path: &Path, take: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<Option<u64>> {
        let mut counted = self.0.lock();
        let Some(bytes) = bytes_of(path)? else { return Ok(None) };
        take()?;
        counted.usage.segments = counted.usage.segments.saturating_sub(1);
        counted.usage.bytes = counted.usage.bytes.saturating_sub(bytes);
        Ok(Some(bytes))
    }

    /// What a walk found that began when `arrivals` files had come: the truth, unless more came meanwhile. Only files that somebody else
    /// took away or put there make a difference.
    pub(super) fn settle(&self, found: Usage, arrivals: u64) {
        let mut counted = self.0.lock();
        if counted.arrivals == arrivals && counted.usage != found {
            tracing::warn!(counted = ?counted.usage, ?found, "segment files came or went without this process");
            counted.usage = found;
        }
    }
}

fn bytes_of(path: &Path) -> std::io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Store {
    /// How many finished files there are, and their bytes: read from counters.
    pub fn usage(&self) -> Usage {
        self.totals.usage()
    }

    /// The same by a walk through the directory.
    pub(super) fn walked_usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        self.for_each_file(|_, _, metadata| {
            usage.segments += 1;
            usage.bytes += metadata.len();
            Ok(())
        })?;
        Ok(usage)
    }
}
