//! What must hold on the harness.

use std::collections::BTreeMap;

use funk_proto::Status;
use funk_proto::id::ShardId;
use funk_proto::shards::Place;
use funk_proto::status::NodeState;

use super::World;

impl World {
    /// Whether all running nodes are Operational on one epoch, with every
    /// shard owned by one of them and shares that differ by at most one.
    pub fn converged(&self) -> bool {
        let running = self.running();
        let statuses: Vec<Status> = running.iter().map(|&at| self.status(at)).collect();
        let one_map = statuses.iter().all(|s| s.state == NodeState::Operational && s.epoch == statuses[0].epoch);
        let owned: Vec<u32> = statuses.iter().map(|status| status.shards_owned).collect();
        let (low, high) = (owned.iter().min().unwrap_or(&0), owned.iter().max().unwrap_or(&0));
        one_map && owned.iter().sum::<u32>() == statuses[0].shards_total && high - low <= 1
    }

    /// No shard may be served by two nodes of a cluster at one instant.
    pub(super) fn check_exclusive(&self) {
        let mut servers = BTreeMap::<ShardId, usize>::new();
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            if self.clock(at) >= node.lease_until() {
                continue;
            }
            let routes = node.routes();
            for shard in (0..routes.shards()).map(ShardId).filter(|&s| matches!(routes.place(s), Place::Here(_))) {
                let Some(other) = servers.insert(shard, at) else { continue };
                let clusters = (self.status(other).cluster, self.status(at).cluster);
                assert_ne!(clusters.0, clusters.1, "shard {shard} is served by {other} and {at} at {}", self.now);
            }
        }
    }
}
