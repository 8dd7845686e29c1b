//! Nodes on an in-memory network without sockets: what is sent arrives at
//! once, or never, and time moves by the nodes' timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::super::*;
use crate::wire::gossip::StreamDecoder;

pub(super) struct Net {
    pub(super) now: Timestamp,
    pub(super) nodes: BTreeMap<SocketAddr, Gossip>,
    /// Accepted streams: the dialer's address and stream.
    accepted: BTreeMap<ConnId, (SocketAddr, ConnId)>,
    /// What nodes put out that is not traffic.
    pub(super) seen: Vec<(SocketAddr, GossipOutput)>,
    pub(super) trace: String,
    /// Datagrams lost, in percent.
    pub(super) loss: u64,
    /// Pairs that cannot reach one another.
    pub(super) cut: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Whose datagrams all get lost, both ways.
    pub(super) deaf: BTreeSet<SocketAddr>,
    /// Stopped processes, since when, and the datagrams that wait for them.
    pub(super) paused: BTreeMap<SocketAddr, (Timestamp, Vec<(SocketAddr, Bytes)>)>,
    /// Each change of a member's status: when, who saw it, of whom, to what.
    pub(super) history: Vec<(Timestamp, SocketAddr, String, GossipStatus)>,
    shown: BTreeMap<(SocketAddr, String), GossipStatus>,
    pub(super) sent: BTreeMap<SocketAddr, (u64, u64)>,
    /// Datagrams and stream messages as they went out.
    pub(super) carried: Vec<Bytes>,
    pub(super) streamed: Vec<Bytes>,
    /// What becomes of a ring that is to be kept.
    pub(super) kept: Result<(), String>,
    rng: Rng,
}

pub(super) fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(super) fn config(name: &str, port: u16, join: &[u16]) -> GossipConfig {
    let tags = [("meta.clusterName", "c"), ("ep.raft", "127.0.0.1:9"), ("funk.id", name)];
    GossipConfig {
        name: name.parse().unwrap(),
        cluster: "c".parse().unwrap(),
        addr: at(port),
        join: join.iter().map(|port| at(*port)).collect(),
        tags: tags.map(|(name, value)| (name.into(), value.into())).into(),
        timing: GossipTiming::default(),
        keys: None,
        looks: false,
    }
}

impl Net {
    pub(super) fn new() -> Self {
        Self::with_seed(1)
    }

    pub(super) fn with_seed(seed: u64) -> Self {
        Self {
            now: Timestamp::from_millis(1),
            nodes: BTreeMap::new(),
            accepted: BTreeMap::new(),
            seen: Vec::new(),
            trace: String::new(),
            loss: 0,
            cut: BTreeSet::new(),
            deaf: BTreeSet::new(),
            paused: BTreeMap::new(),
            history: Vec::new(),
            shown: BTreeMap::new(),
            sent: BTreeMap::new(),
            carried: Vec::new(),
            streamed: Vec::new(),
            kept: Ok(()),
            rng: Rng::new(Seed::from_u64(seed), Stream::Peers),
        }
    }

    pub(super) fn start(&mut self, config: &GossipConfig) {
        let seed = Seed::from_u64(self.rng.next_u64());
        self.shown.retain(|(observer, _), _| *observer != config.addr);
        self.nodes.insert(config.addr, Gossip::new(config.clone(), DialNumbers::new(0, 2), seed, self.now));
        self.settle();
    }

    /// Starts nodes 1 to `count`, each joining through the first.
    pub(super) fn start_many(&mut self, count: u16) {
        for port in 1..=count {
            self.start(&config(&format!("n{port}"), port, &[1]));
        }
    }

    pub(super) fn kill(&mut self, port: u16) {
        self.nodes.remove(&at(port));
    }

    pub(super) fn pause(&mut self, port: u16) {
        self.paused.insert(at(port), (self.now, Vec::new()));
    }

    /// A stopped process goes on: it sees how long it was stopped, then what waited, then its timers.
    pub(super) fn resume(&mut self, port: u16) {
        let (since, waiting) = self.paused.remove(&at(port)).unwrap();
        let now = self.now;
        self.node(port).handle_clock_gap(now, now - since);
        for (from, bytes) in waiting {
            self.node(port).handle_datagram(now, from, &bytes);
        }
        self.settle();
    }

    /// Parts nodes below this port from the others.
    pub(super) fn part(&mut self, below: u16) {
        let (low, high): (Vec<_>, Vec<_>) = self.nodes.keys().partition(|address| address.port() < below);
        for a in low {
            self.cut.extend(high.iter().map(|b| (a, *b)));
        }
    }

    pub(super) fn node(&mut self, port: u16) -> &mut Gossip {
        self.nodes.get_mut(&at(port)).unwrap()
    }

