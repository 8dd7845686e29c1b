//! A node's configuration: a plain struct, checked once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::ConfigError;
use crate::id::{BootId, ClusterName, NodeName};
use crate::limits;
use crate::wire::gossip::key::GossipKeys;

/// Whether a node votes, learns or only watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Participation {
    /// May be made a voter. The default.
    #[default]
    Full,
    /// Always a learner: owns shards, never votes (`--non-voting`).
    Learner,
    /// An observer, in gossip only: owns nothing, never votes (`--non-member`).
    NonMember,
}

/// What keeps a previous owner of a shard from having an effect on it.
///
/// Cluster-wide and fixed at bootstrap; later values have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ownership {
    /// Its lease: nobody takes the shard before the lease has run out, so at every
    /// instant at most one process serves it. The default.
    #[default]
    Leased,
    /// The application's store, which refuses writes of older epochs: the
    /// shards of a member that was declared dead are taken at once, though its
    /// process may be alive and serve for the rest of its lease. Two processes
    /// may then *run* one shard; only effects that the epoch fences are
    /// exclusive. Nothing else changes: a planned move still waits for its release.
    Fenced,
}

impl Ownership {
    /// The word for it, as `--ownership` takes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Fenced => "fenced",
        }
    }
}

/// Which leases a cluster may have: how fast it fails over, and how slow its machines and its network may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TimingProfile {
    /// 150 ms on a quiet network, up to 600 ms as long as machines or datagrams are slow. The default.
    #[default]
    Auto,
    /// 60 ms, for machines and a network of its own: a failover takes half the time of `Lan`.
    Fast,
    /// 150 ms, always.
    Lan,
    /// 600 ms, for machines that are shared or overcommitted.
    Shared,
    /// 1.2 s, for nodes with up to 300 ms from one to another.
    Wan,
}

/// Intervals and limits of liveness and leases.
///
/// `lease`, `lease_max` and `drift_ppm` are cluster-wide and fixed at bootstrap: a joiner takes
/// them from the replicated state and ignores its own. The other intervals are each node's own, for the
/// lease that it is configured with; the cluster's lease stretches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between two heartbeats to one member. Default 20 ms. Lower: more
    /// packets, more slack for lost ones.
    pub liveness_interval: Duration,
    /// A member is dead after `liveness_interval × (retries + 0.5)` of silence. Default 7.
    pub liveness_retries: u32,
    /// Silence after which a voter gives the leader up. Default 80 ms. Below
    /// the lease on purpose: an early leader change pauses no shard.
    pub leader_timeout: Duration,
    /// The lease length on a quiet network, and the shortest. Default 150 ms.
    pub lease: Duration,
    /// What the leader may lengthen the lease to while processes run late or datagrams are slow or lost. Not above
    /// `lease`: the lease never changes. Default 600 ms.
    pub lease_max: Duration,
    /// Bound on a clock's rate error, parts per million. Default 10,000 (1 %).
    pub drift_ppm: u32,
    /// Time that the transfer of a moving shard's state may go without progress;
    /// after it the shard is released without its state. Default 500 ms.
    pub ack_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            liveness_interval: Duration::from_millis(20),
            liveness_retries: 7,
            leader_timeout: Duration::from_millis(80),
            lease: Duration::from_millis(150),
            lease_max: Duration::from_millis(600),
            drift_ppm: 10_000,
            ack_timeout: Duration::from_millis(500),
        }
    }
}

/// The leases and the drift bound of a cluster, as its replicated state has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterTiming {
    /// The present lease.
    pub lease: Duration,
    /// The shortest that it may be.
    pub lease_min: Duration,
    /// The longest that it may be.
    pub lease_max: Duration,
    /// Bound on a clock's rate error, parts per million.
    pub drift_ppm: u32,
}

/// Time that an election and a first grant take on a healthy network, jitter
/// included: the right side of the lease inequality beyond the leader timeout.
const LEADER_CHANGE_ALLOWANCE: Duration = Duration::from_millis(40);

impl Timing {
    /// The intervals of this profile.
    pub fn of(profile: TimingProfile) -> Self {
        let auto = Self::default();
        let fixed = |lease_ms| {
            let lease = Duration::from_millis(lease_ms);
            Self { lease_max: lease, ..auto.stretched(lease) }
        };
        match profile {
            TimingProfile::Auto => auto,
            TimingProfile::Fast => Self {
                liveness_interval: Duration::from_millis(8),
                liveness_retries: auto.liveness_retries,
                leader_timeout: Duration::from_millis(30),
                ..fixed(60)
            },
            TimingProfile::Lan => fixed(150),
            TimingProfile::Shared => fixed(600),
            TimingProfile::Wan => fixed(1_200),
        }
    }

