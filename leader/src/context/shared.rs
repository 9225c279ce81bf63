//! What all sessions share.

use crate::catalog::Signals;
use crate::cluster::Cluster;
use crate::run::Runner;
use crate::telemetry::Telemetry;
use crate::transaction::TableLocks;
use crate::upkeep::Tools;
use std::path::PathBuf;
use std::sync::Arc;

/// What all sessions share: made once, when the leader starts.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// Runs statements.
    pub(crate) runner: Runner,
    /// Where COPY may read.
    pub(crate) load_dir: Option<PathBuf>,
    /// Results of at least so many estimated rows stay on the compute nodes for Flight clients.
    pub(crate) direct_rows_min: usize,
    /// What is counted.
    pub(crate) telemetry: Arc<Telemetry>,
    /// The sessions there are.
    pub(crate) signals: Arc<dyn Signals>,
    /// LOCK.
    pub(crate) locks: Arc<TableLocks>,
}

impl Shared {
    /// What segments are written anew with.
    pub(crate) fn upkeep_tools(&self) -> Tools {
        Tools { runner: self.runner.clone(), locks: Arc::clone(&self.locks), telemetry: Arc::clone(&self.telemetry) }
    }
}
