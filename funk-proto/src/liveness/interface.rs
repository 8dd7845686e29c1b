//! What the liveness machine says and wants done.

use std::time::Duration;

use crate::id::{BootId, LogIndex, RaftId, Term};
use crate::wire::liveness::Grant;

/// What this machine says to that of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A leader's heartbeat, perhaps with a grant.
    Beat {
        /// The leader's term.
        term: Term,
        /// The cluster's lease length.
        lease: Duration,
        /// The cluster's drift bound, parts per million.
        drift_ppm: u32,
        /// A lease, if the member may have one.
        grant: Option<Grant>,
    },
    /// The answer to a heartbeat.
    Ack {
        /// The newest term of the sender.
        term: Term,
        /// The counter of the heartbeat; 0 for one of an old term.
        echo: u64,
        /// The last entry that the sender has applied.
        applied: LogIndex,
        /// The hash of all that it has applied.
        hash: u64,
        /// The lease that the promise covers, if it is shorter than the one that the heartbeat says.
        promise: Option<Duration>,
    },
    /// A lease between two heartbeats.
    Grant(Grant),
    /// The sender leads no more in this term.
    Resign {
        /// The term.
        term: Term,
    },
    /// The receiver has applied other entries than the sender, who leads.
    Differs {
        /// The leader's term.
        term: Term,
        /// The entry up to which that is known.
        index: LogIndex,
    },
}

/// An ack that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its own counter.
    pub counter: u64,
    /// The counter of the heartbeat that it answers.
    pub echo: u64,
    /// The last entry that its sender has applied.
    pub applied: LogIndex,
    /// The lease that the promise covers, if it is shorter than the one that the heartbeat says.
    pub promise: Option<Duration>,
}

/// What the liveness machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LivenessOutput {
    /// Send a datagram.
    Send {
        /// To whom.
        to: RaftId,
        /// Its counter.
        counter: u64,
        /// What it says.
        word: Word,
    },
    /// The leader has been silent for the leader timeout.
    LeaderSilent {
        /// The leader.
        leader: RaftId,
    },
    /// A member has been silent for the member timeout.
    MemberSilent {
        /// The member.
        id: RaftId,
        /// The boot that was heard last.
        boot: BootId,
    },
    /// A member's answer came late for the shortest lease that the cluster may have.
    AnswerLate {
        /// The member.
        member: RaftId,
    },
    /// A member has applied other entries than this leader.
    MemberDiffers {
        /// The member.
        id: RaftId,
        /// Its boot.
        boot: BootId,
        /// The entry up to which that is known.
        index: LogIndex,
    },
    /// Write to the disk that a promise for this lease may be made.
    KeepLease(Duration),
    /// No majority of the voters was heard for the leader timeout: this node leads nobody.
    QuorumLost,
}
