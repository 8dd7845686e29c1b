//! What goes into a node and what comes out: plain enums, so that recording,
//! replay and fuzzing are a matter of keeping values, and a driver that forgets
//! an effect does not compile.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::event::Event;
use crate::id::{ClusterName, ConnId, Epoch, LogIndex, NodeName, ShardId};
use crate::time::Timestamp;
use crate::wire::gossip::key::Keyring;

/// Which protocol a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Length-prefixed cluster frames on `ep.raft`.
    Cluster,
    /// Serf's unframed stream messages on `ep.serf`.
    Gossip,
}

/// Which socket a datagram came from or goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramSocket {
    /// `ep.liveness`.
    Liveness,
    /// `ep.serf`.
    Gossip,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side ended it in order.
    Ended,
    /// It was reset.
    Reset,
    /// The dial was refused: nobody listens there.
    Refused,
    /// The dial, or the exchange, took too long.
    TimedOut,
    /// The bytes could not be framed, or were over their limit.
    Malformed,
    /// This side's queue for it overflowed.
    Overflow,
    /// This side believed the other side's certificate once, and does not any more.
    Untrusted,
    /// The handshake failed, or anything else of the operating system.
    Failed,
}

/// Who the other side of a stream is, as its certificate says. The driver has checked the certificate, that it is one of
/// a node, and that the other side holds its key.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster that the certificate names.
    pub cluster: ClusterName,
    /// The node that it names.
    pub name: NodeName,
    /// What both ends of this stream know and nobody else does; the same at both.
    pub exporter: [u8; 32],
    /// The address of the other side, for people.
    pub address: SocketAddr,
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerIdentity({}/{} at {})", self.cluster, self.name, self.address)
    }
}

/// Whose gossip is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedPeer {
    /// The other side of this stream; the driver knows its address.
    Stream(ConnId),
    /// Whoever is there.
    Address(SocketAddr),
}

/// Why somebody's gossip is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GossipRefusal {
    /// It is encrypted, and this node has no key.
    Encrypted,
    /// It is not encrypted, and this node has a key.
    Plaintext,
    /// No key of this node opens it.
    Undecryptable,
}

impl fmt::Display for GossipRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => {
                "its gossip is encrypted and this node has no key: start both with the same key, or both without"
            }
            Self::Plaintext => {
                "its gossip is not encrypted and this node has a key: start the peer with the cluster's key"
            }
            Self::Undecryptable => {
                "its gossip is encrypted with a key that this node does not have: start the peer with the cluster's key"
            }
        })
    }
}

/// A write in flight; tokens grow by one with each [`Output::Persist`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What happened outside, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The deadline of `poll_timeout` has passed. Nothing else fires timers.
    Timeout,
    /// A datagram came in.
    Datagram {
        /// Through which socket.
        socket: DatagramSocket,
        /// From where. Never taken for an identity.
        from: SocketAddr,
        /// Its whole payload.
        bytes: Bytes,
    },
    /// The other side of a cluster stream has shown a certificate. It comes before the stream's first message; of a stream
    /// without it, only what is said there tells who the other side is.
    Opened {
        /// The stream.
        conn: ConnId,
        /// Who the other side is.
        peer: PeerIdentity,
    },
    /// One whole message came in on a stream. The first on an accepted stream announces it, if nothing did before.
    Message {
        /// The stream.
        conn: ConnId,
        /// What the stream carries.
        channel: StreamKind,
        /// The message: a frame's payload, or one gossip stream message.
        bytes: Bytes,
    },
    /// A stream ended; nothing more comes from it. Not sent for streams that the core closed.
    Closed {
        /// The stream.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// The operating system reported that a datagram could not be delivered.
    Unreachable {
        /// To where it went.
        to: SocketAddr,
    },
    /// A write reached stable storage, and all before it.
    Persisted(Token),
    /// The application's answer to [`Output::SnapshotWanted`].
    SnapshotTaken {
        /// The index that was asked for.
        index: LogIndex,
        /// The application's state after that index.
        state: Bytes,
    },
    /// The last guard of these shards was dropped after [`Output::Drain`].
    Drained {
        /// The change named by the `Drain`.
        change: LogIndex,
        /// Those of its shards that have no guard any more, ascending.
        shards: Vec<ShardId>,
    },
    /// Done with [`Output::Freeze`].
    Frozen {
        /// The change named by the `Freeze`.
        change: LogIndex,
        /// The latest end of a lease that a guard of its shards was told. None of these guards is valid after it.
        until: Timestamp,
    },
    /// The application's answer to [`Output::StateWanted`], for one shard.
    StateGiven {
        /// The change named by the `StateWanted`.
        change: LogIndex,
        /// The shard.
        shard: ShardId,
        /// The state for its next owner; `None`: nothing.
        state: Option<Bytes>,
    },
    /// The oldest [`Output::KeepRing`] that was not answered yet is carried out, or why it cannot be.
    RingKept(Result<(), String>),
    /// The process did not run for `gap`, or the clock jumped: leases are dropped and waits extended.
    ClockGap {
        /// How late the pass came.
        gap: Duration,
    },
}

