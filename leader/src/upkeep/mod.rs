//! Storage that is looked after: VACUUM, and what the background does of it by itself.

mod choice;
mod compaction;
mod vacuum;

pub(crate) use choice::Choice;
pub(crate) use compaction::{compact_forever, sort_forever, split_forever};
pub(crate) use vacuum::{Tools, vacuum};
