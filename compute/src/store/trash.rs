//! Files that were swept are moved aside and kept for a day. A sweep that was wrong, for whatever reason, then has lost nothing: who reads a
//! segment whose file is missing looks here first, and that is counted, because it should never happen.
//!
//! ```text
//! trash/<hours since 1970>/<table>.<segment>
//! ```

use super::{DiskSpace, Store, Swept, list, sync_dir};
use slipher_common::ids::{SegmentId, TableId};
use slipher_common::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long swept files are kept.
pub const TRASH_KEPT_HOURS: u64 = 24;
/// When less of the file system is free, the oldest are removed earlier.
const FREE_PERCENT_MIN: u64 = 5;

fn hour_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 3600
}

impl Store {
    fn trash_dir(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// Moves a segment's file aside.
    pub(super) fn throw_away(&self, table: TableId, segment: SegmentId, path: &Path, now: SystemTime) -> std::io::Result<()> {
        let dir = self.trash_dir().join(hour_of(now).to_string());
        super::make_dir(&dir)?;
        fs::rename(path, dir.join(format!("{table}.{segment}")))
    }

    /// Brings the file of a segment back that was swept less than a day ago; false if there is none.
    pub(crate) fn rescue(&self, table: TableId, segment: SegmentId) -> Result<bool> {
        let path = self.segment_path(table, segment);
        let doing = |e: &std::io::Error| Error::io(format!("bringing \"{}\" back", path.display()), e);
        for (_, dir) in self.trash_by_hour()?.into_iter().rev() {
            let thrown_away = dir.join(format!("{table}.{segment}"));
            if !thrown_away.is_file() {
                continue;
            }
            let table_dir = self.table_dir(table);
            super::make_dir(&table_dir).map_err(|e| doing(&e))?;
            self.totals.bring(&thrown_away, &path).and_then(|()| sync_dir(&table_dir)).map_err(|e| doing(&e))?;
            self.trash_rescued.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%segment, %table, "a segment that is needed had been swept: its file was brought back");
            return Ok(true);
        }
        Ok(false)
    }

    /// How many files were brought back since this process began.
    pub fn trash_rescued(&self) -> u64 {
        self.trash_rescued.load(Ordering::Relaxed)
    }

    /// Removes what was swept more than a day ago, and the oldest of the rest as long as little of the disk is free.
    pub fn empty_trash(&self, now: SystemTime, mut space: impl FnMut() -> Result<DiskSpace>) -> Result<Swept> {
        let mut removed = Swept::default();
        for (hour, dir) in self.trash_by_hour()? {
            let is_old = hour + TRASH_KEPT_HOURS < hour_of(now);
            if !is_old {
                let space = space()?;
                if space.free_bytes >= space.bytes / 100 * FREE_PERCENT_MIN {
                    break;
                }
            }
            for file in list(&dir)? {
                removed.bytes += fs::metadata(&file).map_err(|e| Error::io(format!("reading \"{}\"", file.display()), &e))?.len();
                removed.files += 1;
                fs::remove_file(&file).map_err(|e| Error::io(format!("removing \"{}\"", file.display()), &e))?;
            }
            fs::remove_dir(&dir).map_err(|e| Error::io(format!("removing \"{}\"", dir.display()), &e))?;
        }
        if removed.files > 0 {
            tracing::info!(files = removed.files, bytes = removed.bytes, "removed swept files for good");
        }
        Ok(removed)
    }

    /// The directories of swept files, the oldest first.
    fn trash_by_hour(&self) -> Result<Vec<(u64, PathBuf)>> {
        let dir = self.trash_dir();
        if !dir.is_dir() {
            return Ok(Vec::new());
        }
        let hour = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        let mut hours: Vec<_> = list(&dir)?.into_iter().filter_map(|path| Some((hour(&path)?, path))).collect();
        hours.sort();
        Ok(hours)
    }
}
