//! What can go wrong between the application and its driver.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use funk_proto::id::NodeName;
use funk_proto::{ConfigError, OperationRefused, Refusal, RequestError};

use crate::store::StoreError;

/// The node was not started; nothing of it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work: mend it.
    Config(ConfigError),
    /// The data directory cannot be used.
    Store(StoreError),
    /// A service does what this option is for: leave it out, or start without a service.
    NotWithService(&'static str),
    /// A handover and a shard state are given, which have the same duty: leave one of them out.
    HandoverAndShardState,
    /// The certificate is not that of this node: what it is, and what it would have to be.
    Certificate(String),
    /// QUIC has no streams without TLS: give the node credentials, and do not permit plaintext.
    QuicWithoutTls,
    /// An endpoint's settings cannot work: change them.
    Endpoint {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// The operating system does not give this node an endpoint's address.
    Bind {
        /// The endpoint's name.
        endpoint: String,
        /// The address that was asked for.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The operating system refused something: `what` names it.
    Io {
        /// What was attempted.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::NotWithService(option) => write!(f, "{option} cannot be set beside a service, which has its duty"),
            Self::HandoverAndShardState => {
                f.write_str("a handover cannot be set beside a shard state, which has its duty: leave one of them out")
            }
            Self::Certificate(why) => f.write_str(why),
            Self::QuicWithoutTls => {
                f.write_str("QUIC has no streams without TLS: give the node a certificate, and do not permit plaintext")
            }
            Self::Endpoint { name, why } => write!(f, "the endpoint {name:?} {why}"),
            Self::Bind { endpoint, address, source } => write!(f, "{endpoint}: cannot bind {address}: {source}"),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::NotWithService(_)
            | Self::HandoverAndShardState
            | Self::Certificate(_)
            | Self::QuicWithoutTls
            | Self::Endpoint { .. } => None,
            Self::Bind { source, .. } | Self::Io { source, .. } => Some(source),
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// The driver has stopped; [`Cluster::stopped`](crate::Cluster::stopped) says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this node has stopped")
    }
}

impl std::error::Error for Stopped {}

/// Why a driver stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The node left the cluster, or the time for leaving was over.
    Left,
    /// The cluster cannot take this node in.
    Refused(Refusal),
    /// The data directory failed: what was not stable is lost, so the node
    /// must not go on. The gate is closed.
    Store(StoreError),
    /// The service does not take what the node tells it: it stands still, or is
    /// far too slow, and nothing of that may be lost. The gate is closed.
    ServiceStuck,
    /// The driver failed: a bug, or the operating system. The gate is closed.
    Failed(String),
    /// The last handle was dropped; the node did not leave.
    Dropped,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the node left"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => write!(f, "the data directory failed: {error}"),
            Self::ServiceStuck => f.write_str("the service does not take what the node tells it"),
            Self::Failed(message) => write!(f, "the driver failed: {message}"),
            Self::Dropped => f.write_str("the last handle was dropped"),
        }
    }
}

/// How a proposal failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposeError {
    /// Nothing of it was or will be applied: it may be proposed again.
    Rejected(RequestError),
    /// It may or may not be applied: the leader was lost after it was sent.
    Unknown,
    /// The node stopped before the outcome was known; it may or may not be applied.
    Stopped,
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(error) => error.fmt(f),
            Self::Unknown => f.write_str("the leader was lost: the proposal may or may not be applied"),
            Self::Stopped => f.write_str("this node stopped: the proposal may or may not be applied"),
        }
    }
}

impl std::error::Error for ProposeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(error) => Some(error),
            Self::Unknown | Self::Stopped => None,
        }
    }
}

/// Why an operation on members was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationError {
    /// This node does not lead: ask the leader.
    NotLeader {
        /// Its name, if one is known.
        leader: Option<NodeName>,
    },
    /// Nobody has this name.
    UnknownMember(NodeName),
    /// The node did not take the request: nothing was done.
    Rejected(RequestError),
    /// It cannot be done, or took too long: why, and what to do.
    Refused(OperationRefused),
    /// Leadership was lost meanwhile: it may or may not be done. Look, and ask again.
    Unknown,
    /// The node stopped before the outcome was known.
    Stopped,
}

impl From<OperationRefused> for OperationError {
    fn from(refused: OperationRefused) -> Self {
        match refused {
            OperationRefused::NotLeader { leader } => Self::NotLeader { leader },
            OperationRefused::UnknownMember(name) => Self::UnknownMember(name),
            other => Self::Refused(other),
        }
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader } => OperationRefused::NotLeader { leader: leader.clone() }.fmt(f),
            Self::UnknownMember(name) => OperationRefused::UnknownMember(name.clone()).fmt(f),
            Self::Rejected(error) => error.fmt(f),
            Self::Refused(why) => why.fmt(f),
            Self::Unknown => f.write_str("leadership was lost meanwhile: look at the members, and ask the new leader"),
            Self::Stopped => f.write_str("this node stopped before it was known whether it is done"),
        }
    }
}

impl std::error::Error for OperationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(error) => Some(error),
            Self::Refused(why) => Some(why),
            Self::NotLeader { .. } | Self::UnknownMember(_) | Self::Unknown | Self::Stopped => None,
        }
    }
}
