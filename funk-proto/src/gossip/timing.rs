//! How often and how long: Serf's defaults for a local network, and the
//! formulas that scale them with the size of the cluster.

use std::time::Duration;

/// Intervals and multipliers of gossip. The default is what Serf agents use on
/// a local network; tests and simulations scale it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipTiming {
    /// Time between two probes.
    pub probe_interval: Duration,
    /// Time for a direct answer to a probe, before others are asked.
    pub probe_timeout: Duration,
    /// Others that are asked to probe a silent node.
    pub indirect_checks: usize,
    /// Time between two rounds of gossip while there is news.
    pub gossip_interval: Duration,
    /// Time between two rounds while there is news of this node's own that nobody has yet.
    pub urgent_interval: Duration,
    /// Nodes told in one round.
    pub gossip_nodes: usize,
    /// Time for which a dead node is still told, and its record still passed on.
    pub gossip_to_the_dead: Duration,
    /// Each message is sent this often, times the decimal digits of the number of nodes.
    pub retransmit_mult: u32,
    /// Scales the time for which a node is suspected before it counts as dead.
    pub suspicion_mult: u32,
    /// How much longer a suspicion lasts that nobody confirms.
    pub suspicion_max_mult: u32,
    /// One more than the worst health score.
    pub awareness_max: u32,
    /// Time between two push/pulls, in clusters of up to 32 nodes.
    pub push_pull_interval: Duration,
    /// Time between two tries to reach a failed member.
    pub reconnect_interval: Duration,
    /// Time between two looks for what can be forgotten.
    pub reap_interval: Duration,
    /// Time for which a member that left or failed is remembered.
    pub tombstone: Duration,
    /// Time for which an intent of an unknown member is kept.
    pub intent_timeout: Duration,
    /// Time after which a dead name may come back from another address.
    pub reclaim: Duration,
}

impl Default for GossipTiming {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            gossip_interval: Duration::from_millis(200),
            urgent_interval: Duration::from_millis(20),
            gossip_nodes: 3,
            gossip_to_the_dead: Duration::from_secs(30),
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            awareness_max: 8,
            push_pull_interval: Duration::from_secs(30),
            reconnect_interval: Duration::from_secs(30),
            reap_interval: Duration::from_secs(15),
            tombstone: Duration::from_secs(24 * 60 * 60),
            intent_timeout: Duration::from_secs(5 * 60),
            reclaim: Duration::ZERO,
        }
    }
}

impl GossipTiming {
    /// Times that a message is sent among `nodes`.
    pub(super) fn retransmit_limit(&self, nodes: usize) -> u32 {
        self.retransmit_mult * (nodes.max(1).ilog10() + 1)
    }

    /// The shortest suspicion among `nodes`.
    pub(super) fn suspicion_min(&self, nodes: usize) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "the number of nodes is bounded far below 2^52")]
        let scale = (1_000.0 * (nodes.max(1) as f64).log10().max(1.0)).floor();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1000 and 20000")]
        let scale = scale as u32;
        self.probe_interval * self.suspicion_mult * scale / 1_000
    }

    /// The longest suspicion whose shortest is `min`.
    pub(super) fn suspicion_max(&self, min: Duration) -> Duration {
        min * self.suspicion_max_mult
    }

    /// Confirmations that shorten a suspicion among `nodes`.
    pub(super) fn confirmations(&self, nodes: usize) -> u32 {
        let wanted = self.suspicion_mult.saturating_sub(2);
        // With too few others, none is waited for.
        if nodes.saturating_sub(2) < wanted as usize { 0 } else { wanted }
    }

    /// Time between two push/pulls among `nodes`.
    pub(super) fn push_pull(&self, nodes: usize) -> Duration {
        self.push_pull_interval * push_pull_multiplier(nodes)
    }
}

/// One more each time the cluster doubles beyond 32 nodes.
fn push_pull_multiplier(nodes: usize) -> u32 {
    if nodes <= 32 { 1 } else { (nodes - 1).ilog2() + 1 - 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sent_as_often_as_agents_do() {
        let timing = GossipTiming::default();
        let table = [
            (1, 4),
            (2, 4),
            (5, 4),
            (9, 4),
            (10, 8),
            (50, 8),
            (99, 8),
            (100, 12),
            (500, 12),
            (999, 12),
            (1_000, 16),
            (10_000, 20),
        ];
        for (nodes, limit) in table {
            assert_eq!(timing.retransmit_limit(nodes), limit, "{nodes} nodes");
        }
    }

    #[test]
    fn suspicions_last_as_long_as_with_agents() {
        let timing = GossipTiming::default();
        let table = [
            (1, 4_000),
            (3, 4_000),
            (10, 4_000),
            (11, 4_164),
            (20, 5_204),
            (50, 6_792),
            (100, 8_000),
            (500, 10_792),
            (1_000, 12_000),
            (10_000, 16_000),
        ];
        for (nodes, millis) in table {
            assert_eq!(timing.suspicion_min(nodes), Duration::from_millis(millis), "{nodes} nodes");
        }
        assert_eq!([1, 2, 3, 4, 10].map(|nodes| timing.confirmations(nodes)), [0, 0, 0, 2, 2]);
    }

    #[test]
    fn push_pulls_become_rarer_with_the_cluster() {
        let table = [(1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (129, 4), (1_000, 6), (10_000, 10)];
        for (nodes, multiplier) in table {
            assert_eq!(push_pull_multiplier(nodes), multiplier, "{nodes} nodes");
        }
    }
}
