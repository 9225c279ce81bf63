//! The leader: endpoints, sessions, SQL, planning, running, transactions, metadata.

pub mod meta;
pub mod session;
pub mod sql;
pub mod wire;
