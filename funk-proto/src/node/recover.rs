//! A node that starts again from its data directory.

use std::time::Duration;

use super::Node;
use crate::config::{NodeConfig, Participation};
use crate::consensus::{Consensus, ConsensusConfig, RecoveredLog};
use crate::error::ConfigError;
use crate::id::RaftId;
use crate::io::Recovered;
use crate::limits;
use crate::rng::Seed;
use crate::time::Timestamp;

/// What the store held, put together.
///
/// # Errors
/// [`ConfigError::Recovered`] if no node wrote these records in this order.
pub(super) fn read(recovered: &Recovered) -> Result<Option<RecoveredLog>, ConfigError> {
    RecoveredLog::fold(&recovered.records)
        .map_err(|bad| ConfigError::Recovered { record: bad.record, why: bad.why.into() })
}

/// Consensus over what was recovered, if anything was.
pub(super) fn consensus(
    log: Option<RecoveredLog>,
    id: RaftId,
    config: &NodeConfig,
    seed: Seed,
    now: Timestamp,
) -> Consensus {
    let mut consensus = match log {
        Some(log) => Consensus::restart(log, seed, now),
        None => Consensus::new(ConsensusConfig { id, bootstrap: None, kept_lease: Duration::ZERO }, seed, now),
    };
    consensus.set_durable(config.durable);
    consensus
}

/// The longest lease that this node may promise for and honour after a restart. Without a disk it never restarts; a
/// disk that says nothing may have seen any.
pub(super) fn kept_lease(log: Option<&RecoveredLog>, config: &NodeConfig) -> Duration {
    match log {
        _ if !config.durable => Duration::MAX,
        None => Duration::ZERO,
        Some(log) => log.kept_lease.unwrap_or(limits::LEASE_MAX),
    }
}

impl Node {
    /// Goes on where the former boot of this node ended: its log says who the
    /// others are, and all that it promised may still run.
    pub(super) fn restart(&mut self, now: Timestamp) -> Result<(), ConfigError> {
        self.liveness.honour_former_boot(now);
        self.joining.is_restarting = true;
        self.settle(now);
        self.joining.is_restarting = false;
        let Some(state) = &self.state else {
            // It never had a log. Its id still has a term, so it is kept.
            return Ok(());
        };
        if state.cluster.name != self.config.cluster.as_str() {
            let accepted = format!("{}, the name of the cluster in the data directory", state.cluster.name);
            return Err(ConfigError::Range { what: "cluster name", given: self.config.cluster.to_string(), accepted });
        }
        let (cluster, members) = (state.cluster.id, state.members.len());
        // Whoever restarted on another port for its streams may have kept that of gossip.
        let others = state.members.iter().filter(|member| member.id != self.me.id).map(|member| member.serf);
        let others = others.take(limits::JOIN_ADDRESSES_MAX).collect();
        tracing::info!(%cluster, members, applied = %state.applied, "the data directory's cluster is resumed");
        self.peers.identity.cluster = Some(cluster);
        self.gossip.join(now, others);
        self.show_cluster(now);
        let rejoins = self.config.participation != Participation::NonMember;
        self.joining.resume(rejoins.then_some(now));
        // Nobody is heard yet. If a leader is there, the others hold to it and
        // refuse; if all start at once, nobody waits for the fallback.
        let voters = self.consensus.voters();
        self.consensus.forget_leader(now, &voters);
        self.settle(now);
        Ok(())
    }
}
