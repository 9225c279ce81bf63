//! Prepared statements and portals of a connection.

use super::parameters::ParameterType;
use super::rows::RowCursor;
use crate::frontend::{Deallocates, Statement};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::collections::HashMap;
use std::sync::Arc;

/// Prepared statements of one connection.
pub const PREPARED_STATEMENTS_MAX: usize = 10_000;
/// Open portals of one connection.
pub const PORTALS_MAX: usize = 1_000;

const IN_TRANSACTION: u8 = b'T';

/// Prepared statements and portals of a connection, by name; the empty name is the unnamed one.
#[derive(Default)]
pub(super) struct Extended {
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Counts Syncs: what was described since the last one is still true.
    pub(super) cycle: u64,
}

pub(super) struct Prepared {
    /// `None`: an empty string was prepared.
    pub(super) statement: Option<Statement>,
    /// OIDs as the client declared them.
    pub(super) declared: Vec<Option<SqlType>>,
    pub(super) parameters: Vec<ParameterType>,
    /// How many parameters the statement has; the client may declare more.
    pub(super) used: usize,
    pub(super) rows: Option<SchemaRef>,
    /// The cycle in which it was described; None: in none of this connection's.
    pub(super) described_in: Option<u64>,
}

pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) formats: Vec<i16>,
    pub(super) state: PortalState,
}

pub(super) enum PortalState {
    Bound(Vec<ScalarValue>),
    Rows {
        cursor: Box<RowCursor>,
        tag: &'static str,
    },
    /// All sent; the tag of a portal that had rows.
    Ended(Option<&'static str>),
}

impl Extended {
    /// A simple query replaces the unnamed statement and portal.
    pub fn forget_unnamed(&mut self) {
        self.statements.remove("");
        self.portals.remove("");
    }

    /// Portals live as long as their transaction.
    pub fn end_transaction_unless_open(&mut self, status: u8) {
        if status != IN_TRANSACTION {
            self.portals.clear();
        }
    }

    /// A statement may have ended the transaction it ran in.
    pub fn statement_ended(&mut self, status_before: u8, status: u8) {
        if status_before == IN_TRANSACTION {
            self.end_transaction_unless_open(status);
        }
    }

    /// Sync: outside of a transaction it ends the implicit one.
    pub fn end_cycle(&mut self, status: u8) {
        self.cycle += 1;
        self.end_transaction_unless_open(status);
    }

    /// DEALLOCATE and DISCARD ALL have run: what this connection keeps for the protocol goes, too.
    pub fn deallocate(&mut self, statement: &Statement) {
        match statement.deallocates() {
            Deallocates::One(name) => {
                if let Some(closed) = self.statements.remove(name) {
                    self.portals.retain(|_, portal| !Arc::ptr_eq(&portal.prepared, &closed));
                }
            }
            Deallocates::All => {
                self.statements.clear();
                self.portals.clear();
            }
            Deallocates::Nothing => {}
        }
    }

    /// The statement of a name.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(ErrorKind::InvalidStatementName, message)
        })
    }
}
