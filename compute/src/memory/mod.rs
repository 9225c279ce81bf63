//! Memory and spill space of queries: all tasks of one query on a node share one pool, and all pools the node's budget.

mod budget;
mod pool;
mod spill;
#[cfg(test)]
mod tests;

use budget::{Charge, GrantSize, NodeBudget};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{TrackConsumersPool, human_readable_size};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use parking_lot::Mutex;
use pool::QueryPool;
use slipher_common::error::NODE_MEMORY_BUSY;
use slipher_common::{Error, ErrorKind, Result};
use spill::SpillSpace;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Most queries that may hold a pool on one node at the same time.
const QUERIES_MAX: usize = 4096;
/// How many of its consumers an out-of-memory error names.
const CONSUMERS_NAMED_MAX: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// A query that begins has this part of what it may have for certain: enough to spill in good order.
const GRANTS_OF_A_QUERY: usize = 4;
/// But no more than this part of the node's budget: so many begin at the same time wherever the node is small.
const GRANTS_OF_A_NODE: usize = 16;

/// Limits of a node and of each query on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes the operators of all queries may hold in memory.
    pub node_memory_bytes: usize,
    /// Bytes the operators of one query may hold in memory.
    pub query_memory_bytes: usize,
    /// Bytes it may spill.
    pub query_spill_bytes: u64,
    /// How long its first task waits while others have all memory.
    pub admission_wait_max: Duration,
}

/// How a task gets its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits where nothing is left, if no task of its query is here already.
    InTurn,
    /// The same, until it can have all that it may have.
    Whole,
    /// It begins at once, and has nothing for certain: what little it does needs hardly any memory.
    AtOnce,
}

/// The runtime environments of the queries on a node.
#[derive(Debug)]
pub struct QueryMemory {
    limits: MemoryLimits,
    spill_dir: PathBuf,
    budget: Arc<NodeBudget>,
    queries: Mutex<HashMap<String, Arc<OfQuery>>>,
}

/// What the tasks of one query share. Weak: its pool goes when its last task ends, and its spill files with it.
#[derive(Debug, Default)]
struct OfQuery {
    /// The task that waits for memory has it; then those that wait for that one. True when it has waited in vain.
    refused: tokio::sync::Mutex<bool>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    environment: Weak<RuntimeEnv>,
    spill: Weak<SpillSpace>,
    grant: Weak<Grant>,
}

/// The memory of one task.
#[derive(Debug)]
pub struct TaskMemory {
    /// Shared with the other tasks of the query.
    pub environment: Arc<RuntimeEnv>,
    /// To be dropped when the task ends.
    pub grant: Option<Arc<Grant>>,
}

/// What a query has for certain until its last task ends. The engine keeps its environment for longer.
#[derive(Debug)]
pub struct Grant(Arc<Charge>);

impl Drop for Grant {
    fn drop(&mut self) {
        self.0.settle();
    }
}

impl OfQuery {
    fn memory(&self) -> Option<TaskMemory> {
        let shared = self.shared.lock();
        Some(TaskMemory { environment: shared.environment.upgrade()?, grant: shared.grant.upgrade() })
    }
}

impl QueryMemory {
    /// Pools with `limits`; queries spill into `spill_dir`.
    pub fn new(mut limits: MemoryLimits, spill_dir: PathBuf) -> Self {
        limits.query_memory_bytes = limits.query_memory_bytes.min(limits.node_memory_bytes);
        let budget = Arc::new(NodeBudget::new(limits.node_memory_bytes));
        Self { limits, spill_dir, budget, queries: Mutex::default() }
    }

    /// The limits of each query.
    pub fn limits(&self) -> &MemoryLimits {
        &self.limits
    }

