//! A service that becomes sharded by [`Node`], on each runtime; routing by
//! header, with bytes that nobody decodes.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[path = "support/each_runtime.rs"]
mod each_runtime;

use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use funk_io::discovery::JoinAddress;
use funk_io::{Runtime, ShardGuard, StartError};
use funk_proto::id::ShardId;
use funk_rpc::{Body, BoxFuture, Key, Node, NodeBuilder, Pool, Routes, Services, shard_of};
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use tower_service::Service;

const SHARDS: u32 = 20;

/// Answers with its node's name and the request's bytes.
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
        let name = self.0.clone();
        Box::pin(async move {
            assert!(request.extensions().get::<Arc<ShardGuard>>().is_some_and(|guard| guard.is_valid()));
            let sent = request.into_body().collect().await.unwrap().to_bytes();
            Ok(Response::new(Body::new(Full::new(Bytes::from([name.as_bytes(), &sent].concat())))))
        })
    }
}

fn routes() -> Routes {
    let header = |name| HeaderName::from_static(name);
    Routes::new().by_header("/t.T/Text", header("x-customer")).by_integer_header("/t.T/Number", header("x-order"))
}

fn node<R: Runtime>(number: u8, first: Option<&Node<R>>) -> Result<Node<R>, StartError> {
    NodeBuilder::new("sharded".parse().unwrap())
        .interface(Ipv4Addr::LOCALHOST.into())
        .name(format!("n{number}").parse().unwrap())
        .mdns(false)
        .shards(SHARDS)
        .bootstrap(first.is_none())
        .join(first.map(|first| JoinAddress::Address(first.gossip())))
        .service("ep.t", routes(), |cluster| Services::default().named("t.T", Named(cluster.name().to_string())))
        .start()
}

/// Waits until both nodes serve, as each of them sees it.
async fn settled<R: Runtime>(nodes: &[Node<R>; 2]) {
    for node in nodes {
        loop {
            let mut watch = node.cluster().watch();
            let table = node.cluster().routes();
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

async fn a_service_is_sharded_by_a_header_that_alone_is_read<R: Runtime>() {
    let first = node::<R>(1, None).unwrap();
    let second = node::<R>(2, Some(&first)).unwrap();
    let nodes = [first, second];
    settled(&nodes).await;
    let pool = Pool::<R>::new();
    // No gRPC message at all: nothing looks into it.
    let sent = Bytes::from_static(b"\x07not a message");
    let mut served = std::collections::BTreeSet::new();
    for number in 0..40_i64 {
        let text = format!("customer-{number}");
        for (path, name, value, key) in [
            ("/t.T/Text", "x-customer", text.clone(), Key::from(text.as_str())),
            ("/t.T/Number", "x-order", (-number).to_string(), Key::from(-number)),
        ] {
            let shard = shard_of(&key, SHARDS).unwrap();
            let table = nodes[0].cluster().routes();
            let owner = table.owner(shard).unwrap().0.name.to_string();
            for node in &nodes {
                let at = node.address("ep.t").unwrap();
                let request = Request::post(format!("http://{at}{path}")).header(name, value.clone());
                let response = pool.send(at, request.body(Body::new(Full::new(sent.clone()))).unwrap()).await.unwrap();
                let said = response.headers().get("x-funk-shard");
                assert_eq!(said.map(http::HeaderValue::as_bytes), Some(shard.to_string().as_bytes()), "{response:?}");
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, [owner.as_bytes(), &sent].concat());
            }
            served.insert(owner);
        }
    }
    assert_eq!(served.len(), 2, "both nodes served");
    for node in &nodes {
        assert!(node.leave().await);
    }
}

async fn an_address_in_use_is_named_and_nothing_runs<R: Runtime>() {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = held.local_addr().unwrap();
    let node = NodeBuilder::<R>::new("sharded".parse().unwrap()).mdns(false).listen("ep.t", taken);
    let node = node.service("ep.t", routes(), |_| Services::default().named("t.T", Named(String::new())));
    let error = node.start().unwrap_err().to_string();
    assert!(error.contains("ep.t") && error.contains(&taken.to_string()), "{error}");
}

on_each_runtime! {
    a_service_is_sharded_by_a_header_that_alone_is_read
    an_address_in_use_is_named_and_nothing_runs
}
