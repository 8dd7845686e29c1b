//! Identities. Every id is a newtype, so that a raft id, a boot id and a log
//! index can never be taken for one another.

use std::fmt;
use std::str::FromStr;

use crate::limits::NAME_BYTES_MAX;
use crate::rng::Rng;

macro_rules! id64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::num::NonZeroU64);

        impl $name {
            /// The id with this value; `None` for zero, which no id ever has.
            pub const fn new(value: u64) -> Option<Self> {
                match std::num::NonZeroU64::new(value) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// Draws a random id from the machine's seeded stream.
            pub fn draw(rng: &mut Rng) -> Self {
                loop {
                    if let Some(id) = Self::new(rng.next_u64()) {
                        return id;
                    }
                }
            }

            /// The value as carried on the wire; never zero.
            pub const fn get(self) -> u64 {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.get())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.get())
            }
        }
    };
}

id64! {
    /// A node's identity in Raft: random, drawn at its first start, bound to
    /// one log. An id that ever voted never comes back with an empty log.
    RaftId
}
id64! {
    /// One life of a process: drawn at every start. Leases, liveness datagrams
    /// and evidence name the boot, so a former life is never mistaken for this one.
    BootId
}
id64! {
    /// A cluster, drawn at its bootstrap. Two clusters of one name stay apart by it.
    ClusterId
}

/// One process of one node: a node that restarts comes back as another incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation {
    /// The node.
    pub id: RaftId,
    /// Its boot.
    pub boot: BootId,
}

macro_rules! counter64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

counter64! {
    /// A Raft term (Raft paper, section 5.1).
    Term
}
counter64! {
    /// An index in the replicated log; 0 is before the first entry.
    LogIndex
}
counter64! {
    /// A fencing epoch: the log index of the entry that made the present owner
    /// of a shard (shard epoch), or of the last applied map entry (map epoch).
    Epoch
}

impl From<LogIndex> for Epoch {
    fn from(index: LogIndex) -> Self {
        Epoch(index.0)
    }
}

/// A shard's number, from 0 to the shard count less one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardId({})", self.0)
    }
}

/// A small number that no other live member of the cluster has, 0 to
/// [`WORKER_IDS_MAX`](crate::limits::WORKER_IDS_MAX) less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream connection. The core numbers those it dials (even), the driver
/// those it accepts (odd), so the two never clash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(u64);

impl ConnId {
    /// The `n`th connection that the core asked the driver to dial.
    pub const fn dialled(n: u64) -> Self {
        Self(n << 1)
    }

    /// The `n`th connection that the driver accepted.
    pub const fn accepted(n: u64) -> Self {
        Self((n << 1) | 1)
    }

    /// Whether the other side opened this connection.
    pub const fn is_accepted(self) -> bool {
        self.0 & 1 == 1
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.is_accepted() { 'a' } else { 'd' };
        write!(f, "{side}{}", self.0 >> 1)
    }
}

/// A space of numbers for the connections that one machine dials. Machines
/// share the node's connections without knowing each other by interleaving:
/// each counts from its own start in the common step.
#[derive(Clone, Debug)]
pub struct DialNumbers {
    next: u64,
    step: u64,
}

impl DialNumbers {
    /// The numbers `start`, `start + step`, `start + 2 * step` and so on.
    ///
    /// # Panics
    /// If `step` is zero: the first number would be handed out for ever.
    pub const fn new(start: u64, step: u64) -> Self {
        assert!(step > 0, "dial numbers must grow");
        Self { next: start, step }
    }

    /// A connection number that was never handed out before.
    #[allow(clippy::should_implement_trait, reason = "an endless counter, not a sequence to iterate")]
    pub fn next(&mut self) -> ConnId {
        let conn = ConnId::dialled(self.next);
        self.next += self.step;
        conn
    }
}

/// A name that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// What it names.
    pub what: &'static str,
    /// What was given.
    pub given: String,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is not 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 . -", self.what, self.given)
    }
}

impl std::error::Error for InvalidName {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
                if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(legal) {
                    return Err(InvalidName { what: $what, given: text.into() });
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// A node's stable, human name: 1 to 28 of `[A-Za-z0-9.-]`.
    NodeName, "node id"
}
name! {
    /// A cluster's name: 1 to 28 of `[A-Za-z0-9.-]`. Clusters of different names never mix.
    ClusterName, "cluster name"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for good in ["a", "node-1", "A.b-9", &"x".repeat(28)] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a_b", &"x".repeat(29)] {
            let error = bad.parse::<NodeName>().unwrap_err().to_string();
            assert!(error.contains("node id"), "{error}");
        }
    }

    #[test]
    fn dialled_and_accepted_connections_never_clash() {
        assert_ne!(ConnId::dialled(4), ConnId::accepted(4));
        assert!(ConnId::accepted(0).is_accepted());
        assert_eq!(ConnId::dialled(7).to_string(), "d7");
    }

    #[test]
    fn interleaved_dial_numbers_never_meet() {
        let (mut even, mut odd) = (DialNumbers::new(0, 2), DialNumbers::new(1, 2));
        let drawn: std::collections::BTreeSet<_> = (0..100).flat_map(|_| [even.next(), odd.next()]).collect();
        assert_eq!(drawn.len(), 200);
        assert!(drawn.iter().all(|conn| !conn.is_accepted()));
    }

    #[test]
    fn zero_is_no_id() {
        assert_eq!(RaftId::new(0), None);
        assert_eq!(RaftId::new(0xab).unwrap().to_string(), "00000000000000ab");
    }
}
