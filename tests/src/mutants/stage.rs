//! One node, and what it says to peers that a scenario speaks for.

use std::net::SocketAddr;
use std::time::Duration;

use funk_proto::id::ConnId;
use funk_proto::io::StreamKind;
use funk_proto::version::Versions;
use funk_proto::wire::cluster::{
    BootName, Carried, Carry, Frame, FrameBody, Hello, MemberRecord, Place, REASON_REMOVED, Refused, Release, RingKeys,
    UserEntry, WantRing,
};
use funk_proto::wire::raft::{RaftKind, RaftMessage};
use funk_proto::{Event, Input, Misbehaviour, Node, NodeConfig, Output, Recovered, Seed, Timestamp, Token};

/// When a stage begins.
pub(super) const NOW: Timestamp = Timestamp::from_millis(5_000);

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
pub(super) fn forgeries(own: BootName) -> Vec<(&'static str, FrameBody)> {
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
        ("question for the gossip keys", FrameBody::WantRing(WantRing {})),
        ("gossip keyring", FrameBody::Ring(RingKeys { keys: vec![vec![9; 32].into()] })),
        ("place of the leader", FrameBody::LeaderAt(Place { id: own.id, raft: address(9, 2).to_string() })),
    ]
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], port))
}

/// A node's hello, from where it says it listens.
pub(super) fn hello(n: u64, boot: u64, host: u8) -> Hello {
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
pub(super) fn record(boot: u64, host: u8) -> MemberRecord {
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
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) now: Timestamp,
    accepted: u64,
    dialled: Vec<(ConnId, SocketAddr)>,
    /// Writes that are not stable yet, while the disk hangs.
    pub(super) hanging: Option<Vec<Token>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { node: alone(), now: NOW, accepted: 0, dialled: Vec::new(), hanging: None }
    }

    /// A leader that let node 2 in; what `then` finds.
    pub(super) fn with_member(then: impl FnOnce(Self) -> Option<String>) -> Option<String> {
        let mut stage = Self::new();
        stage.admit().or_else(|| then(stage))
    }

    pub(super) fn own(&self) -> BootName {
        let own = self.node.inspect();
        BootName { id: own.id().get(), boot: own.boot().get() }
    }

    pub(super) fn feed(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(self.now, input);
        self.drain()
    }

    /// What the node says.
    pub(super) fn drain(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match &output {
                Output::Persist(persist) => match &mut self.hanging {
                    Some(tokens) => tokens.push(persist.token),
                    None => self.node.handle(self.now, Input::Persisted(persist.token)),
                },
                Output::Dial { conn, to, .. } => self.dialled.push((*conn, *to)),
                _ => {}
            }
            outputs.push(output);
        }
        outputs
    }

    pub(super) fn say(&mut self, conn: ConnId, body: FrameBody) -> Vec<Output> {
        self.feed(Input::Message { conn, channel: StreamKind::Cluster, bytes: Frame::bytes(body) })
    }

    pub(super) fn accept(&mut self) -> ConnId {
        self.accepted += 1;
        ConnId::accepted(self.accepted)
    }

    /// The last stream that was dialled to this host.
    pub(super) fn dialled(&self, host: u8) -> Option<ConnId> {
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
    pub(super) fn forge(&mut self, conn: ConnId) -> Option<String> {
        forgeries(self.own()).into_iter().find_map(|(kind, body)| self.unless_refused(conn, kind, body))
    }

    /// Sends a frame; tells if it is not refused for want of a right.
    pub(super) fn unless_refused(&mut self, conn: ConnId, kind: &'static str, body: FrameBody) -> Option<String> {
        let outputs = self.say(conn, body);
        let what = Misbehaviour::Unauthorized(kind);
        let is_refused = outputs.contains(&Output::Event(Event::PeerMisbehaved { what }));
        (!is_refused).then(|| format!("{kind}: not refused"))
    }
}
