//! Facts set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::NodeConfig;
use crate::event::Outcome;
use crate::evidence::Evidence;
use crate::gossip::{Gossip, GossipConfig, GossipTiming};
use crate::id::{BootId, ClusterId, DialNumbers, Incarnation, LogIndex, RaftId, Term};
use crate::leader::{Facts, Leader, LeaderOutput, Quorum, Target};
use crate::liveness::{Ack, Liveness, LivenessOutput, MemberView, Word};
use crate::peers::{Identity, Peers, PeersOutput};
use crate::request::RequestId;
use crate::rng::{Rng, Seed, Stream};
use crate::state::tests::{command, record, state, transfer};
use crate::state::{LeaseReason, Member, State};
use crate::time::Timestamp;
use crate::version::Versions;
use crate::wire::cluster::{Frame, FrameBody, Hello, MemberRecord, Op};
use crate::wire::gossip::{Alive, Packet, VERSIONS, encode_tags};

pub(super) fn id(n: u64) -> RaftId {
    RaftId::new(n).unwrap()
}

pub(super) fn node(n: u64) -> Incarnation {
    Incarnation { id: id(n), boot: BootId::new(100 + n).unwrap() }
}

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// A leader, node 1, and what it knows of the others.
pub(super) struct Stage {
    pub(super) now: Timestamp,
    pub(super) term: Term,
    pub(super) config: NodeConfig,
    pub(super) state: State,
    pub(super) quorum: Quorum,
    pub(super) oldest_write: Option<Timestamp>,
    pub(super) evidence: Evidence,
    pub(super) leader: Leader,
    /// Consensus takes nothing.
    pub(super) refuse_proposals: bool,
    leases: Liveness,
    peers: Peers,
    gossip: Gossip,
    requests: u64,
    dials: u64,
    outputs: Vec<LeaderOutput>,
}

impl Stage {
    /// Members 1 to `n` are up, heard just now, and vote, and own four shards between them; 1 leads and is ready.
    pub(super) fn of(n: u64) -> Self {
        Self::of_records((1..=n).map(record))
    }

    pub(super) fn of_records(records: impl Iterator<Item = MemberRecord>) -> Self {
        let records: Vec<MemberRecord> = records.collect();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config =
            NodeConfig::new("n1".parse().unwrap(), "c".parse().unwrap(), address(1001), address(2001), address(3001));
        let mut state = state(4);
        state.apply(LogIndex(2), command(records.iter().cloned().map(Op::Up)));
        let share = |record: &MemberRecord| {
            let shards: Vec<u32> =
                (0..4).filter(|shard| u64::from(*shard) % records.len() as u64 + 1 == record.id).collect();
            Op::Owned(transfer(2, record.id, &shards))
        };
        state.apply(LogIndex(3), command(records.iter().map(share)));
        let voters: BTreeSet<RaftId> = records.iter().map(|record| id(record.id)).collect();
        let matched = voters.iter().map(|&id| (id, LogIndex(3))).collect();
        let quorum = Quorum { voters, matched, last_index: LogIndex(3), ..Quorum::default() };
        let mut identity = Identity::new(&config, node(1), [1; 16]);
        identity.cluster = ClusterId::new(7);
        let gossip = GossipConfig {
            name: config.name.clone(),
            cluster: config.cluster.clone(),
            addr: config.serf,
            join: Vec::new(),
            tags: BTreeMap::new(),
            timing: GossipTiming::default(),
            keys: None,
            looks: false,
        };
        let seed = Seed::from_u64(1);
        let (now, term) = (at(1000), Term(2));
        let mut stage = Self {
            now,
            term,
            leases: Liveness::new(id(1), node(1).boot, config.timing),
            peers: Peers::new(identity, DialNumbers::new(1, 2), Rng::new(seed, Stream::Peers)),
            gossip: Gossip::new(gossip, DialNumbers::new(0, 2), seed, now),
            evidence: Evidence::default(),
            leader: Leader::default(),
            oldest_write: None,
            refuse_proposals: false,
            requests: 0,
            dials: 0,
            outputs: Vec::new(),
            config,
            state,
            quorum,
        };
        let until = now + stage.config.timing.waiter(stage.config.timing.lease);
        stage.leader.lead(now, term, stage.quorum.voters.clone(), until);
        stage.leader.handle_ready();
        stage.leases.lead(now, term, Duration::ZERO);
        let up = stage.state.members.iter();
        let views: Vec<_> =
            up.map(|member| MemberView { id: member.id, boot: member.boot, floor: LogIndex(0) }).collect();
        stage.leases.set_members(now, &views, stage.quorum.voters.clone(), BTreeSet::new());
        stage.leases.set_ready(now);
        stage.hear(&[]);
        stage
    }

