//! What a node is built of, and how it ends, on each runtime.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[path = "support/each_runtime.rs"]
mod each_runtime;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::task::{Context, Poll};
use std::time::Duration;

use funk_io::discovery::JoinAddress;
use funk_io::{Runtime, StartError, StopReason};
use funk_proto::Refusal;
use funk_proto::id::ShardId;
use funk_rpc::families::{self, Value};
use funk_rpc::management;
use funk_rpc::pb::managepb::DrainNodeRequest;
use funk_rpc::pb::managepb::cluster_management_client::ClusterManagementClient;
use funk_rpc::{Body, BoxFuture, Ended, ManagementError, Node, NodeBuilder, NotReady, Pool, Routes, Services, Stop};
use http::{HeaderName, Request, Response};
use tower_service::Service;

const SHARDS: u32 = 8;
/// Time between two looks at what no event tells of.
const LOOK: Duration = Duration::from_millis(10);

/// Answers with its own name.
#[derive(Clone)]
struct Named(&'static str);

impl Service<Request<Body>> for Named {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let response = Response::builder().header("x-service", self.0).body(Body::empty());
        Box::pin(std::future::ready(Ok(response.unwrap())))
    }
}

fn builder<R: Runtime>(name: &str, first: Option<&Node<R>>) -> NodeBuilder<R> {
    NodeBuilder::new("built".parse().unwrap())
        .interface(Ipv4Addr::LOCALHOST.into())
        .name(name.parse().unwrap())
        .mdns(false)
        .shards(SHARDS)
        .bootstrap(first.is_none())
        .join(first.map(|first| JoinAddress::Address(first.gossip())))
}

/// Waits until the node may serve and its shards are with so many owners.
async fn settled<R: Runtime>(node: &Node<R>, owners: usize) {
    loop {
        let table = node.cluster().routes();
        let names = (0..table.shards()).filter_map(|shard| Some(table.owner(ShardId(shard))?.0.id));
        let count = names.collect::<std::collections::BTreeSet<_>>().len();
        if count == owners && node.readiness().await.is_ok() {
            return;
        }
        R::sleep(LOOK).await;
    }
}

async fn services_share_an_endpoint_and_others_are_told_what_is_advertised<R: Runtime>() {
    let elsewhere: IpAddr = [192, 0, 2, 1].into();
    let routes = Routes::new().by_integer_header("/b.B/Get", HeaderName::from_static("x-key"));
    let node = builder::<R>("n1", None)
        .service("ep.t", routes, |_| Services::default().named("a.A", Named("a")).named("b.B", Named("b")))
        .service("ep.u", Routes::new(), |_| Services::default().named("c.C", Named("c")))
        .advertise("ep.t", SocketAddr::new(elsewhere, 0))
        .endpoint("ep.own", ([192, 0, 2, 2], 9).into())
        .start()
        .unwrap();
    settled(&node, 1).await;
    let (at, other) = (node.address("ep.t").unwrap(), node.address("ep.u").unwrap());
    assert_eq!(at.ip(), Ipv4Addr::LOCALHOST);
    assert_eq!(node.advertised("ep.t"), Some(SocketAddr::new(elsewhere, at.port())));
    assert_eq!((node.advertised("ep.u"), node.advertised("ep.none")), (node.address("ep.u"), None));
    assert_eq!(node.cluster().endpoints("ep.t")[0].1, SocketAddr::new(elsewhere, at.port()));
    assert_eq!(node.cluster().endpoints("ep.own")[0].1, ([192, 0, 2, 2], 9).into());
    let pool = Pool::<R>::new();
    for (at, path, service) in [(at, "/a.A/Get", "a"), (at, "/b.B/Get", "b"), (other, "/c.C/Get", "c")] {
        let request = Request::post(format!("http://{at}{path}")).header("x-key", "7").body(Body::empty());
        let response = pool.send(at, request.unwrap()).await.unwrap();
        assert_eq!(response.headers()["x-service"], service, "{path}");
        assert_eq!(response.headers().contains_key("x-funk-shard"), service == "b", "only routed methods have a shard");
    }
    let measured = node.metrics().await.unwrap();
    let shards = measured.iter().find(|family| family.name == "cf_cluster_shard_count").unwrap();
    assert!(matches!(shards.samples[0].value, Value::Number(count) if count == f64::from(SHARDS)), "{shards:?}");
    assert_eq!(shards.samples[0].labels, [("node", "n1".to_owned())]);
    assert!(families::text(&measured).contains(&format!("cf_cluster_shard_count{{node=\"n1\"}} {SHARDS}\n")));
    assert!(node.leave().await);
}

