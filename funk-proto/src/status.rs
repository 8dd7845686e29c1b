//! What a node is doing, at a glance.

mod draft;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use draft::Seen;
pub use draft::StatusDraft;

use crate::config::Ownership;
use crate::id::{BootId, ClusterId, Epoch, LogIndex, NodeName, RaftId, Term, WorkerId};
use crate::time::Timestamp;

/// The state of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Not started.
    Invalid,
    /// Looking for a cluster, or waiting to be admitted.
    Joining,
    /// Knows the leader, has applied the committed map, and holds a lease or owns no shard.
    Operational,
    /// No leader is known, or the lease is over while this node owns shards.
    Voting,
    /// Some of its own shards are moving; it serves the others.
    Resharding,
    /// Starting up: a bootstrap checks for a cluster of its name, or storage is read.
    Starting,
    /// Stopping.
    Stopping,
    /// Handing its shards over before it leaves.
    Draining,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The part that this node plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Not known yet.
    Unknown,
    /// A voter that follows.
    Follower,
    /// The leader.
    Leader,
    /// A learner.
    Learner,
    /// In gossip only.
    NonMember,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Follower => "Follower",
            Self::Leader => "Leader",
            // The word of the status page.
            Self::Learner => "NonVoter",
            Self::NonMember => "NonMember",
        })
    }
}

/// A member's status in gossip (Serf's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GossipStatus {
    /// Not seen in gossip.
    None,
    /// Alive.
    Alive,
    /// Leaving.
    Leaving,
    /// Left in order.
    Left,
    /// Failed.
    Failed,
}

impl GossipStatus {
    /// Serf's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// A member's status in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RaftStatus {
    /// Not in the configuration.
    None,
    /// Votes.
    Voter,
    /// Learns.
    Learner,
}

impl RaftStatus {
    /// The word of the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Voter => "Voter",
            Self::Learner => "Nonvoter",
        }
    }
}

/// One member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Its name. That of one whom only gossip knows may be none that a node
    /// of this cluster could have: Serf names its agents after their hosts.
    pub name: String,
    /// Its Raft id, if it is a candidate member.
    pub id: Option<RaftId>,
    /// Its present boot, if the cluster considers it up.
    pub boot: Option<BootId>,
    /// Gossip status.
    pub gossip: GossipStatus,
    /// Gossip address, where gossip knows the member.
    pub gossip_address: Option<SocketAddr>,
    /// Raft status.
    pub raft: RaftStatus,
    /// Whether it leads.
    pub leader: bool,
    /// Whether this node has a stream to it on which both have said who they are, or is it. A voter that is not reached
    /// is down, or cut off from here.
    pub reached: bool,
    /// Shards that it owns in the applied map.
    pub shards: u32,
    /// Whether an operator moved its shards away: it gets none until it is started again.
    pub drained: bool,
    /// Its endpoints by name: where it listens now.
    pub endpoints: BTreeMap<String, SocketAddr>,
}

/// Counters since the start, exported by the adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Elections that this node started.
    pub elections: u64,
    /// Leader changes seen.
    pub leader_changes: u64,
    /// Heartbeats sent as leader.
    pub heartbeats_sent: u64,
    /// Heartbeats answered as member.
    pub heartbeats_answered: u64,
    /// Liveness datagrams dropped: not authentic, replayed, or of another cluster.
    pub datagrams_dropped: u64,
    /// Cluster frames dropped.
    pub frames_dropped: u64,
    /// Raft messages that the guard refused.
    pub raft_refused: u64,
    /// Streams ended because the other side said that it is another node than its certificate names.
    pub impersonations: u64,
    /// Gossip messages dropped, whatever the reason.
    pub gossip_dropped: u64,
    /// Gossip in detail.
    pub gossip: GossipCounters,
    /// Members that this node, as leader, declared dead.
    pub members_declared_dead: u64,
    /// Shards that this node gained.
    pub shards_gained: u64,
    /// Shards that this node lost.
    pub shards_lost: u64,
    /// Clock gaps seen.
    pub clock_gaps: u64,
    /// Boots of peers that ended, by their own word or that of a process that waited for them.
    pub goodbyes: u64,
}

