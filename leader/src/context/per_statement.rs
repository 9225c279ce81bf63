//! What is kept for statements that run several times.

use parking_lot::Mutex;
use slipher_sql::Parsed;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Statements of one session for which something is kept.
const STATEMENTS_MAX_COUNT: usize = 1_000;

/// Something for each of a session's statements, by where the parsed statement lies. It lies nowhere else as long as somebody holds it; when
/// nobody does, what is kept for it goes.
#[derive(Debug)]
pub(crate) struct PerStatement<T>(Mutex<HashMap<usize, (Weak<Parsed>, T)>>);

impl<T> Default for PerStatement<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> PerStatement<T> {
    /// What is kept for a statement.
    pub(crate) fn get(&self, statement: &Arc<Parsed>) -> Option<T> {
        let kept = self.0.lock();
        // Another statement may lie where one lay that is gone.
        let own = kept.get(&place(statement)).filter(|(of, _)| of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, statement)));
        own.map(|(_, kept)| kept.clone())
    }

    /// Keeps it; nothing where too much is kept already.
    pub(crate) fn keep(&self, statement: &Arc<Parsed>, what: T) {
        let mut kept = self.0.lock();
        if kept.len() >= STATEMENTS_MAX_COUNT {
            kept.retain(|_, (of, _)| of.strong_count() > 0);
        }
        if kept.len() < STATEMENTS_MAX_COUNT {
            kept.insert(place(statement), (Arc::downgrade(statement), what));
        }
    }
}

fn place(statement: &Arc<Parsed>) -> usize {
    Arc::as_ptr(statement).addr()
}
