//! One stream, and what is known of its other side.

use std::net::SocketAddr;

use bytes::Bytes;

use super::token::Token;
use crate::id::{BootId, ClusterId, RaftId};
use crate::io::PeerIdentity;
use crate::limits::TOKENS_SHOWN;
use crate::time::Timestamp;
use crate::wire::liveness::Key;

/// How far the other side of a stream has proven who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// By its own word only.
    Claimed,
    /// It was reached where gossip, or its own request to join, says that the node is; the member table says otherwise.
    Elsewhere,
    /// It was reached where the member table says that the node is, or, if the table does not list it, where it is known;
    /// or its certificate names the node.
    Confirmed,
}

/// What a hello said of its sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) boot: BootId,
    pub(super) raft: SocketAddr,
    pub(super) liveness: SocketAddr,
    pub(super) key: Option<Key>,
    pub(super) cluster: Option<ClusterId>,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// Who was dialled, or who the other side claims to be.
    pub(super) peer: Option<RaftId>,
    /// The other side's last hello.
    pub(super) said: Option<Said>,
    /// Who the other side is by its certificate, if it has one.
    pub(super) certified: Option<PeerIdentity>,
    pub(super) opened: Timestamp,
    /// Since when the other side may say hello.
    pub(super) ready: Timestamp,
    /// What was dialled for it.
    pub(super) to: Option<SocketAddr>,
    /// The other side dialled this node, and showed what it was told at these addresses; the latest first.
    pub(super) proven: Vec<SocketAddr>,
    /// What the other side told, to be shown on streams that this node dials.
    pub(super) token: Option<Token>,
    /// This node's last hello on it.
    pub(super) hello: Option<Bytes>,
}

impl Stream {
    pub(super) fn dialled(now: Timestamp, peer: RaftId, to: SocketAddr) -> Self {
        Self { peer: Some(peer), to: Some(to), ..Self::accepted(now) }
    }

    pub(super) fn accepted(now: Timestamp) -> Self {
        Self {
            peer: None,
            said: None,
            certified: None,
            opened: now,
            ready: now,
            to: None,
            proven: Vec::new(),
            token: None,
            hello: None,
        }
    }

    /// The other side has shown what it was told at this address.
    pub(super) fn prove(&mut self, address: SocketAddr) {
        self.proven.retain(|&known| known != address);
        self.proven.insert(0, address);
        self.proven.truncate(TOKENS_SHOWN);
    }
}
