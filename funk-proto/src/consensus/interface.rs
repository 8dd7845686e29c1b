//! What the consensus machine is told, and what it wants done.

use std::time::Duration;

use bytes::Bytes;

use crate::id::{LogIndex, RaftId, Term};
use crate::io::Persist;
use crate::wire::raft::RaftMessage;

/// How a node starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// This node.
    pub id: RaftId,
    /// The state machine's bytes with which a new cluster begins, as its
    /// snapshot at index 1 in term 1 with this node as sole voter. `None`: wait
    /// for a leader's snapshot.
    pub bootstrap: Option<Bytes>,
    /// The longest lease that a node with a disk may promise for; the first record has it.
    pub kept_lease: Duration,
}

/// A node's part in the present term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RaftRole {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// What is to be done, in this order.
#[allow(clippy::large_enum_variant, reason = "messages are the common output, and a box would cost each an allocation")]
#[derive(Clone, Debug, PartialEq)]
pub enum ConsensusOutput {
    /// Send a message; it may be lost. All that it must wait for has been waited for.
    Send {
        /// To whom.
        to: RaftId,
        /// What; below a frame when encoded.
        message: RaftMessage,
    },
    /// Write a [`crate::wire::raft::RaftRecord`], then return the token.
    Persist(Persist),
    /// The lease of the oldest [`super::Consensus::keep_lease`] that is not stable yet is stable.
    LeaseKept,
    /// A committed entry, in log order.
    Apply {
        /// Its index.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// Its bytes; empty in the entry with which a leader begins its term.
        data: Bytes,
    },
    /// A committed change of voters or learners is in force; the getters know it.
    ConfChanged {
        /// Its index.
        index: LogIndex,
    },
    /// A leader's snapshot replaces all applied so far, members included.
    InstallSnapshot {
        /// The index up to which it counts.
        index: LogIndex,
        /// The state, as its `provide_snapshot` gave it.
        state: Bytes,
    },
    /// The log is long, or a follower needs a snapshot: call
    /// [`super::Consensus::provide_snapshot`] with the state at any index applied since.
    SnapshotWanted,
    /// One of the three changed.
    Role {
        /// This node's part.
        role: RaftRole,
        /// The newest term, perhaps not stable yet.
        term: Term,
        /// The leader in it, if known.
        leader: Option<RaftId>,
    },
}

/// Who sent a message, as its connection proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub id: RaftId,
    /// The caller knows it to be a member though this node's log may not name it yet: if it leads, it is followed.
    pub is_vouched: bool,
}

impl From<RaftId> for Sender {
    fn from(id: RaftId) -> Self {
        Self { id, is_vouched: false }
    }
}
