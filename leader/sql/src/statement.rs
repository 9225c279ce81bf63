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
    pub parsed: Arc<Parsed>,
}

/// Which prepared statements of its connection a statement lets go: those are the endpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deallocates<'a> {
    /// Of this name.
    One(&'a str),
    /// All.
    All,
    /// None.
    Nothing,
}

impl Statement {
    /// Which prepared statements it lets go when it has run.
    pub fn deallocates(&self) -> Deallocates<'_> {
        match self.parsed.as_ref() {
            Parsed::Deallocate { name: Some(name) } => Deallocates::One(&name.value),
            Parsed::Deallocate { name: None } | Parsed::Discard { all: true, .. } => Deallocates::All,
            _ => Deallocates::Nothing,
        }
    }
}
