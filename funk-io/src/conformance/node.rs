//! One node through the real driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::{ClusterName, LogIndex, NodeName, ShardId};
use funk_proto::status::NodeState;
use funk_proto::{Event, NodeConfig, limits};

use super::{LOOPBACK, run};
use crate::runtime::Runtime;
use crate::{
    Cluster, Discovery, EventsEnd, NotOwnerReason, Options, Sockets, StartError, StateMachine, StopReason, start,
};

/// Starts a node on free loopback ports.
pub(super) fn node<R: Runtime>(name: &str, change: impl FnOnce(&mut NodeConfig)) -> Cluster {
    finding_node::<R>(name, Discovery::default(), change)
}

/// Starts a node that finds others.
pub(super) fn finding_node<R: Runtime>(
    name: &str,
    discovery: Discovery,
    change: impl FnOnce(&mut NodeConfig),
) -> Cluster {
    let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
    let mut config = config(name);
    change(&mut config);
    let options = Options { discovery, ..Options::new(config, sockets) };
    start::<R>(options).expect("the node starts")
}

pub(super) fn config(name: &str) -> NodeConfig {
    let (name, cluster): (NodeName, ClusterName) =
        (name.parse().expect("a legal name"), "conformance".parse().expect("a legal name"));
    let any = SocketAddr::new(LOOPBACK, 0);
    let mut config = NodeConfig::new(name, cluster, any, any, any);
    config.shards = 60;
    config
}

/// For tests of planned moves: no node is held for dead because the machine has other things to do.
pub(super) fn be_patient(config: &mut NodeConfig) {
    let timing = &mut config.timing;
    (timing.liveness_interval, timing.leader_timeout) = (Duration::from_millis(100), Duration::from_millis(400));
    (timing.lease, timing.ack_timeout) = (Duration::from_millis(1_500), Duration::from_secs(20));
}

pub(super) fn alone<R: Runtime>() -> Cluster {
    node::<R>("alone", |config| config.bootstrap = true)
}

/// Waits until the node may serve all its shards.
pub(super) async fn serving(cluster: &Cluster) {
    let mut watch = cluster.watch();
    while cluster.guard(ShardId(0)).is_err() {
        watch.changed().await;
    }
}

/// Waits until the node may serve some shard.
pub(super) async fn serving_some(cluster: &Cluster) {
    let mut watch = cluster.watch();
    while (0..cluster.routes().shards()).all(|shard| cluster.guard(ShardId(shard)).is_err()) {
        watch.changed().await;
    }
}

/// Stands still for `STALL` with each proposal, and the driver with it.
#[derive(Debug)]
struct Slow;

/// More than half of a joiner's own lease, far less than half of its cluster's.
const STALL: Duration = Duration::from_millis(170);

impl StateMachine for Slow {
    fn apply(&mut self, _: LogIndex, _: &Bytes) {
        std::thread::sleep(STALL);
    }

    fn snapshot(&mut self) -> Bytes {
        Bytes::new()
    }

    fn restore(&mut self, _: LogIndex, _: &Bytes) {}
}

/// How long a driver may stand still follows from the cluster's lease, not from what the joiner was started with.
pub fn a_joiner_minds_its_clusters_lease<R: Runtime>() {
    run::<R>(async {
        let first = node::<R>("first", |config| {
            config.bootstrap = true;
            be_patient(config);
            (config.timing.leader_timeout, config.timing.lease) = (Duration::from_secs(2), Duration::from_secs(50));
        });
        serving(&first).await;
        let mut config = config("second");
        be_patient(&mut config);
        config.join = vec![address(&first, "ep.serf").await];
        config.timing.lease = Duration::from_millis(300);
        (config.timing.leader_timeout, config.timing.liveness_interval) =
            (Duration::from_millis(200), Duration::from_millis(50));
        let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
        let options = Options { state_machine: Some(Box::new(Slow)), ..Options::new(config, sockets) };
        let second = start::<R>(options).expect("the node starts");
        serving_some(&second).await;
        let before = second.status().await.expect("it runs").counters.clock_gaps;
        for _ in 0..3 {
            second.propose(Bytes::from_static(b"slow")).await.expect("the leader is there");
        }
        let gaps = second.status().await.expect("it runs").counters.clock_gaps - before;
        assert_eq!(gaps, 0, "{STALL:?} are no gap in a lease of 50 s");
    });
}