    /// All members but these answer a heartbeat.
    fn hear(&mut self, silent: &[u64]) {
        while let Some(output) = self.leases.poll_output() {
            match output {
                LivenessOutput::Send { to, counter, word: Word::Beat { .. } } if !silent.contains(&to.get()) => {
                    self.leases.handle_ack(
                        self.now,
                        to,
                        node(to.get()).boot,
                        Ack { counter, echo: counter, applied: LogIndex(3), promise: None },
                    );
                }
                LivenessOutput::AnswerLate { .. } => self.leader.handle_late_answer(self.now),
                _ => {}
            }
        }
    }

    /// Time goes on until this member has been silent for too long; the others answer, but for those that are silent.
    pub(super) fn silence(&mut self, n: u64) {
        let silent: Vec<u64> = (1..=9).filter(|&other| other == n || self.leases.is_silent(id(other))).collect();
        while !self.leases.is_silent(id(n)) {
            self.now = self.leases.poll_timeout().expect("a leader beats").max(self.now);
            self.leases.handle_timeout(self.now);
            self.hear(&silent);
        }
        self.leader.wake();
    }

    /// This member says that it has applied other entries.
    pub(super) fn diverge(&mut self, n: u64) {
        self.leases.set_applied(LogIndex(3), 30);
        self.leases.compare_applied(self.now, id(n), node(n).boot, (LogIndex(3), 31));
        self.leader.wake();
    }

    /// Time goes on to the next heartbeat, which all answer.
    pub(super) fn answer(&mut self) {
        self.now = self.leases.poll_timeout().expect("a leader beats").max(self.now);
        self.leases.handle_timeout(self.now);
        self.hear(&[]);
    }

    /// This member misses some heartbeats and answers those after them; the others answer all.
    pub(super) fn answer_late(&mut self, n: u64) {
        for _ in 0..4 {
            self.now = self.leases.poll_timeout().expect("a leader beats").max(self.now);
            self.leases.handle_timeout(self.now);
            self.hear(&[n]);
        }
        self.answer();
        self.answer_for(Duration::from_millis(250));
    }

