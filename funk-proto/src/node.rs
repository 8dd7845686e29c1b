//! The node: the four machines, wired together.
//!
//! | file | what |
//! |---|---|
//! | `senders` | which frame may come from whom |
//! | `routing` | turns one machine's output into another's input: the wiring diagram |
//! | `apply` | what an applied entry means to this node |
//! | `leading` | hands the leader its facts, and passes on what is meant for the leading node |
//! | `joining`, `leaving` | how this node gets in, and how nodes get out |
//! | `keys` | the gossip keys of the whole cluster |
//! | `generation` | how a survivor goes on when the majority is lost for good |
//! | `goodbye` | how a process that ends says so, and what its peers make of it |
//! | `evidence` | what broken streams and refused dials tell of a process |
//! | `duplicates` | two clusters of one name |
//! | `resigning` | how a leader is given up, by others or by itself |
//! | `recover` | how it starts again from its data directory |
//! | `proposals` | user proposals on their way to the leader and back |
//! | `peers` | streams, hellos, addresses, keys |
//! | `endpoints` | the live nodes' endpoints |
//! | `inspect` | what the checkers of a simulator look at |
//! | `view` | what the application sees: state, status, route table |

mod apply;
mod endpoints;
mod evidence;
mod generation;
mod goodbye;
mod inspect;
mod joining;
mod keys;
mod leading;
mod leaving;

mod duplicates;
mod proposals;
mod recover;
mod resigning;
mod routing;
mod senders;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use generation::Generations;
pub use goodbye::LastWord;

use proposals::Proposals;
use siphasher::sip::SipHasher13;
use view::View;

use crate::config::NodeConfig;
use crate::consensus::{Consensus, ConsensusConfig};
use crate::error::{ConfigError, RequestError};
use crate::event::Event;
use crate::evidence::Evidence;
use crate::gossip::{Gossip, GossipConfig, GossipTiming};
use crate::id::{BootId, ClusterId, DialNumbers, Incarnation, RaftId};
use crate::io::{Input, Output, Recovered};
use crate::joining::Joining;
use crate::leader::{Leader, Target};
use crate::limits;
use crate::liveness::Liveness;
use crate::peers::{Identity, Peers};
use crate::request::{Request, RequestId};
use crate::rng::{Rng, Seed, Stream};
use crate::shards::RouteTable;
use crate::shards::moves::Moves;
use crate::state::{ClusterValues, LeaseReason, Member, State, snapshot};
use crate::status::{Status, StatusDraft};
use crate::time::{Timestamp, earliest};

/// A machine that waits for a time.
trait Timed {
    fn poll_timeout(&self) -> Option<Timestamp>;
    fn handle_timeout(&mut self, now: Timestamp);
}

macro_rules! timed {
    ($($machine:ident),*) => {$(
        impl Timed for $machine {
            fn poll_timeout(&self) -> Option<Timestamp> {
                self.poll_timeout()
            }

            fn handle_timeout(&mut self, now: Timestamp) {
                self.handle_timeout(now);
            }
        }
    )*};
}

timed!(Gossip, Liveness, Consensus, Moves, Peers, Leader, Joining, Generations);

/// All machines with timers, in the order in which these fire. `$by` is how they are borrowed.
macro_rules! machines {
    ($node:ident, $timed:ty, $($by:tt)+) => {{
        let machines: [$timed; 8] = [
            $($by)+ $node.gossip,
            $($by)+ $node.liveness,
            $($by)+ $node.consensus,
            $($by)+ $node.moves,
            $($by)+ $node.peers,
            $($by)+ $node.leader,
            $($by)+ $node.joining,
            $($by)+ $node.generations,
        ];
        machines
    }};
}

/// One node of a cluster, without its sockets, clock and disk.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    me: Incarnation,
    now: Timestamp,
    consensus: Consensus,
    liveness: Liveness,
    gossip: Gossip,
    moves: Moves,
    peers: Peers,
    /// The replicated state; `None` until a snapshot or the bootstrap gives it.
    state: Option<State>,
    leader: Leader,
    joining: Joining,
    proposals: Proposals,
    evidence: Evidence,
    generations: Generations,
    view: View,
    outputs: VecDeque<Output>,
}

