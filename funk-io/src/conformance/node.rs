//! One node through the real driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::{ClusterName, NodeName, ShardId};
use funk_proto::status::NodeState;
use funk_proto::{Event, NodeConfig, limits};

use super::{LOOPBACK, run};
use crate::runtime::Runtime;
use crate::{Cluster, Discovery, EventsEnd, NotOwnerReason, Options, Sockets, StartError, StopReason, start};

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
        let committed = Event::Committed { index, bytes: Bytes::from_static(b"hello") };
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
        let streams: Vec<TcpStream> = (0..limits::GOSSIP_STREAMS_MAX + 5).map(connect).collect();
        while cluster.io_counters().streams_refused < 5 {
            cluster.status().await.expect("it runs");
        }
        assert_eq!(cluster.io_counters().streams_accepted, limits::GOSSIP_STREAMS_MAX as u64);
        drop(streams);
        assert!(cluster.guard(ShardId(0)).is_ok());
    });
}

/// A configuration that cannot work starts nothing and is named.
pub fn a_refused_start_names_its_reason<R: Runtime>() {
    let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
    let mut wrong = config("wrong");
    wrong.shards = 0;
    let error = start::<R>(Options::new(wrong, sockets)).expect_err("no shards");
    assert!(matches!(error, StartError::Config(_)) && error.to_string().contains("shards 0"), "{error}");
}