    /// The heartbeats of so long a time are answered.
    pub(super) fn answer_for(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.answer();
        }
    }

    /// The lease that the leader proposes, and why.
    pub(super) fn proposed_lease(&mut self) -> Option<(Duration, LeaseReason)> {
        self.proposed().into_iter().find_map(|op| match op {
            Op::Lease(record) => {
                Some((Duration::from_micros(record.lease_us), LeaseReason::read(record.reason, record.member)))
            }
            _ => None,
        })
    }

    /// The cluster's lease changed.
    pub(super) fn change_lease(&mut self, lease: Duration) {
        self.apply([]);
        self.state.cluster.lease = lease;
        self.config.timing = self.leases.set_cluster_timing(self.state.cluster.timing());
        self.leader.handle_lease_changed(self.now);
        self.leader.wake();
    }

    /// Time goes on until no majority backs the leader.
    pub(super) fn lose_authority(&mut self) {
        self.now = self.now.max(self.leases.authority_until());
        self.leader.wake();
    }

    /// When the last lease of this member ends at the latest.
    pub(super) fn lease_end(&self, n: u64) -> Timestamp {
        self.facts().lease_end(node(n))
    }

    /// This node is dialled, and says hello, unless it is reached already.
    pub(super) fn introduce(&mut self, record: &MemberRecord) {
        let who = Incarnation { id: id(record.id), boot: BootId::new(record.boot).unwrap() };
        if self.peers.is_connected_to(who) {
            return self.leader.wake();
        }
        // Dials of one peer keep a pause.
        self.dials += 1;
        let now = self.now + Duration::from_secs(self.dials);
        self.peers.call(now, who, record.raft.parse().unwrap());
        let hello = Hello {
            cluster_name: self.config.cluster.to_string(),
            id: record.id,
            boot: record.boot,
            name: record.name.clone(),
            raft: record.raft.clone(),
            liveness: record.liveness.clone(),
            key: vec![9; 16].into(),
            oldest: Versions::OURS.oldest,
            newest: Versions::OURS.newest,
            ..Hello::default()
        };
        let dialled = std::iter::from_fn(|| self.peers.poll_output()).filter_map(|output| match output {
            PeersOutput::Dial { conn, .. } => Some(conn),
            _ => None,
        });
        let conn = dialled.last().expect("it is dialled");
        self.peers.handle_frame(now, conn, &Frame::bytes(FrameBody::Hello(hello))).expect("a proper hello");
        self.leader.wake();
    }

    /// Gossip shows this node, alive.
    pub(super) fn show_in_gossip(&mut self, n: u64) {
        let tags = [("funk.id", id(n).to_string()), ("meta.clusterName", "c".into())];
        let tags = tags.map(|(name, value)| (name.to_owned(), value)).into();
        let addr = SocketAddr::from(([127, 0, 0, 1], 1100));
        let (node, meta) = (format!("n{n}").into(), encode_tags(&tags));
        let alive = Alive { incarnation: 1, node, addr, meta, versions: VERSIONS };
        self.gossip.handle_datagram(self.now, addr, &Packet::Alive(alive).encode());
    }

    /// An entry with these operations is applied.
    pub(super) fn apply(&mut self, ops: impl IntoIterator<Item = Op>) {
        let index = LogIndex(self.state.applied.0 + 100);
        self.state.apply(index, command(ops));
        self.leader.handle_applied(index);
        self.leader.wake();
    }

    /// This member owns all shards.
    pub(super) fn give_all(&mut self, n: u64) {
        let seen = self.state.applied.0;
        self.apply([Op::Owned(transfer(seen, n, &[0, 1, 2, 3]))]);
    }

    pub(super) fn join(&mut self, record: &MemberRecord) {
        let member = Member::parse(record).expect("a proper record");
        self.act(|leader, facts| leader.handle_join(facts, member, record.answered));
    }

    pub(super) fn leave(&mut self, n: u64) {
        self.act(|leader, facts| leader.handle_leave(facts, node(n)));
    }

    /// Begins an operation; how it ended, if it ended at once.
    pub(super) fn begin(&mut self, target: Target) -> Option<Outcome> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.act(|leader, facts| leader.begin_operation(facts, request, target));
        self.outputs().into_iter().find_map(|output| match output {
            LeaderOutput::Done(id, outcome) if id == request => Some(outcome),
            _ => None,
        })
    }

    /// What the leader wanted since the last call.
    pub(super) fn outputs(&mut self) -> Vec<LeaderOutput> {
        self.settle();
        std::mem::take(&mut self.outputs)
    }

    /// One round of its duties, if one is due, and what the leader wants then.
    pub(super) fn round(&mut self) -> Vec<LeaderOutput> {
        if self.leader.begin_round(self.now, self.oldest_write) {
            for duty in 0..Leader::DUTIES {
                self.act(|leader, facts| leader.do_duty(duty, facts));
            }
        }
        self.outputs()
    }

    /// What one round proposes.
    pub(super) fn proposed(&mut self) -> Vec<Op> {
        let proposals = self.round().into_iter().filter_map(|output| match output {
            LeaderOutput::Propose(ops) => Some(ops),
            _ => None,
        });
        proposals.flatten().collect()
    }

    /// Who is refused in one round, and for which reason.
    pub(super) fn refused(&mut self) -> Vec<(RaftId, u32)> {
        let refusals = self.round().into_iter().filter_map(|output| match output {
            LeaderOutput::Tell(to, body) => match *body {
                FrameBody::JoinRefused(refused) => Some((to.id, refused.reason)),
                _ => None,
            },
            _ => None,
        });
        refusals.collect()
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            now: self.now,
            me: node(1),
            config: &self.config,
            state: &self.state,
            quorum: self.quorum.clone(),
            oldest_write: self.oldest_write,
            leases: &self.leases,
            peers: &self.peers,
            evidence: &self.evidence,
            gossip: &self.gossip,
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Leader, &Facts<'_>)) {
        let mut leader = std::mem::take(&mut self.leader);
        act(&mut leader, &self.facts());
        self.leader = leader;
        self.settle();
    }

    /// Consensus takes what is proposed, and applies nothing yet.
    fn settle(&mut self) {
        while let Some(output) = self.leader.poll_output() {
            if let LeaderOutput::Propose(_) = output {
                if self.refuse_proposals {
                    self.leader.handle_refused(self.now);
                } else {
                    self.leader.handle_proposed(LogIndex(self.state.applied.0 + 50));
                }
            }
            self.outputs.push(output);
        }
    }
}
