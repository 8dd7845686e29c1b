//! Who is there: Serf membership as far as push/pull over streams carries it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::error::Misbehaviour;
use crate::id::{ClusterName, ConnId, DialNumbers, NodeName};
use crate::io::CloseReason;
use crate::rng::{Rng, Seed, Stream};
use crate::status::GossipStatus;
use crate::time::Timestamp;

pub use crate::wire::gossip::GossipMember;

/// What membership is told at its start.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
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
}

/// What membership wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipOutput {
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
    /// A member is new, or its address, tags or status changed.
    Changed(String),
    /// A join address did not answer; it is tried again as long as it is needed.
    JoinFailed {
        /// The address.
        address: SocketAddr,
        /// What went wrong, for people.
        reason: String,
    },
    /// A push/pull that this node began is complete.
    Joined {
        /// The address that answered.
        address: SocketAddr,
    },
    /// These endpoint tags did not fit and are not gossiped. Reported once for each set.
    TagsDropped(Vec<String>),
}

/// The membership machine.
#[derive(Debug)]
pub struct Membership {
    outputs: VecDeque<MembershipOutput>,
    members: BTreeMap<String, GossipMember>,
    _rng: Rng,
}

impl Membership {
    /// A node that knows itself, and join addresses to try at once.
    #[allow(clippy::needless_pass_by_value)]
    pub fn new(_config: MembershipConfig, _dials: DialNumbers, seed: Seed, _now: Timestamp) -> Self {
        Self { outputs: VecDeque::new(), members: BTreeMap::new(), _rng: Rng::new(seed, Stream::Membership) }
    }

    /// Takes one whole message of a gossip stream.
    #[allow(clippy::needless_pass_by_value)]
    pub fn handle_message(&mut self, _now: Timestamp, _conn: ConnId, _bytes: Bytes) -> Result<(), Misbehaviour> {
        Ok(())
    }

    /// A gossip stream ended.
    pub fn handle_closed(&mut self, _now: Timestamp, _conn: ConnId, _why: CloseReason) {}

    /// Takes a gossip datagram: counted and dropped.
    pub fn handle_datagram(&mut self, _now: Timestamp, _from: SocketAddr, _bytes: &Bytes) {}

    /// Fires what is due.
    pub fn handle_timeout(&mut self, _now: Timestamp) {}

    /// When to call [`Membership::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<MembershipOutput> {
        self.outputs.pop_front()
    }

    /// Adds join addresses and tries them at once.
    pub fn join(&mut self, _now: Timestamp, _addresses: &[SocketAddr]) {}

    /// Sets or removes (`None`) one of this node's own tags.
    pub fn set_tag(&mut self, _now: Timestamp, _name: &str, _value: Option<&str>) {}

    /// Tells the others that this node leaves.
    pub fn leave(&mut self, _now: Timestamp) {}

    /// Sets a member's status by the cluster's verdict.
    pub fn set_status(&mut self, _name: &NodeName, _status: GossipStatus) {}

    /// Whether this machine dialled or serves the stream.
    pub fn owns(&self, _conn: ConnId) -> bool {
        false
    }

    /// All known members by name, this node among them.
    pub fn members(&self) -> impl Iterator<Item = GossipMember> + '_ {
        self.members.values().cloned()
    }

    /// Messages and records dropped so far.
    pub fn dropped(&self) -> u64 {
        0
    }
}
