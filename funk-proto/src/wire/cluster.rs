//! Messages of the cluster stream (`ep.raft`) and entries of the replicated
//! log. Field numbers are part of the protocol: never reuse one.

mod command;
mod lane;

use bytes::Bytes;
pub use command::{
    Command, DownRecord, LeaseRecord, Op, Operation, PinRecord, RingRecord, Transfer, Weight, WorkerRecord,
};
pub use lane::Lane;
use prost::{Message, Oneof};

use super::raft::RaftMessage;
use crate::error::Misbehaviour;
use crate::id::{BootId, Incarnation, RaftId};
use crate::limits::FRAME_BYTES_MAX;

/// One message on the cluster stream.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// What it says.
    #[prost(oneof = "FrameBody", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17")]
    pub body: Option<FrameBody>,
}

/// What a [`Frame`] says.
#[derive(Clone, PartialEq, Oneof)]
pub enum FrameBody {
    /// The first message of each side.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// This node will not talk to that one, and why. The stream ends.
    #[prost(message, tag = "2")]
    Refused(Refused),
    /// Raft's own.
    #[prost(message, tag = "3")]
    Raft(RaftMessage),
    /// A node asks to be made a member; forwarded to the leader.
    #[prost(message, tag = "4")]
    Join(MemberRecord),
    /// The leader refuses a join for good.
    #[prost(message, tag = "5")]
    JoinRefused(Refused),
    /// A node asks to leave; forwarded to the leader.
    #[prost(message, tag = "6")]
    Leave(BootName),
    /// The leader tells a node that it has left.
    #[prost(message, tag = "7")]
    Farewell(BootName),
    /// An owner has closed its gates for shards of one change.
    #[prost(message, tag = "8")]
    Release(Release),
    /// A user proposal on its way to the leader.
    #[prost(message, tag = "9")]
    Propose(UserEntry),
    /// The leader could not append it; nothing was done.
    #[prost(message, tag = "10")]
    ProposeRefused(UserEntry),
    /// A member's addresses or endpoints changed, for the leader.
    #[prost(message, tag = "11")]
    Update(MemberRecord),
    /// A piece of what a shard's owner hands over to the next.
    #[prost(message, tag = "12")]
    Carry(Carry),
    /// How much of it has come.
    #[prost(message, tag = "13")]
    Carried(Carried),
    /// To the leader: the sender's streams of that boot broke, and where it listened a dial was refused.
    #[prost(message, tag = "14")]
    Gone(BootName),
    /// To a node that asked to be let in: where the sender reaches the leader that it follows.
    #[prost(message, tag = "15")]
    LeaderAt(Place),
    /// The sender lacks the gossip key that the cluster uses.
    #[prost(message, tag = "16")]
    WantRing(WantRing),
    /// To whoever wants it, over TLS only: the gossip keys.
    #[prost(message, tag = "17")]
    Ring(RingKeys),
}

/// The sender lacks the gossip key that the cluster uses.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct WantRing {}

/// The gossip keys.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct RingKeys {
    /// The keys: that which encrypts first.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
}

/// Keys are shown nowhere.
impl std::fmt::Debug for RingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RingKeys({})", self.keys.len())
    }
}

impl Frame {
    /// Encodes one message for the stream.
    pub fn bytes(body: FrameBody) -> Bytes {
        Bytes::from(Frame { body: Some(body) }.encode_to_vec())
    }

    /// Decodes one frame's payload.
    pub fn parse(bytes: &Bytes) -> Result<FrameBody, Misbehaviour> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(Misbehaviour::Oversized("cluster frame"));
        }
        let frame = Frame::decode(bytes.clone()).map_err(|_| Misbehaviour::Malformed("cluster frame"))?;
        frame.body.ok_or(Misbehaviour::UnknownKind)
    }
}

/// Who speaks.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// Name of the cluster.
    #[prost(string, tag = "1")]
    pub cluster_name: String,
    /// Id of the cluster; 0 while the sender is in none.
    #[prost(fixed64, tag = "2")]
    pub cluster: u64,
    /// The sender's Raft id.
    #[prost(fixed64, tag = "3")]
    pub id: u64,
    /// The sender's boot.
    #[prost(fixed64, tag = "4")]
    pub boot: u64,
    /// The sender's name.
    #[prost(string, tag = "5")]
    pub name: String,
    /// `HOST:PORT` of the sender's cluster stream.
    #[prost(string, tag = "6")]
    pub raft: String,
    /// `HOST:PORT` of the sender's liveness socket.
    #[prost(string, tag = "7")]
    pub liveness: String,
    /// The 16-byte key under which the receiver seals its datagrams to the sender.
    #[prost(bytes = "bytes", tag = "8")]
    pub key: Bytes,
    /// The oldest version of this protocol that the sender speaks.
    #[prost(uint32, tag = "9")]
    pub oldest: u32,
    /// The newest version of this protocol that the sender speaks.
    #[prost(uint32, tag = "10")]
    pub newest: u32,
    /// 16 bytes that the sender tells at the address that it dialled, and nowhere else.
    #[prost(bytes = "bytes", tag = "11")]
    pub token: Bytes,
    /// What the sender was told on streams that it accepted: it was reached where the receiver knows it to be.
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub proofs: Vec<Bytes>,
}

