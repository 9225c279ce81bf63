//! What is known of tables, worked out once for each version of one: statistics, and the bounds by which scans leave segments out.

use crate::plan::table_statistics::Summary;
use parking_lot::Mutex;
use slipher_common::catalog::Table;
use slipher_common::ids::TableId;
use slipher_common::manifest::ReadsDetails;
use slipher_common::pruning::TableSegments;
use slipher_common::selectivity::TableStatistics;
use slipher_meta::TableState;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// So many versions of a table are kept: the last one, and one that a block reads or writes.
const VERSIONS_MAX: usize = 2;
/// What nobody asked for so long is let go when something new is kept.
const UNUSED_MAX_SECONDS: u64 = 300;

/// What is known of another version of a table with the same columns.
#[derive(Clone, Debug, Default)]
struct Before {
    summary: Option<Arc<Summary>>,
    segments: Option<Arc<TableSegments>>,
}

/// One table at one version.
#[derive(Debug)]
pub(crate) struct KnownTable {
    table: TableState,
    details: Arc<dyn ReadsDetails>,
    /// What was known of the version before.
    before: Mutex<Before>,
    segments: OnceLock<Arc<TableSegments>>,
    known: OnceLock<(Option<Arc<Summary>>, Arc<TableStatistics>)>,
}

impl KnownTable {
    /// Nothing is worked out before somebody asks.
    fn new(table: &TableState, details: Arc<dyn ReadsDetails>, before: Before) -> Self {
        Self { table: table.clone(), details, before: Mutex::new(before), segments: OnceLock::new(), known: OnceLock::new() }
    }

    /// Its definition.
    pub(crate) fn definition(&self) -> &Arc<Table> {
        &self.table.table
    }

    /// Its segments, by number.
    pub(crate) fn segments(&self) -> &Arc<TableSegments> {
        self.segments.get_or_init(|| {
            let before = self.before.lock().segments.take();
            let advanced = before.and_then(|before| before.advanced(self.table.segments.values()));
            Arc::new(advanced.unwrap_or_else(|| TableSegments::new(&self.table.table, self.table.segments.values())))
        })
    }

    /// What is known of its rows.
    pub(crate) fn statistics(&self) -> &Arc<TableStatistics> {
        let (_, statistics) = self.known.get_or_init(|| match self.summary() {
            Ok(summary) => {
                let statistics = summary.statistics(&self.table);
                (Some(Arc::new(summary)), Arc::new(statistics))
            }
            Err(error) => {
                tracing::error!(table = %self.table.table, %error, "the statistics of a table cannot be read");
                (None, Arc::new(TableStatistics::unknown(&self.table.table.arrow_schema())))
            }
        });
        statistics
    }

    fn summary(&self) -> slipher_common::Result<Summary> {
        let before = self.before.lock().summary.take();
        if let Some(before) = before
            && let Some(advanced) = before.advanced(&self.table, &self.details)?
        {
            return Ok(advanced);
        }
        Summary::of(&self.table, &self.details)
    }

    /// What another version of the table may begin with.
    fn known_for(&self, table: &Table) -> Option<Before> {
        let columns = self.table.table.columns.iter().map(|column| (column.id, column.sql_type));
        let same = columns.eq(table.columns.iter().map(|column| (column.id, column.sql_type)));
        if !same {
            return None;
        }
        // What nobody asked for is still that of the version before this one.
        let before = self.before.lock().clone();
        let summary = self.known.get().and_then(|(summary, _)| summary.clone()).or(before.summary);
        Some(Before { summary, segments: self.segments.get().cloned().or(before.segments) })
    }

    /// A manifest that is kept is not changed, so one at the same place is the same.
    fn is_of(&self, table: &TableState) -> bool {
        Arc::ptr_eq(&self.table.table, &table.table) && Arc::ptr_eq(&self.table.segments, &table.segments)
    }
}

/// The tables that statements asked for lately.
#[derive(Debug)]
pub(crate) struct KnownTables {
    details: Arc<dyn ReadsDetails>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of each table the versions that are kept, the one that came last first.
    tables: HashMap<TableId, Vec<(Arc<KnownTable>, Instant)>>,
    swept: Option<Instant>,
}

impl KnownTables {
    /// None yet; details of segments are read there.
    pub(crate) fn new(details: Arc<dyn ReadsDetails>) -> Self {
        Self { details, kept: Mutex::default() }
    }

    /// What is known of `table`.
    pub(crate) fn of(&self, table: &TableState) -> Arc<KnownTable> {
        let mut kept = self.kept.lock();
        let now = Instant::now();
        let versions = kept.tables.entry(table.table.id).or_default();
        if let Some((known, used)) = versions.iter_mut().find(|(known, _)| known.is_of(table)) {
            *used = now;
            return Arc::clone(known);
        }
        let before = versions.iter().find_map(|(known, _)| known.known_for(&table.table)).unwrap_or_default();
        let known = Arc::new(KnownTable::new(table, Arc::clone(&self.details), before));
        versions.truncate(VERSIONS_MAX - 1);
        versions.insert(0, (Arc::clone(&known), now));
        kept.sweep(now);
        known
    }

    /// What is known of a part of a table, which is not kept.
    pub(crate) fn of_part(&self, part: &TableState) -> Arc<KnownTable> {
        Arc::new(KnownTable::new(part, Arc::clone(&self.details), Before::default()))
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
