//! Nodes whose snapshot of the cluster is set by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use event_listener::Event;
use funk_proto::id::{BootId, Epoch, NodeName, RaftId};
use funk_proto::shards::{Place, RouteNode, RouteTable};
pub(super) use funk_smol::Smol;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tonic::Code;
use tonic::body::Body;
use tower_service::Service;

use crate::key::shard_of;
use crate::layer::{Routing, Shared};
use crate::net::BoxFuture;
use crate::pool::odd::Held;
use crate::view::{Guard, Routed, View, Watch};
use crate::{Key, Pool, Protocol, RequestMetrics, Routes, serve};

/// Places in a fake node's queue.
pub(super) const QUEUE_MAX: usize = 8;
const PATH: &str = "/test.Test/Call";

struct State {
    table: Mutex<Arc<RouteTable>>,
    changed: Event,
    watchers: AtomicUsize,
    broken: AtomicBool,
}

#[derive(Clone)]
pub(super) struct FakeView {
    name: NodeName,
    state: Arc<State>,
}

impl FakeView {
    /// Requests that wait for a change.
    pub(super) fn watchers(&self) -> usize {
        self.state.watchers.load(Ordering::SeqCst)
    }

    pub(super) fn break_guards(&self) {
        self.state.broken.store(true, Ordering::SeqCst);
    }
}

pub(super) struct FakeGuard(Epoch, Arc<State>);

impl Guard for FakeGuard {
    fn epoch(&self) -> Epoch {
        self.0
    }

    fn is_valid(&self) -> bool {
        !self.1.broken.load(Ordering::SeqCst)
    }

    async fn holds(&self) -> bool {
        self.is_valid()
    }
}

#[derive(Clone)]
pub(super) struct FakeWatch(Arc<State>, Arc<RouteTable>);

impl Watch for FakeWatch {
    async fn changed(&mut self) {
        let state = Arc::clone(&self.0);
        state.watchers.fetch_add(1, Ordering::SeqCst);
        loop {
            let listener = state.changed.listen();
            let table = Arc::clone(&state.table.lock().unwrap());
            if !Arc::ptr_eq(&table, &self.1) {
                self.1 = table;
                break;
            }
            listener.await;
        }
        state.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl View for FakeView {
    type Guard = FakeGuard;
    type Watch = FakeWatch;

    fn name(&self) -> &NodeName {
        &self.name
    }

    fn routes(&self) -> Arc<RouteTable> {
        Arc::clone(&self.state.table.lock().unwrap())
    }

    fn drain_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn route(&self, key: &Key) -> Routed<FakeGuard> {
        let table = self.routes();
        let shard = shard_of(key, table.shards());
        let guard = shard.and_then(|shard| match table.place(shard) {
            Place::Here(epoch) => Some(FakeGuard(epoch, Arc::clone(&self.state))),
            _ => None,
        });
        Routed { table, shard, guard }
    }

    fn watch(&self) -> FakeWatch {
        FakeWatch(Arc::clone(&self.state), self.routes())
    }
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) view: FakeView,
    pub(super) address: SocketAddr,
    /// Requests that reached the node.
    pub(super) entered: Arc<AtomicUsize>,
    /// Requests that reached the handler.
    pub(super) served: Arc<AtomicUsize>,
    pub(super) silent: Arc<AtomicBool>,
    pub(super) fail: Arc<AtomicBool>,
    /// How long the error is with which the handler answers: 0 for none.
    pub(super) error_length: Arc<AtomicUsize>,
    /// Requests that the handler has not ended with.
    pub(super) open: Arc<AtomicUsize>,
    /// Its connections to other nodes.
    pub(super) pool: Pool<Smol>,
}

pub(super) struct Cluster;

impl Cluster {
    pub(super) async fn pair() -> (Node, Node) {
        (Node::start("a"), Node::start("b"))
    }
}

impl Node {
    pub(super) fn start(name: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut node = Self::at(name, listener.local_addr().unwrap());
        let key = |message: &[u8]| Some(Key::Unsigned(u64::from(*message.first()?)));
        let routes = Routes::new().by_message(PATH, key);
        let shared = Shared::<Smol, _>::new(
            node.view.clone(),
            "ep.test",
            routes,
            RequestMetrics::default(),
            Pool::new(),
            (QUEUE_MAX, 1 << 20),
        );
        node.pool = shared.pool.clone();
        let routing = Routing { shared, inner: Echo(node.clone()) };
        let service = Counted(routing, Arc::clone(&node.entered));
        serve::<Smol, _>(listener, Protocol::Http2, service).unwrap();
        node
    }

    /// A node that nobody can connect to.
    pub(super) fn unreachable(name: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Self::at(name, listener.local_addr().unwrap())
    }

    /// A node of which there is nothing but what listens at this address.
    pub(super) fn at(name: &str, address: SocketAddr) -> Self {
        let state = State {
            table: Mutex::default(),
            changed: Event::new(),
            watchers: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        };
        let view = FakeView { name: name.parse().unwrap(), state: Arc::new(state) };
        let (entered, served) = Default::default();
        Self {
            view,
            address,
            entered,
            served,
            silent: Arc::default(),
            fail: Arc::default(),
            error_length: Arc::default(),
            open: Arc::default(),
            pool: Pool::new(),
        }
    }

