//! Three real nodes in one process, on each runtime: requests through the
//! wrong node, unary and streaming.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use funk_io::{Cluster, Options, Runtime, Sockets, start};
use funk_proto::NodeConfig;
use funk_proto::id::ShardId;
use funk_rpc::{Body, BoxFuture, Key, Pool, Protocol, RouteLayer, Routes, serve};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tower_layer::Layer;
use tower_service::Service;

const PATH: &str = "/test.Test/Call";
const SHARDS: u32 = 30;

/// Sends every request's bytes back as they come.
#[derive(Clone)]
struct Echo;

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_body())) })
    }
}

struct Running {
    cluster: Cluster,
    rpc: SocketAddr,
    serf: SocketAddr,
}

fn node<R: Runtime>(number: u8, join: Option<SocketAddr>) -> Running {
    let sockets = Sockets::any(Ipv4Addr::LOCALHOST.into()).unwrap();
    let (serf, raft) = (sockets.serf_address().unwrap(), sockets.raft_address().unwrap());
    let liveness = sockets.liveness_address().unwrap();
    let name = format!("n{number}").parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let rpc = listener.local_addr().unwrap();
    let mut config = NodeConfig::new(name, "test".parse().unwrap(), serf, raft, liveness);
    config.bootstrap = join.is_none();
    config.join = join.into_iter().collect();
    config.shards = SHARDS;
    config.endpoints.insert("ep.test".into(), rpc);
    let cluster = start::<R>(Options::new(config, sockets)).unwrap();
    let routes = Routes::new().by_message(PATH, |message| Some(Key::Unsigned(u64::from(*message.first()?))));
    let layer = RouteLayer::<R>::new(cluster.clone(), "ep.test", routes);
    serve::<R, _>(listener, Protocol::Http2, layer.layer(Echo)).unwrap();
    Running { cluster, rpc, serf }
}

/// Waits until every node sees every node own a share, and every shard at rest.
async fn settled(nodes: &[Running]) {
    for node in nodes {
        loop {
            let mut watch = node.cluster.watch();
            let table = node.cluster.routes();
            let owners: std::collections::BTreeSet<_> =
                (0..table.shards()).filter_map(|shard| Some(table.owner(ShardId(shard))?.0.id)).collect();
            let at_rest = (0..table.shards())
                .all(|shard| !matches!(table.place(ShardId(shard)), funk_proto::shards::Place::Pending));
            if owners.len() == nodes.len() && at_rest {
                break;
            }
            watch.changed().await;
        }
    }
}

/// One gRPC message that holds the key.
fn message(key: u8) -> Bytes {
    Bytes::copy_from_slice(&[0, 0, 0, 0, 1, key])
}

async fn send<R: Runtime>(pool: &Pool<R>, node: &Running, body: Body) -> Response<Body> {
    let request = Request::post(format!("http://{}{PATH}", node.rpc)).body(body).unwrap();
    pool.send(node.rpc, request).await.unwrap()
}

struct Messages(Pin<Box<async_channel::Receiver<Bytes>>>);

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        use futures_lite::Stream;
        self.0.as_mut().poll_next(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn requests_reach_the_owner_through_every_node<R: Runtime>() {
    let first = node::<R>(1, None);
    let join = first.serf;
    let nodes = [first, node::<R>(2, Some(join)), node::<R>(3, Some(join))];
    settled(&nodes).await;
    let pool = Pool::<R>::new();
    for key in 0..u8::try_from(SHARDS).unwrap() {
        let table = nodes[0].cluster.routes();
        let owner = table.owner(ShardId(key.into())).unwrap();
        for node in &nodes {
            let response = send(&pool, node, Body::new(Full::new(message(key)))).await;
            assert_eq!(response.headers()["x-funk-node"], owner.0.name.as_str());
            assert_eq!(response.headers()["x-funk-epoch"], owner.1.to_string());
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), message(key));
        }
    }
    // Whichever node owns shard 7, at most one of the three is the right one.
    for node in &nodes {
        let (sender, receiver) = async_channel::bounded(4);
        sender.send(message(7)).await.unwrap();
        let mut answer = send(&pool, node, Body::new(Messages(Box::pin(receiver)))).await.into_body();
        for key in 8..12 {
            // The next message leaves only when the one before has come back.
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), message(key - 1));
            sender.send(message(key)).await.unwrap();
        }
    }
    for node in &nodes {
        node.cluster.leave().await.unwrap();
    }
}

#[test]
fn three_nodes_on_tokio_serve_unary_and_streams_through_the_wrong_node() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(requests_reach_the_owner_through_every_node::<funk_tokio::Tokio>());
}

#[test]
fn three_nodes_on_smol_serve_unary_and_streams_through_the_wrong_node() {
    smol::block_on(requests_reach_the_owner_through_every_node::<funk_smol::Smol>());
}
