//! The sessions there are, for those who cancel or end another one's work.

use crate::catalog::{Signal, Signals};
use parking_lot::Mutex;
use slipher_common::ids::DatabaseId;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Weak;
use std::sync::atomic::{AtomicI32, Ordering};

/// A session as others reach it.
pub(super) trait Registered: fmt::Debug + Send + Sync {
    /// Whose it is.
    fn user(&self) -> &str;
    /// In which database.
    fn database(&self) -> DatabaseId;
    /// Ends the statement that runs now.
    fn cancel_statement(&self);
    /// Ends the session: what runs, and its connection.
    fn terminate(&self);
}

/// The sessions by their process ids.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: Mutex<BTreeMap<i32, Weak<dyn Registered>>>,
    last_process_id: AtomicI32,
}

impl Sessions {
    /// A number that no other session has. They stay positive: clients read them as they are.
    pub(super) fn next_process_id(&self) -> i32 {
        loop {
            let id = self.last_process_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
            if id != 0 && !self.known.lock().contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn insert(&self, process_id: i32, session: Weak<dyn Registered>) {
        self.known.lock().insert(process_id, session);
    }

    pub(super) fn remove(&self, process_id: i32) {
        self.known.lock().remove(&process_id);
    }
}

impl Signals for Sessions {
    fn signal(&self, process_id: i32, signal: Signal, user: &str, is_superuser: bool) -> Result<bool> {
        let known = self.known.lock().get(&process_id).and_then(Weak::upgrade);
        let Some(session) = known else {
            tracing::warn!(process_id, "a signal for a session that is not there");
            return Ok(false);
        };
        if session.user() != user && !is_superuser {
            let verb = if signal == Signal::Cancel { "cancel a statement of" } else { "end" };
            let message = format!("must be superuser to {verb} a session of user \"{}\"", session.user());
            return Err(Error::new(ErrorKind::InsufficientPrivilege, message));
        }
        match signal {
            Signal::Cancel => session.cancel_statement(),
            Signal::Terminate => session.terminate(),
        }
        Ok(true)
    }

    fn process_ids_in(&self, database: DatabaseId) -> Vec<i32> {
        let known: Vec<_> = self.known.lock().iter().filter_map(|(id, session)| Some((*id, session.upgrade()?))).collect();
        known.iter().filter(|(_, session)| session.database() == database).map(|(id, _)| *id).collect()
    }
}