    /// Tells this node that `nodes[owner]` owns every shard under `epoch`.
    pub(super) fn owns(&self, nodes: &[&Node], shards: usize, owner: usize, epoch: u64) {
        self.publish(nodes, vec![Some(owner); shards], epoch);
    }

    /// Tells this node that no shard has an owner.
    pub(super) fn pending(&self, nodes: &[&Node], shards: usize) {
        self.publish(nodes, vec![None; shards], 1);
    }

    fn publish(&self, nodes: &[&Node], owners: Vec<Option<usize>>, epoch: u64) {
        let me = nodes.iter().position(|node| node.view.name == self.view.name);
        let number = |node: &Node| u64::from(node.address.port());
        let row = |node: &&Node| RouteNode {
            id: RaftId::new(number(node)).unwrap(),
            boot: BootId::new(number(node)).unwrap(),
            name: node.view.name.clone(),
            endpoints: BTreeMap::from([("ep.test".into(), node.address)]),
            up: true,
            leaving: false,
        };
        let epochs = vec![epoch; owners.len()];
        let table = RouteTable::new(Epoch(epoch), nodes.iter().map(row).collect(), me, owners, epochs, []);
        *self.view.state.table.lock().unwrap() = Arc::new(table);
        self.view.state.changed.notify(usize::MAX);
    }
}

/// Sends every request's bytes back as they come.
#[derive(Clone)]
struct Echo(Node);

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            node.served.fetch_add(1, Ordering::Relaxed);
            let open = Held::new(&node.open);
            let length = node.error_length.load(Ordering::Relaxed);
            if length > 0 {
                // Each letter is three bytes on the wire.
                return Ok(tonic::Status::invalid_argument("%".repeat(length)).into_http());
            }
            if node.silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if node.fail.load(Ordering::Relaxed) {
                return Ok(tonic::Status::unavailable("the handler says so").into_http());
            }
            Ok(Response::new(Body::new(request.into_body().map_frame(move |frame| {
                let _ = &open;
                frame
            }))))
        })
    }
}

/// Counts what comes in.
#[derive(Clone)]
struct Counted<S>(S, Arc<AtomicUsize>);

impl<S: Service<Request<Body>>> Service<Request<Body>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.call(request)
    }
}

/// One gRPC message that holds the key.
pub(super) fn message(key: u8) -> Bytes {
    Bytes::copy_from_slice(&[0, 0, 0, 0, 1, key])
}

pub(super) struct Answer {
    headers: HeaderMap,
    trailers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

pub(super) fn status(answer: &Answer) -> Code {
    let code = answer.headers.get("grpc-status").or_else(|| answer.trailers.get("grpc-status"));
    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

fn request(node: &Node, body: Body) -> Request<Body> {
    Request::post(format!("http://{}{PATH}", node.address)).body(body).unwrap()
}

pub(super) async fn call(node: &Node, key: u8, timeout: Option<&str>) -> Answer {
    let mut request = request(node, Body::new(Full::new(message(key))));
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    answer(node, request).await
}

/// The same with a header.
pub(super) async fn call_with(node: &Node, key: u8, name: &'static str, value: &str) -> Answer {
    let mut request = request(node, Body::new(Full::new(message(key))));
    request.headers_mut().insert(name, value.parse().unwrap());
    answer(node, request).await
}

/// A call over connections that others share.
pub(super) async fn call_over(pool: &Pool<Smol>, node: &Node, key: u8) -> Answer {
    answer_over(pool, node, request(node, Body::new(Full::new(message(key))))).await
}

async fn answer(node: &Node, request: Request<Body>) -> Answer {
    answer_over(&Pool::new(), node, request).await
}

async fn answer_over(pool: &Pool<Smol>, node: &Node, request: Request<Body>) -> Answer {
    let response = pool.send(node.address, request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    Answer { headers: head.headers, trailers, body: body.to_bytes() }
}

struct Messages(Pin<Box<smol::channel::Receiver<Bytes>>>);

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        use smol::stream::Stream;
        self.0.as_mut().poll_next(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

pub(super) struct Streaming(Body);

impl Streaming {
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let data = self.0.frame().await?.unwrap().into_data().unwrap();
            if !data.is_empty() {
                return Some(data);
            }
        }
    }
}

/// A call whose messages come from `messages`.
pub(super) async fn stream(node: &Node, messages: smol::channel::Receiver<Bytes>) -> Streaming {
    stream_over(&Pool::new(), node, messages).await
}

/// The same over connections that others share.
pub(super) async fn stream_over(pool: &Pool<Smol>, node: &Node, messages: smol::channel::Receiver<Bytes>) -> Streaming {
    let request = request(node, Body::new(Messages(Box::pin(messages))));
    Streaming(pool.send(node.address, request).await.unwrap().into_body())
}
