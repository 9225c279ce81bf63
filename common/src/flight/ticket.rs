//! Tickets for rows that lie ready on a compute node.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;

/// What such a handle begins with; handles of the leader's own tickets have no colon.
const PREFIX: &str = "direct";

/// One part of a result: the rows of one lane of one task. Whoever shows the secret and is its owner may fetch it once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DirectTicket {
    /// Unguessable name of the result.
    pub secret: String,
    /// The task.
    pub task: usize,
    /// Its lane.
    pub lane: usize,
}

// The secret is not printed.
impl fmt::Debug for DirectTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectTicket").field("task", &self.task).field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl DirectTicket {
    /// The statement handle of a ticket.
    pub fn to_handle(&self) -> String {
        format!("{PREFIX}:{}:{}:{}", self.secret, self.task, self.lane)
    }

    /// Whether a handle is meant to be one of these.
    pub fn is_handle(handle: &str) -> bool {
        handle.starts_with(PREFIX) && handle.contains(':')
    }

    /// Reads a handle; 34000 for one that is none.
    pub fn parse(handle: &str) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::InvalidCursorName, "the ticket is none of a compute node's");
        let mut parts = handle.split(':');
        let (Some(PREFIX), Some(secret), Some(task), Some(lane), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unknown());
        };
        let number = |text: &str| text.parse().map_err(|_| unknown());
        Ok(Self { secret: secret.to_owned(), task: number(task)?, lane: number(lane)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_back() {
        let ticket = DirectTicket { secret: "a-B_9".to_owned(), task: 3, lane: 1 };
        assert_eq!(DirectTicket::parse(&ticket.to_handle()).unwrap(), ticket);
        assert!(
            DirectTicket::is_handle(&ticket.to_handle()) && !DirectTicket::is_handle("direct") && !DirectTicket::is_handle("x:1")
        );
        for forged in ["", "direct", "direct:a:1", "direct:a:x:1", "direct:a:1:1:1", "other:a:1:1"] {
            assert_eq!(DirectTicket::parse(forged).unwrap_err().sqlstate(), "34000", "{forged}");
        }
        assert!(!format!("{ticket:?}").contains("a-B_9"));
    }
}
