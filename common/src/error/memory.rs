//! What the engine says when memory is used up, in the words of who wrote the query.

use crate::{Error, ErrorKind};

/// What an error says when a hash join's memory is the one that is missing: another kind of join may do.
pub const JOIN_OUT_OF_MEMORY: &str = "out of memory: the smaller side of a join does not fit into the memory of the query";

/// What the engine's error says when all queries of a compute node together have used up what they may; the end of what a client is told.
pub const NODE_MEMORY_USED_UP: &str = "the memory budget of the compute node is used up";

/// What the error of a query says that was not let in: nothing of it has run there, and it may be tried again.
pub const NODE_MEMORY_BUSY: &str = "out of memory: the memory budget of a compute node is used up by other queries";

/// Who holds memory that cannot be spilled, by the engine's names; what a client is told; and what may help.
const MEMORY_HOLDERS: &[(&str, &str, &str)] = &[
    ("HashJoinInput", JOIN_OUT_OF_MEMORY, "filter the joined tables more"),
    ("NestedLoopJoin", "out of memory: the inner side of a join without an equality does not fit", "join on an equality"),
    ("CrossJoin", "out of memory: the inner side of a cross join does not fit", "join on an equality"),
    (
        "AggregateStream",
        "out of memory: the values of an aggregate do not fit",
        "COUNT(DISTINCT x) counts the rows of SELECT DISTINCT x, which can be spilled",
    ),
    ("GroupedHash", "out of memory: groups, or distinct values of an aggregate, do not fit", "group by fewer columns"),
    ("Sorter", "out of memory: a sort does not fit", "sort fewer or narrower rows"),
    ("TopK", "out of memory: the rows of ORDER BY with LIMIT do not fit", "use a smaller LIMIT"),
    ("Window", "out of memory: the rows of a window do not fit", "partition the window by more"),
    ("Recursive", "out of memory: the rows of WITH RECURSIVE do not fit", "end the recursion earlier"),
];

/// 53200 in the user's terms.
pub(super) fn out_of_memory(message: &str) -> Error {
    let holds = |line: &&str| line.contains("can spill: false") && !line.contains("consumed 0.0 B");
    let largest = message.lines().find(holds).unwrap_or(message);
    let known = |text: &str| MEMORY_HOLDERS.iter().find(|(name, ..)| text.contains(name));
    let (text, hint) = match known(largest).or_else(|| known(message)) {
        Some((_, text, hint)) => ((*text).to_owned(), *hint),
        None => ("out of memory: the query needs more than it may have".to_owned(), "let the query touch fewer rows"),
    };
    let shared = message.contains(NODE_MEMORY_USED_UP);
    // A sign, as the text of a join's error is one: the statement runs again when it can have all of its memory.
    let text = if shared { format!("{text}: {NODE_MEMORY_USED_UP}") } else { text };
    let otherwise = match shared {
        true => "run fewer statements at the same time, or start the compute nodes with a larger --node-memory-mib",
        false => "or start the compute nodes with a larger --query-memory-mib",
    };
    Error::new(ErrorKind::OutOfMemory, text).with_detail(message).with_hint(format!("{hint}, {otherwise}"))
}