/// What the driver must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram; it may be lost.
    Datagram {
        /// Through which socket.
        socket: DatagramSocket,
        /// To where.
        to: SocketAddr,
        /// Its payload.
        bytes: Bytes,
    },
    /// Open a stream. Messages may follow at once; they wait for the connection.
    Dial {
        /// The number that the core gave it.
        conn: ConnId,
        /// To where.
        to: SocketAddr,
        /// What it carries.
        channel: StreamKind,
    },
    /// Send one message on a stream.
    Message {
        /// The stream.
        conn: ConnId,
        /// The message; the driver frames it by the stream's channel.
        bytes: Bytes,
    },
    /// Send one last message on a stream and end it when it is flushed.
    Reply {
        /// The stream.
        conn: ConnId,
        /// The message.
        bytes: Bytes,
    },
    /// End a stream now.
    Close {
        /// The stream.
        conn: ConnId,
    },
    /// Tell the operator that somebody's gossip is refused, at most now and then for each peer.
    GossipRefused {
        /// Who.
        peer: RefusedPeer,
        /// Why, and what to do.
        why: GossipRefusal,
    },
    /// The gossip keyring is another. Write it to the file that it came from, if it came from one, and answer
    /// [`Input::RingKept`] in any case.
    KeepRing(Keyring),
    /// Write to stable storage, in order, then return the token.
    Persist(Persist),
    /// Stop handing out guards for these shards (the route table already says
    /// so) and answer [`Input::Drained`] as their guards are dropped.
    Drain {
        /// The map change that takes the shards away.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// From now on a renewal of the lease must not extend the guards that are left of these shards, which were drained
    /// for [`NodeConfig::drain_timeout`](crate::NodeConfig::drain_timeout). Answer [`Input::Frozen`].
    Freeze {
        /// The map change that takes the shards away.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// Ask the application for the state of these shards, which goes to their next
    /// owner, and answer [`Input::StateGiven`] for each. No guard of them is left.
    /// Only with [`NodeConfig::hands_over_state`](crate::NodeConfig::hands_over_state).
    StateWanted {
        /// The map change that takes the shards away.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// A shard became this node's, and its previous owner handed this over. The
    /// application must have it before it gets a guard of that shard and epoch.
    StateReceived {
        /// The shard.
        shard: ShardId,
        /// The shard's new epoch.
        epoch: Epoch,
        /// The state that the previous owner gave.
        state: Bytes,
    },
    /// Ask the application for its state after all commits up to `index`.
    SnapshotWanted {
        /// The index.
        index: LogIndex,
    },
    /// Hand the application a state that replaces all it has (a snapshot from the leader).
    SnapshotInstalled {
        /// The index up to which it counts.
        index: LogIndex,
        /// The state, as its `SnapshotTaken` gave it.
        state: Bytes,
    },
    /// Something the application may want to know.
    Event(Event),
}

/// One write. Opaque to the driver: it stores the record and returns the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// To be returned when this write, and all before it, are stable.
    pub token: Token,
    /// The encoded record: hard state, entries, snapshot.
    pub record: Bytes,
    /// Once this one is stable, all records before it may be dropped.
    pub replaces: bool,
}

/// What the store held at start. Empty without a data directory, and in a fresh one.
///
/// A node keeps its Raft id in its records, so one that finds none is a new
/// member: an id that ever voted never comes back with an empty log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The stable records in the order in which they were written, at least
    /// from the last that replaces those before it.
    pub records: Vec<Bytes>,
}
