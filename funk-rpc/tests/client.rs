//! The client against real nodes in this process, on each runtime.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[path = "support/each_runtime.rs"]
mod each_runtime;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use funk_io::Runtime;
use funk_io::discovery::JoinAddress;
use funk_proto::id::ShardId;
use funk_rpc::client::{Channel, Client, ClientOptions, ClusterView, Seed, Target};
use funk_rpc::{Body, BoxFuture, Node, NodeBuilder, Routes, Services};
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use tower_service::Service;

const SHARDS: u32 = 24;
const LONG: Duration = Duration::from_secs(30);
const PATH: &str = "/t.T/Call";

/// Says who served, and whether another node passed the request on.
#[derive(Clone)]
struct Named(String);

impl Service<Request<Body>> for Named {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let hop = if request.headers().contains_key("x-funk-hop") { "1" } else { "0" };
        let response = Response::builder().header("x-served-by", &self.0).header("x-hop", hop);
        Box::pin(async move { Ok(response.body(Body::empty()).unwrap()) })
    }
}

fn builder<R: Runtime>(cluster: &str, number: u8, routes: Routes) -> NodeBuilder<R> {
    NodeBuilder::new(cluster.parse().unwrap())
        .interface(Ipv4Addr::LOCALHOST.into())
        .name(format!("n{number}").parse().unwrap())
        .mdns(false)
        .shards(SHARDS)
        .service("ep.t", routes, |cluster| Services::default().named("t.T", Named(cluster.name().to_string())))
}

fn node<R: Runtime>(cluster: &str, number: u8, first: Option<&Node<R>>) -> Node<R> {
    let routes = Routes::new().by_integer_header(PATH, HeaderName::from_static("x-shard"));
    let join = first.map(|first| JoinAddress::Address(first.gossip()));
    builder(cluster, number, routes).bootstrap(first.is_none()).join(join).start().unwrap()
}

fn client<R: Runtime>(cluster: &str, nodes: &[&Node<R>]) -> Client<R> {
    let seeds = nodes.iter().map(|node| Seed::Gossip(JoinAddress::Address(node.gossip())));
    Client::start(ClientOptions::new(cluster, seeds.collect()))
}

/// Waits until the client's view is as wanted.
async fn until<R: Runtime>(client: &Client<R>, wanted: impl Fn(&ClusterView) -> bool) {
    loop {
        let changed = client.changed();
        if wanted(&client.view()) {
            return;
        }
        changed.await;
    }
}

/// All shards at rest, spread over exactly these nodes.
fn rests_at(names: &[&str]) -> impl Fn(&ClusterView) -> bool {
    move |view| {
        let owners: Option<std::collections::BTreeSet<_>> =
            (0..view.shards()).map(|shard| Some(view.owner(ShardId(shard))?.name.as_str())).collect();
        owners.is_some_and(|owners| owners.iter().eq(names)) && view.nodes().len() == names.len()
    }
}

/// Asks for a shard; gives who served, and whether it was passed on.
async fn ask<R: Runtime>(channel: &Channel<R>, shard: u32, routed: bool) -> (String, bool) {
    let path = if routed { PATH } else { "/t.T/Anywhere" };
    // The service has the shard from the header, the client only from the target.
    let mut request = Request::post(path).header("x-shard", shard).body(Body::new(Full::new(Bytes::new()))).unwrap();
    if routed {
        request.extensions_mut().insert(Target::Shard(ShardId(shard)));
    }
    let response = channel.clone().call(request).await.unwrap();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let Some(node) = header("x-served-by") else { panic!("{response:?}") };
    (node, header("x-hop").unwrap() == "1")
}

async fn the_owner_is_called_directly_wherever_it_is<R: Runtime>() {
    let first = node::<R>("direct", 1, None);
    let client = client::<R>("direct", &[&first]);
    let channel = client.channel("ep.t");
    client.wait_for_endpoint("ep.t", Instant::now() + LONG).await.unwrap();
    let others = [node::<R>("direct", 2, Some(&first)), node::<R>("direct", 3, Some(&first))];
    until(&client, rests_at(&["n1", "n2", "n3"])).await;
    for shard in 0..SHARDS {
        let owner = client.view().owner(ShardId(shard)).unwrap().name.clone();
        assert_eq!(ask(&channel, shard, true).await, (owner, false), "shard {shard}");
    }
    let mut turns = BTreeMap::new();
    for _ in 0..30 {
        *turns.entry(ask(&channel, 0, false).await.0).or_insert(0) += 1;
    }
    assert_eq!(turns.into_values().collect::<Vec<_>>(), [10, 10, 10], "requests for no shard go round");
    let listed = client.all_endpoints("ep.t", Instant::now() + LONG).await.unwrap();
    assert_eq!(listed.len(), 3, "{listed:?}");
    let bound = 2 * client.view().nodes().len();
    assert!(client.connections() <= bound, "one an endpoint that was called, ep.t and ep.cluster");

    // Whichever node is watched: one after the other leaves, and the client follows.
    first.leave().await;
    until(&client, rests_at(&["n2", "n3"])).await;
    others[0].leave().await;
    until(&client, rests_at(&["n3"])).await;
    for shard in 0..SHARDS {
        assert_eq!(ask(&channel, shard, true).await, ("n3".to_owned(), false));
    }
    assert!(client.connections() <= 2, "connections to nodes that left are dropped");
}

