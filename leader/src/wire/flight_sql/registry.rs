//! A bounded table of things that clients refer to by an unguessable handle and that expire when they are not used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::RngCore as _;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Random bytes of a handle, a ticket or a token.
const HANDLE_BYTES: usize = 32;

/// Things of one kind by handle.
pub(super) struct Registry<T> {
    noun: &'static str,
    entries_max_count: usize,
    idle_max: Duration,
    entries: Mutex<HashMap<String, Entry<T>>>,
}

struct Entry<T> {
    value: T,
    used: Instant,
}

// Handles are secrets: whoever has one acts as its owner. They are not printed.
impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("noun", &self.noun).finish_non_exhaustive()
    }
}

/// A fresh handle nobody can guess.
pub(super) fn new_handle() -> String {
    let mut bytes = [0u8; HANDLE_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

impl<T: Clone> Registry<T> {
    pub(super) fn new(noun: &'static str, entries_max_count: usize, idle_max: Duration) -> Self {
        Self { noun, entries_max_count, idle_max, entries: Mutex::default() }
    }

    /// Keeps `value`; `same_owner` tells which entries count against `per_owner_max_count`.
    pub(super) fn insert(&self, value: T, per_owner_max_count: usize, same_owner: impl Fn(&T) -> bool) -> Result<String> {
        let mut entries = self.entries.lock();
        let full = entries.len() >= self.entries_max_count;
        if full || entries.values().filter(|entry| same_owner(&entry.value)).count() >= per_owner_max_count {
            return Err(Error::new(ErrorKind::ProgramLimit, format!("too many open {}s", self.noun))
                .with_hint(format!("close {}s that are no longer needed, or fetch and finish their results", self.noun)));
        }
        let handle = new_handle();
        entries.insert(handle.clone(), Entry { value, used: Instant::now() });
        Ok(handle)
    }

    /// The value of a handle, which counts as a use.
    pub(super) fn get(&self, handle: &str) -> Option<T> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(handle)?;
        entry.used = Instant::now();
        Some(entry.value.clone())
    }

    pub(super) fn remove(&self, handle: &str) -> Option<T> {
        self.entries.lock().remove(handle).map(|entry| entry.value)
    }

    /// Drops what was not used for long and is not in use, and whatever `is_dead`.
    pub(super) fn sweep(&self, in_use: impl Fn(&T) -> bool, is_dead: impl Fn(&T) -> bool) {
        let mut dropped = Vec::new();
        self.entries.lock().retain(|_, entry| {
            if in_use(&entry.value) {
                entry.used = Instant::now();
            }
            let keep = entry.used.elapsed() <= self.idle_max && !is_dead(&entry.value);
            if !keep {
                dropped.push(entry.value.clone());
            }
            keep
        });
        // `dropped` ends outside the lock: a session's end may take a while.
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded_and_expire_unless_in_use() {
        let registry = Registry::new("thing", 3, Duration::from_millis(20));
        let first = registry.insert("a", 2, |other| *other == "a").unwrap();
        registry.insert("a", 2, |other| *other == "a").unwrap();
        let refused = registry.insert("a", 2, |other| *other == "a").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::ProgramLimit);
        registry.insert("b", 2, |other| *other == "b").unwrap();
        assert!(registry.insert("c", 2, |other| *other == "c").is_err());
        assert_eq!(registry.get(&first), Some("a"));
        std::thread::sleep(Duration::from_millis(30));
        registry.sweep(|value| *value == "b", |_| false);
        assert_eq!(registry.get(&first), None);
        assert_eq!(registry.len(), 1);
    }
}