    /// The memory of a query's task: shared as long as any task of the query has it. Only the first one may have to wait, and fails with 53200
    /// where it waits in vain: two queries that wait for each other on two nodes do not wait for ever.
    pub async fn admit(&self, query_id: &str, admission: Admission) -> Result<TaskMemory> {
        let query = self.entry(query_id)?;
        let mut refused = query.refused.lock().await;
        if let Some(memory) = query.memory() {
            return Ok(memory);
        }
        let charge = match admission {
            Admission::AtOnce => self.budget.admit_now(),
            Admission::InTurn | Admission::Whole if *refused => return Err(self.busy()),
            Admission::InTurn | Admission::Whole => {
                let turn = self.budget.admit(self.grant(admission));
                match tokio::time::timeout(self.limits.admission_wait_max, turn).await {
                    Ok(charge) => charge?,
                    Err(_) => {
                        *refused = true;
                        return Err(self.busy());
                    }
                }
            }
        };
        let spill = Arc::new(SpillSpace::new(self.spill_dir.clone(), self.limits.query_spill_bytes));
        let grant = Arc::new(Grant(Arc::clone(&charge)));
        let shared_spill = Arc::downgrade(&spill);
        let environment = Arc::new(self.build(spill, charge)?);
        let shared = Shared { environment: Arc::downgrade(&environment), spill: shared_spill, grant: Arc::downgrade(&grant) };
        *query.shared.lock() = shared;
        Ok(TaskMemory { environment, grant: Some(grant) })
    }

    fn grant(&self, admission: Admission) -> GrantSize {
        let MemoryLimits { node_memory_bytes, query_memory_bytes, .. } = self.limits;
        match admission {
            Admission::Whole => GrantSize::whole(query_memory_bytes),
            Admission::InTurn => {
                GrantSize::part((query_memory_bytes / GRANTS_OF_A_QUERY).min(node_memory_bytes / GRANTS_OF_A_NODE))
            }
            Admission::AtOnce => GrantSize::part(0),
        }
    }

    fn entry(&self, query_id: &str) -> Result<Arc<OfQuery>> {
        let mut queries = self.queries.lock();
        if let Some(query) = queries.get(query_id) {
            return Ok(Arc::clone(query));
        }
        queries.retain(|_, query| Arc::strong_count(query) > 1 || query.shared.lock().environment.strong_count() > 0);
        if queries.len() >= QUERIES_MAX {
            let message = format!("starting a task: {QUERIES_MAX} queries already run on this node");
            return Err(Error::new(ErrorKind::TooManyConnections, message).with_hint("wait for other queries to end"));
        }
        let query = Arc::<OfQuery>::default();
        queries.insert(query_id.to_owned(), Arc::clone(&query));
        Ok(query)
    }

    fn busy(&self) -> Error {
        let (limit, seconds) = (self.budget.limit_bytes(), self.limits.admission_wait_max.as_secs_f64());
        Error::new(ErrorKind::OutOfMemory, NODE_MEMORY_BUSY)
            .with_detail(format!(
                "{} queries have {} of {} and gave nothing back in {seconds} s",
                self.running(),
                human_readable_size(self.budget.charged_bytes()),
                human_readable_size(limit)
            ))
            .with_hint("run fewer statements at the same time, or start the compute nodes with a larger --node-memory-mib")
    }

    /// What all queries may have together, and have.
    pub(crate) fn budget(&self) -> &NodeBudget {
        &self.budget
    }

    /// How many queries hold an environment.
    pub fn running(&self) -> usize {
        self.queries.lock().values().filter(|query| query.shared.lock().environment.strong_count() > 0).count()
    }

    /// Bytes of memory and of spill space that all queries hold now.
    pub fn in_use(&self) -> (u64, u64) {
        let queries: Vec<_> = self.queries.lock().values().cloned().collect();
        let (mut memory, mut spilled) = (0, 0);
        for query in queries {
            let (environment, spill) = {
                let shared = query.shared.lock();
                (shared.environment.upgrade(), shared.spill.upgrade())
            };
            memory += environment.map_or(0, |environment| environment.memory_pool.reserved() as u64);
            spilled += spill.map_or(0, |spill| spill.used_bytes());
        }
        (memory, spilled)
    }

    fn build(&self, spill: Arc<SpillSpace>, charge: Arc<Charge>) -> Result<RuntimeEnv> {
        let pool = TrackConsumersPool::new(QueryPool::new(self.limits.query_memory_bytes, charge), CONSUMERS_NAMED_MAX);
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Custom(spill))
            .with_max_temp_directory_size(self.limits.query_spill_bytes);
        Ok(RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build()?)
    }
}
