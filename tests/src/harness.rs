//! A whole cluster in one thread: nodes, a virtual network and a virtual disk,
//! moved from event to event. Everything is drawn from one seed, and a rolling
//! hash over all that the nodes said shows that the same seed gives the same bytes.

mod checks;
mod disk;
mod streams;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use disk::Disk;
use funk_proto::id::ConnId;
use funk_proto::rng::{Rng, Stream};
use funk_proto::{
    Channel, DatagramSocket, Event, Input, LastWord, Node, NodeConfig, Output, Recovered, Request, Seed, Status,
    Timestamp,
};
use siphasher::sip::SipHasher13;
use streams::End;

/// What is to happen, and to whom.
#[derive(Debug)]
enum Happening {
    Input(Input),
    Wake,
    /// A write is stable.
    Stable,
}

/// One virtual host.
#[derive(Debug)]
struct Host {
    node: Option<Node>,
    config: NodeConfig,
    started: Timestamp,
    /// Processes started here so far.
    boots: u64,
    /// What outlasts the process, if it has a data directory.
    disk: Option<Disk>,
    /// No write becomes stable any more.
    disk_hangs: bool,
    /// Set while the process is stopped: what reaches it waits.
    paused: Option<(Timestamp, Vec<Happening>)>,
    wake_at: Option<Timestamp>,
    accepted: u64,
    streams: BTreeMap<ConnId, End>,
    events: Vec<Event>,
}

/// Virtual time, network and disks.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    happenings: BTreeMap<u64, (usize, u64, Happening)>,
    sequence: u64,
    hosts: Vec<Host>,
    hash: SipHasher13,
    seed: u64,
    /// Pairs of hosts that cannot reach one another.
    pub cut: BTreeSet<(usize, usize)>,
    /// Datagrams lost, in percent.
    pub loss: u64,
    /// Whether each step is checked for two servers of one shard, which takes most of the time.
    pub check: bool,
    /// Every packet and every write takes the same time.
    pub steady: bool,
    /// All that the nodes said, when it is to be kept.
    pub record: Option<Vec<Said>>,
    /// Whether all that the nodes say goes into the hash, which takes longer than saying it.
    pub hashed: bool,
    /// Inputs that the nodes handled so far.
    pub inputs: u64,
}

/// One thing that a node said.
#[derive(Clone, Debug)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// The host.
    pub from: usize,
    /// To which host a message goes, if there is one at its address.
    pub to: Option<usize>,
    /// What the stream carries, for a message on one.
    pub channel: Option<Channel>,
    /// The thing.
    pub output: Output,
}

