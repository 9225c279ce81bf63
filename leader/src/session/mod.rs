//! A client's session: the way from SQL text to an outcome.

mod alter_table;
mod commands;
mod cursors;
mod databases;
mod describe;
mod direct;
mod leader_session;
mod locking;
mod registry;
mod running;
mod settings;
mod views;

pub(crate) use leader_session::LeaderSession;
pub(crate) use registry::Sessions;
