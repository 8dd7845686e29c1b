//! Errors by who must act: [`ConfigError`] is the operator's, [`RequestError`]
//! the caller's, [`Misbehaviour`] a peer's (counted and reported, never a
//! panic). A panic is ours alone.

use std::fmt;

use crate::id::{ClusterId, InvalidName, LogIndex, NodeName};
use crate::version::Versions;

/// The configuration cannot work. Nothing was started; mend the named setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name is empty, too long or holds a character outside `[A-Za-z0-9.-]`.
    Name(InvalidName),
    /// A number or duration is outside its range.
    Range {
        /// The setting.
        what: &'static str,
        /// What was given.
        given: String,
        /// What would be accepted.
        accepted: String,
    },
    /// The data directory holds records that no node wrote in this order.
    Recovered {
        /// The place of the first bad one among the records.
        record: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The lease is too short for the silence limits (see `docs/ownership.md`, the lease inequality).
    LeaseInequality {
        /// What a survivor's lease leaves after the last heartbeat.
        left: std::time::Duration,
        /// What a leader change needs.
        needed: std::time::Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(invalid) => invalid.fmt(f),
            Self::Range { what, given, accepted } => write!(f, "{what} {given} is out of range: give {accepted}"),
            Self::Recovered { record, why } => {
                write!(f, "record {record} of the data directory's log: {why}; this node must not vote with it")
            }
            Self::LeaseInequality { left, needed } => write!(
                f,
                "the lease leaves {left:?} for a leader change that needs {needed:?}: \
                 lengthen the lease, or shorten the leader timeout or the liveness interval"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<InvalidName> for ConfigError {
    fn from(invalid: InvalidName) -> Self {
        Self::Name(invalid)
    }
}

/// A request was refused. Nothing of it was or will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many requests of this kind are in flight: wait for one to end.
    Busy,
    /// The proposal is larger than [`crate::limits::PROPOSAL_BYTES_MAX`].
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// No leader is known: try again when one is.
    NoLeader,
    /// This node is not in a cluster yet.
    NotMember,
    /// This node is stopping.
    Stopping,
    /// The endpoint's name does not begin with `ep.`, is too long, or one too many.
    Endpoint(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many requests are in flight: try again when one has ended"),
            Self::TooLarge { bytes } => {
                write!(f, "{bytes} bytes are too many for one proposal: at most {}", crate::limits::PROPOSAL_BYTES_MAX)
            }
            Self::NoLeader => f.write_str("no leader is known: try again"),
            Self::NotMember => f.write_str("this node is not in a cluster yet"),
            Self::Stopping => f.write_str("this node is stopping"),
            Self::Endpoint(name) => write!(f, "{name:?} is no endpoint name: ep.* of at most 64 bytes, 32 a node"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why an operation on members was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationRefused {
    /// This node does not lead: ask the leader.
    NotLeader {
        /// Its name, if one is known.
        leader: Option<NodeName>,
    },
    /// Nobody has this name.
    UnknownMember(NodeName),
    /// It cannot be done, or took too long: why, and what to do.
    Impossible(String),
}

impl OperationRefused {
    /// It cannot be done, or took too long.
    pub(crate) fn impossible(why: impl Into<String>) -> Self {
        Self::Impossible(why.into())
    }
}

impl fmt::Display for OperationRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => write!(f, "this node does not lead: ask {leader}"),
            Self::NotLeader { leader: None } => f.write_str("this node does not lead, and knows no leader: try again"),
            Self::UnknownMember(name) => write!(f, "no node is named {name}"),
            Self::Impossible(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OperationRefused {}

/// What a peer did wrong. Counted and reported as an event; the message is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Bytes that do not decode.
    Malformed(&'static str),
    /// A frame of a kind that this version does not know. Of a peer that said hello it is no misbehaviour: a later
    /// version may send it.
    UnknownKind,
    /// Larger than its limit.
    Oversized(&'static str),
    /// A message before, or at odds with, its hello.
    Unintroduced,
    /// A frame of this kind that its sender has no right to send.
    Unauthorized(&'static str),
    /// A node says that it is another than its certificate names.
    Impersonation {
        /// The node that the certificate names.
        certified: String,
        /// Who it says that it is, or who is expected there.
        claimed: String,
    },
    /// A Raft message that is not admitted.
    Raft(&'static str),
    /// A liveness datagram with a wrong tag, or from a boot that said no hello.
    Unauthentic,
    /// A datagram that was seen already.
    Replayed,
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "{what} does not decode"),
            Self::UnknownKind => f.write_str("a frame of an unknown kind"),
            Self::Oversized(what) => write!(f, "{what} is over its limit"),
            Self::Unintroduced => f.write_str("a message without a hello"),
            Self::Unauthorized(kind) => write!(f, "a {kind} from a node that has no right to send it"),
            Self::Impersonation { certified, claimed } => {
                write!(f, "the certificate is that of node {certified}, and it says that it is node {claimed}")
            }
            Self::Raft(why) => write!(f, "raft message refused: {why}"),
            Self::Unauthentic => f.write_str("a datagram that does not authenticate"),
            Self::Replayed => f.write_str("a datagram seen before"),
        }
    }
}

/// Why this node can never be part of the cluster it found. The node stops with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer's cluster has another name.
    ClusterName {
        /// Theirs.
        theirs: String,
    },
    /// The peer is in another cluster of the same name.
    ClusterId {
        /// Ours.
        ours: ClusterId,
        /// Theirs.
        theirs: ClusterId,
    },
    /// Two clusters of this node's cluster name are there: it cannot know which one is meant.
    TwoClusters {
        /// Each cluster's id, as gossip shows it, and one of its nodes.
        clusters: [(String, String); 2],
    },
    /// A live node has this name already, and keeps it.
    NameTaken(NodeName),
    /// Another process has this node's data directory, or a copy of it: it is the member, and answers.
    IdentityInUse {
        /// Its name.
        name: NodeName,
        /// Where it listens for streams.
        address: String,
    },
    /// A bootstrap found a cluster of its name.
    ClusterExists {
        /// A node of it.
        node: String,
        /// Its id, as the node's `funk.cluster` tag shows it.
        cluster: String,
    },
    /// The member table is full.
    TableFull,
    /// An operator took this node out of the cluster.
    Removed,
    /// This node has applied other entries than its leader: its log, or what it made of it, is not the cluster's.
    Diverged {
        /// The entry up to which that is known.
        index: LogIndex,
    },
    /// The cluster was recovered from the loss of its majority, as another
    /// generation than that of the node that is refused.
    FormerGeneration {
        /// The id of the node that is refused.
        former: ClusterId,
        /// The id of the present generation.
        present: ClusterId,
        /// Which generation that is.
        generation: u64,
    },
    /// The peer speaks no version of the protocol that this node speaks.
    Version {
        /// What this node speaks.
        ours: Versions,
        /// What the peer speaks.
        theirs: Versions,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterName { theirs } => write!(f, "the peer belongs to a cluster named {theirs:?}"),
            Self::ClusterId { ours, theirs } => write!(
                f,
                "two clusters of one name: this node is in {ours}, the peer in {theirs}; stop the nodes of one of them"
            ),
            Self::TwoClusters { clusters: [(one, its), (other, others)] } => write!(
                f,
                "two clusters have this name: {one} (node {its}) and {other} (node {others}); \
                 stop the nodes of one of them, then start this node again"
            ),
            Self::NameTaken(name) => write!(f, "a live node is named {name} already: choose another name"),
            Self::IdentityInUse { name, address } => write!(
                f,
                "another process runs with this node's identity: {name} at {address}; \
                 its data directory was copied: start this node with an empty one"
            ),
            Self::ClusterExists { node, cluster } => {
                write!(
                    f,
                    "node {node} is in cluster {cluster} of this name already: start this node without a bootstrap to join it"
                )
            }
            Self::TableFull => f.write_str("the cluster has its maximum of members"),
            Self::Removed => {
                f.write_str("this node was removed from the cluster: start it again if it is to come back")
            }
            Self::Diverged { index } => write!(
                f,
                "what this node has applied up to entry {index} is not what its leader has: it must not serve; \
                 keep its data directory for a bug report and start it with an empty one"
            ),
            Self::FormerGeneration { former, present, generation } => write!(
                f,
                "cluster {former} lost its majority and was recovered as generation {generation}, {present}: \
                 a node of an earlier generation cannot join; start it with an empty data directory"
            ),
            Self::Version { ours, theirs } => write!(
                f,
                "no common version: this node speaks {ours} of the cluster's protocol, the peer {theirs}; upgrade {}",
                if ours.newest < theirs.oldest { "this node" } else { "the peer" }
            ),
        }
    }
}
