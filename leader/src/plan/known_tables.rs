//! What is known of tables, worked out once for each version of one: statistics, and the bounds by which scans leave segments out.

use crate::plan::table_statistics::table_statistics;
use parking_lot::Mutex;
use slipher_common::catalog::Table;
use slipher_common::ids::TableId;
use slipher_common::manifest::Segments;
use slipher_common::pruning::TableSegments;
use slipher_common::selectivity::TableStatistics;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// So many versions of a table are kept: the last one, and one that a block reads or writes.
const VERSIONS_MAX: usize = 2;
/// What nobody asked for so long is let go when something new is kept.
const UNUSED_MAX_SECONDS: u64 = 300;

/// One table at one version.
#[derive(Debug)]
pub(crate) struct KnownTable {
    table: Arc<Table>,
    manifest: Arc<Segments>,
    segments: OnceLock<Arc<TableSegments>>,
    statistics: OnceLock<Arc<TableStatistics>>,
}

impl KnownTable {
    /// Nothing is worked out before somebody asks.
    pub(crate) fn new(table: Arc<Table>, manifest: Arc<Segments>) -> Self {
        Self { table, manifest, segments: OnceLock::new(), statistics: OnceLock::new() }
    }

    /// Its definition.
    pub(crate) fn definition(&self) -> &Arc<Table> {
        &self.table
    }

    /// Its segments, by number.
    pub(crate) fn segments(&self) -> &Arc<TableSegments> {
        self.segments.get_or_init(|| Arc::new(TableSegments::new(&self.table, self.manifest.values())))
    }

    /// What is known of its rows.
    pub(crate) fn statistics(&self) -> &Arc<TableStatistics> {
        self.statistics.get_or_init(|| {
            let known = table_statistics(&self.table, &self.manifest).unwrap_or_else(|error| {
                tracing::error!(table = %self.table, %error, "the statistics of a table cannot be read");
                TableStatistics::unknown(&self.table.arrow_schema())
            });
            Arc::new(known)
        })
    }

    /// A manifest that is kept is not changed, so one at the same place is the same.
    fn is_of(&self, table: &Arc<Table>, manifest: &Arc<Segments>) -> bool {
        Arc::ptr_eq(&self.table, table) && Arc::ptr_eq(&self.manifest, manifest)
    }
}

/// The tables that statements asked for lately.
#[derive(Debug, Default)]
pub(crate) struct KnownTables(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Of each table the versions that are kept, the one that came last first.
    tables: HashMap<TableId, Vec<(Arc<KnownTable>, Instant)>>,
    swept: Option<Instant>,
}

impl KnownTables {
    /// What is known of `table` with the segments of `manifest`.
    pub(crate) fn of(&self, table: &Arc<Table>, manifest: &Arc<Segments>) -> Arc<KnownTable> {
        let mut kept = self.0.lock();
        let now = Instant::now();
        let versions = kept.tables.entry(table.id).or_default();
        if let Some((known, used)) = versions.iter_mut().find(|(known, _)| known.is_of(table, manifest)) {
            *used = now;
            return Arc::clone(known);
        }
        let known = Arc::new(KnownTable::new(Arc::clone(table), Arc::clone(manifest)));
        versions.truncate(VERSIONS_MAX - 1);
        versions.insert(0, (Arc::clone(&known), now));
        kept.sweep(now);
        known
    }
}

impl Kept {
    fn sweep(&mut self, now: Instant) {
        let limit = Duration::from_secs(UNUSED_MAX_SECONDS);
        if self.swept.is_some_and(|swept| now.duration_since(swept) < limit) {
            return;
        }
        self.swept = Some(now);
        self.tables.retain(|_, versions| {
            versions.retain(|(_, used)| now.duration_since(*used) < limit);
            !versions.is_empty()
        });
    }
}