    /// Silence after which the leader declares a member dead.
    pub fn member_timeout(&self) -> Duration {
        self.liveness_interval * self.liveness_retries + self.liveness_interval / 2
    }

    /// The longest lease that these settings allow.
    pub fn lease_cap(&self) -> Duration {
        self.lease.max(self.lease_max)
    }

    /// These intervals under another lease. Patience grows in proportion, the interval between heartbeats with its
    /// square root: a longer lease outlasts more of them that are lost, and costs fewer.
    #[must_use]
    pub fn stretched(&self, lease: Duration) -> Self {
        if lease == self.lease || self.lease.is_zero() {
            return *self;
        }
        let (from, to) = (self.lease.as_nanos(), lease.as_nanos());
        // In thousandths.
        let root = (to.saturating_mul(1_000_000) / from).isqrt();
        let scaled = |length: Duration, up: u128, down: u128| {
            Duration::from_nanos(u64::try_from(length.as_nanos().saturating_mul(up) / down).unwrap_or(u64::MAX))
        };
        let retries = (u128::from(self.liveness_retries).saturating_mul(root) + 500) / 1_000;
        Self {
            liveness_interval: scaled(self.liveness_interval, root, 1_000),
            liveness_retries: u32::try_from(retries).unwrap_or(u32::MAX).max(1),
            leader_timeout: scaled(self.leader_timeout, to, from),
            lease,
            ..*self
        }
    }

    /// `length` on a waiter's clock that covers `length` on any holder's:
    /// times (1 + ρ) / (1 - ρ), rounded up.
    pub fn waiter(&self, length: Duration) -> Duration {
        if crate::mutate::planted(crate::mutate::Mutant::WaitsNotStretched) {
            return length;
        }
        let nanos = length.as_nanos();
        let (up, down) = (1_000_000 + u128::from(self.drift_ppm), 1_000_000 - u128::from(self.drift_ppm));
        let scaled = (nanos * up).div_ceil(down);
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let range = |what, given: Duration, low: Duration, high: Duration| {
            if given < low || given > high {
                let accepted = format!("{low:?} to {high:?}");
                return Err(ConfigError::Range { what, given: format!("{given:?}"), accepted });
            }
            Ok(())
        };
        let (milli, minute) = (Duration::from_millis(1), limits::LEASE_MAX);
        range("liveness interval", self.liveness_interval, milli, minute)?;
        range("leader timeout", self.leader_timeout, self.liveness_interval * 2, minute)?;
        range("lease", self.lease, self.liveness_interval * 2, minute)?;
        range("longest lease", self.lease_max, Duration::ZERO, minute)?;
        range("ack timeout", self.ack_timeout, milli, minute)?;
        if !(1..=1000).contains(&self.liveness_retries) {
            let accepted = "1 to 1000".into();
            return Err(ConfigError::Range {
                what: "liveness retries",
                given: self.liveness_retries.to_string(),
                accepted,
            });
        }
        if self.drift_ppm > limits::DRIFT_PPM_MAX {
            let accepted = "0 to 200000 ppm".into();
            return Err(ConfigError::Range { what: "drift bound", given: self.drift_ppm.to_string(), accepted });
        }
        self.check_lease_inequality()
    }

    /// `A (1 - ρ) - h ≥ D_l + election + first grant`: a survivor's lease
    /// outlives the change of its leader.
    fn check_lease_inequality(&self) -> Result<(), ConfigError> {
        let drift = self.lease.mul_f64(f64::from(self.drift_ppm) / 1e6);
        let left = self.lease.saturating_sub(drift).saturating_sub(self.liveness_interval);
        let needed = self.leader_timeout + LEADER_CHANGE_ALLOWANCE.min(self.leader_timeout / 2);
        if left < needed {
            return Err(ConfigError::LeaseInequality { left, needed });
        }
        Ok(())
    }
}

