//! Why a proposal was not appended.

use std::fmt;

use crate::limits::PROPOSAL_BYTES_MAX;

/// A proposal was not appended. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposeRefused {
    /// This node does not lead: ask [`Consensus::leader`](super::Consensus::leader).
    NotLeader,
    /// Leadership is being transferred: ask again in a moment.
    Transferring,
    /// The proposal is larger than [`PROPOSAL_BYTES_MAX`].
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The log is at its limit until a snapshot is provided.
    Busy,
    /// Another change of members is under way.
    ChangePending,
    /// The members are these already.
    Unchanged,
    /// The change cannot be made, and why.
    Invalid(&'static str),
}

impl fmt::Display for ProposeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader => f.write_str("this node does not lead"),
            Self::Transferring => f.write_str("leadership is being transferred"),
            Self::TooLarge { bytes } => write!(f, "{bytes} bytes are over the limit of {PROPOSAL_BYTES_MAX}"),
            Self::Busy => f.write_str("the log is at its limit"),
            Self::ChangePending => f.write_str("another change of members is under way"),
            Self::Unchanged => f.write_str("the members are these already"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ProposeRefused {}
