//! What membership is told at its start, and what it wants done.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use super::timing::GossipTiming;
use crate::id::{ClusterName, ConnId, NodeName};
use crate::io::{GossipRefusal, RefusedPeer};
use crate::wire::gossip::{GossipKeys, GossipMember, KeyReport, Keyring};

/// What membership is told at its start.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// This node's name.
    pub name: NodeName,
    /// Members that show another cluster name are not taken in.
    pub cluster: ClusterName,
    /// The advertised gossip address (`ep.serf`).
    pub addr: SocketAddr,
    /// Addresses to join through; at most [`crate::limits::JOIN_ADDRESSES_MAX`] count.
    pub join: Vec<SocketAddr>,
    /// This node's tags.
    pub tags: BTreeMap<String, String>,
    /// Intervals and multipliers.
    pub timing: GossipTiming,
    /// Keys of the pool. `None`: gossip is not encrypted.
    pub keys: Option<GossipKeys>,
    /// Begin by looking at the join addresses only, see [`super::Gossip::look_only`].
    pub looks: bool,
}

/// What membership wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GossipOutput {
    /// Send a datagram; it may be lost.
    Datagram {
        /// To where.
        to: SocketAddr,
        /// Its payload.
        bytes: Bytes,
    },
    /// Open a gossip stream.
    Dial {
        /// Its number.
        conn: ConnId,
        /// To where.
        to: SocketAddr,
    },
    /// Send a message on a stream.
    Message {
        /// The stream.
        conn: ConnId,
        /// One whole stream message.
        bytes: Bytes,
    },
    /// Send a last message on a stream, then end it.
    Reply {
        /// The stream.
        conn: ConnId,
        /// One whole stream message.
        bytes: Bytes,
    },
    /// End a stream now.
    Close {
        /// The stream.
        conn: ConnId,
    },
    /// Somebody's gossip is refused.
    Refused {
        /// Who.
        peer: RefusedPeer,
        /// Why.
        why: GossipRefusal,
    },
    /// The ring is another: keep it, then call [`super::Gossip::handle_ring_kept`].
    RingChanged {
        /// The ring.
        ring: Keyring,
        /// Whether the one before was the cluster's.
        was_current: bool,
    },
    /// This node lacks the key that the cluster encrypts with: whoever has the ring is to be asked for it.
    RingWanted {
        /// How often it was wanted since the key is lacking, this time included.
        questions: u32,
    },
    /// What came of a question about keys.
    KeysAsked {
        /// Its number.
        number: u64,
        /// What the members say.
        report: KeyReport,
    },
    /// A member is new, or its address, tags or status changed.
    Changed(GossipMember),
    /// A member was gone for so long that its record is dropped. Its name.
    Reaped(String),
    /// A node is not taken in, since a live member at another address has its name. The tags that it shows.
    Namesake(BTreeMap<String, String>),
    /// A live node at another address has this node's name.
    NameHeld {
        /// Where it is.
        address: SocketAddr,
        /// The tags that it is presented with.
        tags: BTreeMap<String, String>,
    },
    /// A join address did not answer; it is tried again as long as it is needed.
    JoinFailed {
        /// The address.
        address: SocketAddr,
        /// What went wrong, for people.
        reason: String,
    },
    /// A push/pull that this node began, to join or later, is complete.
    Joined {
        /// The address that answered.
        address: SocketAddr,
    },
    /// These endpoint tags did not fit and are not gossiped. Reported once for each set.
    TagsDropped(Vec<String>),
}
