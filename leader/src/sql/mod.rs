//! SQL text to meaning.

/// What the parser made of one statement.
#[derive(Debug)]
pub(crate) struct Parsed {}
