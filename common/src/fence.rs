//! Who commands: a leader says with each order which cluster it leads, in which term, and up to which version it knows what was committed.
//! A node remembers the highest and refuses whoever is behind: an older copy of a leader's directory, started once, would otherwise have
//! files removed that it never heard of.

use crate::ids::{ClusterId, NodeId};
use crate::{Error, ErrorKind, Result};
use slipher_proto::compute as proto;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// What the leader of a query says, as an HTTP header.
pub const FENCE_HEADER: &str = "x-slipher-fence";

/// What a leader says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The cluster it leads.
    pub cluster: ClusterId,
    /// The term in which it leads.
    pub term: u64,
    /// The last version it knows.
    pub version: u64,
    /// Drawn by each process that leads: two copies of a directory have one term and one version, but are two leaders.
    pub leader: Uuid,
    /// The version at which it began to lead. What was committed before, it must know; a copy of an older directory does not, and the
    /// commits of its own change nothing about that.
    pub since_version: u64,
    /// How often its directory was opened, this time included; 0 where that is not known. A copy of a directory counts from where it was
    /// copied: that it has all versions of which nodes have heard does not prove that it has the last ones.
    pub boot: u64,
}

/// Whether somebody may command whom another one has commanded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may: the same leader, or one that knows all that was committed.
    Follows,
    /// It may not: it does not know all of it, or another one was elected since.
    IsBehind,
}

impl Fence {
    /// Whether `self` may command a node that `seen` has commanded.
    pub fn judge(&self, seen: &Self) -> Judgement {
        let knows_all = self.term >= seen.term && self.since_version >= seen.version;
        let opened_later = self.boot == 0 || seen.boot == 0 || self.boot > seen.boot;
        // Messages of one leader may overtake each other.
        let follows = self.leader == seen.leader || (knows_all && opened_later);
        if follows { Judgement::Follows } else { Judgement::IsBehind }
    }

    /// What a node remembers after `self` has commanded it, which follows.
    pub fn after(self, seen: Self) -> Self {
        match self.leader == seen.leader && (self.term, self.version) < (seen.term, seen.version) {
            true => seen,
            false => self,
        }
    }

    /// Why a node obeys no more, or a leader may not lead on: names both.
    pub fn behind(&self, node: NodeId, seen: &Self) -> Error {
        let message = format!(
            "compute node {node} has obeyed a newer leader (term {}, version {}, start {}) than this one (term {}, which began at version {}, \
             start {})",
            seen.term, seen.version, seen.boot, self.term, self.since_version, self.boot
        );
        Error::new(ErrorKind::DataCorrupted, message)
            .with_detail("the leader's metadata is older than what its nodes hold: it is a copy of a former state, and was not allowed to change anything")
            .with_hint("stop this leader and start the one whose data directory is the newest")
    }

    /// As a message.
    pub fn to_proto(&self) -> proto::Fence {
        proto::Fence {
            cluster_id: self.cluster.to_vec(),
            term: self.term,
            version: self.version,
            leader_id: self.leader.as_bytes().to_vec(),
            since_version: self.since_version,
            boot: self.boot,
        }
    }

    /// From a message.
    pub fn from_proto(message: &proto::Fence) -> Result<Self> {
        let leader = Uuid::from_slice(&message.leader_id);
        Ok(Self {
            cluster: ClusterId::from_bytes(&message.cluster_id)?,
            term: message.term,
            version: message.version,
            leader: leader.map_err(|_| malformed("its leader has no id"))?,
            since_version: message.since_version,
            boot: message.boot,
        })
    }

    /// From a message that must have one.
    pub fn required(message: Option<&proto::Fence>) -> Result<Self> {
        Self::from_proto(message.ok_or_else(|| malformed("it does not say which leader gives it"))?)
    }
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::ProtocolViolation, format!("reading a leader's order: {why}"))
}

/// As a header's value, and as a line of a file.
impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.cluster, self.term, self.version, self.leader.simple())?;
        write!(f, " {} {}", self.since_version, self.boot)
    }
}

impl FromStr for Fence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts: Vec<&str> = text.split_ascii_whitespace().collect();
        // Files of former releases have no boot.
        if parts.len() == 5 {
            parts.push("0");
        }
        let [cluster, term, version, leader, since_version, boot] = parts[..] else {
            return Err(malformed("it has not six parts"));
        };
        let id = |text: &str| Uuid::try_parse(text).map_err(|_| malformed("an id is none"));
        let number = |text: &str| text.parse::<u64>().map_err(|_| malformed("a number is none"));
        Ok(Self {
            cluster: ClusterId(id(cluster)?),
            term: number(term)?,
            version: number(version)?,
            leader: id(leader)?,
            since_version: number(since_version)?,
            boot: number(boot)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(leader: u128, term: u64, since_version: u64, version: u64) -> Fence {
        Fence { cluster: ClusterId(Uuid::from_u128(1)), term, version, leader: Uuid::from_u128(leader), since_version, boot: 0 }
    }

    #[test]
    fn a_leader_that_does_not_know_everything_is_behind() {
        let seen = fence(1, 5, 80, 100);
        // The same leader, whatever comes first.
        for (term, version) in [(5, 90), (5, 101), (6, 100)] {
            assert_eq!(fence(1, term, 80, version).judge(&seen), Judgement::Follows);
        }
        assert_eq!(fence(1, 5, 80, 90).after(seen), seen);
        assert_eq!(fence(1, 5, 80, 101).after(seen).version, 101);
        // Its successors.
        for (term, since) in [(6, 100), (6, 120), (5, 100)] {
            assert_eq!(fence(2, term, since, since).judge(&seen), Judgement::Follows);
        }
        // Copies of former states: however often they are started, and however much they commit.
        for (term, since, version) in [(4, 100, 100), (5, 99, 99), (6, 99, 99), (90, 99, 5_000), (4, 5_000, 5_000)] {
            assert_eq!(fence(2, term, since, version).judge(&seen), Judgement::IsBehind);
        }
        // Copies that know all versions of which the node has heard, but were opened less often, or as often by another process.
        let started = |fence: Fence, boot| Fence { boot, ..fence };
        for (boot, expected) in [(8, Judgement::Follows), (7, Judgement::IsBehind), (6, Judgement::IsBehind)] {
            assert_eq!(started(fence(2, 6, 100, 100), boot).judge(&started(seen, 7)), expected, "{boot}");
            assert_eq!(started(fence(1, 6, 100, 100), boot).judge(&started(seen, 7)), Judgement::Follows);
            assert_eq!(started(fence(2, 6, 100, 100), boot).judge(&seen), Judgement::Follows, "nobody counted");
        }
        let error = fence(2, 6, 99, 99).behind(NodeId(Uuid::from_u128(7)), &seen);
        assert_eq!(error.sqlstate(), "XX001");
        assert!(error.message.contains("version 100") && error.message.contains("version 99"), "{error}");
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let fence = Fence { boot: 9, ..fence(7, 1, 2, u64::MAX) };
        assert_eq!(fence.to_string().parse::<Fence>().unwrap(), fence);
        let former = fence.to_string().strip_suffix(" 9").unwrap().parse::<Fence>().unwrap();
        assert_eq!(former, Fence { boot: 0, ..fence });
        assert_eq!(Fence::from_proto(&fence.to_proto()).unwrap(), fence);
        for text in ["", "1 2 3 4 5", "x 1 2 y 3", "00000000000000000000000000000001 1 2 00000000000000000000000000000001"] {
            assert_eq!(text.parse::<Fence>().unwrap_err().kind, ErrorKind::ProtocolViolation, "{text}");
        }
    }
}