impl Node {
    /// A node that has said nothing yet.
    ///
    /// # Errors
    /// A [`ConfigError`] names the setting that cannot work; nothing was started.
    #[allow(clippy::needless_pass_by_value, reason = "what the store held is the node's from now on")]
    pub fn new(config: NodeConfig, recovered: Recovered, seed: Seed, now: Timestamp) -> Result<Node, ConfigError> {
        config.check()?;
        let log = recover::read(&recovered)?;
        let recovered = log.is_some();
        let kept_lease = recover::kept_lease(log.as_ref(), &config);
        let mut rng = Rng::new(seed, Stream::Identity);
        let drawn = RaftId::draw(&mut rng);
        let me = Incarnation { id: log.as_ref().map_or(drawn, |log| log.id), boot: BootId::draw(&mut rng) };
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
        secret[8..].copy_from_slice(&rng.next_u64().to_be_bytes());
        let identity = Identity::new(&config, me, secret);
        let gossip = GossipConfig {
            name: config.name.clone(),
            cluster: config.cluster.clone(),
            addr: config.serf,
            join: config.join.clone(),
            tags: joining::tags(&config, me),
            timing: GossipTiming::default(),
            keys: config.gossip_keys.clone(),
            looks: config.bootstrap && !recovered,
        };
        let mut node = Node {
            me,
            now,
            consensus: recover::consensus(log, me.id, &config, seed, now),
            liveness: Liveness::new(me.id, me.boot, config.timing),
            gossip: Gossip::new(gossip, DialNumbers::new(0, 2), seed, now),
            moves: Moves::new(config.hands_over_state, config.timing.ack_timeout, config.drain_timeout),
            peers: Peers::new(identity, DialNumbers::new(1, 2), Rng::new(seed, Stream::Peers)),
            state: None,
            leader: Leader::default(),
            joining: Joining::new(&config, now),
            proposals: Proposals::default(),
            evidence: Evidence::default(),
            generations: Generations::new(seed, rng),
            view: View::default(),
            outputs: VecDeque::new(),
            config,
        };
        if node.config.every_cluster {
            node.gossip.welcome_every_cluster();
        }
        node.liveness.set_kept_lease(kept_lease);
        node.view.endpoints.node_changed(node.config.name.to_string());
        if recovered {
            node.restart(now)?;
        }
        if node.joining.is_looking() {
            node.gossip.look_only(now, true);
        }
        node.settle(now);
        Ok(node)
    }

