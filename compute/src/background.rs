//! Work that must not slow queries down: threads that yield the processors to all others.

use slipher_common::{Error, Result};
use std::fmt;
use tokio::runtime::{Builder, Handle, Runtime};

/// Of `nice(1)`: beside a busy thread of usual niceness such a one gets about a thirtieth of a processor, and all of an idle one. More would
/// keep what it holds locked from others for too long.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 15;

/// A Tokio runtime for such work; it ends when this is dropped.
pub(crate) struct BackgroundRuntime {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl fmt::Debug for BackgroundRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundRuntime").finish_non_exhaustive()
    }
}

impl BackgroundRuntime {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("background")
            .on_thread_start(yield_to_others)
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting threads for work in the background", &error))?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    /// Where such work is spawned.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        // Whoever drops it may run on a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn yield_to_others() {
    // On Linux niceness is the thread's own. A thread that cannot have it does its work all the same.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a background thread runs like all others");
    }
}
