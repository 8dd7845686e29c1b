//! What a node must not take from whoever comes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use funk_proto::id::{BootId, ConnId, LogIndex, RaftId, Term};
use funk_proto::io::Channel;
use funk_proto::liveness::{Liveness, LivenessOutput, MemberView};
use funk_proto::version::Versions;
use funk_proto::wire::cluster::{
    BootName, Carried, Carry, Frame, FrameBody, Hello, MemberRecord, REASON_REMOVED, Refused, Release, UserEntry,
};
use funk_proto::wire::liveness::Grant;
use funk_proto::wire::raft::{RaftKind, RaftMessage};
use funk_proto::{
    ClusterTiming, Event, Input, Misbehaviour, Node, NodeConfig, Output, Recovered, Seed, Timestamp, Timing,
};

const NOW: Timestamp = Timestamp::from_millis(5_000);

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("not zero")
}

/// A grant of an hour, in a cluster whose lease is not an hour.
pub(crate) fn long_grant() -> Option<String> {
    let (timing, hour) = (Timing::default(), Duration::from_secs(3600));
    let mut member = Liveness::new(id(2), BootId::new(2).expect("not zero"), timing);
    let Timing { lease, drift_ppm, .. } = timing;
    member.set_cluster_timing(ClusterTiming { lease, lease_min: lease, lease_max: lease, drift_ppm });
    member.handle_heartbeat(NOW, id(1), 1, Term(1), (hour, timing.drift_ppm));
    let Some(LivenessOutput::Send { counter, .. }) = member.poll_output() else { return Some("no ack".into()) };
    member.handle_grant(id(1), Grant { echo: counter, length: hour });
    let lease = member.lease_until() - NOW;
    (lease > timing.lease).then(|| format!("a lease of {lease:?} in a cluster whose lease is {:?}", timing.lease))
}

/// A datagram with a counter after which there is hardly any.
pub(crate) fn spent_counter() -> Option<String> {
    let mut member = Liveness::new(id(2), BootId::new(2).expect("not zero"), Timing::default());
    let boot = BootId::new(1).expect("not zero");
    member.admit(id(1), boot, 1);
    member.admit(id(1), boot, u64::MAX - 1);
    (!member.admit(id(1), boot, 2)).then(|| "after one datagram nothing is heard of its sender any more".into())
}

/// A member acks a hash that is not the leader's.
pub(crate) fn diverged_member() -> Option<String> {
    let mut leader = Liveness::new(id(1), BootId::new(1).expect("not zero"), Timing::default());
    leader.lead(NOW, Term(1));
    let boot = BootId::new(2).expect("not zero");
    let views = [MemberView { id: id(2), boot: Some(boot), floor: LogIndex(0) }];
    leader.set_members(NOW, &views, [id(1), id(2)].into(), BTreeSet::new());
    leader.set_applied(LogIndex(5), 50);
    leader.compare_applied(NOW, id(2), boot, (LogIndex(5), 51));
    (!leader.differs(id(2))).then(|| "a member that applied other entries goes on".into())
}

/// A node that began a cluster, alone.
fn alone() -> Node {
    let (name, cluster) = ("n1".parse().expect("a name"), "c".parse().expect("a name"));
    let mut config = NodeConfig::new(name, cluster, address(1, 1), address(1, 2), address(1, 3));
    config.bootstrap = true;
    let mut node = Node::new(config, Recovered::default(), Seed::from_u64(1), Timestamp::ZERO).expect("a proper node");
    for ms in 0..5_000 {
        let now = Timestamp::from_millis(ms);
        node.handle(now, Input::Timeout);
        while let Some(output) = node.poll_output() {
            if let Output::Persist(persist) = output {
                node.handle(now, Input::Persisted(persist.token));
            }
        }
    }
    node
}

/// The frames that nobody but certain members may send, as a stranger sends them about the node `own`.
fn forgeries(own: BootName) -> Vec<(&'static str, FrameBody)> {
    let refused = Refused { reason: REASON_REMOVED, boot: own.boot, ..Refused::default() };
    vec![
        ("Raft message", FrameBody::Raft(RaftMessage { kind: RaftKind::Vote.into(), term: 99, ..Default::default() })),
        ("proposal", FrameBody::Propose(UserEntry::default())),
        ("leave", FrameBody::Leave(own)),
        ("farewell", FrameBody::Farewell(own)),
        ("refusal to join", FrameBody::JoinRefused(refused)),
        ("release", FrameBody::Release(Release { id: 9, boot: 9, ..Default::default() })),
        ("member update", FrameBody::Update(MemberRecord { id: 9, boot: 9, ..Default::default() })),
        ("state of a shard", FrameBody::Carry(Carry::default())),
        ("answer", FrameBody::Carried(Carried::default())),
        ("answer", FrameBody::ProposeRefused(UserEntry::default())),
        ("evidence", FrameBody::Gone(own)),
    ]
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], port))
}

