use super::*;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::{FutureExt, poll};
use std::pin::pin;

/// Of which each query has 100 for certain.
fn memory(directory: &tempfile::TempDir) -> QueryMemory {
    let limits = MemoryLimits {
        node_memory_bytes: 1_600,
        query_memory_bytes: 1_000,
        query_spill_bytes: 1_000,
        admission_wait_max: Duration::from_secs(3_600),
    };
    QueryMemory::new(limits, directory.path().join("spill"))
}

fn admitted(memory: &QueryMemory, query_id: &str) -> TaskMemory {
    memory.admit(query_id, Admission::InTurn).now_or_never().expect("nobody waits").unwrap()
}

fn consumer(memory: &TaskMemory, name: &str, can_spill: bool) -> MemoryReservation {
    MemoryConsumer::new(name).with_can_spill(can_spill).register(&memory.environment.memory_pool)
}

#[tokio::test]
async fn tasks_of_a_query_share_a_pool_and_the_last_one_takes_it_along() {
    let directory = tempfile::tempdir().unwrap();
    let memory = memory(&directory);
    let (first, second) = (admitted(&memory, "a"), admitted(&memory, "a"));
    let held = consumer(&first, "x", false);
    held.try_grow(900).unwrap();
    assert!(consumer(&second, "y", false).try_grow(200).is_err());
    assert!(consumer(&admitted(&memory, "b"), "z", false).try_grow(200).is_ok());
    // The directory comes with the first file, and goes with the query.
    let files = || std::fs::read_dir(directory.path().join("spill")).map_or(0, |found| found.count());
    assert_eq!((files(), memory.in_use().1), (0, 0));
    assert!(first.environment.disk_manager.tmp_files_enabled());
    let file = second.environment.disk_manager.create_tmp_file("spilling").unwrap();
    assert_eq!(files(), 1);
    drop(file);
    drop((held, first, second));
    assert_eq!(memory.running(), 0);
    assert_eq!(files(), 0);
    assert_eq!(memory.budget.charged_bytes(), 0);
}

#[tokio::test]
async fn queries_share_the_budget_of_the_node_and_an_error_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let memory = memory(&directory);
    let (first, second) = (admitted(&memory, "a"), admitted(&memory, "b"));
    let (sort, join) = (consumer(&first, "Sorter", true), consumer(&second, "HashJoinInput", false));
    sort.try_grow(1_000).unwrap();
    join.try_grow(600).unwrap();
    let error = Error::from(join.try_grow(1).unwrap_err());
    assert_eq!(error.kind, ErrorKind::OutOfMemory);
    assert!(error.message.ends_with(slipher_common::error::NODE_MEMORY_USED_UP), "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--node-memory-mib")), "{error:?}");
    let third = memory.admit("c", Admission::AtOnce).now_or_never().expect("it does not wait").unwrap();
    let error = Error::from(consumer(&third, "Sorter", true).try_grow(1).unwrap_err());
    assert!(error.message.ends_with(slipher_common::error::NODE_MEMORY_USED_UP), "{error}");
    // The query's own limit is another error.
    let error = Error::from(sort.try_grow(1).unwrap_err());
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--query-memory-mib")), "{error:?}");
    // What failed took nothing; buffers of exchanges do not ask, and count.
    assert_eq!((sort.size(), join.size(), memory.budget.charged_bytes()), (1_000, 600, 1_600));
    let buffer = consumer(&second, "WorkerConnection", false);
    buffer.grow(50);
    assert_eq!(memory.budget.charged_bytes(), 1_650);
    drop(buffer);
    sort.free();
    join.try_grow(1).unwrap();
}

#[tokio::test]
async fn only_the_first_task_of_a_query_waits() {
    let directory = tempfile::tempdir().unwrap();
    let memory = memory(&directory);
    let first = admitted(&memory, "a");
    let (held, more) = (consumer(&first, "x", false), consumer(&first, "y", false));
    held.try_grow(1_000).unwrap();
    more.grow(600);
    let mut second = pin!(memory.admit("b", Admission::InTurn));
    let mut sibling = pin!(memory.admit("b", Admission::InTurn));
    assert!(poll!(&mut second).is_pending());
    assert!(poll!(&mut sibling).is_pending());
    // Who runs already comes in, and so does who hardly needs any.
    let again = admitted(&memory, "a");
    let small = memory.admit("c", Admission::AtOnce).now_or_never().expect("it does not wait").unwrap();
    held.shrink(200);
    let second = second.now_or_never().expect("memory was given back").unwrap();
    let sibling = sibling.now_or_never().expect("its query is here").unwrap();
    assert!(Arc::ptr_eq(&second.environment, &sibling.environment));
    drop((held, more, first, again, small, second, sibling));
    assert_eq!((memory.budget.charged_bytes(), memory.running()), (0, 0));
}

#[tokio::test]
async fn a_query_that_waits_in_vain_is_refused_with_all_of_its_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let mut memory = memory(&directory);
    memory.limits.admission_wait_max = Duration::ZERO;
    let first = admitted(&memory, "a");
    let held = consumer(&first, "x", false);
    held.grow(1_600);
    let mut second = pin!(memory.admit("b", Admission::InTurn));
    let refused = (&mut second).await.unwrap_err();
    assert_eq!((refused.sqlstate(), refused.message.as_str()), ("53200", NODE_MEMORY_BUSY));
    // Its other tasks do not wait anew, also where there is memory by now: the query has failed.
    drop(held);
    let refused = memory.admit("b", Admission::InTurn).now_or_never().expect("at once").unwrap_err();
    assert_eq!(refused.message, NODE_MEMORY_BUSY);
    admitted(&memory, "c");
}

#[tokio::test]
async fn who_has_all_of_its_memory_cannot_fail_for_want_of_the_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let memory = memory(&directory);
    let first = admitted(&memory, "a");
    let held = consumer(&first, "x", false);
    held.try_grow(900).unwrap();
    let mut whole = pin!(memory.admit("b", Admission::Whole));
    assert!(poll!(&mut whole).is_pending());
    held.shrink(300);
    let whole = whole.now_or_never().expect("there are 1000 bytes").unwrap();
    assert!(held.try_grow(1).is_err());
    consumer(&whole, "y", true).try_grow(1_000).unwrap();
}

#[tokio::test]
async fn what_a_query_has_for_certain_ends_with_its_last_task() {
    let directory = tempfile::tempdir().unwrap();
    let memory = memory(&directory);
    let (first, second) = (admitted(&memory, "a"), admitted(&memory, "a"));
    assert_eq!(memory.budget.charged_bytes(), 100);
    let (kept, other) = (first.environment, second.environment);
    drop(first.grant);
    assert_eq!(memory.budget.charged_bytes(), 100);
    drop(second.grant);
    assert_eq!(memory.budget.charged_bytes(), 0);
    // The environment may be kept for longer, and may still be used.
    let held = MemoryConsumer::new("x").register(&kept.memory_pool);
    held.try_grow(100).unwrap();
    assert_eq!(memory.budget.charged_bytes(), 100);
    drop((held, kept, other));
    assert_eq!(memory.budget.charged_bytes(), 0);
}