const NAMES: [&str; 12] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11"];

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Timestamp::from_millis(1),
            rng: Rng::new(Seed::from_u64(seed), Stream::Peers),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            hosts: Vec::new(),
            hash: SipHasher13::new(),
            seed,
            cut: BTreeSet::new(),
            loss: 0,
            check: true,
            steady: false,
            record: None,
            hashed: true,
            inputs: 0,
        }
    }

    /// The address of one of a host's sockets.
    pub fn address(host: usize, socket: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, u8::try_from(host + 1).expect("few hosts")], socket))
    }

    /// Starts a host: the first bootstraps, the others join through it.
    pub fn start(&mut self, shards: u32) -> usize {
        self.start_with(|config| config.shards = shards)
    }

    /// Starts a host with a changed configuration.
    pub fn start_with(&mut self, change: impl FnOnce(&mut NodeConfig)) -> usize {
        let at = self.hosts.len();
        let address = |socket| Self::address(at, socket);
        let (name, cluster) = (NAMES[at].parse().expect("legal"), "sim".parse().expect("legal"));
        let mut config = NodeConfig::new(name, cluster, address(1), address(2), address(3));
        config.bootstrap = at == 0;
        config.join = if at == 0 { vec![] } else { vec![Self::address(0, 1)] };
        change(&mut config);
        let accepted = 0;
        let (streams, events) = (BTreeMap::new(), Vec::new());
        let started = self.now;
        let disk = config.durable.then(Disk::default);
        let (boots, disk_hangs, paused, wake_at) = (0, false, None, None);
        self.hosts.push(Host {
            node: None,
            config,
            started,
            boots,
            disk,
            disk_hangs,
            paused,
            wake_at,
            accepted,
            streams,
            events,
        });
        self.boot(at);
        at
    }

    fn boot(&mut self, at: usize) {
        let seed = Seed::from_u64(self.seed ^ self.rng.next_u64());
        let host = &mut self.hosts[at];
        (host.started, host.accepted, host.wake_at) = (self.now, 0, None);
        host.boots += 1;
        let recovered = host.disk.as_mut().map_or_else(Recovered::default, Disk::recover);
        let node = Node::new(host.config.clone(), recovered, seed, Timestamp::ZERO);
        host.node = Some(node.expect("the configuration is legal"));
        self.drain(at);
    }

    /// Starts a killed host's process anew, joining through any of the others.
    pub fn restart(&mut self, at: usize) {
        self.hosts[at].config.bootstrap = false;
        self.hosts[at].config.join =
            (0..self.hosts.len()).filter(|&host| host != at).map(|host| Self::address(host, 1)).collect();
        self.boot(at);
    }

    /// Ends a host's process; the kernel closes its streams.
    pub fn kill(&mut self, at: usize) {
        self.hosts[at].node = None;
        self.hosts[at].paused = None;
        self.reset_all(at);
    }

    /// Ends a host's process in such a way that its peers are told: by itself, or
    /// by another process that waited for its end.
    pub fn end_with_last_words(&mut self, at: usize, reaped: bool) {
        let words = self.last_words(at);
        self.kill(at);
        for word in words {
            self.send_word(at, word.to, if reaped { word.reaped } else { word.goodbye });
        }
    }

    /// What would tell a host's peers now that its process has ended.
    pub fn last_words(&self, at: usize) -> Vec<LastWord> {
        self.hosts[at].node.as_ref().expect("it runs").last_words()
    }

    /// Sends a datagram from a host's liveness socket, whether its process runs or not.
    pub fn send_word(&mut self, at: usize, to: SocketAddr, bytes: Bytes) {
        self.execute(at, Output::Datagram { socket: DatagramSocket::Liveness, to, bytes });
    }

    /// Starts a killed host's process again as it was started first, and joining
    /// through nobody: its data directory must do.
    pub fn resume_from_disk(&mut self, at: usize) {
        self.hosts[at].config.join.clear();
        self.boot(at);
    }

    /// From now on no write of a host becomes stable.
    pub fn hang_disk(&mut self, at: usize) {
        self.hosts[at].disk_hangs = true;
    }

    /// Takes a host's data directory away.
    pub fn lose_disk(&mut self, at: usize) {
        self.hosts[at].disk = Some(Disk::default());
    }

    /// Records that a host's disk would give back now, and the sum of their bytes.
    pub fn disk_use(&self, at: usize) -> (usize, usize) {
        self.hosts[at].disk.as_ref().map_or((0, 0), Disk::stable)
    }

    /// Stops a host's process; its sockets still take what comes.
    pub fn pause(&mut self, at: usize) {
        self.hosts[at].paused = Some((self.now, Vec::new()));
    }

    /// Lets a stopped process go on. It sees first that time has passed.
    pub fn resume(&mut self, at: usize) {
        let (since, waiting) = self.hosts[at].paused.take().expect("it is paused");
        self.feed(at, Input::ClockGap { gap: self.now - since });
        for happening in waiting {
            self.happen(at, happening);
        }
        self.feed(at, Input::Timeout);
    }

    /// A host's own clock.
    fn clock(&self, at: usize) -> Timestamp {
        Timestamp::ZERO + (self.now - self.hosts[at].started)
    }

    /// Hands a request to a host's node.
    pub fn request(&mut self, at: usize, request: Request) {
        let now = self.clock(at);
        let node = self.hosts[at].node.as_mut().expect("it runs");
        node.request(now, request).expect("the request is legal");
        self.drain(at);
    }

    /// Hands a request to a host's node, which may refuse it.
    pub fn try_request(&mut self, at: usize, request: Request) -> bool {
        let now = self.clock(at);
        let taken = self.hosts[at].node.as_mut().expect("it runs").request(now, request).is_ok();
        self.drain(at);
        taken
    }

    /// What a host's node says of itself.
    pub fn status(&self, at: usize) -> Status {
        self.hosts[at].node.as_ref().expect("it runs").status()
    }

    /// A host's node.
    pub fn node(&self, at: usize) -> &Node {
        self.hosts[at].node.as_ref().expect("it runs")
    }

    /// Hash over the replicated state of a host's node.
    pub fn state_hash(&self, at: usize) -> Option<u64> {
        self.hosts[at].node.as_ref().expect("it runs").state_hash()
    }

    /// What a host's node told its application so far.
    pub fn events(&self, at: usize) -> &[Event] {
        &self.hosts[at].events
    }

    /// The hosts whose process runs.
    pub fn running(&self) -> Vec<usize> {
        let up = |at: &usize| self.hosts[*at].node.is_some() && self.hosts[*at].paused.is_none();
        (0..self.hosts.len()).filter(up).collect()
    }

    /// Time since the world began.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The rolling hash over all that every node said.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    fn delay(&mut self) -> Duration {
        if self.steady {
            return Duration::from_micros(100);
        }
        self.rng.between(Duration::from_micros(40), Duration::from_micros(160))
    }

    fn later(&mut self, to: usize, happening: Happening) {
        let delay = self.delay();
        self.at(self.now + delay, to, happening);
    }

    fn at(&mut self, at: Timestamp, to: usize, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        let boot = self.hosts.get(to).map_or(0, |host| host.boots);
        self.happenings.insert(self.sequence, (to, boot, happening));
    }

    /// Runs until `done` says so or `limit` has passed; returns how long it took, if it was done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> Option<Duration> {
        let start = self.now;
        while self.now - start < limit {
            if done(self) {
                return Some(self.now - start);
            }
            let Some(Reverse((at, sequence))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            let (to, boot, happening) = self.happenings.remove(&sequence).expect("queued once");
            // Only datagrams reach a process that was started after they were sent.
            let datagram = matches!(happening, Happening::Input(Input::Datagram { .. }));
            if datagram || self.hosts.get(to).is_none_or(|host| host.boots == boot) {
                self.happen(to, happening);
            }
            if self.check {
                self.check_exclusive();
            }
        }
        done(self).then(|| self.now - start)
    }

    /// Lets time pass.
    pub fn run(&mut self, length: Duration) {
        let end = self.now + length;
        self.at(end, 0, Happening::Wake);
        self.run_until(length + Duration::from_secs(1), |world| world.now >= end);
    }

    fn happen(&mut self, to: usize, happening: Happening) {
        if let Some((_, waiting)) = &mut self.hosts[to].paused {
            waiting.push(happening);
            return;
        }
        match happening {
            Happening::Input(input) => self.feed(to, input),
            Happening::Stable => {
                if let Some(token) = self.hosts[to].disk.as_mut().and_then(Disk::sync_one) {
                    self.feed(to, Input::Persisted(token));
                }
            }
            Happening::Wake => {
                let due = self.hosts[to].node.as_ref().and_then(Node::poll_timeout);
                self.hosts[to].wake_at = None;
                if due.is_some_and(|due| due <= self.clock(to)) {
                    self.feed(to, Input::Timeout);
                } else {
                    self.set_alarm(to);
                }
            }
        }
    }

    fn feed(&mut self, at: usize, input: Input) {
        let now = self.clock(at);
        if let Some(node) = &mut self.hosts[at].node {
            node.handle(now, input);
            self.inputs += 1;
            self.drain(at);
        }
    }

    fn set_alarm(&mut self, at: usize) {
        let Some(due) = self.hosts[at].node.as_ref().and_then(Node::poll_timeout) else { return };
        let due = (self.hosts[at].started + (due - Timestamp::ZERO)).max(self.now + Duration::from_micros(1));
        if self.hosts[at].wake_at.is_none_or(|wake| due < wake) {
            self.hosts[at].wake_at = Some(due);
            self.at(due, at, Happening::Wake);
        }
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.hosts[at].node.as_mut().and_then(Node::poll_output) {
            if self.hashed {
                self.hash.write(format!("{} {at} {output:?}", self.now.as_nanos()).as_bytes());
            }
            self.keep(at, &output);
            self.execute(at, output);
        }
        self.set_alarm(at);
    }

    fn keep(&mut self, from: usize, output: &Output) {
        let (to, channel) = match output {
            Output::Message { conn, .. } | Output::Reply { conn, .. } => {
                let end = self.hosts[from].streams.get(conn);
                (end.map(|end| end.peer), end.map(|end| end.channel))
            }
            Output::Datagram { to, .. } => (self.host_at(*to), None),
            _ => (None, None),
        };
        let at = self.now;
        if let Some(record) = &mut self.record {
            record.push(Said { at, from, to, channel, output: output.clone() });
        }
    }

    /// A host's name.
    pub fn name(host: usize) -> &'static str {
        NAMES[host]
    }

    /// The end of a host's lease, if it has not run out.
    pub fn lease_left(&self, at: usize) -> Option<Duration> {
        let left = self.hosts[at].node.as_ref()?.lease_until() - self.clock(at);
        (!left.is_zero()).then_some(left)
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn execute(&mut self, at: usize, output: Output) {
        match output {
            Output::Datagram { socket, to, bytes } => {
                let Some(peer) = self.host_at(to) else { return };
                if self.reachable(at, peer) && self.rng.below(100) >= self.loss {
                    let from = Self::address(at, if socket == DatagramSocket::Gossip { 1 } else { 3 });
                    self.later(peer, Happening::Input(Input::Datagram { socket, from, bytes }));
                }
            }
            Output::Dial { conn, to, channel } => self.dial(at, conn, to, channel),
            Output::Message { conn, bytes } => self.send(at, conn, bytes),
            Output::Reply { conn, bytes } => {
                self.send(at, conn, bytes);
                self.hang_up(at, conn);
            }
            Output::Close { conn } => self.hang_up(at, conn),
            Output::Persist(_) if self.hosts[at].disk_hangs => {}
            Output::Persist(persist) => {
                let delay = if self.steady {
                    Duration::from_micros(100)
                } else {
                    self.rng.between(Duration::from_micros(50), Duration::from_micros(200))
                };
                if let Some(disk) = &mut self.hosts[at].disk {
                    disk.write(persist);
                    self.at(self.now + delay, at, Happening::Stable);
                } else {
                    self.at(self.now + delay, at, Happening::Input(Input::Persisted(persist.token)));
                }
            }
            Output::Drain { change, shards } => {
                self.later(at, Happening::Input(Input::Drained { change, shards }));
            }
            Output::StateWanted { change, shards } => {
                for shard in shards {
                    self.later(at, Happening::Input(Input::StateGiven { change, shard, state: None }));
                }
            }
            Output::StateReceived { .. } => {}
            Output::SnapshotWanted { index } => {
                self.later(at, Happening::Input(Input::SnapshotTaken { index, state: "user".into() }));
            }
            Output::SnapshotInstalled { .. } => {}
            Output::Event(event) => self.hosts[at].events.push(event),
        }
    }
}
