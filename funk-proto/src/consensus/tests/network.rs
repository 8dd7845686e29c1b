//! An in-memory network: messages and writes take time, heartbeats go beside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;

use crate::consensus::{Consensus, ConsensusConfig, ConsensusOutput, RaftRole};
use crate::id::{LogIndex, RaftId, Term};
use crate::io::Token;
use crate::limits::FRAME_BYTES_MAX;
use crate::rng::Seed;
use crate::time::Timestamp;
use crate::wire::raft::RaftMessage;

pub fn id(n: u64) -> RaftId {
    RaftId::new(n).unwrap()
}

pub fn ids(range: impl IntoIterator<Item = u64>) -> BTreeSet<RaftId> {
    range.into_iter().map(id).collect()
}

#[derive(Clone)]
enum Happening {
    Message { from: u64, to: u64, bytes: Bytes },
    Persisted { at: u64, token: Token },
    Heartbeat { from: u64, to: u64, term: Term, commit: LogIndex },
    Ack { from: u64, to: u64, term: Term },
    Beat,
}

pub struct Peer {
    pub machine: Consensus,
    /// The applied state: all non-empty entries in order.
    pub state: Vec<Bytes>,
    pub applied: Vec<LogIndex>,
    pub installed: usize,
    pub campaigns: usize,
    pub held: Vec<Token>,
    pub sent: Vec<(RaftId, RaftMessage)>,
}

pub struct Net {
    pub now: Timestamp,
    pub peers: BTreeMap<u64, Peer>,
    pub dead: BTreeSet<u64>,
    /// Peers whose writes never finish.
    pub stuck: BTreeSet<u64>,
    /// No heartbeats while set.
    pub silent: bool,
    pub messages_seen: usize,
    pub trace: Vec<u8>,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    sequence: u64,
    seed: u64,
}

impl Peer {
    /// Entries come in order and without a gap but for a snapshot.
    pub fn note_applied(&mut self, output: &ConsensusOutput) {
        let last = self.applied.last().copied().unwrap_or_default();
        let index = match output {
            ConsensusOutput::Apply { index, .. } | ConsensusOutput::ConfChanged { index } => {
                assert!(last.0 == 0 || last.0 + 1 == index.0, "applied {index} after {last}");
                index
            }
            ConsensusOutput::InstallSnapshot { index, .. } => {
                assert!(*index > last, "installed {index} after {last}");
                index
            }
            _ => return,
        };
        self.applied.push(*index);
    }
}

const LATENCY: Duration = Duration::from_micros(500);
const WRITE: Duration = Duration::from_micros(800);
const BEAT: Duration = Duration::from_millis(20);

pub fn encode_state(state: &[Bytes]) -> Bytes {
    let mut out = Vec::new();
    for entry in state {
        out.put_u32(u32::try_from(entry.len()).unwrap());
        out.put_slice(entry);
    }
    out.into()
}

fn decode_state(mut bytes: Bytes) -> Vec<Bytes> {
    let mut state = Vec::new();
    while bytes.has_remaining() {
        let length = bytes.get_u32() as usize;
        state.push(bytes.split_to(length));
    }
    state
}

impl Net {
    /// Node 1 bootstraps; 2 to `nodes` are empty.
    pub fn new(nodes: u64, seed: u64, state: &[Bytes]) -> Net {
        let mut net = Net {
            now: Timestamp::ZERO,
            peers: BTreeMap::new(),
            dead: BTreeSet::new(),
            stuck: BTreeSet::new(),
            silent: false,
            messages_seen: 0,
            trace: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            seed,
        };
        for n in 1..=nodes {
            net.add(n, (n == 1).then(|| encode_state(state)));
        }
        net.peers.get_mut(&1).unwrap().state = state.to_vec();
        net.after(BEAT, Happening::Beat);
        net
    }

    /// A cluster in which all of `nodes` vote, led by node 1.
    pub fn voters(nodes: u64, seed: u64) -> Net {
        let mut net = Net::new(nodes, seed, &[]);
        net.until("a leader", |net| net.leader() == Some(1));
        if nodes > 1 {
            net.change(1..=1, 2..=nodes);
            net.change(1..=nodes, []);
        }
        net
    }

