//! Waiting for memory that other queries have.

use slipher_common::error::{NODE_MEMORY_BUSY, NODE_MEMORY_USED_UP};
use slipher_common::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

/// So long a statement tries to get its memory on all of its nodes, each of which lets it wait for a few seconds.
const MEMORY_WAIT_MAX_SECONDS: u64 = 60;
/// Up to so long it waits before it tries again: of two statements that wait for each other on two nodes, one comes first.
const MEMORY_PAUSE_MAX_MS: u64 = 500;

tokio::task_local! {
    /// Whether the statement's queries wait until they can have all of their memory.
    static WHOLE_MEMORY: bool;
}

/// Whether queries that are made now wait until they can have all of their memory: with a part of it, the statement has failed before.
pub(super) fn wants_whole_memory() -> bool {
    WHOLE_MEMORY.try_with(|whole| *whole).unwrap_or(false)
}

/// Does `work`, which commits nothing and gives no rows away before it answers; again, while other queries have the memory of a compute node. What
/// it has on other nodes is given back in between, so that statements that wait for each other come through one after the other.
pub(crate) async fn until_memory_is_free<T, W: Future<Output = Result<T>>>(work: impl Fn() -> W) -> Result<T> {
    let started = Instant::now();
    let mut whole = wants_whole_memory();
    loop {
        match WHOLE_MEMORY.scope(whole, work()).await {
            Err(error) if others_have_it(&error) && started.elapsed() < Duration::from_secs(MEMORY_WAIT_MAX_SECONDS) => {
                // It had begun: next time it does so when nobody can take away what it needs.
                whole |= error.message != NODE_MEMORY_BUSY;
                tracing::debug!(reason = error.message, detail = error.detail, whole, "running the statement again");
                tokio::time::sleep(Duration::from_millis(rand::random_range(0..MEMORY_PAUSE_MAX_MS))).await;
            }
            done => return done,
        }
    }
}

fn others_have_it(error: &Error) -> bool {
    error.kind == ErrorKind::OutOfMemory && (error.message == NODE_MEMORY_BUSY || error.message.ends_with(NODE_MEMORY_USED_UP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn what_others_left_no_memory_is_done_again_and_then_with_all_of_its_memory() {
        let out_of_memory = |text: &str| Err::<(), _>(Error::new(ErrorKind::OutOfMemory, text));
        let runs = RefCell::new(Vec::new());
        let done = until_memory_is_free(|| async {
            runs.borrow_mut().push(wants_whole_memory());
            match runs.borrow().len() {
                1 => out_of_memory(NODE_MEMORY_BUSY),
                2 => out_of_memory(&format!("out of memory: a sort does not fit: {NODE_MEMORY_USED_UP}")),
                3 => out_of_memory(NODE_MEMORY_BUSY),
                _ => Ok(()),
            }
        });
        assert_eq!(done.await, Ok(()));
        assert_eq!(runs.take(), [false, false, true, true]);
        assert!(!wants_whole_memory());
        // What does not fit into the query's own memory never will.
        let failed = until_memory_is_free(|| async {
            runs.borrow_mut().push(true);
            out_of_memory("out of memory: a sort does not fit")
        });
        assert_eq!(failed.await.map_err(|error| error.kind), Err(ErrorKind::OutOfMemory));
        assert_eq!(runs.take().len(), 1);
    }
}