    /// Takes in what happened. It never fails: what a peer did wrong is counted and reported.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = self.now.max(now);
        let now = self.now;
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::Datagram { socket, from, bytes } => self.handle_datagram(now, socket, from, &bytes),
            Input::Opened { conn, peer } => self.handle_opened(now, conn, peer),
            Input::Message { conn, channel, bytes } => self.handle_message(now, conn, channel, bytes),
            Input::Closed { conn, why } if self.gossip.owns(conn) => self.gossip.handle_closed(now, conn, why),
            Input::Closed { conn, why } => {
                // Proposals that were on this stream may be lost though the leader goes on.
                if self.peers.peer_of(conn).is_some_and(|peer| self.consensus.leader() == Some(peer)) {
                    self.abandon_proposals();
                }
                self.peers.handle_closed(now, conn, why);
            }
            // One lost datagram is no evidence: silence and the streams decide.
            Input::Unreachable { .. } => {}
            Input::Persisted(token) => self.consensus.handle_persisted(now, token),
            Input::SnapshotTaken { index, state } => self.handle_snapshot_taken(now, index, &state),
            Input::Drained { change, shards } => self.moves.handle_drained(now, change, &shards),
            Input::Frozen { change, until } => self.moves.handle_frozen(now, change, until),
            Input::StateGiven { change, shard, state } => self.moves.handle_state(now, change, shard, state),
            Input::RingKept(result) => self.gossip.handle_ring_kept(now, result),
            Input::ClockGap { gap } => self.handle_clock_gap(now, gap),
        }
        self.settle(now);
    }

    /// This process did not run for so long: what is held is dropped, what is waited for prolonged.
    fn handle_clock_gap(&mut self, now: Timestamp, gap: Duration) {
        self.view.counters.clock_gaps += 1;
        self.liveness.handle_clock_gap(now, gap);
        self.gossip.handle_clock_gap(now, gap);
        self.leader.handle_clock_gap(gap);
        self.generations.handle_clock_gap(gap);
    }

    /// Takes a request of the application.
    ///
    /// # Errors
    /// A [`RequestError`] says why nothing of it was done.
    pub fn request(&mut self, now: Timestamp, request: Request) -> Result<RequestId, RequestError> {
        self.now = self.now.max(now);
        let now = self.now;
        let id = self.proposals.next_id();
        match request {
            Request::Propose(bytes) => self.propose(now, id, bytes)?,
            Request::Barrier => self.barrier(now, id)?,
            Request::Join(addresses) => {
                if addresses.len() > limits::JOIN_ADDRESSES_MAX {
                    return Err(RequestError::Busy);
                }
                self.gossip.join(now, addresses);
            }
            Request::Leave => self.begin_leave(now),
            Request::SetEndpoint { name, address } => self.set_endpoint(now, name, address)?,
            Request::StepDown => self.begin_operation(now, id, Target::Leadership)?,
            Request::AddMember(name) => self.begin_operation(now, id, Target::Added(name))?,
            Request::RemoveMember(name) => self.begin_operation(now, id, Target::Removed(name))?,
            Request::Drain(name) => self.begin_operation(now, id, Target::Drained(name))?,
            Request::Pin { shards, node } => self.begin_operation(now, id, Target::Pinned(shards, node))?,
            Request::SetWeight(name, weight) => self.begin_operation(now, id, Target::Weighed(name, weight))?,
            Request::Keys { order, wait } => self.ask_keys(now, id, &order, wait)?,
            Request::Recover => self.begin_recovery(now, id),
        }
        self.settle(now);
        Ok(id)
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        let due = machines!(self, &dyn Timed, &).into_iter().filter_map(Timed::poll_timeout);
        let late = due.map(|at| now.since(at)).max().unwrap_or_default();
        self.liveness.note_lateness(now, late);
        for machine in machines!(self, &mut dyn Timed, &mut) {
            if machine.poll_timeout().is_some_and(|at| now >= at) {
                machine.handle_timeout(now);
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Timeout`]; the last `now` while outputs wait.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if !self.outputs.is_empty() {
            return Some(self.now);
        }
        let machines = machines!(self, &dyn Timed, &).into_iter().map(Timed::poll_timeout);
        // Whatever the input, the leader's round and the view are looked after at its end.
        let after = [self.leader.poll_round(self.consensus.oldest_write()), self.view.poll_timeout()];
        machines.chain(after).fold(None, earliest)
    }

    /// What this node is doing.
    pub fn status(&self) -> Status {
        self.draft_status().finish()
    }

    /// The same, to be written out on another thread: that takes a time that grows with gossip, and this does hardly.
    pub fn status_draft(&self) -> StatusDraft {
        self.draft_status()
    }

    /// Hash over the replicated state: members, map, cluster values, applied
    /// index. Equal on all nodes that applied the same index; `None` before there is a state.
    pub fn state_hash(&self) -> Option<u64> {
        let state = self.state.as_ref()?;
        Some(SipHasher13::new().hash(&snapshot::encode(state)))
    }

    /// Grows with every change of [`Node::routes`].
    pub fn route_version(&self) -> u64 {
        self.view.route_version()
    }

    /// The applied map, ready to be published.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.view.routes()
    }

    /// This node may serve its shards while its clock reads less.
    pub fn lease_until(&self) -> Timestamp {
        self.liveness.lease_until()
    }

    /// The longest that a grant of this node's cluster lasts: the configured lease until the node is
    /// in a cluster, from then on the cluster's own.
    pub fn lease(&self) -> Duration {
        self.config.timing.lease
    }

    /// How long the leader or the member had been silent that this node gave
    /// up last; each is told once. For measurements only.
    pub fn take_silence(&mut self) -> Option<Duration> {
        self.liveness.take_silence()
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Starts the cluster that the configuration asks for, with this node as its only member.
    fn bootstrap(&mut self, now: Timestamp) {
        let values = ClusterValues {
            id: ClusterId::draw(&mut self.generations.ids),
            name: self.config.cluster.to_string(),
            created_ns: self.config.wall_clock_ns,
            lease: self.config.timing.lease,
            lease_min: self.config.timing.lease,
            lease_max: self.config.timing.lease_cap(),
            lease_reason: LeaseReason::default(),
            drift_ppm: self.config.timing.drift_ppm,
            ownership: self.config.ownership,
            generation: 1,
            former: Vec::new(),
        };
        let state = State::bootstrap(values, self.config.shards, Member::own(&self.config, self.me));
        let bootstrap = Some(apply::snapshot_body(&state, Bytes::new()));
        // It leads when its first record is stable, and promises nothing before.
        let kept_lease = if self.config.durable { state.cluster.lease } else { Duration::ZERO };
        if self.config.durable {
            self.liveness.set_kept_lease(kept_lease);
        }
        let config = ConsensusConfig { id: self.me.id, bootstrap, kept_lease };
        self.consensus = Consensus::new(config, self.generations.seed, now);
        self.consensus.set_durable(self.config.durable);
        self.install_state(now, state);
    }
}