/// A refusal in words; `reason` is one of the `REASON_*` numbers.
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// Which refusal.
    #[prost(uint32, tag = "1")]
    pub reason: u32,
    /// The other side's cluster name, or the name that is taken.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The other side's cluster id.
    #[prost(fixed64, tag = "3")]
    pub cluster: u64,
    /// Boot of the node that is refused, where the refusal is forwarded.
    #[prost(fixed64, tag = "4")]
    pub boot: u64,
    /// The other side's generation, where it refuses a node of a former one.
    #[prost(uint64, tag = "5")]
    pub generation: u64,
    /// The oldest version that the other side speaks, where it refuses one that speaks none of its versions.
    #[prost(uint32, tag = "6")]
    pub oldest: u32,
    /// The newest version that it speaks.
    #[prost(uint32, tag = "7")]
    pub newest: u32,
    /// `HOST:PORT` of the process that has the refused node's identity.
    #[prost(string, tag = "8")]
    pub address: String,
}

/// The cluster has another name.
pub const REASON_CLUSTER_NAME: u32 = 1;
/// The cluster has another id.
pub const REASON_CLUSTER_ID: u32 = 2;
/// A live member has that name.
pub const REASON_NAME_TAKEN: u32 = 3;
/// The member table is full.
pub const REASON_TABLE_FULL: u32 = 4;
/// An operator took that boot out of the cluster.
pub const REASON_REMOVED: u32 = 5;
/// The cluster went on without the sender, as another generation.
pub const REASON_GENERATION: u32 = 6;
/// Both sides speak no common version of this protocol.
pub const REASON_VERSION: u32 = 7;
/// Another process has that identity, and answers.
pub const REASON_IDENTITY: u32 = 8;

/// Where a node is.
#[derive(Clone, PartialEq, Message)]
pub struct Place {
    /// Raft id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// `HOST:PORT` of its cluster stream.
    #[prost(string, tag = "2")]
    pub raft: String,
}

/// One boot of one node.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct BootName {
    /// Raft id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
}

impl Incarnation {
    /// Whom the wire names so; `None` if an id is zero.
    pub fn named(name: BootName) -> Option<Self> {
        Some(Self { id: RaftId::new(name.id)?, boot: BootId::new(name.boot)? })
    }
}

impl From<Incarnation> for BootName {
    fn from(incarnation: Incarnation) -> Self {
        Self { id: incarnation.id.get(), boot: incarnation.boot.get() }
    }
}

/// A member as it is written in the replicated table.
#[derive(Clone, PartialEq, Message)]
pub struct MemberRecord {
    /// Raft id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// Name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// `HOST:PORT` of gossip.
    #[prost(string, tag = "4")]
    pub serf: String,
    /// `HOST:PORT` of the cluster stream.
    #[prost(string, tag = "5")]
    pub raft: String,
    /// `HOST:PORT` of liveness.
    #[prost(string, tag = "6")]
    pub liveness: String,
    /// The service's endpoints: name to `HOST:PORT`.
    #[prost(btree_map = "string, string", tag = "7")]
    pub endpoints: std::collections::BTreeMap<String, String>,
    /// Weight in the assignment.
    #[prost(uint32, tag = "8")]
    pub weight: u32,
    /// Failure zone.
    #[prost(string, tag = "9")]
    pub zone: String,
    /// Never to be made a voter.
    #[prost(bool, tag = "10")]
    pub never_votes: bool,
    /// Owns no shard.
    #[prost(bool, tag = "11")]
    pub non_member: bool,
    /// Has a data directory: it stays a member while it is down.
    #[prost(bool, tag = "12")]
    pub durable: bool,
    /// It is to own no more shards than this; 0: no such bound.
    #[prost(uint32, tag = "13")]
    pub capacity: u32,
    /// Who asks to join: boots of this node that have ended, since it holds what only one process can. Not in the log.
    #[prost(fixed64, repeated, tag = "14")]
    pub former: Vec<u64>,
    /// Who asks to join: how many heartbeats this process has answered. Not in the log.
    #[prost(uint64, tag = "15")]
    pub answered: u64,
}

/// Gates closed by an owner: it will not serve these shards before a later
/// entry names it as their owner.
#[derive(Clone, PartialEq, Message)]
pub struct Release {
    /// The owner.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// The owner's boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// Index of the `Moving` entry.
    #[prost(uint64, tag = "3")]
    pub change: u64,
    /// The shards, as `shards::set` encodes them.
    #[prost(bytes = "bytes", tag = "4")]
    pub shards: Bytes,
}

/// A piece of the state of a shard that moves, from its owner to the next one.
#[derive(Clone, PartialEq, Message)]
pub struct Carry {
    /// Index of the `Moving` entry.
    #[prost(uint64, tag = "1")]
    pub change: u64,
    /// Boot of the next owner.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// The shard.
    #[prost(uint32, tag = "3")]
    pub shard: u32,
    /// Bytes of the whole state.
    #[prost(uint64, tag = "4")]
    pub total: u64,
    /// Bytes of it before this piece.
    #[prost(uint64, tag = "5")]
    pub offset: u64,
    /// The piece.
    #[prost(bytes = "bytes", tag = "6")]
    pub bytes: Bytes,
}

/// The next owner's answer to a [`Carry`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Carried {
    /// As in the [`Carry`].
    #[prost(uint64, tag = "1")]
    pub change: u64,
    /// Its own boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// The shard.
    #[prost(uint32, tag = "3")]
    pub shard: u32,
    /// Bytes of the state that it has.
    #[prost(uint64, tag = "4")]
    pub received: u64,
    /// It wants none of it: the move is not the present one, or there is no room.
    #[prost(bool, tag = "5")]
    pub refused: bool,
}

/// A user proposal.
#[derive(Clone, PartialEq, Message)]
pub struct UserEntry {
    /// The proposing node.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Its boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// Its number for the request.
    #[prost(uint64, tag = "3")]
    pub request: u64,
    /// The proposed bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub bytes: Bytes,
    /// It holds nothing for the application: who waits for it knows what was committed before.
    #[prost(bool, tag = "5")]
    pub barrier: bool,
}