/// The addresses that a node's driver filled in, as the node tells them.
pub(super) async fn address(cluster: &Cluster, endpoint: &str) -> SocketAddr {
    let status = cluster.status().await.expect("it runs");
    let own = status.members.iter().find(|member| member.name == cluster.name().as_str()).expect("it knows itself");
    *own.endpoints.get(endpoint).unwrap_or_else(|| panic!("{endpoint} is among {:?}", own.endpoints))
}

/// A lone node elects itself, serves, takes proposals and endpoints, and leaves.
pub fn a_node_starts_serves_and_leaves<R: Runtime>() {
    run::<R>(async {
        let cluster = alone::<R>();
        let mut events = cluster.events();
        serving(&cluster).await;
        let guard = cluster.guard(ShardId(59)).expect("it owns all");
        assert!(guard.is_valid() && guard.valid_until() > cluster.now());
        assert_eq!(cluster.guard(ShardId(60)).expect_err("60 shards").why, NotOwnerReason::OutOfRange);

        let index = cluster.propose(Bytes::from_static(b"hello")).await.expect("it leads");
        let committed = Event::Committed { index, bytes: Bytes::from_static(b"hello") }.into();
        while events.next().await.expect("it runs") != committed {}

        let demo = SocketAddr::new(LOOPBACK, 4711);
        let mut watch = cluster.watch();
        cluster.set_endpoint("ep.demo", Some(demo)).expect("a legal name");
        while cluster.endpoints("ep.demo") != [(cluster.name().clone(), demo)] {
            watch.changed().await;
        }
        assert!(cluster.set_endpoint("demo", Some(demo)).is_err());

        let too_large = Bytes::from(vec![0; limits::PROPOSAL_BYTES_MAX + 1]);
        cluster.propose(too_large).await.expect_err("it is too large");
        drop(guard);
        assert_eq!(cluster.leave().await, Ok(()));
        assert_eq!(cluster.stopped().await, StopReason::Left);
        assert!(cluster.guard(ShardId(0)).is_err() && cluster.status().await.is_err());
        while events.next().await != Err(EventsEnd::Stopped) {}
    });
}

/// Dropping the last handle stops the driver, whoever still holds guards and subscriptions.
pub fn dropping_the_last_handle_stops_the_node<R: Runtime>() {
    run::<R>(async {
        let cluster = alone::<R>();
        serving(&cluster).await;
        let guard = cluster.guard(ShardId(1)).expect("it owns all");
        let (mut events, raft) = (cluster.events(), address(&cluster, "ep.raft").await);
        drop(cluster);
        while events.next().await != Err(EventsEnd::Stopped) {}
        guard.cancelled().await;
        assert!(!guard.is_valid());
        std::net::TcpListener::bind(raft).expect("the socket is closed");
    });
}

/// Bytes without sense end a stream at most; the node goes on.
pub fn garbage_at_every_port_does_no_harm<R: Runtime>() {
    run::<R>(async {
        let cluster = alone::<R>();
        serving(&cluster).await;
        let serf = address(&cluster, "ep.serf").await;
        let (raft, liveness) = (address(&cluster, "ep.raft").await, address(&cluster, "ep.liveness").await);
        for at in [serf, raft] {
            let mut stream = TcpStream::connect(at).expect("it listens");
            stream.write_all(&[0xff; 1000]).expect("it reads");
            // The node hangs up; how the kernel tells is its own affair.
            let _ = stream.read(&mut [0; 16]);
        }
        let socket = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has a free port");
        for length in [0, 1, 100, 1400, 60_000] {
            for at in [serf, liveness] {
                socket.send_to(&vec![0xa5; length], at).expect("loopback takes it");
            }
        }
        while cluster.io_counters().datagrams_received < 10 {
            cluster.status().await.expect("it runs");
        }
        assert_eq!(cluster.io_counters().streams_malformed, 2);
        cluster.propose(Bytes::from_static(b"still here")).await.expect("it leads");
        assert_eq!(cluster.status().await.expect("it runs").state, NodeState::Operational);
        assert!(cluster.guard(ShardId(0)).is_ok());
    });
}