    pub fn add(&mut self, n: u64, bootstrap: Option<Bytes>) {
        let seed = Seed::from_u64(self.seed ^ (n << 32));
        let machine =
            Consensus::new(ConsensusConfig { id: id(n), bootstrap, kept_lease: Duration::ZERO }, seed, self.now);
        let peer = Peer {
            machine,
            state: Vec::new(),
            applied: Vec::new(),
            installed: 0,
            campaigns: 0,
            held: Vec::new(),
            sent: Vec::new(),
        };
        self.peers.insert(n, peer);
        self.drain(n);
    }

    pub fn machine(&mut self, n: u64) -> &mut Consensus {
        &mut self.peers.get_mut(&n).unwrap().machine
    }

    /// The live leader of the newest term.
    pub fn leader(&self) -> Option<u64> {
        let leads = |(n, peer): &(&u64, &Peer)| !self.dead.contains(n) && peer.machine.role() == RaftRole::Leader;
        self.peers.iter().filter(leads).max_by_key(|(_, peer)| peer.machine.term()).map(|(n, _)| *n)
    }

    pub fn change(&mut self, voters: impl IntoIterator<Item = u64>, learners: impl IntoIterator<Item = u64>) {
        let (voters, learners) = (ids(voters), ids(learners));
        self.until("a leader that may change members", |net| {
            net.leader().is_some_and(|leader| !net.peers[&leader].machine.conf_change_pending())
        });
        let leader = self.leader().unwrap();
        let now = self.now;
        self.machine(leader).change_members(now, &voters, &learners).unwrap();
        self.drain(leader);
        self.until("the new voters", |net| {
            net.leader().is_some_and(|leader| net.peers[&leader].machine.voters() == voters)
        });
        let (leader, now) = (self.leader().unwrap(), self.now);
        // A change of learners alone ends by itself, and says so.
        let _ = self.machine(leader).leave_joint(now);
        self.drain(leader);
        self.until("the change in force everywhere", |net| {
            voters.iter().chain(&learners).filter(|member| !net.dead.contains(&member.get())).all(|member| {
                let machine = &net.peers[&member.get()].machine;
                machine.voters() == voters && machine.learners() == learners && !machine.is_joint()
            })
        });
    }

    pub fn propose(&mut self, data: impl Into<Bytes>) -> LogIndex {
        let leader = self.leader().expect("a leader to propose to");
        let now = self.now;
        let index = self.machine(leader).propose(now, data.into()).unwrap();
        self.drain(leader);
        index
    }

    /// Runs until every live node of `nodes` has the leader's state.
    pub fn converge(&mut self, nodes: impl IntoIterator<Item = u64>) {
        let nodes: Vec<u64> = nodes.into_iter().collect();
        self.until("the same state on all", |net| {
            let Some(leader) = net.leader() else { return false };
            let leader = &net.peers[&leader];
            leader.machine.commit() == leader.machine.last_index()
                && leader.machine.applied() == leader.machine.commit()
                && nodes.iter().all(|n| net.peers[n].machine.applied() == leader.machine.applied())
        });
        let leader = self.leader().unwrap();
        for n in nodes {
            assert!(self.peers[&n].state == self.peers[&leader].state, "node {n} differs from leader {leader}");
        }
    }

    pub fn until(&mut self, what: &str, done: impl Fn(&Net) -> bool) {
        for _ in 0..200_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        let machines: Vec<_> = self.peers.values().map(|peer| &peer.machine).collect();
        panic!("never came: {what}; {machines:#?}");
    }

