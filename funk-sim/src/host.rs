//! One virtual host: a process that may run, stand still or be gone, its
//! clock, its disk and its streams.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use funk_proto::consensus::RaftRole;
use funk_proto::id::{BootId, ConnId, Epoch, LogIndex, RaftId, ShardId, Term};
use funk_proto::service::{Right, Service};
use funk_proto::shards::Place;
use funk_proto::status::NodeState;
use funk_proto::wire::journal::Damaged;
use funk_proto::{Event, Node, NodeConfig, StreamKind, Timestamp};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::happening::Happening;

/// What of a node checkers compare from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its Raft id.
    pub id: RaftId,
    /// Its boot.
    pub boot: BootId,
    /// Its part in the term.
    pub role: RaftRole,
    /// The newest term.
    pub term: Term,
    /// The leader that it knows.
    pub leader: Option<RaftId>,
    /// The last entry that it knows to be committed.
    pub commit: LogIndex,
    /// The last entry that it applied.
    pub applied: LogIndex,
    /// The snapshot with which its log begins is not stable yet.
    pub is_beginning: bool,
    /// The last entry of its log.
    pub last_index: LogIndex,
    /// Term of the last entry of its log.
    pub last_term: Term,
    /// End of its lease on its own clock.
    pub lease_until: Timestamp,
    /// Grows with each change of its route table.
    pub route_version: u64,
    /// Goodbyes of others that it took for true.
    pub goodbyes: u64,
    /// Grows with each change of what gossip holds of others' lives.
    pub gossip: u64,
}

impl Facts {
    fn of(node: &Node) -> Self {
        let look = node.inspect();
        let last_index = look.last_index();
        Self {
            id: look.id(),
            boot: look.boot(),
            role: look.role(),
            term: look.term(),
            leader: look.leader(),
            commit: look.commit(),
            applied: look.applied(),
            is_beginning: look.is_beginning(),
            last_index,
            last_term: look.term_at(last_index).unwrap_or_default(),
            lease_until: look.lease_until(),
            route_version: node.route_version(),
            goodbyes: look.goodbyes(),
            gossip: look.gossip_lives().0,
        }
    }
}

/// A request in a service's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) shard: ShardId,
    pub(crate) right: Option<Right>,
    /// Set when the drain of its shard has lasted long: renewals do not count from then on.
    pub(crate) frozen: Option<Timestamp>,
}

/// One direction of a stream.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) peer: usize,
    /// Of the peer's process, when the stream was opened.
    pub(crate) generation: u32,
    pub(crate) conn: ConnId,
    pub(crate) channel: StreamKind,
    /// When the last message that was sent arrives: none overtakes.
    pub(crate) last: Timestamp,
    /// Sent over a cut link: goes out when it is mended.
    pub(crate) held: Vec<bytes::Bytes>,
    pub(crate) held_since: Timestamp,
    /// The far process is gone, and nobody could say so yet.
    pub(crate) dead: bool,
    /// Something was sent on it.
    pub(crate) greeted: bool,
    /// Whoever is at this end knows the other's certificate.
    pub(crate) opened: bool,
}

/// A process that stands still.
#[derive(Debug)]
pub(crate) struct Pause {
    /// On the host's own clock, whose rate may change meanwhile.
    pub(crate) since: Timestamp,
    pub(crate) waiting: Vec<Happening>,
    /// Its clock stands still, too.
    pub(crate) frozen: bool,
}

