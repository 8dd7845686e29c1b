//! The view of a real node.

use std::sync::Arc;

use funk_io::meters::Meters;
use funk_io::{Cluster, Events, EventsEnd, IoCounters, ShardGuard};
use funk_proto::id::{Epoch, NodeName, ShardId};
use funk_proto::shards::RouteTable;
use funk_proto::time::Timestamp;
use funk_proto::{Event, Status};

use super::{Feed, Guard, Observe, View, Watch};

impl View for Cluster {
    type Guard = ShardGuard;
    type Watch = funk_io::Watch;

    fn name(&self) -> &NodeName {
        Cluster::name(self)
    }

    fn routes(&self) -> Arc<RouteTable> {
        Cluster::routes(self)
    }

    fn guard(&self, shard: ShardId) -> Option<ShardGuard> {
        Cluster::guard(self, shard).ok()
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
}

impl Watch for funk_io::Watch {
    async fn changed(&mut self) {
        funk_io::Watch::changed(self).await;
    }
}

impl Observe for Cluster {
    type Feed = Events;

    fn now(&self) -> Timestamp {
        Cluster::now(self)
    }

    async fn status(&self) -> Option<Status> {
        Cluster::status(self).await.ok()
    }

    fn meters(&self) -> &Meters {
        Cluster::meters(self)
    }

    fn io_counters(&self) -> IoCounters {
        Cluster::io_counters(self)
    }

    fn commands_queued(&self) -> usize {
        Cluster::commands_queued(self)
    }

    fn events(&self) -> Events {
        Cluster::events(self)
    }
}

impl Feed for Events {
    async fn next(&mut self) -> Result<Event, EventsEnd> {
        Events::next(self).await
    }
}
