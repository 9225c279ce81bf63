//! What queries were found to be, kept for the next time somebody asks: a driver asks before each run of a prepared statement.

use crate::context::PerStatement;
use crate::frontend::{Description, Statement};
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::super_options::SuperOptions;
use slipher_common::SqlType;
use slipher_common::ids::{DatabaseId, Version};
use std::sync::Arc;

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
    /// What the session says of SUPER values.
    pub(super) super_options: SuperOptions,
}

/// The descriptions of a session's statements.
#[derive(Debug, Default)]
pub(super) struct Descriptions(PerStatement<(Seen, Description)>);

impl Descriptions {
    /// What is known of a statement, seen like this.
    pub(super) fn get(&self, statement: &Statement, seen: &Seen) -> Option<Description> {
        self.0.get(&statement.parsed).filter(|(known, _)| known == seen).map(|(_, description)| description)
    }

    /// Keeps what was found.
    pub(super) fn keep(&self, statement: &Statement, seen: Seen, description: &Description) {
        self.0.keep(&statement.parsed, (seen, description.clone()));
    }
}
