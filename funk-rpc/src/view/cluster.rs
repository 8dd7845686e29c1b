//! The view of a real node.

use std::sync::Arc;
use std::time::Duration;

use funk_io::{Cluster, ShardGuard};
use funk_proto::id::{Epoch, NodeName};
use funk_proto::shards::RouteTable;

use super::{Guard, Routed, View, Watch};
use crate::key::{Key, shard_of};

impl View for Cluster {
    type Guard = ShardGuard;
    type Watch = funk_io::Watch;

    fn name(&self) -> &NodeName {
        Cluster::name(self)
    }

    fn routes(&self) -> Arc<RouteTable> {
        Cluster::routes(self)
    }

    fn drain_timeout(&self) -> Duration {
        Cluster::drain_timeout(self)
    }

    fn route(&self, key: &Key) -> Routed<ShardGuard> {
        let (table, shard, guard) = self.enter(|shards| shard_of(key, shards));
        Routed { table, shard, guard }
    }

    fn watch(&self) -> funk_io::Watch {
        Cluster::watch(self)
    }
}

impl Guard for ShardGuard {
    fn epoch(&self) -> Epoch {
        ShardGuard::epoch(self)
    }

    fn is_valid(&self) -> bool {
        ShardGuard::is_valid(self)
    }

    async fn holds(&self) -> bool {
        ShardGuard::holds(self).await
    }
}

impl Watch for funk_io::Watch {
    async fn changed(&mut self) {
        funk_io::Watch::changed(self).await;
    }
}
