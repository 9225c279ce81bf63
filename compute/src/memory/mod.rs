//! Memory and spill space of queries: all tasks of one query on a node share one pool.

mod spill;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use parking_lot::Mutex;
use slipher_common::{Error, ErrorKind, Result};
use spill::SpillSpace;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// Most queries that may hold a pool on one node at the same time.
const QUERIES_MAX: usize = 4096;
/// How many of its consumers an out-of-memory error names.
const CONSUMERS_NAMED_MAX: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// Limits of one query on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes its operators may hold in memory.
    pub query_memory_bytes: usize,
    /// Bytes it may spill.
    pub query_spill_bytes: u64,
}

/// The runtime environments of the queries on a node.
#[derive(Debug)]
pub struct QueryMemory {
    limits: MemoryLimits,
    spill_dir: PathBuf,
    queries: Mutex<HashMap<String, OfQuery>>,
}

/// What the tasks of one query share. Weak: its pool goes when its last task ends, and its spill files with it.
#[derive(Debug)]
struct OfQuery {
    environment: Weak<RuntimeEnv>,
    spill: Weak<SpillSpace>,
}

impl QueryMemory {
    /// Pools with `limits`; queries spill into `spill_dir`.
    pub fn new(limits: MemoryLimits, spill_dir: PathBuf) -> Self {
        Self { limits, spill_dir, queries: Mutex::default() }
    }

    /// The limits of each query.
    pub fn limits(&self) -> &MemoryLimits {
        &self.limits
    }

    /// The environment of a query: the same one as long as any task of the query holds it.
    pub fn for_query(&self, query_id: &str) -> Result<Arc<RuntimeEnv>> {
        let mut queries = self.queries.lock();
        if let Some(environment) = queries.get(query_id).and_then(|query| query.environment.upgrade()) {
            return Ok(environment);
        }
        queries.retain(|_, query| query.environment.strong_count() > 0);
        if queries.len() >= QUERIES_MAX {
            let message = format!("starting a task: {QUERIES_MAX} queries already run on this node");
            return Err(Error::new(ErrorKind::TooManyConnections, message).with_hint("wait for other queries to end"));
        }
        let spill = Arc::new(SpillSpace::new(self.spill_dir.clone(), self.limits.query_spill_bytes));
        let query_spill = Arc::downgrade(&spill);
        let environment = Arc::new(self.build(spill)?);
        queries.insert(query_id.to_owned(), OfQuery { environment: Arc::downgrade(&environment), spill: query_spill });
        Ok(environment)
    }

    /// How many queries hold an environment.
    pub fn running(&self) -> usize {
        self.queries.lock().values().filter(|query| query.environment.strong_count() > 0).count()
    }

    /// Bytes of memory and of spill space that all queries hold now.
    pub fn in_use(&self) -> (u64, u64) {
        let queries = self.queries.lock();
        let environments: Vec<_> = queries.values().filter_map(|query| query.environment.upgrade()).collect();
        let spills: Vec<_> = queries.values().filter_map(|query| query.spill.upgrade()).collect();
        drop(queries);
        let memory = environments.iter().map(|environment| environment.memory_pool.reserved() as u64).sum();
        let spill = spills.iter().map(|spill| spill.used_bytes()).sum();
        (memory, spill)
    }

    fn build(&self, spill: Arc<SpillSpace>) -> Result<RuntimeEnv> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(self.limits.query_memory_bytes), CONSUMERS_NAMED_MAX);
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Custom(spill))
            .with_max_temp_directory_size(self.limits.query_spill_bytes);
        Ok(RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::MemoryConsumer;

    #[test]
    fn tasks_of_a_query_share_a_pool_and_the_last_one_takes_it_along() {
        let directory = tempfile::tempdir().unwrap();
        let limits = MemoryLimits { query_memory_bytes: 1000, query_spill_bytes: 1000 };
        let memory = QueryMemory::new(limits, directory.path().join("spill"));
        let (first, second) = (memory.for_query("a").unwrap(), memory.for_query("a").unwrap());
        let held = MemoryConsumer::new("x").register(&first.memory_pool);
        held.try_grow(900).unwrap();
        assert!(MemoryConsumer::new("y").register(&second.memory_pool).try_grow(200).is_err());
        assert!(MemoryConsumer::new("z").register(&memory.for_query("b").unwrap().memory_pool).try_grow(200).is_ok());
        // The directory comes with the first file, and goes with the query.
        let files = || std::fs::read_dir(directory.path().join("spill")).map_or(0, |found| found.count());
        assert_eq!((files(), memory.in_use().1), (0, 0));
        assert!(first.disk_manager.tmp_files_enabled());
        let file = second.disk_manager.create_tmp_file("spilling").unwrap();
        assert_eq!(files(), 1);
        drop(file);
        drop((held, first, second));
        assert_eq!(memory.running(), 0);
        assert_eq!(files(), 0);
    }
}