/// What a node is told at start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node's stable name.
    pub name: NodeName,
    /// The cluster's name; nodes of other names never mix with ours.
    pub cluster: ClusterName,
    /// Gossip with nodes of every cluster name, and show none of its own: for a node
    /// that others only join through. Needs [`Participation::NonMember`].
    pub every_cluster: bool,
    /// Advertised address of the gossip socket (`ep.serf`), UDP and TCP.
    pub serf: SocketAddr,
    /// Advertised address of the cluster stream (`ep.raft`), TCP.
    pub raft: SocketAddr,
    /// Advertised address of the liveness socket (`ep.liveness`), UDP.
    pub liveness: SocketAddr,
    /// The service's own endpoints by name (`ep.*`), at most [`limits::ENDPOINTS_MAX`].
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// The service's name (`meta.serviceName`).
    pub service: String,
    /// Gossip addresses to join through. Empty: wait to be found.
    pub join: Vec<SocketAddr>,
    /// Join addresses may also come later, from discovery: a bootstrap first checks
    /// for a cluster of its name.
    pub discovery: bool,
    /// Start a new cluster.
    pub bootstrap: bool,
    /// Whether the leader admits nodes that ask to join. If not, an operator adds them.
    pub auto_join: bool,
    /// Shards of the cluster; used at bootstrap only. 1 to [`limits::SHARDS_MAX`].
    pub shards: u32,
    /// What keeps a previous owner from having an effect; used at bootstrap only.
    pub ownership: Ownership,
    /// Share of the shards relative to the other members. 1 to [`limits::WEIGHT_MAX`].
    pub weight: u32,
    /// Maximum number of shards this node may own. If all members together have too
    /// little capacity, the excess is spread by weight.
    pub capacity: Option<NonZeroU32>,
    /// Failure zone: voters are spread over zones first. Empty: none.
    pub zone: String,
    /// Whether this node votes, learns or only watches.
    pub participation: Participation,
    /// Whether the application passes a shard's state to the next owner in a planned
    /// move: see [`Output::StateWanted`](crate::Output::StateWanted).
    pub hands_over_state: bool,
    /// How long a planned move waits for requests in flight: their guards follow the node's lease for this time, and
    /// freeze after it. Up to [`limits::DRAIN_TIMEOUT_MAX`]; zero freezes them at once.
    pub drain_timeout: Duration,
    /// Whether writes outlast the process: the node has a data directory.
    pub durable: bool,
    /// Boots of this node that have certainly ended, the newest last: previous holders
    /// of the data directory's lock, which this process holds now. At most [`limits::FORMER_BOOTS_MAX`].
    /// Their shards are served again without a wait for their leases. Empty: nothing is known.
    pub former_boots: Vec<BootId>,
    /// Keys with which gossip is encrypted. `None`: it is not.
    pub gossip_keys: Option<GossipKeys>,
    /// Unix nanoseconds at start, recorded in the bootstrap state. It decides nothing.
    pub wall_clock_ns: i64,
    /// Intervals and limits.
    pub timing: Timing,
}

impl NodeConfig {
    /// A configuration with every default for a node that listens on these three addresses.
    pub fn new(name: NodeName, cluster: ClusterName, serf: SocketAddr, raft: SocketAddr, liveness: SocketAddr) -> Self {
        Self {
            name,
            cluster,
            every_cluster: false,
            serf,
            raft,
            liveness,
            endpoints: BTreeMap::new(),
            service: String::new(),
            join: Vec::new(),
            discovery: false,
            bootstrap: false,
            auto_join: true,
            shards: 10_000,
            ownership: Ownership::default(),
            weight: 1,
            capacity: None,
            zone: String::new(),
            participation: Participation::Full,
            hands_over_state: false,
            drain_timeout: limits::DRAIN_TIMEOUT,
            durable: false,
            former_boots: Vec::new(),
            gossip_keys: None,
            wall_clock_ns: 0,
            timing: Timing::default(),
        }
    }