    pub fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.step();
        }
    }

    fn after(&mut self, delay: Duration, what: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), what);
    }

    fn step(&mut self) {
        let alive = |n: &u64| !self.dead.contains(n);
        let due = |(n, peer): (&u64, &Peer)| peer.machine.poll_timeout().filter(|_| alive(n)).map(|at| (at, *n));
        let timer = self.peers.iter().filter_map(due).min();
        let next = self.queue.first_key_value().map(|(key, _)| *key).expect("the beat never ends");
        if let Some((at, n)) = timer.filter(|(at, _)| *at <= next.0) {
            self.now = self.now.max(at);
            let now = self.now;
            self.machine(n).handle_timeout(now);
            assert!(self.machine(n).poll_timeout() != Some(at), "the timer of node {n} does not move");
            self.drain(n);
            return;
        }
        let what = self.queue.remove(&next).unwrap();
        self.now = self.now.max(next.0);
        self.happen(what);
    }

    fn happen(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::Message { from, to, bytes } => {
                if self.dead.contains(&to) || self.dead.contains(&from) || !self.peers.contains_key(&to) {
                    return;
                }
                self.messages_seen += 1;
                let message = RaftMessage::decode(bytes).unwrap();
                if let Err(error) = self.machine(to).handle_message(now, id(from), message.clone()) {
                    panic!("{from} to {to}: {error} {message:?}");
                }
                self.drain(to);
            }
            Happening::Persisted { at, token } => {
                if self.stuck.contains(&at) {
                    self.peers.get_mut(&at).unwrap().held.push(token);
                } else {
                    self.machine(at).handle_persisted(now, token);
                    self.drain(at);
                }
            }
            Happening::Heartbeat { from, to, term, commit } => {
                if !self.dead.contains(&to) && self.machine(to).handle_heartbeat(now, id(from), term, commit).unwrap() {
                    self.after(LATENCY, Happening::Ack { from: to, to: from, term });
                    self.drain(to);
                }
            }
            Happening::Ack { from, to, term } => {
                if !self.dead.contains(&to) {
                    self.machine(to).handle_heartbeat_ack(now, id(from), term);
                    self.drain(to);
                }
            }
            Happening::Beat => self.beat(),
        }
    }

    fn beat(&mut self) {
        self.after(BEAT, Happening::Beat);
        if self.silent {
            return;
        }
        let mut beats = Vec::new();
        for (&from, peer) in self.peers.iter().filter(|(n, _)| !self.dead.contains(n)) {
            if peer.machine.role() != RaftRole::Leader {
                continue;
            }
            let mut members = peer.machine.voters();
            members.extend(peer.machine.outgoing_voters());
            members.extend(peer.machine.learners());
            for to in members.into_iter().map(RaftId::get).filter(|&to| to != from && self.peers.contains_key(&to)) {
                let (term, commit) = (peer.machine.term(), peer.machine.heartbeat_commit(id(to)));
                beats.push(Happening::Heartbeat { from, to, term, commit });
            }
        }
        beats.into_iter().for_each(|beat| self.after(LATENCY, beat));
    }

    pub fn drain(&mut self, n: u64) {
        while let Some(output) = self.machine(n).poll_output() {
            self.trace.extend(format!("{:?} {n} {output:?}\n", self.now).bytes());
            self.execute(n, output);
        }
    }

    fn execute(&mut self, n: u64, output: ConsensusOutput) {
        let now = self.now;
        let peer = self.peers.get_mut(&n).unwrap();
        peer.note_applied(&output);
        match output {
            ConsensusOutput::Send { to, message } => {
                peer.sent.push((to, message.clone()));
                let bytes = Bytes::from(message.encode_to_vec());
                assert!(bytes.len() + 64 < FRAME_BYTES_MAX, "a message of {} bytes", bytes.len());
                self.after(LATENCY, Happening::Message { from: n, to: to.get(), bytes });
            }
            ConsensusOutput::Persist(persist) => {
                self.after(WRITE, Happening::Persisted { at: n, token: persist.token });
            }
            ConsensusOutput::Apply { data, .. } => peer.state.extend(Some(data).filter(|data| !data.is_empty())),
            ConsensusOutput::ConfChanged { .. } => {}
            ConsensusOutput::InstallSnapshot { state, .. } => {
                peer.installed += 1;
                peer.state = decode_state(state);
            }
            ConsensusOutput::LeaseKept => {}
            ConsensusOutput::SnapshotWanted => {
                let state = encode_state(&peer.state);
                let index = peer.machine.applied();
                peer.machine.provide_snapshot(now, index, state);
            }
            ConsensusOutput::Role { role, .. } => peer.campaigns += usize::from(role == RaftRole::Candidate),
        }
    }

    /// Puts a peer's writes on hold, or lets all that was held through.
    pub fn release(&mut self, n: u64) {
        self.stuck.remove(&n);
        let now = self.now;
        for token in std::mem::take(&mut self.peers.get_mut(&n).unwrap().held) {
            self.machine(n).handle_persisted(now, token);
        }
        self.drain(n);
    }
}
