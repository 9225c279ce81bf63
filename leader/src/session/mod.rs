//! A client's session: the way from SQL text to an outcome.

mod block_rows;
mod descriptions;
mod leader_session;
mod listing;
mod registry;
mod uppercase;

pub(crate) use leader_session::LeaderSession;
pub(crate) use registry::Sessions;
