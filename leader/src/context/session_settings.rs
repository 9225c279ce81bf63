//! The settings of a session with what a block does to them: SET LOCAL ends with it, and all of them are what they were when it is rolled back.

use super::Shared;
use super::block::Block;
use super::settings::{ISOLATION, Settings};
use crate::transaction::SessionSettings;
use parking_lot::{Mutex, MutexGuard};
use slipher_common::Result;
use slipher_common::ids::DatabaseId;
use std::fmt;
use std::sync::Arc;

/// The settings of one session.
pub(crate) struct OwnSettings {
    shared: Arc<Shared>,
    database: DatabaseId,
    user: String,
    block: Arc<Mutex<Block>>,
    values: Mutex<Settings>,
    /// What SET LOCAL replaced, for the end of the block.
    local: Mutex<Vec<(String, Option<String>)>>,
    /// The settings as they were before the block that is open.
    before: Mutex<Option<Settings>>,
}

impl fmt::Debug for OwnSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSettings").field("user", &self.user).finish_non_exhaustive()
    }
}

impl OwnSettings {
    /// Of a session that begins.
    pub(super) fn new(shared: Arc<Shared>, database: DatabaseId, user: &str, block: Arc<Mutex<Block>>) -> Self {
        let (values, local, before) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { shared, database, user: user.to_owned(), block, values, local, before }
    }

    /// The values.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Settings> {
        self.values.lock()
    }

    /// SET; answers whether it had an effect, which SET LOCAL has in a block only.
    pub(crate) fn set(&self, name: &str, value: &str, local: bool) -> Result<bool> {
        if !local {
            self.values.lock().set(name, value)?;
            // What the session sets outlives the block, whatever SET LOCAL said before.
            self.local.lock().retain(|(known, _)| known != name);
            return Ok(true);
        }
        if matches!(*self.block.lock(), Block::None) {
            return Ok(false);
        }
        let mut values = self.values.lock();
        let before = values.changed(name).map(str::to_owned);
        values.set(name, value)?;
        let mut local = self.local.lock();
        if !local.iter().any(|(known, _)| known == name) {
            local.push((name.to_owned(), before));
        }
        Ok(true)
    }

    /// Whether transactions are SERIALIZABLE that do not say what they are: by the session's setting, or the database's.
    pub(super) fn is_serializable(&self) -> bool {
        let set = self.values.lock().changed(ISOLATION).map(|level| level.eq_ignore_ascii_case("serializable"));
        let state = self.shared.cluster.meta().state();
        set.unwrap_or_else(|| state.databases().get(&self.database).is_some_and(|database| database.serializable))
    }

    /// A block begins: what is set now comes back when it is rolled back.
    pub(super) fn keep(&self) {
        *self.before.lock() = Some(self.values.lock().clone());
    }

    /// The block that ended did nothing: its settings neither.
    pub(super) fn undo(&self) {
        if let Some(before) = self.before.lock().take() {
            *self.values.lock() = before;
        }
    }

    /// Undoes SET LOCAL.
    pub(super) fn end_local(&self) {
        let mut values = self.values.lock();
        for (name, before) in self.local.lock().drain(..) {
            let undone = match before {
                Some(value) => values.set(&name, &value),
                None => values.reset(Some(&name)),
            };
            if let Err(error) = undone {
                tracing::warn!(%error, setting = name, "a setting of before the transaction does not come back");
            }
        }
    }
}

impl SessionSettings for OwnSettings {
    fn shown(&self, name: &str) -> Option<String> {
        match name {
            "session_authorization" => Some(self.user.clone()),
            "is_superuser" => {
                let state = self.shared.cluster.meta().state();
                let superuser = state.users().get(&self.user).is_some_and(|user| user.superuser);
                Some(if superuser { "on" } else { "off" }.to_owned())
            }
            "transaction_isolation" => {
                // In a block, what that is.
                let of_block = match &*self.block.lock() {
                    Block::Open { serializable, .. } => Some(*serializable),
                    Block::None | Block::Failed => None,
                };
                let serializable = of_block.unwrap_or_else(|| self.is_serializable());
                Some(if serializable { "serializable" } else { "snapshot" }.to_owned())
            }
            "transaction_read_only" => {
                let of_block = match &*self.block.lock() {
                    Block::Open { read_only, .. } => Some(*read_only),
                    Block::None | Block::Failed => None,
                };
                let read_only = of_block.unwrap_or_else(|| self.values.lock().is_on(super::READ_ONLY));
                Some(if read_only { "on" } else { "off" }.to_owned())
            }
            _ => self.values.lock().get(name),
        }
    }

    fn change(&self, name: &str, value: &str, local: bool) -> Result<()> {
        self.set(&name.to_lowercase(), value, local).map(drop)
    }
}