/// A node's hello, from where it says it listens.
fn hello(n: u64, boot: u64, host: u8) -> Hello {
    Hello {
        cluster_name: "c".into(),
        id: n,
        boot,
        name: format!("n{n}"),
        raft: address(host, 2).to_string(),
        liveness: address(host, 3).to_string(),
        key: vec![9; 16].into(),
        oldest: Versions::OURS.oldest,
        newest: Versions::OURS.newest,
        ..Hello::default()
    }
}

/// Node 2's request to join.
fn record(boot: u64, host: u8) -> MemberRecord {
    MemberRecord {
        id: 2,
        boot,
        name: "n2".into(),
        serf: address(host, 1).to_string(),
        raft: address(host, 2).to_string(),
        liveness: address(host, 3).to_string(),
        weight: 1,
        ..Default::default()
    }
}

/// A leader, and what it says.
struct Stage {
    node: Node,
    now: Timestamp,
    accepted: u64,
    dialled: Vec<(ConnId, SocketAddr)>,
}

impl Stage {
    fn new() -> Self {
        Self { node: alone(), now: NOW, accepted: 0, dialled: Vec::new() }
    }

    /// A leader that let node 2 in; what `then` finds.
    fn with_member(then: impl FnOnce(Self) -> Option<String>) -> Option<String> {
        let mut stage = Self::new();
        stage.admit().or_else(|| then(stage))
    }

    fn own(&self) -> BootName {
        let own = self.node.inspect();
        BootName { id: own.id().get(), boot: own.boot().get() }
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(self.now, input);
        let mut outputs = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match &output {
                Output::Persist(persist) => self.node.handle(self.now, Input::Persisted(persist.token)),
                Output::Dial { conn, to, .. } => self.dialled.push((*conn, *to)),
                _ => {}
            }
            outputs.push(output);
        }
        outputs
    }

    fn say(&mut self, conn: ConnId, body: FrameBody) -> Vec<Output> {
        self.feed(Input::Message { conn, channel: Channel::Cluster, bytes: Frame::bytes(body) })
    }

    fn accept(&mut self) -> ConnId {
        self.accepted += 1;
        ConnId::accepted(self.accepted)
    }

    /// The last stream that was dialled to this host.
    fn dialled(&self, host: u8) -> Option<ConnId> {
        self.dialled.iter().rev().find(|(_, to)| *to == address(host, 2)).map(|&(conn, _)| conn)
    }

    /// Node 2 joins from host 2, and is let in.
    fn admit(&mut self) -> Option<String> {
        let conn = self.accept();
        self.say(conn, FrameBody::Hello(hello(2, 102, 2)));
        self.say(conn, FrameBody::Join(record(102, 2)));
        let Some(called) = self.dialled(2) else { return Some("who asks to join is not dialled".into()) };
        self.say(called, FrameBody::Hello(hello(2, 102, 2)));
        for _ in 0..50 {
            self.now = self.now + Duration::from_millis(1);
            self.feed(Input::Timeout);
        }
        let is_in = self.node.status().members.iter().any(|member| member.name.as_str() == "n2");
        (!is_in).then(|| "who was reached is not let in".into())
    }

    /// Sends every kind of frame that is a member's to send; tells the first that is not refused for want of a right.
    fn forge(&mut self, conn: ConnId) -> Option<String> {
        let own = self.own();
        forgeries(own).into_iter().find_map(|(kind, body)| {
            let outputs = self.say(conn, body);
            let what = Misbehaviour::Unauthorized(kind);
            let is_refused = outputs.contains(&Output::Event(Event::PeerMisbehaved { what }));
            (!is_refused).then(|| format!("a {kind} of a stranger is not refused: {outputs:?}"))
        })
    }
}

/// A stranger introduces itself and sends every kind of frame that is a member's to send.
pub(crate) fn forged_frames() -> Option<String> {
    let mut stage = Stage::new();
    let conn = stage.accept();
    stage.say(conn, FrameBody::Hello(hello(9, 9, 9)));
    stage.forge(conn)
}

/// The same, in the name of a member.
pub(crate) fn claimed_name() -> Option<String> {
    Stage::with_member(|mut stage| {
        let conn = stage.accept();
        stage.say(conn, FrameBody::Hello(hello(2, 102, 2)));
        stage.forge(conn)
    })
}

/// The same, from another address at which the stranger answers in the member's name, while the member is where it is
/// listed.
pub(crate) fn claimed_place() -> Option<String> {
    Stage::with_member(|mut stage| {
        stage.now = stage.now + Duration::from_millis(200);
        let conn = stage.accept();
        stage.say(conn, FrameBody::Hello(hello(2, 202, 9)));
        stage.say(conn, FrameBody::Join(record(202, 9)));
        let Some(called) = stage.dialled(9) else { return Some("who asks to join is not looked for".into()) };
        stage.say(called, FrameBody::Hello(hello(2, 202, 9)));
        stage.forge(called)
    })
}
