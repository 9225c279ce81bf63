//! Work that must not slow queries down: threads that yield the processors to all others.

use slipher_common::Result;
use slipher_common::threads::Threads;

/// Of `nice(1)`: beside a busy thread of usual niceness such a one gets about a thirtieth of a processor, and all of an idle one. More would
/// keep what it holds locked from others for too long.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 15;

/// Threads for such work.
pub(crate) fn background_threads() -> Result<Threads> {
    Threads::start("background", yield_to_others)
}

fn yield_to_others() {
    // On Linux niceness is the thread's own. A thread that cannot have it does its work all the same.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a background thread runs like all others");
    }
}
