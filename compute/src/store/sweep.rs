//! Moves files aside that no manifest names.

use super::{Store, Usage};
use slipher_common::ids::{SegmentId, TableId, TransactionId};
use slipher_common::{Error, Result};
use std::collections::HashSet;
use std::fs::Metadata;
use std::time::{Duration, SystemTime};

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Moves the segment files to the trash that are not `live`, that no `running` transaction wrote, that are at least `minimum_age` old and were
    /// written before `written_before`: both lists are at least as new as that. The age protects the files of transactions that this process
    /// does not remember.
    pub fn sweep(
        &self,
        live: &HashSet<SegmentId>,
        running: &HashSet<TransactionId>,
        written_before: SystemTime,
        minimum_age: Duration,
    ) -> Result<Swept> {
        let now = SystemTime::now();
        let mut swept = Swept::default();
        let (mut kept, arrivals) = (Usage::default(), self.totals.arrivals());
        let mut keep = |metadata: &Metadata| {
            kept.segments += 1;
            kept.bytes += metadata.len();
            Ok(())
        };
        self.for_each_file(|segment, path, metadata| {
            if live.contains(&segment) {
                // A manifest names it: the transaction has committed.
                self.unfinished.lock().remove(&segment);
                return keep(metadata);
            }
            let writer = self.unfinished.lock().get(&segment).copied();
            if writer.is_some_and(|transaction| running.contains(&transaction)) {
                return keep(metadata);
            }
            let modified = metadata.modified().map_err(|e| Error::io(format!("reading \"{}\"", path.display()), &e))?;
            // A clock that went back makes files young, never old.
            if modified >= written_before || now.duration_since(modified).unwrap_or_default() < minimum_age {
                return keep(metadata);
            }
            let table = path.parent().and_then(|dir| dir.file_name()?.to_str()?.parse().ok()).map(TableId);
            let taken = self.totals.take(path, || match table {
                Some(table) => self.throw_away(table, segment, path, now),
                None => std::fs::remove_file(path),
            });
            if let Some(bytes) = taken.map_err(|e| Error::io(format!("removing \"{}\"", path.display()), &e))? {
                swept.files += 1;
                swept.bytes += bytes;
            }
            self.unfinished.lock().remove(&segment);
            self.verified.lock().remove(&segment);
            Ok(())
        })?;
        self.totals.settle(kept, arrivals);
        if swept.files > 0 {
            tracing::info!(files = swept.files, bytes = swept.bytes, "swept segment files that no manifest names");
        }
        Ok(swept)
    }
}
