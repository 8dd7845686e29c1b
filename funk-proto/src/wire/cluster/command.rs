//! Entries of the replicated log, and what they change.

use bytes::Bytes;
use prost::{Message, Oneof};

use super::{BootName, MemberRecord, UserEntry};
use crate::id::Incarnation;

/// One log entry: operations that are applied together, in order.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    /// The operations.
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<Operation>,
}

/// One operation of a [`Command`].
#[derive(Clone, PartialEq, Message)]
pub struct Operation {
    /// Which.
    #[prost(oneof = "Op", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub op: Option<Op>,
}

/// What an [`Operation`] does.
#[derive(Clone, PartialEq, Oneof)]
pub enum Op {
    /// A boot of a node is a member and up.
    #[prost(message, tag = "1")]
    Up(MemberRecord),
    /// That boot is down: it has stopped, or is considered dead.
    #[prost(message, tag = "2")]
    Down(DownRecord),
    /// That boot leaves: its shards move away.
    #[prost(message, tag = "3")]
    Leave(BootName),
    /// That node is out of the table: it left in order if `boot` is set, else it was down and is pruned.
    #[prost(message, tag = "4")]
    Left(BootName),
    /// Shards start to move.
    #[prost(message, tag = "5")]
    Moving(Transfer),
    /// Shards have a new owner.
    #[prost(message, tag = "6")]
    Owned(Transfer),
    /// The user's.
    #[prost(message, tag = "7")]
    User(UserEntry),
    /// A member's addresses or endpoints changed; its boot did not.
    #[prost(message, tag = "8")]
    Update(MemberRecord),
    /// An operator took that node out of the table, dead or with this boot up.
    /// The boot is never let in again; 0 if it is not known.
    #[prost(message, tag = "9")]
    Removed(BootName),
    /// An operator wants that boot to own nothing; it stays a member.
    #[prost(message, tag = "10")]
    Cordon(BootName),
    /// Shards are pinned to a node, or free again.
    #[prost(message, tag = "11")]
    Pin(PinRecord),
    /// A member's weight is another, until it is started again.
    #[prost(message, tag = "12")]
    Weigh(Weight),
    /// The worker id of a boot that is over is free.
    #[prost(message, tag = "13")]
    FreeWorker(WorkerRecord),
    /// The cluster's lease changed.
    #[prost(message, tag = "14")]
    Lease(LeaseRecord),
    /// The gossip keys are others.
    #[prost(message, tag = "15")]
    Ring(RingRecord),
}

/// Which gossip keys the cluster uses.
#[derive(Clone, PartialEq, Message)]
pub struct RingRecord {
    /// One more than that of the ring before.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Ids of the keys, 16 bytes each: that of the one that encrypts first.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub keys: Vec<Bytes>,
}

/// Another lease for the whole cluster.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LeaseRecord {
    /// The lease, in microseconds.
    #[prost(uint64, tag = "1")]
    pub lease_us: u64,
    /// The one that the proposer had applied; if it is another by now, nothing changes.
    #[prost(uint64, tag = "2")]
    pub from_us: u64,
    /// Why: 1 late answers, 2 leader changes, 3 calm.
    #[prost(uint32, tag = "3")]
    pub reason: u32,
    /// Raft id of the member whose answers are late; 0: none.
    #[prost(fixed64, tag = "4")]
    pub member: u64,
}

/// A worker id, and whose it is.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct WorkerRecord {
    /// The worker id.
    #[prost(uint32, tag = "1")]
    pub worker: u32,
    /// Raft id.
    #[prost(fixed64, tag = "2")]
    pub id: u64,
    /// Boot.
    #[prost(fixed64, tag = "3")]
    pub boot: u64,
}

/// A range of shards that is pinned.
#[derive(Clone, PartialEq, Message)]
pub struct PinRecord {
    /// The first.
    #[prost(uint32, tag = "1")]
    pub first: u32,
    /// How many.
    #[prost(uint32, tag = "2")]
    pub shards: u32,
    /// Name of the node; empty: they are free again.
    #[prost(string, tag = "3")]
    pub node: String,
}

/// Another weight for one boot of a member.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Weight {
    /// Raft id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// The weight.
    #[prost(uint32, tag = "3")]
    pub weight: u32,
}

/// Shards on their way to one boot of one node.
#[derive(Clone, PartialEq, Message)]
pub struct Transfer {
    /// The index that the proposer had applied. A shard that changed after it is left alone.
    #[prost(uint64, tag = "1")]
    pub seen: u64,
    /// To whom.
    #[prost(fixed64, tag = "2")]
    pub to: u64,
    /// To which boot of it.
    #[prost(fixed64, tag = "3")]
    pub boot: u64,
    /// The shards, as `shards::set` encodes them.
    #[prost(bytes = "bytes", tag = "4")]
    pub shards: Bytes,
}

/// A boot of a node that is down.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct DownRecord {
    /// Raft id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// It stopped in order; else it is considered dead.
    #[prost(bool, tag = "3")]
    pub stopped: bool,
}

impl DownRecord {
    /// A process that is considered dead.
    pub fn failed(who: Incarnation) -> Self {
        Self { id: who.id.get(), boot: who.boot.get(), stopped: false }
    }

    /// A process that stopped in order.
    pub fn stopped(who: Incarnation) -> Self {
        Self { stopped: true, ..Self::failed(who) }
    }
}
