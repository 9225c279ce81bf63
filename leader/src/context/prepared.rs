//! The prepared statements of a session, by their names: those of PREPARE and those of its client's protocol are the same ones.

use crate::frontend::PreparedStatement;
use parking_lot::Mutex;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Prepared statements of one session.
const PREPARED_MAX_COUNT: usize = 10_000;

/// The prepared statements of one session.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements(Mutex<HashMap<String, Arc<PreparedStatement>>>);

impl PreparedStatements {
    /// What was prepared under a name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<PreparedStatement>> {
        self.0.lock().get(name).cloned()
    }

    /// The same; 26000 when there is none.
    pub(crate) fn known(&self, name: &str) -> Result<Arc<PreparedStatement>> {
        self.get(name).ok_or_else(|| missing(name))
    }

    /// 42P05 for a name that is taken.
    pub(crate) fn check_new(&self, name: &str) -> Result<()> {
        let prepared = self.0.lock();
        if prepared.contains_key(name) {
            return Err(Error::new(
                ErrorKind::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            )
            .with_hint("DEALLOCATE lets it go"));
        }
        if prepared.len() >= PREPARED_MAX_COUNT {
            return Err(Error::new(ErrorKind::ProgramLimit, "preparing a statement: too many are prepared")
                .with_detail(format!("a session can have {PREPARED_MAX_COUNT}"))
                .with_hint("DEALLOCATE those that are no longer used"));
        }
        Ok(())
    }

    /// Keeps a statement under a name that is free.
    pub(crate) fn insert(&self, name: &str, statement: PreparedStatement) -> Result<()> {
        self.check_new(name)?;
        self.0.lock().insert(name.to_owned(), Arc::new(statement));
        Ok(())
    }

    /// Lets one go; 26000 when there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.0.lock().remove(name).map(drop).ok_or_else(|| missing(name))
    }

    /// Lets all go.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::InvalidStatementName, format!("prepared statement \"{name}\" does not exist"))
}