/// One virtual host.
pub struct Host {
    /// Its configuration at the next start of the process.
    pub config: NodeConfig,
    /// Its clock.
    pub clock: Clock,
    /// Error of its clock in parts per million, also at the next start.
    pub drift: i64,
    /// Its disk.
    pub disk: Disk,
    /// Why no process could be started with what is on the disk.
    pub(crate) damage: Option<Damaged>,
    pub(crate) node: Option<Node>,
    /// Grows with each start of the process: what was meant for an earlier one is dropped.
    pub(crate) generation: u32,
    pub(crate) paused: Option<Pause>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) service_wake_at: Option<Timestamp>,
    pub(crate) accepted: u64,
    pub(crate) streams: BTreeMap<ConnId, End>,
    pub(crate) service: Option<Box<dyn Service>>,
    pub(crate) requests: BTreeMap<u64, InFlight>,
    pub(crate) drains: Vec<(LogIndex, Vec<ShardId>)>,
    pub(crate) proposals: BTreeMap<funk_proto::RequestId, u64>,
    /// What the service is told after its present outputs are carried out.
    pub(crate) service_inputs: std::collections::VecDeque<funk_proto::service::ServiceInput>,
    pub(crate) facts: Option<Facts>,
    /// Bit for each shard that its table shows here.
    pub(crate) here: Vec<u64>,
    /// True time at which its lease ends.
    pub(crate) lease_true: Timestamp,
    /// Whether its listeners accept.
    pub listening: bool,
    /// Its processes are of a later version, which says more than this one knows.
    pub newer: bool,
    /// What its node told its application, if the world keeps it.
    pub(crate) events: Vec<Event>,
    /// It is of another cluster, or strayed into one: what it does concerns no checker.
    pub foreign: bool,
    /// Whether its node knows its cluster.
    pub(crate) known: bool,
    /// It was never meant to be of ours.
    pub stranger: bool,
    /// Whether its node said that it has left.
    pub(crate) left: bool,
    /// Whether its node said that it can never be part of the cluster: an application would end.
    pub(crate) refused: bool,
    /// The state that its node told last.
    pub(crate) state: Option<NodeState>,
    /// Whether its last stop was long enough to be a gap in time.
    pub(crate) gap: bool,
    /// Something is wrong with it, or with its way to others.
    pub(crate) disturbed: bool,
    /// Since when nothing is.
    pub(crate) calm_since: Timestamp,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.config.name).field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn new(config: NodeConfig, disk: Disk) -> Self {
        Self {
            config,
            clock: Clock::starting(Timestamp::ZERO, 0),
            drift: 0,
            disk,
            damage: None,
            node: None,
            generation: 0,
            paused: None,
            wake_at: None,
            service_wake_at: None,
            accepted: 0,
            streams: BTreeMap::new(),
            service: None,
            requests: BTreeMap::new(),
            drains: Vec::new(),
            proposals: BTreeMap::new(),
            service_inputs: std::collections::VecDeque::new(),
            facts: None,
            here: Vec::new(),
            lease_true: Timestamp::ZERO,
            listening: true,
            newer: false,
            events: Vec::new(),
            foreign: false,
            known: false,
            stranger: false,
            left: false,
            refused: false,
            state: None,
            gap: false,
            disturbed: false,
            calm_since: Timestamp::ZERO,
        }
    }

    /// Its node, if the process exists.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Its facts as of its last step, if the process exists.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Why no process could be started with what is on its disk, if the last start failed.
    pub fn damage(&self) -> Option<&Damaged> {
        self.damage.as_ref()
    }

    /// Whether its process exists, perhaps standing still.
    pub fn exists(&self) -> bool {
        self.node.is_some()
    }

    /// Whether its process exists and does not stand still.
    pub fn runs(&self) -> bool {
        self.node.is_some() && self.paused.is_none()
    }

    /// Whether its process stands still.
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// For how long nothing has been wrong with it, nor with its way to any other host.
    pub fn calm_for(&self, now: Timestamp) -> Duration {
        if self.disturbed || !self.runs() { Duration::ZERO } else { now - self.calm_since }
    }

    /// Its address of today.
    pub fn ip(&self) -> IpAddr {
        self.config.serf.ip()
    }

    /// Whether its last stop was long enough to be a gap in time.
    pub fn resumed_after_gap(&self) -> bool {
        self.gap
    }

    /// Whether its node said that it can never be part of the cluster.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether its node said that it has left.
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// What a stream carries.
    pub fn channel(&self, conn: ConnId) -> Option<StreamKind> {
        self.streams.get(&conn).map(|end| end.channel)
    }

    /// Whether its table shows `shard` here.
    pub fn shows_here(&self, shard: ShardId) -> bool {
        self.here.get(shard.0 as usize / 64).is_some_and(|word| word >> (shard.0 % 64) & 1 == 1)
    }

    /// Bit for each shard that its table shows here, 64 in a word.
    pub fn shown_here(&self) -> &[u64] {
        &self.here
    }

    /// True time at which its lease ends, if its clock goes on as it does.
    pub fn lease_ends(&self) -> Timestamp {
        self.lease_true
    }

    /// Shards that are closed while requests for them are in hand, with the
    /// end of their right on the host's clock.
    pub fn closing(&self) -> impl Iterator<Item = (ShardId, Timestamp)> + '_ {
        let closed = self.requests.values().filter(|held| !self.shows_here(held.shard));
        closed.filter_map(|held| Some((held.shard, self.valid_until(held)?.1)))
    }

    /// The right to serve `shard` at this true time.
    pub fn right(&self, now: Timestamp, shard: ShardId) -> Option<Right> {
        let node = self.node.as_ref().filter(|_| self.shows_here(shard))?;
        let (local, until) = (self.clock.local(now), node.lease_until());
        match node.routes().place(shard) {
            Place::Here(epoch) if local < until => Some(Right { epoch, valid_until: until }),
            _ => None,
        }
    }

    /// Whether a request in hand may still have an effect.
    pub(crate) fn holds(&self, now: Timestamp, held: &InFlight) -> Option<Epoch> {
        let (epoch, until) = self.valid_until(held)?;
        (self.clock.local(now) < until).then_some(epoch)
    }

    /// The right of a request in hand, and when it ends on the host's clock; `None` if it has none any more.
    fn valid_until(&self, held: &InFlight) -> Option<(Epoch, Timestamp)> {
        let (node, right) = (self.node.as_ref()?, held.right?);
        let routes = node.routes();
        let is_open = routes.place(held.shard) == Place::Here(right.epoch);
        let is_same = || routes.owner(held.shard).is_some_and(|(_, epoch)| epoch == right.epoch);
        if !is_open && !is_same() {
            return None;
        }
        let frozen = held.frozen.filter(|_| !is_open);
        Some((right.epoch, frozen.map_or(node.lease_until(), |frozen| frozen.min(node.lease_until()))))
    }

    /// A shard of these for which a request in hand may still have an effect.
    pub(crate) fn serves_one_of(&self, now: Timestamp, shards: &[ShardId]) -> Option<ShardId> {
        let in_hand = self.requests.values().filter(|held| shards.contains(&held.shard));
        in_hand.filter(|held| self.holds(now, held).is_some()).map(|held| held.shard).next()
    }

    /// The newest proposal that waits for its end.
    pub(crate) fn newest_proposal(&self) -> Option<funk_proto::RequestId> {
        self.proposals.keys().next_back().copied()
    }

    /// Brings the facts up to date; returns those of before, if any changed.
    pub(crate) fn refresh(&mut self) -> Option<Option<Facts>> {
        let facts = self.node.as_ref().map(Facts::of);
        if facts == self.facts {
            return None;
        }
        let before = std::mem::replace(&mut self.facts, facts);
        let (was, is) = (before.map(|facts| facts.route_version), facts.map(|facts| facts.route_version));
        if was != is {
            self.read_table();
        }
        self.lease_true = facts.map_or(Timestamp::ZERO, |facts| self.clock.true_at(facts.lease_until));
        Some(before)
    }

    fn read_table(&mut self) {
        self.here.clear();
        let Some(node) = &self.node else { return };
        let routes = node.routes();
        self.here.resize((routes.shards() as usize).div_ceil(64), 0);
        for shard in (0..routes.shards()).map(ShardId) {
            if matches!(routes.place(shard), Place::Here(_)) {
                self.here[shard.0 as usize / 64] |= 1 << (shard.0 % 64);
            }
        }
    }

    /// Sets the clock's error, from now on and at the next start.
    pub(crate) fn set_drift(&mut self, now: Timestamp, ppm: i64) {
        self.drift = ppm;
        self.clock.set_drift(now, ppm);
        self.lease_true = self.facts.map_or(Timestamp::ZERO, |facts| self.clock.true_at(facts.lease_until));
    }

    /// One of its sockets.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }
}
