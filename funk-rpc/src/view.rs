//! What the crate needs to know of the cluster.

mod cluster;

use std::future::Future;
use std::sync::Arc;

use funk_io::meters::Meters;
use funk_io::{EventsEnd, IoCounters};
use funk_proto::id::{Epoch, NodeName, ShardId};
use funk_proto::shards::RouteTable;
use funk_proto::time::Timestamp;
use funk_proto::{Event, Status};

/// A handle's picture of the cluster, read on the caller's own thread.
pub trait View: Clone + Send + Sync + 'static {
    /// The right to serve one shard.
    type Guard: Guard;
    /// Wakes when the picture changes.
    type Watch: Watch;

    /// This node's name.
    fn name(&self) -> &NodeName;
    /// The latest published route table.
    fn routes(&self) -> Arc<RouteTable>;
    /// The right to serve `shard` here; `None` when this node may not serve it now.
    fn guard(&self, shard: ShardId) -> Option<Self::Guard>;
    /// Wakes for every table newer than the one published now, and when the lease comes back.
    fn watch(&self) -> Self::Watch;
}

/// The right to serve one shard, for as long as it is valid.
pub trait Guard: Send + Sync + 'static {
    /// The shard's epoch.
    fn epoch(&self) -> Epoch;
    /// Whether an answer may still go out.
    fn is_valid(&self) -> bool;
}

/// Wakes when the picture of the cluster changes.
pub trait Watch: Send + 'static {
    /// Ends when a newer table was published than last seen, or the lease came back.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// What the status pages need besides.
pub trait Observe: View {
    /// What the node tells.
    type Feed: Feed;

    /// The node's clock.
    fn now(&self) -> Timestamp;
    /// What the node is doing; `None` when it has stopped.
    fn status(&self) -> impl Future<Output = Option<Status>> + Send;
    /// What its driver measures.
    fn meters(&self) -> &Meters;
    /// What its driver's sockets and streams did.
    fn io_counters(&self) -> IoCounters;
    /// Commands that its driver did not take yet.
    fn commands_queued(&self) -> usize;
    /// What the node tells from now on.
    fn events(&self) -> Self::Feed;
}

/// What a node tells, in order.
pub trait Feed: Send + 'static {
    /// The next event; [`EventsEnd::Lagged`] stands for those that are lost,
    /// and nothing follows [`EventsEnd::Stopped`].
    fn next(&mut self) -> impl Future<Output = Result<Event, EventsEnd>> + Send;
}