    fn reaches(&self, a: SocketAddr, b: SocketAddr) -> bool {
        !self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Carries out outputs until there are none.
    pub(super) fn settle(&mut self) {
        let mut dials: BTreeMap<(SocketAddr, ConnId), SocketAddr> = BTreeMap::new();
        loop {
            let mut outputs = VecDeque::new();
            for (from, node) in &mut self.nodes {
                outputs.extend(std::iter::from_fn(|| node.poll_output()).map(|output| (*from, output)));
            }
            if outputs.is_empty() {
                return;
            }
            for (from, output) in outputs {
                writeln!(self.trace, "{:?} {from} {output:?}", self.now).unwrap();
                match output {
                    GossipOutput::Datagram { to, bytes } => self.carry(from, to, bytes),
                    GossipOutput::Dial { conn, to } => {
                        dials.insert((from, conn), to);
                    }
                    GossipOutput::Message { conn, bytes } => self.deliver(from, conn, dials[&(from, conn)], bytes),
                    GossipOutput::Reply { conn, bytes } => {
                        self.streamed.push(bytes.clone());
                        let Some((to, conn)) = self.accepted.remove(&conn) else { continue };
                        if let Some(node) = self.nodes.get_mut(&to) {
                            node.handle_message(self.now, conn, bytes).unwrap();
                        }
                    }
                    GossipOutput::Close { conn } => {
                        if let Some((to, conn)) = self.accepted.remove(&conn)
                            && let Some(node) = self.nodes.get_mut(&to)
                        {
                            node.handle_closed(self.now, conn, CloseReason::Ended);
                        }
                    }
                    changed @ GossipOutput::RingChanged { .. } => {
                        self.seen.push((from, changed));
                        self.nodes.get_mut(&from).unwrap().handle_ring_kept(self.now, self.kept.clone());
                    }
                    GossipOutput::Changed(member) => {
                        self.record(from, &member);
                        self.seen.push((from, GossipOutput::Changed(member)));
                    }
                    other => self.seen.push((from, other)),
                }
            }
        }
    }

    fn record(&mut self, observer: SocketAddr, member: &GossipMember) {
        if self.shown.insert((observer, member.name.clone()), member.status) != Some(member.status) {
            self.history.push((self.now, observer, member.name.clone(), member.status));
        }
    }

    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let sent = self.sent.entry(from).or_default();
        *sent = (sent.0 + 1, sent.1 + bytes.len() as u64);
        self.carried.push(bytes.clone());
        let lost = self.rng.below(100) < self.loss || self.deaf.contains(&from) || self.deaf.contains(&to);
        if lost || !self.reaches(from, to) {
            return;
        }
        if let Some((_, waiting)) = self.paused.get_mut(&to) {
            waiting.push((from, bytes));
        } else if let Some(node) = self.nodes.get_mut(&to) {
            node.handle_datagram(self.now, from, &bytes);
        }
    }

    fn deliver(&mut self, from: SocketAddr, conn: ConnId, to: SocketAddr, bytes: Bytes) {
        self.streamed.push(bytes.clone());
        // What goes out is what a decoder finds in a stream.
        let mut decoder = StreamDecoder::new();
        decoder.push(&bytes);
        assert_eq!(decoder.next().unwrap(), Some(bytes.clone()));
        if !self.reaches(from, to) || self.paused.contains_key(&to) {
            return;
        }
        let Some(acceptor) = self.nodes.get_mut(&to) else {
            return self.nodes.get_mut(&from).unwrap().handle_closed(self.now, conn, CloseReason::Refused);
        };
        let accepted = ConnId::accepted(u64::from(from.port()) << 32 | self.trace.len() as u64);
        self.accepted.insert(accepted, (from, conn));
        acceptor.handle_message(self.now, accepted, bytes).unwrap();
    }

    /// Fires timers in order for this long.
    pub(super) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let running = self.nodes.iter().filter(|(address, _)| !self.paused.contains_key(address));
            let next = running.filter_map(|(_, node)| node.poll_timeout()).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            for (address, node) in &mut self.nodes {
                if !self.paused.contains_key(address) && node.poll_timeout().is_some_and(|due| due <= self.now) {
                    node.handle_timeout(self.now);
                    assert!(node.poll_timeout() > Some(self.now), "a timer that was handled is due again");
                }
            }
            self.settle();
        }
    }

    pub(super) fn run_secs(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// Runs until all running nodes show this, and says how long it took.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Net) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now - start < limit, "not within {limit:?}:\n{}", self.views());
            self.run(Duration::from_millis(10));
        }
        self.now - start
    }

    pub(super) fn view(&self, port: u16) -> String {
        let show = |member: GossipMember| format!("{}={}", member.name, member.status.as_str());
        self.nodes[&at(port)].members().map(show).collect::<Vec<_>>().join(" ")
    }

    fn views(&self) -> String {
        self.nodes.keys().map(|address| format!("{address}: {}\n", self.view(address.port()))).collect()
    }

    pub(super) fn status(&self, port: u16, of: &str) -> GossipStatus {
        self.nodes[&at(port)].members().find(|member| member.name == of).map_or(GossipStatus::None, |m| m.status)
    }

    /// Whether all running nodes show this member so.
    pub(super) fn all_show(&self, of: &str, status: GossipStatus) -> bool {
        self.nodes.keys().all(|address| self.status(address.port(), of) == status)
    }

    /// Whether all running nodes show each other alive, and nobody else.
    pub(super) fn agreed(&self) -> bool {
        let alive: BTreeSet<String> =
            self.nodes.values().map(|node| String::from_utf8_lossy(&node.table.own).into_owned()).collect();
        self.nodes.values().all(|node| {
            let shown = node.members().filter(|member| member.status == GossipStatus::Alive);
            shown.map(|member| member.name).collect::<BTreeSet<_>>() == alive
        })
    }

    /// Who was shown as failed since, though it ran all the time.
    pub(super) fn failures_since(&self, since: Timestamp) -> Vec<&str> {
        let failures =
            self.history.iter().filter(|(when, .., status)| *when >= since && *status == GossipStatus::Failed);
        failures.map(|(_, _, name, _)| name.as_str()).collect()
    }
}
