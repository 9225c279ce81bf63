//! Typed ids: no bare number or byte string names a thing.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads an id from its 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> crate::Result<Self> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| {
                    crate::Error::internal(format!("reading a {}: {} bytes instead of 16", stringify!($name), bytes.len()))
                })
            }

            /// The 16 bytes of the id.
            pub fn to_vec(self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.simple())
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

uuid_id!(
    /// A cluster, for ever.
    ClusterId
);
uuid_id!(
    /// A compute node, kept in its data directory.
    NodeId
);
uuid_id!(
    /// One immutable segment file.
    SegmentId
);
uuid_id!(
    /// One transaction; commits are deduplicated by it.
    TransactionId
);
uuid_id!(
    /// A file of details beside the metadata: the XXH3-128 of its bytes.
    SideFileId
);

impl SideFileId {
    /// Of a file with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Uuid::from_u128(xxhash_rust::xxh3::xxh3_128(bytes)))
    }
}

number_id!(
    /// A database; never reused. 0 is the one that every cluster has.
    DatabaseId(u64)
);
number_id!(
    /// A table; never reused.
    TableId(u64)
);
number_id!(
    /// A column of one table; never reused in that table.
    ColumnId(u32)
);
number_id!(
    /// The unit of placement, replication and movement.
    SliceId(u32)
);
number_id!(
    /// One cluster-wide commit counter: the Raft index.
    Version(u64)
);

impl SliceId {
    /// Stands for a copy on every node (DISTSTYLE ALL).
    pub const ALL: SliceId = SliceId(u32::MAX);
}
