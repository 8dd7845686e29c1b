//! What a node tells its application, in order.

use bytes::Bytes;

use crate::error::Refusal;
use crate::id::{ClusterId, Epoch, LogIndex, NodeName, RaftId, ShardId, Term};
use crate::request::RequestId;
use crate::status::NodeState;
use crate::wire::gossip::key_report::KeyReport;

/// Something that the application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This node's state changed.
    State(NodeState),
    /// The leader, as this node knows it, changed.
    Leader {
        /// Its name; `None` while there is none. A node that joins tells of its leader when it knows the name.
        leader: Option<NodeName>,
        /// The term.
        term: Term,
    },
    /// A member is up, with this boot.
    MemberJoined {
        /// Its name.
        name: NodeName,
        /// Its Raft id.
        id: RaftId,
    },
    /// A member left in order, or stopped in order: one with a data directory keeps its place in the table.
    MemberLeft {
        /// Its name.
        name: NodeName,
        /// Its Raft id.
        id: RaftId,
    },
    /// The cluster considers a member dead.
    MemberFailed {
        /// Its name.
        name: NodeName,
        /// Its Raft id.
        id: RaftId,
    },
    /// The shard map changed.
    Map {
        /// Its new epoch.
        epoch: Epoch,
    },
    /// Shards started to move.
    Moving {
        /// The map epoch of the change.
        epoch: Epoch,
        /// From whom.
        from: NodeName,
        /// To whom.
        to: NodeName,
        /// How many.
        shards: u32,
    },
    /// Shards have a new owner.
    Owned {
        /// The shards' new epoch.
        epoch: Epoch,
        /// The owner.
        owner: NodeName,
        /// Which, ascending.
        shards: Vec<ShardId>,
    },
    /// There are more shards than the members' capacities allow; the excess is spread
    /// by weight all the same. 0: there is room again.
    OverCapacity {
        /// Shards beyond all capacities.
        shards: u32,
    },
    /// A user proposal was committed; the same on every node, in index order.
    Committed {
        /// Its index.
        index: LogIndex,
        /// The proposed bytes.
        bytes: Bytes,
    },
    /// A request of this node ended.
    RequestDone {
        /// Which.
        id: RequestId,
        /// How.
        outcome: Outcome,
    },
    /// This node cannot be part of the cluster; it should stop and say why.
    Refused(Refusal),
    /// Another cluster has this one's name: two nodes bootstrapped simultaneously.
    /// Both clusters continue separately and admit no node that sees both; one of them
    /// must be stopped. Reported once per other cluster.
    TwinCluster {
        /// This node's cluster.
        ours: ClusterId,
        /// The other's, as its tag shows it.
        theirs: String,
        /// A node of the other.
        node: String,
    },
    /// This node leads the cluster's next generation, which it began alone.
    Recovered {
        /// Which generation it is.
        generation: u64,
        /// Its id.
        cluster: ClusterId,
    },
    /// A join attempt failed; the node keeps trying.
    JoinFailed {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        reason: String,
    },
    /// This node has left and may stop.
    Left,
    /// A peer broke the protocol; its message was dropped and counted.
    PeerMisbehaved {
        /// Which rule.
        what: crate::error::Misbehaviour,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Committed and applied at this index.
    Committed(LogIndex),
    /// Nothing of it was or will be applied.
    Rejected(crate::error::RequestError),
    /// An operation on members is done.
    Done,
    /// What the members say that were asked about their gossip keys.
    Keys(KeyReport),
    /// A membership operation ended without completing.
    Refused(crate::error::OperationRefused),
    /// It may or may not be applied: the leader was lost after it was sent.
    Unknown,
}
