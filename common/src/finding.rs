//! What a check of a directory found.

use std::fmt;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing, and what is known of it.
    pub what: String,
    /// What is wrong with it; None: it is sound.
    pub fault: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn sound(what: impl Into<String>) -> Self {
        Self { what: what.into(), fault: None }
    }

    /// Something that is not.
    pub fn damaged(what: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { what: what.into(), fault: Some(fault.into()) }
    }
}

/// As a line for people.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => write!(f, "sound    {}", self.what),
            Some(fault) => write!(f, "DAMAGED  {}: {fault}", self.what),
        }
    }
}