async fn a_client_counts_what_became_of_its_requests<R: Runtime>() {
    let first = node::<R>("counts", 1, None);
    let second = node::<R>("counts", 2, Some(&first));
    let client = client::<R>("counts", &[&first, &second]);
    until(&client, rests_at(&["n1", "n2"])).await;
    let channel = client.channel("ep.t");
    for shard in 0..SHARDS {
        ask(&channel, shard, true).await;
    }
    let stats = client.stats();
    let counted = [stats.requests, stats.direct, stats.passed_on, stats.failed, stats.retried];
    assert_eq!(counted, [u64::from(SHARDS), u64::from(SHARDS), 0, 0, 0], "each owner was called");
    assert_eq!(stats.connections, 2, "one to each owner");

    // The service has the shard from the header, and the client does not know where it is.
    let mut passed_on = 0;
    for shard in 0..SHARDS {
        let request = Request::post(PATH).header("x-shard", shard).body(Body::new(Full::new(Bytes::new()))).unwrap();
        let response = channel.clone().call(request).await.unwrap();
        passed_on += u64::from(response.headers()["x-hop"] == "1");
    }
    let stats = client.stats();
    assert!(passed_on > 0, "the nodes took turns");
    assert_eq!((stats.passed_on, stats.direct), (passed_on, 2 * u64::from(SHARDS) - passed_on));

    let nowhere = client.channel("ep.nobody").deadline(Duration::from_millis(20));
    let request = Request::post(PATH).body(Body::empty()).unwrap();
    nowhere.clone().call(request).await.unwrap();
    let given_up = nowhere.clone().call(Request::post(PATH).body(Body::empty()).unwrap());
    drop(given_up);
    let stats = client.stats();
    assert_eq!((stats.failed, stats.requests), (1, 2 * u64::from(SHARDS) + 1), "a call that nobody polled never began");
}

async fn another_cluster_of_the_name_is_refused<R: Runtime>() {
    let (ours, other) = (node::<R>("twin", 1, None), node::<R>("twin", 2, None));
    let client = client::<R>("twin", &[&ours]);
    until(&client, rests_at(&["n1"])).await;
    let id = client.cluster_id().unwrap();
    let known = client.view();
    ours.leave().await;
    let stranger = Client::<R>::start(
        ClientOptions::new("twin", vec![Seed::Gossip(JoinAddress::Address(other.gossip()))]).expecting(&id),
    );
    loop {
        let changed = stranger.changed();
        if let Some(why) = stranger.trouble().filter(|why| why.contains("another cluster")) {
            assert!(why.contains(&id), "{why}");
            break;
        }
        changed.await;
    }
    let refused = stranger.wait_for_endpoint("ep.t", Instant::now()).await.unwrap_err();
    assert!(refused.why.contains("another cluster"), "{refused}");
    assert_eq!(client.view().epoch(), known.epoch());
    assert_eq!(client.cluster_id(), Some(id));
}

async fn waiting_for_an_endpoint_ends_with_an_error<R: Runtime>() {
    let first = node::<R>("waits", 1, None);
    let client = client::<R>("waits", &[&first]);
    until(&client, rests_at(&["n1"])).await;
    let error = client.wait_for_endpoint("ep.none", Instant::now() + Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.endpoint, "ep.none");
    let nobody = Client::<R>::start(ClientOptions::new("waits", vec![]));
    let error = nobody.wait_for_endpoint("ep.t", Instant::now() + Duration::from_millis(50)).await.unwrap_err();
    assert!(!error.why.is_empty(), "{error}");
}

/// A gossip address that was free a moment ago: nobody answers there.
fn unused() -> std::net::SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

async fn dead_seeds_are_named_and_asked_until_a_node_comes<R: Runtime>() {
    let (never, later) = (unused(), unused());
    let seeds = [never, later].map(|at| Seed::Gossip(JoinAddress::Address(at)));
    let client = Client::<R>::start(ClientOptions::new("later", seeds.to_vec()));
    let service = unused();
    let other = Client::<R>::start(ClientOptions::new(
        "later",
        vec![Seed::Cluster(JoinAddress::Address(service)), seeds[1].clone()],
    ));
    for (client, named) in [(&client, [never, later]), (&other, [service, later])] {
        loop {
            let changed = client.changed();
            let why = client.trouble().unwrap_or_default();
            if named.iter().all(|at| why.contains(&at.to_string())) {
                break;
            }
            changed.await;
        }
    }
    let node = builder::<R>("later", 1, Routes::new()).listen("ep.serf", later).bootstrap(true);
    let _node = node.start().unwrap();
    for client in [&client, &other] {
        until(client, rests_at(&["n1"])).await;
        assert_eq!(client.trouble(), None);
    }
}

async fn a_cluster_service_alone_is_enough_to_begin<R: Runtime>() {
    let first = node::<R>("nogossip", 1, None);
    let begin = client::<R>("nogossip", &[&first]);
    until(&begin, rests_at(&["n1"])).await;
    let at = begin.endpoints("ep.cluster")[0].1;
    let client = Client::<R>::start(ClientOptions::new("nogossip", vec![Seed::Cluster(JoinAddress::Address(at))]));
    until(&client, rests_at(&["n1"])).await;
    let error = Client::<R>::start(ClientOptions::new("elsewhere", vec![Seed::Cluster(JoinAddress::Address(at))]));
    loop {
        let changed = error.changed();
        if error.trouble().is_some_and(|why| why.contains("nogossip") && why.contains("elsewhere")) {
            break;
        }
        changed.await;
    }
}

on_each_runtime! {
    the_owner_is_called_directly_wherever_it_is
    a_client_counts_what_became_of_its_requests
    another_cluster_of_the_name_is_refused
    waiting_for_an_endpoint_ends_with_an_error
    a_cluster_service_alone_is_enough_to_begin
    dead_seeds_are_named_and_asked_until_a_node_comes
}
