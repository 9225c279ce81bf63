//! What the leader and compute nodes share to answer Flight clients: rows, errors, tickets.

mod output;
mod status;
mod ticket;

pub use output::{Output, cast, client_schema};
pub use status::{from_status, to_status};
pub use ticket::DirectTicket;

/// What binds a ticket to its owner: the SHA-256 of the `authorization` header of the call that asked for it. The same header must
/// come with the ticket; plans carry the digest only.
pub fn owner_of(authorization: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, authorization).as_ref().to_vec()
}

/// Flight's location that stands for the connection a FlightInfo came over.
pub const SAME_CONNECTION: &str = "arrow-flight-reuse-connection://?";

/// The action that answers how far the session's running statement is.
pub const PROGRESS_ACTION: &str = "slipher.Progress";

/// How the address of an encrypted Flight server begins.
pub const TLS_SCHEME: &str = "grpc+tls://";
/// How the address of a plain Flight server begins.
pub const PLAIN_SCHEME: &str = "grpc://";