async fn any_node_passes_on_what_only_the_leader_can_do_and_a_removed_one_ends<R: Runtime>() {
    let first = builder::<R>("n1", None).start().unwrap();
    settled(&first, 1).await;
    let second = builder::<R>("n2", Some(&first)).start().unwrap();
    settled(&second, 2).await;
    assert_eq!(second.cluster().status().await.unwrap().leader.as_ref(), Some(first.cluster().name()));
    second.management().pin(0..SHARDS, second.cluster().name()).await.unwrap();
    while second.cluster().routes().owner(ShardId(0)).is_none_or(|(owner, _)| &owner.name != second.cluster().name()) {
        R::sleep(LOOK).await;
    }
    let removed = first.management().remove_member(second.cluster().name());
    let ended = async {
        // The signal never comes: the node ends by itself.
        let ended = second.run_until(std::future::pending::<()>()).await;
        assert_eq!(ended, Ended::Stopped(StopReason::Refused(Refusal::Removed)));
        assert!(ended.is_orderly() && !second.is_running());
        assert_eq!(second.readiness().await, Err(NotReady::Stopped));
        assert!(TcpStream::connect(second.page()).is_err(), "nobody is told that all is well");
    };
    let (removed, ()) = futures_lite::future::zip(removed, ended).await;
    removed.unwrap();
    assert!(first.leave().await);
}

/// What a connection's streams may be, and more than a server takes of resets.
const GIVEN_UP: usize = 600;

async fn calls_that_are_passed_on_and_given_up_leave_the_way_to_the_leader_open<R: Runtime>() {
    let first = builder::<R>("n1", None).start().unwrap();
    settled(&first, 1).await;
    let second = builder::<R>("n2", Some(&first)).start().unwrap();
    settled(&second, 2).await;
    let nobody = "nobody".parse().unwrap();
    for turn in 0..GIVEN_UP {
        // Given up as soon as it waits, at once or a little later.
        let mut call = Box::pin(second.management().drain(&nobody));
        for _ in 0..turn % 4 {
            let _ = futures_lite::future::poll_once(&mut call).await;
        }
    }
    let refused = second.management().drain(&nobody).await;
    assert!(matches!(refused, Err(ManagementError::UnknownMember(_))), "{refused:?}");
    second.management().pin(0..SHARDS, second.cluster().name()).await.unwrap();
}

async fn a_long_refusal_of_a_management_call_is_the_same_at_every_node<R: Runtime>() {
    let first = builder::<R>("n1", None).start().unwrap();
    settled(&first, 1).await;
    let second = builder::<R>("n2", Some(&first)).start().unwrap();
    settled(&second, 2).await;
    let pool = Pool::<R>::new();
    for bytes in [100, 20_000, 1_000_000] {
        let mut said = Vec::new();
        for node in [&first, &second] {
            let mut client = ClusterManagementClient::new(pool.at(node.address(management::ENDPOINT).unwrap()));
            let asked = DrainNodeRequest { node_id: "x".repeat(bytes) };
            let answer = client.drain_node(asked).await.unwrap().into_inner();
            said.push(answer.error.map(|error| (error.error_code, error.message)));
        }
        assert!(said[0].is_some() && said[0] == said[1], "{bytes} bytes");
    }
}

async fn a_signal_makes_a_node_leave_and_close_its_doors<R: Runtime>() {
    let node = builder::<R>("n1", None).start().unwrap();
    settled(&node, 1).await;
    let stop = Stop::new();
    stop.ring();
    assert_eq!(node.run_until(stop.rung()).await, Ended::Told { left: true });
    assert!(TcpStream::connect(node.page()).is_err());
}

async fn a_node_that_is_dropped_stops<R: Runtime>() {
    let node = builder::<R>("n1", None).start().unwrap();
    settled(&node, 1).await;
    let (page, events) = (node.page(), node.cluster().events());
    drop(node);
    let mut events = events;
    while events.next().await != Err(funk_io::EventsEnd::Stopped) {}
    while TcpStream::connect(page).is_ok() {
        R::sleep(LOOK).await;
    }
}

async fn settings_that_cannot_work_are_named_and_nothing_runs<R: Runtime>() {
    let at = ([127, 0, 0, 1], 0).into();
    let service = |_: &funk_io::Cluster| Services::default();
    for (node, name) in [
        (builder::<R>("n1", None).listen("ep.great", at), "ep.great"),
        (builder("n1", None).advertise("ep.great", at), "ep.great"),
        (builder("n1", None).service("ep.t", Routes::new(), service).service("ep.t", Routes::new(), service), "ep.t"),
        (builder("n1", None).service("ep.serf", Routes::new(), service), "ep.serf"),
        (builder("n1", None).listen("ep.metrics", ([0, 0, 0, 0], 0).into()), "ep.metrics"),
    ] {
        match node.start() {
            Err(StartError::Endpoint { name: said, .. }) => assert_eq!(said, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(matches!(builder::<R>("n1", None).shards(0).start(), Err(StartError::Config(_))));
}

on_each_runtime! {
    services_share_an_endpoint_and_others_are_told_what_is_advertised
    any_node_passes_on_what_only_the_leader_can_do_and_a_removed_one_ends
    calls_that_are_passed_on_and_given_up_leave_the_way_to_the_leader_open
    a_long_refusal_of_a_management_call_is_the_same_at_every_node
    a_signal_makes_a_node_leave_and_close_its_doors
    a_node_that_is_dropped_stops
    settings_that_cannot_work_are_named_and_nothing_runs
}
