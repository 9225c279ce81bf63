//! What leader and compute nodes share: ids, types, catalog, placement, distribution, plan nodes, errors. No IO of its own but for certificates and locks.

/// Functions of a kind are told apart by one of their fields: the engine wants them equal and hashed by it.
#[macro_export]
macro_rules! told_apart_by {
    ($kind:ty, $field:ident) => {
        impl PartialEq for $kind {
            fn eq(&self, other: &Self) -> bool {
                self.$field == other.$field
            }
        }

        impl Eq for $kind {}

        impl std::hash::Hash for $kind {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                std::hash::Hash::hash(&self.$field, state);
            }
        }
    };
}

pub mod aggregates;
pub mod assign;
pub mod batch;
pub mod casts;
pub mod catalog;
pub mod channels;
pub mod control;
pub mod distribution;
pub mod drain;
pub mod error;
pub mod fail_point;
pub mod fence;
pub mod finding;
pub mod flight;
pub mod functions;
pub mod histogram;
pub mod ids;
pub mod ledger;
pub mod list_agg;
pub mod manifest;
pub mod member;
pub mod numeric;
pub mod part;
pub mod placement;
pub mod plan;
pub mod preface;
pub mod pruning;
pub mod selectivity;
pub mod single_value;
pub mod sql_type;
pub mod statistics;
pub mod super_value;
pub mod sweep;
pub mod threads;
pub mod time_units;
pub mod tls;
pub mod tpch;
pub mod trace;

pub use error::{Error, ErrorKind, Result};
pub use sql_type::SqlType;

// The workspace's packages are one release: plans do not cross versions.
/// This release's version; leader and compute nodes must run the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