/// What gossip did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GossipCounters {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes of the datagrams sent.
    pub bytes_sent: u64,
    /// Probes sent.
    pub probes: u64,
    /// Probes that nobody answered.
    pub probes_failed: u64,
    /// Probes answered on a stream only: datagrams do not get through.
    pub probes_by_stream: u64,
    /// Members that came under suspicion.
    pub suspected: u64,
    /// Members declared dead.
    pub died: u64,
    /// Accusations of this node that it answered.
    pub refuted: u64,
    /// Push/pulls that were complete.
    pub push_pulls: u64,
    /// User events heard for the first time.
    pub user_events: u64,
    /// Queries heard for the first time.
    pub queries: u64,
    /// Changes of the keyring.
    pub key_changes: u64,
    /// Dropped: does not decode.
    pub malformed: u64,
    /// Dropped: over a limit.
    pub oversized: u64,
    /// Dropped: wrong checksum.
    pub checksum: u64,
    /// Dropped: encrypted, and this node has no key.
    pub encrypted: u64,
    /// Dropped: not encrypted, and this node has a key.
    pub plaintext: u64,
    /// Dropped: no key of this node opens it.
    pub undecryptable: u64,
    /// Dropped: records of another cluster's nodes.
    pub vetoed: u64,
    /// Dropped: decodes, but cannot be used.
    pub unusable: u64,
    /// Dropped: the table or a queue is full.
    pub no_room: u64,
    /// Dropped: a live member's name at another address.
    pub conflicts: u64,
    /// Dropped: nothing here waits for it, or it is meant for another.
    pub unexpected: u64,
    /// Local health score, as in memberlist: 0 healthy, 7 worst. Not a counter.
    pub health: u32,
    /// Messages that wait to be gossiped. Not a counter.
    pub queued: u32,
}

impl GossipCounters {
    /// Everything that was dropped, except records of other clusters' nodes and late
    /// answers, which are no fault.
    pub fn dropped(&self) -> u64 {
        self.malformed
            + self.oversized
            + self.checksum
            + self.encrypted
            + self.plaintext
            + self.undecryptable
            + self.unusable
            + self.no_room
    }
}

/// Shards that are pinned to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinStatus {
    /// Which.
    pub shards: std::ops::Range<u32>,
    /// The node.
    pub node: NodeName,
    /// Whether the node may own: it is up, and neither drained nor leaving.
    /// If not, the shards are assigned as if they were not pinned.
    pub honoured: bool,
}

/// The timing of a cluster at present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimingStatus {
    /// The lease.
    pub lease: Duration,
    /// The shortest that it may be.
    pub lease_min: Duration,
    /// The longest that it may be.
    pub lease_max: Duration,
    /// Time between two heartbeats, if this node leads.
    pub heartbeat: Duration,
    /// Silence after which this node gives a leader up, how late it runs itself left out.
    pub leader_timeout: Duration,
    /// Silence after which this node declares a member dead, if it leads.
    pub member_timeout: Duration,
    /// Why the lease is what it is, for people.
    pub reason: String,
}

/// What a node is doing, at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// This node's name.
    pub name: NodeName,
    /// Its Raft id.
    pub id: RaftId,
    /// Its boot.
    pub boot: BootId,
    /// The cluster it is in.
    pub cluster: Option<ClusterId>,
    /// State.
    pub state: NodeState,
    /// Role.
    pub role: Role,
    /// The leader's name, if known.
    pub leader: Option<NodeName>,
    /// Term.
    pub term: Term,
    /// Highest committed index.
    pub commit_index: LogIndex,
    /// Highest applied index.
    pub applied_index: LogIndex,
    /// Map epoch.
    pub epoch: Epoch,
    /// Shards of the cluster; 0 before it is known.
    pub shards_total: u32,
    /// Shards of this node in the applied map.
    pub shards_owned: u32,
    /// Bootstrap time, Unix nanoseconds; 0 before it is known.
    pub created_ns: i64,
    /// The cluster's generation: 1, plus one for each recovery from a lost majority.
    /// 0 while this node is in no cluster.
    pub generation: u64,
    /// What keeps a previous owner from having an effect; `None` while this node is in no cluster.
    pub ownership: Option<Ownership>,
    /// Shards beyond the capacity of all members; they are spread by weight.
    pub over_capacity: u32,
    /// This boot's worker id; it may be used only while the lease holds.
    pub worker_id: Option<WorkerId>,
    /// Shards that are pinned, ascending.
    pub pins: Vec<PinStatus>,
    /// The timing that holds, and why; `None` while this node is in no cluster.
    pub timing: Option<TimingStatus>,
    /// End of this node's lease; serving needs `now` before it.
    pub lease_until: Timestamp,
    /// Members, by name.
    pub members: Vec<MemberStatus>,
    /// Counters.
    pub counters: Counters,
}
