//! One statement of a text.

use super::Parsed;
use std::sync::Arc;

/// One parsed statement with its text. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's own text, without the semicolon.
    pub text: Arc<str>,
    /// Where `text` starts in the string the client sent, in characters from 0; added to error positions.
    pub offset: usize,
    /// What the parser made of it.
    pub(crate) parsed: Arc<Parsed>,
}
