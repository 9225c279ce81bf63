//! Threads of their own, for work that must not wait for what else a process does, or must not be in its way.

use crate::{Error, Result};
use std::fmt;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that answer pings and registrations. They do nothing else, so two are enough, however many nodes there are.
const CONTROL_THREADS: usize = 2;

/// A Tokio runtime; it ends when this is dropped.
pub struct Threads {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

impl Threads {
    /// Threads called `name`, one per processor; each calls `prepare` first.
    pub fn start(name: &str, prepare: fn()) -> Result<Self> {
        Self::build(Builder::new_multi_thread().on_thread_start(prepare), name)
    }

    /// The few threads of a process's control: what tells others that the process lives must not wait for its queries.
    pub fn control() -> Result<Self> {
        Self::build(Builder::new_multi_thread().worker_threads(CONTROL_THREADS), "control")
    }

    fn build(builder: &mut Builder, name: &str) -> Result<Self> {
        let runtime = builder
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| Error::io(format!("starting the threads \"{name}\""), &error))?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    /// Where their work is spawned.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Whoever drops it may run on a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
