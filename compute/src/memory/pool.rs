//! The engine's pool of one query, which takes from the node's budget, too.

use super::budget::Charge;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use slipher_common::error::NODE_MEMORY_USED_UP;
use std::fmt;
use std::sync::Arc;

/// Operators that can spill share the query's memory fairly. When the node has no more, it is for them as if the query had none: they
/// spill, or fail.
#[derive(Debug)]
pub(super) struct QueryPool {
    fair: FairSpillPool,
    charge: Arc<Charge>,
}

impl QueryPool {
    /// For at most `bytes_max`, all of which are charged.
    pub(super) fn new(bytes_max: usize, charge: Arc<Charge>) -> Self {
        Self { fair: FairSpillPool::new(bytes_max), charge }
    }

    fn used_up(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionError {
        let budget = self.charge.budget();
        // Not another kind of error: this one makes operators spill.
        DataFusionError::ResourcesExhausted(format!(
            "Failed to allocate additional {} for {} with {} already allocated for this reservation: {NODE_MEMORY_USED_UP}, {} of {}",
            human_readable_size(additional),
            reservation.consumer().name(),
            human_readable_size(reservation.size()),
            human_readable_size(budget.charged_bytes()),
            human_readable_size(budget.limit_bytes()),
        ))
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
        self.charge.add(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
        self.charge.remove(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.fair.try_grow(reservation, additional)?;
        if self.charge.try_add(additional) {
            return Ok(());
        }
        self.fair.shrink(reservation, additional);
        Err(self.used_up(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(inner_pool: {}, node: {})", self.name(), self.fair, human_readable_size(self.charge.budget().limit_bytes()))
    }
}