    /// Checks every field. The node is started only with a configuration that passed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |what, given: u64, high: u64| {
            if given < 1 || given > high {
                return Err(ConfigError::Range { what, given: given.to_string(), accepted: format!("1 to {high}") });
            }
            Ok(())
        };
        range("shards", self.shards.into(), limits::SHARDS_MAX.into())?;
        range("weight", self.weight.into(), limits::WEIGHT_MAX.into())?;
        for (what, address) in
            [("serf endpoint", self.serf), ("raft endpoint", self.raft), ("liveness endpoint", self.liveness)]
        {
            if address.port() == 0 || address.ip().is_unspecified() {
                let accepted = "an address that other nodes can reach, with its port".into();
                return Err(ConfigError::Range { what, given: address.to_string(), accepted });
            }
        }
        if self.every_cluster && self.participation != Participation::NonMember {
            let (given, accepted) =
                (format!("{:?}", self.participation), "NonMember, for a node of every cluster".into());
            return Err(ConfigError::Range { what: "participation", given, accepted });
        }
        if self.join.len() > limits::JOIN_ADDRESSES_MAX {
            let accepted = format!("at most {}", limits::JOIN_ADDRESSES_MAX);
            return Err(ConfigError::Range { what: "join addresses", given: self.join.len().to_string(), accepted });
        }
        if self.endpoints.len() > limits::ENDPOINTS_MAX {
            let accepted = format!("at most {}", limits::ENDPOINTS_MAX);
            return Err(ConfigError::Range { what: "endpoints", given: self.endpoints.len().to_string(), accepted });
        }
        for name in self.endpoints.keys() {
            if !is_endpoint_name(name) {
                let accepted = "ep.*, at most 64 bytes".into();
                return Err(ConfigError::Range { what: "endpoint name", given: name.clone(), accepted });
            }
        }
        if self.zone.len() > limits::ENDPOINT_NAME_BYTES_MAX || self.service.len() > limits::ENDPOINT_NAME_BYTES_MAX {
            let accepted = "at most 64 bytes".into();
            return Err(ConfigError::Range { what: "zone or service name", given: self.zone.clone(), accepted });
        }
        if self.drain_timeout > limits::DRAIN_TIMEOUT_MAX {
            let (given, accepted) =
                (format!("{:?}", self.drain_timeout), format!("at most {:?}", limits::DRAIN_TIMEOUT_MAX));
            return Err(ConfigError::Range { what: "drain timeout", given, accepted });
        }
        if self.former_boots.len() > limits::FORMER_BOOTS_MAX {
            let accepted = format!("at most {}", limits::FORMER_BOOTS_MAX);
            return Err(ConfigError::Range {
                what: "former boots",
                given: self.former_boots.len().to_string(),
                accepted,
            });
        }
        self.timing.check()
    }
}

/// Whether `name` names an endpoint: `ep.` and something, of bounded length.
pub fn is_endpoint_name(name: &str) -> bool {
    name.len() > 3 && name.starts_with("ep.") && name.len() <= limits::ENDPOINT_NAME_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NodeConfig {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        NodeConfig::new("n".parse().unwrap(), "c".parse().unwrap(), at(1), at(2), at(3))
    }

    #[test]
    fn the_defaults_pass() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn a_lease_that_ends_before_the_leader_is_replaced_is_refused() {
        let mut config = config();
        config.timing.leader_timeout = config.timing.lease;
        assert!(matches!(config.check(), Err(ConfigError::LeaseInequality { .. })));
    }

    #[test]
    fn every_profile_and_every_lease_within_it_can_work() {
        let profiles =
            [TimingProfile::Auto, TimingProfile::Fast, TimingProfile::Lan, TimingProfile::Shared, TimingProfile::Wan];
        for profile in profiles {
            let timing = Timing::of(profile);
            assert_eq!(timing.check(), Ok(()), "{profile:?}");
            for lease in [timing.lease, timing.lease * 2, timing.lease_cap()] {
                let stretched = timing.stretched(lease);
                assert_eq!(stretched.check(), Ok(()), "{profile:?} under {lease:?}");
                let patience = stretched.member_timeout();
                assert!(patience <= lease + lease / 10 && patience >= lease / 2, "{patience:?} under {lease:?}");
            }
        }
        assert_eq!(Timing::default().stretched(Duration::from_millis(150)), Timing::default());
        let four = Timing::default().stretched(Duration::from_millis(600));
        assert_eq!(
            (four.liveness_interval, four.leader_timeout),
            (Duration::from_millis(40), Duration::from_millis(320))
        );
    }

    #[test]
    fn waiters_outlast_holders_at_the_drift_bound() {
        let timing = Timing::default();
        let scaled = timing.waiter(timing.lease);
        assert!(scaled.as_secs_f64() * 0.99 >= timing.lease.as_secs_f64() * 1.01 - 1e-12);
        assert!(scaled < timing.lease.mul_f64(1.0203));
    }

    #[test]
    fn wrong_values_are_named() {
        let mut wrong = config();
        wrong.shards = 0;
        assert!(wrong.check().unwrap_err().to_string().contains("shards 0"));
        let mut wrong = config();
        wrong.raft.set_port(0);
        assert!(wrong.check().unwrap_err().to_string().contains("raft endpoint"));
        let mut wrong = config();
        wrong.endpoints.insert("demo".into(), wrong.serf);
        assert!(wrong.check().unwrap_err().to_string().contains("endpoint name"));
    }
}
