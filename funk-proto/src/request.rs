//! What the application asks of its node.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::id::NodeName;
use crate::wire::gossip::key_report::KeyOrder;

/// A request's number, unique for this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the application asks of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Append `bytes` to the replicated log. Ends with
    /// [`Event::RequestDone`](crate::event::Event::RequestDone).
    Propose(Bytes),
    /// Append an empty entry. When it ends with
    /// [`Outcome::Committed`](crate::event::Outcome::Committed), this node has applied everything that was
    /// committed anywhere before the request: what the application reads then is linearizable.
    Barrier,
    /// Join through these gossip addresses, in addition to the configured ones.
    Join(Vec<SocketAddr>),
    /// Drain, hand leadership over, leave. Ends with [`Event::Left`](crate::event::Event::Left).
    Leave,
    /// Publish, move or (with `None`) withdraw an endpoint of the service.
    SetEndpoint {
        /// Its name, `ep.*`.
        name: String,
        /// Its address.
        address: Option<SocketAddr>,
    },
    /// Hand leadership to another voter. This request and those after it are
    /// for the leader, and end with [`Event::RequestDone`](crate::event::Event::RequestDone).
    StepDown,
    /// Admit a node that gossip knows. Done when it is a member.
    AddMember(NodeName),
    /// Remove a member; one that is up hands its shards over first. Done when it is
    /// out of the member table; that boot cannot come back.
    RemoveMember(NodeName),
    /// Move a member's shards away; it stays a member and gets none until its next
    /// restart. Done when it owns none.
    Drain(NodeName),
    /// Pin shards to a node, or with `None` free them. Done when the log says
    /// so; they move after that, while the node is up and not drained.
    Pin {
        /// Which.
        shards: Range<u32>,
        /// Where to.
        node: Option<NodeName>,
    },
    /// Set a member's weight until its next restart. Done when the log says so; shards
    /// move after that.
    SetWeight(NodeName, u32),
    /// Ask all members of the pool for their gossip keys, or to change them. Done, with
    /// [`Outcome::Keys`](crate::event::Outcome::Keys), when all have answered or the time is over. Two of the same kind are
    /// no harm. The members that are up must answer, shown by gossip or not.
    Keys {
        /// What.
        order: KeyOrder,
        /// How long to wait for answers, [`KEY_ANSWERS_WAIT_MAX`](crate::limits::KEY_ANSWERS_WAIT_MAX) at most.
        wait: Duration,
    },
    /// For a survivor of a cluster that lost more than half of its voters for
    /// good: continue alone, as the cluster's next generation, under a new
    /// [`ClusterId`](crate::id::ClusterId). Done when this node leads it;
    /// refused while a majority can be reached.
    Recover,
}
