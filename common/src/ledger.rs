//! Counts bytes that are kept for somebody, with a limit for each owner and one for all.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Bytes of one owner.
    pub owner_bytes: usize,
    /// Bytes of all.
    pub all_bytes: usize,
}

/// What is kept, by owner.
#[derive(Debug)]
pub struct Ledger {
    limits: LedgerLimits,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    all_bytes: usize,
    by_owner: HashMap<Arc<[u8]>, usize>,
}

/// Which limit is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// That of the owner.
    Owner,
    /// That of all.
    All,
}

/// Bytes that are kept for an owner; none any more when it is dropped.
#[derive(Debug)]
pub struct Account {
    ledger: Arc<Ledger>,
    owner: Arc<[u8]>,
    bytes: AtomicUsize,
}

impl Ledger {
    /// Nothing is kept yet.
    pub fn new(limits: LedgerLimits) -> Self {
        Self { limits, books: Mutex::default() }
    }

    /// The limits.
    pub fn limits(&self) -> LedgerLimits {
        self.limits
    }

    /// An account without anything. An owner may have many.
    pub fn open(self: &Arc<Self>, owner: &[u8]) -> Account {
        Account { ledger: Arc::clone(self), owner: Arc::from(owner), bytes: AtomicUsize::new(0) }
    }

    /// Bytes that are kept for all.
    pub fn all_bytes(&self) -> usize {
        self.books.lock().all_bytes
    }
}

impl Account {
    /// Counts `bytes` more if they may be kept.
    pub fn try_add(&self, bytes: usize) -> Result<(), Full> {
        let mut books = self.ledger.books.lock();
        let own_bytes = books.by_owner.get(&self.owner).copied().unwrap_or(0).saturating_add(bytes);
        if own_bytes > self.ledger.limits.owner_bytes {
            return Err(Full::Owner);
        }
        if books.all_bytes.saturating_add(bytes) > self.ledger.limits.all_bytes {
            return Err(Full::All);
        }
        self.count(&mut books, bytes);
        Ok(())
    }

    /// Counts `bytes` more, whatever the limits: they are kept already.
    pub fn add(&self, bytes: usize) {
        self.count(&mut self.ledger.books.lock(), bytes);
    }

    fn count(&self, books: &mut Books, bytes: usize) {
        books.all_bytes = books.all_bytes.saturating_add(bytes);
        let own_bytes = books.by_owner.entry(Arc::clone(&self.owner)).or_default();
        *own_bytes = own_bytes.saturating_add(bytes);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Counts what is not kept any more: at most what the account has.
    pub fn remove(&self, bytes: usize) {
        let mut books = self.ledger.books.lock();
        let bytes = bytes.min(self.bytes.load(Ordering::SeqCst));
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        books.all_bytes = books.all_bytes.saturating_sub(bytes);
        if let Some(own_bytes) = books.by_owner.get_mut(&self.owner) {
            *own_bytes = own_bytes.saturating_sub(bytes);
            if *own_bytes == 0 {
                books.by_owner.remove(&self.owner);
            }
        }
    }

    /// Whether nothing else stands against the limit that is in the way.
    pub fn is_alone(&self, full: Full) -> bool {
        let books = self.ledger.books.lock();
        let counted = match full {
            Full::Owner => books.by_owner.get(&self.owner).copied().unwrap_or(0),
            Full::All => books.all_bytes,
        };
        counted == self.bytes.load(Ordering::SeqCst)
    }

    /// Bytes of this account.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.remove(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_by_owner_and_in_all_until_they_go() {
        let ledger = Arc::new(Ledger::new(LedgerLimits { owner_bytes: 60, all_bytes: 100 }));
        let (first, second, other) = (ledger.open(b"a"), ledger.open(b"a"), ledger.open(b"b"));
        assert_eq!(first.try_add(40), Ok(()));
        assert_eq!(second.try_add(30), Err(Full::Owner));
        assert_eq!(second.try_add(20), Ok(()));
        assert_eq!(other.try_add(50), Err(Full::All));
        assert_eq!(other.try_add(40), Ok(()));
        assert_eq!((other.is_alone(Full::Owner), other.is_alone(Full::All), first.is_alone(Full::Owner)), (true, false, false));
        first.remove(10);
        assert_eq!((first.bytes(), ledger.all_bytes()), (30, 90));
        // An account gives back what it has, and no more.
        first.remove(1_000);
        assert_eq!(ledger.all_bytes(), 60);
        other.add(500);
        assert_eq!(ledger.all_bytes(), 560);
        drop((first, second, other));
        assert_eq!(ledger.all_bytes(), 0);
        assert!(ledger.books.lock().by_owner.is_empty());
    }
}
