//! Threads of their own, for work that must not wait for what else a process does, or must not be in its way.
//!
//! A process's usual threads serve sessions, statements that read or write little, and metadata. Queries that read more run on
//! [threads of their own](Threads::queries), which let those go first; control is answered by [others](Threads::control) still, and what may
//! wait for all of them is done in the [background](Threads::background).

use crate::{Error, Result};
use std::fmt;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that answer pings and registrations. They do nothing else, so two are enough, however many nodes there are.
const CONTROL_THREADS: usize = 2;

/// Of `nice(1)`: beside a busy thread of usual niceness such a one gets a quarter of a processor, and all of an idle one. So a statement that
/// needs little is answered at once beside many that need much, and cannot starve them however many there are of it.
const QUERIES_NICENESS: i32 = 5;
/// Beside a busy thread of usual niceness such a one gets about a thirtieth of a processor, beside one of a query a tenth. More would keep
/// what it holds locked from others for too long.
const BACKGROUND_NICENESS: i32 = 15;

/// Stack of each thread that plans or runs queries: deep plans are walked recursively.
pub const STACK_BYTES: usize = 16 << 20;

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
    /// The threads that run queries of a process, one per processor.
    pub fn queries() -> Result<Self> {
        Self::yielding("queries", QUERIES_NICENESS)
    }

    /// Threads for work that must not slow queries down, one per processor.
    pub fn background() -> Result<Self> {
        Self::yielding("background", BACKGROUND_NICENESS)
    }

    /// The few threads of a process's control: what tells others that the process lives must not wait for its queries.
    pub fn control() -> Result<Self> {
        Self::build(Builder::new_multi_thread().worker_threads(CONTROL_THREADS), "control")
    }

    fn yielding(name: &str, niceness: i32) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        Self::build(builder.thread_stack_size(STACK_BYTES).on_thread_start(move || let_others_go_first(niceness)), name)
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

#[cfg(target_os = "linux")]
fn let_others_go_first(niceness: i32) {
    // On Linux niceness is the thread's own. A thread that cannot have it does its work all the same.
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::debug!(%error, "a thread that should let others go first runs like them");
    }
}

#[cfg(not(target_os = "linux"))]
fn let_others_go_first(_niceness: i32) {}

impl Drop for Threads {
    fn drop(&mut self) {
        // Whoever drops it may run on a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