/// More streams than are served at once are dropped at once.
pub fn a_flood_of_streams_is_bounded<R: Runtime>() {
    run::<R>(async {
        let cluster = alone::<R>();
        serving(&cluster).await;
        let serf = address(&cluster, "ep.serf").await;
        let connect = |_| TcpStream::connect(serf).expect("the kernel accepts");
        let streams: Vec<TcpStream> = (0..crate::limits::GOSSIP_STREAMS_MAX + 5).map(connect).collect();
        // Silent ones make way for those that come after them.
        while cluster.io_counters().streams_refused < 5 {
            cluster.status().await.expect("it runs");
        }
        assert_eq!(cluster.io_counters().streams_accepted, crate::limits::GOSSIP_STREAMS_MAX as u64 + 5);
        drop(streams);
        assert!(cluster.guard(ShardId(0)).is_ok());
    });
}

/// Messages that are begun and not ended are bounded, all streams together: those that hold the most are closed.
pub fn half_messages_are_bounded<R: Runtime>() {
    run::<R>(async {
        let cluster = alone::<R>();
        serving(&cluster).await;
        for (endpoint, begun, most) in [
            ("ep.raft", half_frame((1 << 20) - 1), crate::limits::CLUSTER_HELD_BYTES_MAX),
            ("ep.raft", half_frame(1 << 18), crate::limits::CLUSTER_HELD_BYTES_MAX),
            ("ep.serf", half_gossip(), crate::limits::GOSSIP_HELD_BYTES_MAX),
            ("ep.serf", half_state(), crate::limits::GOSSIP_HELD_BYTES_MAX),
        ] {
            let at = address(&cluster, endpoint).await;
            let before = cluster.io_counters().streams_overflowed;
            let mut streams = Vec::new();
            for _ in 0..most / begun.len() + 4 {
                let mut stream = TcpStream::connect(at).expect("the kernel accepts");
                // A stream that was closed takes no more; what was sent before counts.
                let _ = stream.write_all(&begun);
                streams.push(stream);
            }
            while cluster.io_counters().streams_overflowed == before {
                cluster.status().await.expect("it runs");
            }
        }
        assert!(cluster.guard(ShardId(0)).is_ok());
    });
}

/// So much of a frame of 1 MiB.
fn half_frame(length: usize) -> Vec<u8> {
    let mut bytes = (1_u32 << 20).to_be_bytes().to_vec();
    bytes.resize(bytes.len() + length, 7);
    bytes
}

/// The beginning of a user message of 8 MB, and half of it.
fn half_gossip() -> Vec<u8> {
    // A MessagePack map of one entry: `UserMsgLen`, an integer of four bytes.
    let mut bytes = vec![8, 0x81, 0xaa];
    bytes.extend_from_slice(b"UserMsgLen");
    bytes.push(0xce);
    bytes.extend_from_slice(&8_000_000_u32.to_be_bytes());
    bytes.resize(bytes.len() + 4_000_000, 7);
    bytes
}

/// The beginning of a push/pull without members and with a state of 8 MB, and half of that.
fn half_state() -> Vec<u8> {
    let mut bytes = b"\x06\x83\xa4Join\xc2\xa5Nodes\x00\xacUserStateLen\xce".to_vec();
    bytes.extend_from_slice(&8_000_000_u32.to_be_bytes());
    bytes.resize(bytes.len() + 4_000_000, 7);
    bytes
}

/// A configuration that cannot work starts nothing and is named.
pub fn a_refused_start_names_its_reason<R: Runtime>() {
    let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
    let mut wrong = config("wrong");
    wrong.shards = 0;
    let error = start::<R>(Options::new(wrong, sockets)).expect_err("no shards");
    assert!(matches!(error, StartError::Config(_)) && error.to_string().contains("shards 0"), "{error}");
}
