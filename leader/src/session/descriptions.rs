//! What queries were found to be, kept for the next time somebody asks: a driver asks before each run of a prepared statement.

use crate::frontend::{Description, Statement};
use crate::plan::disabled_rules::DisabledRules;
use parking_lot::Mutex;
use slipher_common::SqlType;
use slipher_common::ids::{DatabaseId, Version};
use slipher_sql::Parsed;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Queries of one session whose description is kept.
const DESCRIPTIONS_MAX_COUNT: usize = 1_000;

/// What a description depends on besides the query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// The definitions that were looked at.
    pub(super) definitions: Version,
    /// Where names are looked up.
    pub(super) database: DatabaseId,
    /// The same, for names without a schema.
    pub(super) search_path: Arc<Vec<String>>,
    /// The types of parameters that the client declared.
    pub(super) declared: Vec<Option<SqlType>>,
    /// What plans leave out.
    pub(super) disabled_rules: DisabledRules,
}

#[derive(Debug)]
struct Kept {
    query: Weak<Parsed>,
    seen: Seen,
    description: Description,
}

/// The descriptions of a session, by where the parsed statement lies. It lies nowhere else as long as somebody holds it; when nobody does, the
/// description goes.
#[derive(Debug, Default)]
pub(super) struct Descriptions(Mutex<HashMap<usize, Kept>>);

impl Descriptions {
    /// What is known of a statement, seen like this.
    pub(super) fn get(&self, statement: &Statement, seen: &Seen) -> Option<Description> {
        let kept = self.0.lock();
        let known = kept.get(&place(statement)).filter(|known| known.is_of(statement) && known.seen == *seen);
        known.map(|known| known.description.clone())
    }

    /// Keeps what was found.
    pub(super) fn keep(&self, statement: &Statement, seen: Seen, description: &Description) {
        let mut kept = self.0.lock();
        if kept.len() >= DESCRIPTIONS_MAX_COUNT {
            kept.retain(|_, known| known.query.strong_count() > 0);
        }
        if kept.len() < DESCRIPTIONS_MAX_COUNT {
            let (query, description) = (Arc::downgrade(&statement.parsed), description.clone());
            kept.insert(place(statement), Kept { query, seen, description });
        }
    }
}

impl Kept {
    /// Another statement may lie where one lay that is gone.
    fn is_of(&self, statement: &Statement) -> bool {
        self.query.upgrade().is_some_and(|query| Arc::ptr_eq(&query, &statement.parsed))
    }
}

fn place(statement: &Statement) -> usize {
    Arc::as_ptr(&statement.parsed).addr()
}
