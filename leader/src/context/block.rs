//! Transaction blocks of a session.

use super::Context;
use super::settings::{ISOLATION, READ_ONLY};
use crate::frontend::Outcome;
use crate::transaction::{LockOwner, Transaction};
use chrono::{DateTime, Utc};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::TransactionModes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a session is with respect to BEGIN and COMMIT.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    /// Each statement for itself.
    None,
    /// After BEGIN; the transaction begins with its first statement.
    Open {
        transaction: Option<Arc<Transaction>>,
        locks: Arc<LockOwner>,
        read_only: bool,
        serializable: bool,
        started: DateTime<Utc>,
    },
    /// After an error in a block: what it did is gone.
    Failed,
}

pub(crate) fn failed_block() -> Error {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    Error::new(ErrorKind::FailedTransaction, message)
}

impl Context {
    /// Whether transactions are SERIALIZABLE that do not say what they are: by the session's setting, or the database's.
    pub(crate) fn is_serializable(&self) -> bool {
        self.settings.is_serializable()
    }

    /// A block that has not begun to read or write. Settings are kept, for when it is rolled back.
    pub(crate) fn new_block(&self, modes: TransactionModes) -> Block {
        let serializable = modes.serializable.unwrap_or_else(|| self.is_serializable());
        let read_only = modes.read_only.unwrap_or_else(|| self.settings.lock().is_on(READ_ONLY));
        self.settings.keep();
        let (locks, started) = (Arc::new(self.shared.locks.owner()), Utc::now());
        Block::Open { transaction: None, locks, read_only, serializable, started }
    }

    /// Whether a block is open.
    pub(crate) fn is_in_block(&self) -> bool {
        matches!(*self.block.lock(), Block::Open { .. })
    }

    /// What failed in a block fails it.
    pub(crate) fn fail_block(&self) {
        let mut block = self.block.lock();
        if matches!(*block, Block::Open { .. }) {
            *block = Block::Failed;
            self.cursors.clear();
        }
    }

    /// Takes the block that ends, and all that ends with it.
    pub(crate) fn end_block(&self) -> Block {
        self.is_implicit.store(false, Ordering::SeqCst);
        self.settings.end_local();
        self.cursors.clear();
        std::mem::replace(&mut *self.block.lock(), Block::None)
    }

    /// BEGIN. What came before it in the same text becomes part of the block.
    pub(crate) fn begin(&self, modes: TransactionModes) -> Result<Outcome> {
        let was_implicit = self.is_implicit.swap(false, Ordering::SeqCst);
        let mut block = self.block.lock();
        if matches!(*block, Block::None) {
            *block = self.new_block(modes);
            return Ok(Outcome::done("BEGIN", Vec::new()));
        }
        drop(block);
        if was_implicit {
            self.set_transaction(false, modes)?;
            return Ok(Outcome::done("BEGIN", Vec::new()));
        }
        Ok(Outcome::done("BEGIN", vec!["there is already a transaction in progress".to_owned()]))
    }

    /// SET TRANSACTION changes the block that is open, SET SESSION CHARACTERISTICS the ones to come.
    pub(crate) fn set_transaction(&self, for_session: bool, modes: TransactionModes) -> Result<Outcome> {
        if for_session {
            let mut settings = self.settings.lock();
            if let Some(serializable) = modes.serializable {
                settings.set(ISOLATION, if serializable { "serializable" } else { "snapshot" })?;
            }
            if let Some(read_only) = modes.read_only {
                settings.set(READ_ONLY, if read_only { "on" } else { "off" })?;
            }
            return Ok(Outcome::done("SET", Vec::new()));
        }
        let mut block = self.block.lock();
        let Block::Open { transaction, read_only, serializable, .. } = &mut *block else {
            return Ok(Outcome::done("SET", vec!["SET TRANSACTION can only be used in transaction blocks".to_owned()]));
        };
        if transaction.is_some() && modes.serializable.is_some_and(|wanted| wanted != *serializable) {
            let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
            return Err(Error::new(ErrorKind::ActiveTransaction, message));
        }
        if transaction.is_some() && *read_only && modes.read_only == Some(false) {
            let message = "transaction read-write mode must be set before any query";
            return Err(Error::new(ErrorKind::ActiveTransaction, message));
        }
        *serializable = modes.serializable.unwrap_or(*serializable);
        *read_only = modes.read_only.unwrap_or(*read_only);
        Ok(Outcome::done("SET", Vec::new()))
    }

    /// COMMIT: what the block did is there for all, or an error says why it is gone.
    pub(crate) async fn commit(&self) -> Result<Outcome> {
        match self.end_block() {
            Block::None => Ok(Outcome::done("COMMIT", vec!["there is no transaction in progress".to_owned()])),
            Block::Failed => {
                self.settings.undo();
                Ok(Outcome::done("ROLLBACK", Vec::new()))
            }
            Block::Open { transaction: None, .. } => Ok(Outcome::done("COMMIT", Vec::new())),
            Block::Open { transaction: Some(transaction), locks, .. } => {
                let committed = transaction.commit(&self.shared.cluster, locks, &self.committing()).await;
                committed.inspect_err(|_| self.settings.undo())?;
                Ok(Outcome::done("COMMIT", Vec::new()))
            }
        }
    }

    /// ROLLBACK: data, definitions and settings are what they were.
    pub(crate) fn roll_back(&self) -> Result<Outcome> {
        Ok(match self.end_block() {
            Block::None => Outcome::done("ROLLBACK", vec!["there is no transaction in progress".to_owned()]),
            Block::Open { .. } | Block::Failed => {
                self.settings.undo();
                Outcome::done("ROLLBACK", Vec::new())
            }
        })
    }
}
