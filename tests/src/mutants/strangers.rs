//! What a node must not take from whoever comes.

use std::net::SocketAddr;
use std::time::Duration;

use funk_proto::id::{BootId, ConnId, RaftId, Term};
use funk_proto::io::Channel;
use funk_proto::liveness::{Liveness, LivenessOutput};
use funk_proto::version::Versions;
use funk_proto::wire::cluster::{
    BootName, Carried, Carry, Frame, FrameBody, Hello, MemberRecord, REASON_REMOVED, Refused, Release, UserEntry,
};
use funk_proto::wire::liveness::Grant;
use funk_proto::{Event, Input, Misbehaviour, Node, NodeConfig, Output, Recovered, Seed, Timestamp, Timing};

const NOW: Timestamp = Timestamp::from_millis(5_000);

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("not zero")
}

/// A grant of an hour, in a cluster whose lease is not an hour.
pub fn long_grant() -> Option<String> {
    let (timing, hour) = (Timing::default(), Duration::from_secs(3600));
    let mut member = Liveness::new(id(2), BootId::new(2).expect("not zero"), timing);
    member.set_cluster_timing(timing.lease, timing.drift_ppm);
    member.handle_heartbeat(NOW, id(1), 1, Term(1), (hour, timing.drift_ppm));
    let Some(LivenessOutput::Send { counter, .. }) = member.poll_output() else { return Some("no ack".into()) };
    member.handle_grant(id(1), Grant { echo: counter, length: hour });
    let lease = member.lease_until() - NOW;
    (lease > timing.lease).then(|| format!("a lease of {lease:?} in a cluster whose lease is {:?}", timing.lease))
}

/// A node that began a cluster, alone.
fn alone() -> Node {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (name, cluster) = ("n1".parse().expect("a name"), "c".parse().expect("a name"));
    let mut config = NodeConfig::new(name, cluster, address(1), address(2), address(3));
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

/// A stranger introduces itself and sends every kind of frame that is a member's to send.
pub fn forged_frames() -> Option<String> {
    let mut node = alone();
    let own = node.inspect();
    let own = BootName { id: own.id().get(), boot: own.boot().get() };
    let conn = ConnId::accepted(1);
    let hello = Hello {
        cluster_name: "c".into(),
        id: 9,
        boot: 9,
        name: "stranger".into(),
        raft: "127.0.0.1:9".into(),
        liveness: "127.0.0.1:9".into(),
        oldest: Versions::OURS.oldest,
        newest: Versions::OURS.newest,
        ..Hello::default()
    };
    let mut say = |body: FrameBody| {
        node.handle(NOW, Input::Message { conn, channel: Channel::Cluster, bytes: Frame::bytes(body) });
        std::iter::from_fn(|| node.poll_output()).collect::<Vec<Output>>()
    };
    say(FrameBody::Hello(hello));
    for (kind, body) in forgeries(own) {
        let outputs = say(body);
        let what = Misbehaviour::Unauthorized(kind);
        if !outputs.contains(&Output::Event(Event::PeerMisbehaved { what })) {
            return Some(format!("a {kind} of a stranger is not refused: {outputs:?}"));
        }
    }
    None
}
