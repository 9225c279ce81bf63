//! The transactions applied last, so that a record that arrives twice is applied once.

use slipher_common::ids::{TransactionId, Version};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Transactions of one generation; the oldest generation is forgotten as a whole.
const GENERATION_TRANSACTIONS: usize = 512;
/// Generations that are kept: a retry is recognised for at least 3,584 further transactions.
const GENERATIONS_MAX: usize = 8;

/// Transaction id → version, for the last few thousand. In generations, so that an insert copies one of them only.
///
/// Every generation but the newest is full: cutting the list every `GENERATION_TRANSACTIONS` gives the same generations
/// again, and a replica that started from a snapshot forgets what the others forget.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RecentTransactions {
    generations: VecDeque<Arc<BTreeMap<TransactionId, Version>>>,
}

impl RecentTransactions {
    /// The version at which a transaction was applied.
    pub(super) fn version_of(&self, transaction: TransactionId) -> Option<Version> {
        self.generations.iter().rev().find_map(|generation| generation.get(&transaction).copied())
    }

    /// Remembers a transaction.
    pub(super) fn insert(&mut self, transaction: TransactionId, version: Version) {
        if self.generations.back().is_none_or(|newest| newest.len() >= GENERATION_TRANSACTIONS) {
            self.generations.push_back(Arc::default());
        }
        if let Some(newest) = self.generations.back_mut() {
            Arc::make_mut(newest).insert(transaction, version);
        }
        if self.generations.len() > GENERATIONS_MAX {
            self.generations.pop_front();
        }
    }

    /// All of them, oldest first.
    pub(super) fn in_order(&self) -> Vec<(TransactionId, Version)> {
        let mut all = Vec::new();
        for generation in &self.generations {
            all.extend(generation.iter().map(|(transaction, version)| (*transaction, *version)));
        }
        all.sort_by_key(|(_, version)| *version);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn old_ones_are_forgotten_alike_with_and_without_a_snapshot() {
        let id = |number: u64| TransactionId(Uuid::from_u128(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        let mut straight = RecentTransactions::default();
        let mut restored = RecentTransactions::default();
        let total = (GENERATION_TRANSACTIONS * (GENERATIONS_MAX + 3) + 7) as u64;
        for number in 1..=total {
            straight.insert(id(number), Version(number));
            restored.insert(id(number), Version(number));
            if number % 1000 == 0 {
                let kept = restored.in_order();
                restored = RecentTransactions::default();
                kept.into_iter().for_each(|(transaction, version)| restored.insert(transaction, version));
            }
        }
        assert_eq!(straight, restored);
        assert_eq!(straight.version_of(id(total)), Some(Version(total)));
        assert_eq!(straight.version_of(id(1)), None);
    }
}
