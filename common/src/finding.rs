//! What a check of a directory found.

use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::Path;

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

/// Keeps `runner` ("a leader") from starting on a directory while it is checked: what is answered holds `lock`, the file that it locks. None
/// where that file is missing. An error with `hint` when one runs.
pub fn hold(directory: &Path, lock: &str, runner: &str, hint: &str) -> Result<Option<File>> {
    let path = directory.join(lock);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("opening \"{}\"", path.display()), &error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            let message = format!("checking \"{}\": {runner} runs on it", directory.display());
            Err(Error::new(ErrorKind::CannotConnectNow, message).with_hint(hint))
        }
        Err(TryLockError::Error(error)) => Err(Error::io(format!("locking \"{}\"", path.display()), &error)),
    }
}
