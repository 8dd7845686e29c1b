//! What the routing layer needs to know of the cluster: [`Cluster`] in production, set by hand in tests.

mod cluster;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use funk_proto::id::{Epoch, NodeName, ShardId};
use funk_proto::shards::{Place, RouteNode, RouteTable};

use crate::key::Key;

/// A handle's snapshot of the cluster, read on the caller's own thread.
pub(crate) trait View: Clone + Send + Sync + 'static {
    /// The right to serve one shard.
    type Guard: Guard;
    /// Wakes when the snapshot changes.
    type Watch: Watch;

    /// This node's name.
    fn name(&self) -> &NodeName;
    /// The latest published route table.
    fn routes(&self) -> Arc<RouteTable>;
    /// How long a planned move waits for requests in flight.
    fn drain_timeout(&self) -> Duration;
    /// Where a request with this key goes, by the table that is published now.
    fn route(&self, key: &Key) -> Routed<Self::Guard>;
    /// Wakes for every table newer than the one published now, and when the lease comes back.
    fn watch(&self) -> Self::Watch;
}

/// Where one request goes, by one route table.
pub(crate) struct Routed<G> {
    /// The table.
    pub(crate) table: Arc<RouteTable>,
    /// The request's shard; `None` while there are no shards.
    pub(crate) shard: Option<ShardId>,
    /// The right to serve it here.
    pub(crate) guard: Option<G>,
}

/// What to do with a request.
pub(crate) enum Route<'a, G> {
    /// Serve it.
    Here(ShardId, G),
    /// Pass it on.
    There(ShardId, &'a RouteNode),
    /// Wait: the shard is moving, its owner is dead, or it is this node's and no lease holds.
    Pending,
    /// Refuse it: there is no such shard.
    OutOfRange,
}

impl<G> Routed<G> {
    /// What to do. The right to serve is given once.
    pub(crate) fn route(&mut self) -> Route<'_, G> {
        let Some(shard) = self.shard else { return Route::Pending };
        if let Some(guard) = self.guard.take() {
            return Route::Here(shard, guard);
        }
        match self.table.place(shard) {
            Place::There(node, _) => Route::There(shard, node),
            Place::Here(_) | Place::Pending => Route::Pending,
            Place::OutOfRange => Route::OutOfRange,
        }
    }

    /// Whether the shard is this node's, with a lease or without.
    pub(crate) fn is_here(&self) -> bool {
        self.shard.is_some_and(|shard| matches!(self.table.place(shard), Place::Here(_)))
    }
}

/// The right to serve one shard, for as long as it is valid.
pub(crate) trait Guard: Send + Sync + 'static {
    /// The shard's epoch.
    fn epoch(&self) -> Epoch;
    /// Whether an answer may still go out.
    fn is_valid(&self) -> bool;
    /// The same, once that is certain: a lease that has lapsed may come back.
    fn holds(&self) -> impl Future<Output = bool> + Send;
}

/// Wakes when the snapshot of the cluster changes.
pub(crate) trait Watch: Clone + Send + 'static {
    /// Ends when a newer table was published than last seen, or the lease came back.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}
