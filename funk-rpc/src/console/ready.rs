//! Why a node may not serve.

use std::fmt;

use funk_proto::status::NodeState;

/// Why a node may not serve now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// It is in a state in which nodes do not serve.
    State(NodeState),
    /// All connections of one of its endpoints are busy.
    Full {
        /// The endpoint.
        endpoint: String,
    },
    /// It owns shards, and its lease has run out.
    NoLease,
    /// It has stopped.
    Stopped,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "the node is {state}"),
            Self::Full { endpoint } => write!(f, "{endpoint} turns clients away: all its connections are busy"),
            Self::NoLease => f.write_str("the node holds no lease"),
            Self::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for NotReady {}
