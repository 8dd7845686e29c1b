//! The routing layer: a request is served here, forwarded once to the owner
//! of its shard, or waits until its shard has one.

mod answer;
mod forward;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::limits::{
    CLIENT_HEADER_BYTES_MAX, QUEUE_MARGIN, QUEUED_BYTES_MAX, QUEUED_HOPS_SHARE, QUEUED_REQUESTS_MAX,
    ROUTED_MESSAGE_BYTES_MAX,
};
use funk_io::{Cluster, Runtime};
use funk_proto::id::ShardId;
use futures_lite::future;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use tonic::Code;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::key::Key;
use crate::message::Replay;
use crate::metrics::{RequestMetrics, Way};
use crate::net::BoxFuture;
use crate::pool::{Destination, Pool};
use crate::queue::{Queue, Ticket};
use crate::reply::{self, error, not_run, unavailable};
use crate::routes::{Routes, Source};
use crate::view::{Guard, Route, View, Watch};

struct Shared<N, V> {
    view: V,
    routes: Routes,
    /// The endpoint of other nodes that this service is found at.
    endpoint: String,
    pool: Pool<N>,
    queue: Arc<Queue>,
    /// For what another node passed on a moment too early: it takes nobody's place who waits here.
    hops: Arc<Queue>,
    requests: RequestMetrics,
}

impl<N: Runtime, V: View> Shared<N, V> {
    fn new(
        view: V,
        endpoint: &str,
        routes: Routes,
        requests: RequestMetrics,
        pool: Pool<N>,
        bounds: (usize, usize),
    ) -> Arc<Self> {
        let (requests_max, bytes_max) = bounds;
        let queue = Queue::new(requests_max, bytes_max);
        Arc::new(Self {
            view,
            routes,
            endpoint: endpoint.into(),
            pool,
            requests: requests.and_of(&queue),
            queue,
            hops: Queue::new(requests_max / QUEUED_HOPS_SHARE, bytes_max / QUEUED_HOPS_SHARE),
        })
    }
}

/// Wraps a service so that each request is served by the owner of its shard.
pub struct RouteLayer<N>(Arc<Shared<N, Cluster>>);

impl<N> Clone for RouteLayer<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N> fmt::Debug for RouteLayer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteLayer").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

impl<N: Runtime> RouteLayer<N> {
    /// Routes `routes` as `cluster` says; other nodes serve them at their endpoint named `endpoint`.
    pub fn new(cluster: Cluster, endpoint: &str, routes: Routes) -> Self {
        Self::counted(cluster, endpoint, routes, RequestMetrics::default())
    }

    /// The same, with its requests counted in `requests`, which several layers of one node may share.
    pub fn counted(cluster: Cluster, endpoint: &str, routes: Routes, requests: RequestMetrics) -> Self {
        Self::over(cluster, endpoint, routes, requests, Pool::new())
    }

    /// The same over the connections of `pool`.
    pub fn over(cluster: Cluster, endpoint: &str, routes: Routes, requests: RequestMetrics, pool: Pool<N>) -> Self {
        Self(Shared::new(cluster, endpoint, routes, requests, pool, (QUEUED_REQUESTS_MAX, QUEUED_BYTES_MAX)))
    }

    /// The counter of served requests.
    pub fn requests(&self) -> RequestMetrics {
        self.0.requests.clone()
    }
}

impl<N, S> Layer<S> for RouteLayer<N> {
    type Service = RouteService<N, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService(Routing { shared: Arc::clone(&self.0), inner })
    }
}

/// A service behind the routing layer. Handlers find an `Arc` of the shard's
/// guard in their request's extensions.
pub struct RouteService<N, S>(Routing<N, Cluster, S>);

impl<N, S: Clone> Clone for RouteService<N, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<N, S> fmt::Debug for RouteService<N, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteService").finish_non_exhaustive()
    }
}

impl<N, S> Service<Request<Body>> for RouteService<N, S>
where
    N: Runtime,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

/// The same over any view of a cluster.
struct Routing<N, V, S> {
    shared: Arc<Shared<N, V>>,
    inner: S,
}

impl<N, V, S: Clone> Clone for Routing<N, V, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), inner: self.inner.clone() }
    }
}

impl<N, V, S> Service<Request<Body>> for Routing<N, V, S>
where
    N: Runtime,
    V: View,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Some(source) = shared.routes.get(request.uri().path()).cloned() else {
                let mut inner = inner;
                return inner.call(request).await;
            };
            let began = Instant::now();
            let deadline = reply::parse_timeout(request.headers()).map(|left| began + left);
            let path = request.uri().path().to_owned();
            let hopped = request.headers().contains_key(reply::HOP);
            let call = shared.route(inner, source, request, deadline);
            let response = match deadline {
                None => call.await,
                Some(deadline) => {
                    let late = async {
                        N::sleep(deadline.saturating_duration_since(Instant::now())).await;
                        error(Code::DeadlineExceeded, "the deadline went by")
                    };
                    future::or(call, late).await
                }
            };
            shared.count(&path, hopped, began, &response);
            Ok(response)
        })
    }
}

/// A request on its way, with what the layer knows of it.
struct Job {
    parts: Parts,
    body: Replay,
    key: Key,
    deadline: Option<Instant>,
    /// When it stops waiting for an owner.
    patience: Instant,
}

impl<N: Runtime, V: View> Shared<N, V> {
    async fn route<S>(
        &self,
        inner: S,
        source: Source,
        request: Request<Body>,
        deadline: Option<Instant>,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let hopped = parts.headers.contains_key(reply::HOP);
        if !hopped && header_bytes(&parts) > CLIENT_HEADER_BYTES_MAX {
            let why = format!("the headers have more than {CLIENT_HEADER_BYTES_MAX} bytes");
            return error(Code::ResourceExhausted, why);
        }
        let (body, key) = match find_key(&source, &parts, body).await {
            Ok(found) => found,
            // Nobody was asked yet, and another node may have room.
            Err(status) if status.code() == Code::Unavailable => return not_run(status.into_http()),
            Err(status) => return status.into_http(),
        };
        let patience = Instant::now() + self.view.drain_timeout() + QUEUE_MARGIN;
        let patience = deadline.map_or(patience, |deadline| deadline.min(patience));
        let job = Job { parts, body, key, deadline, patience };
        if hopped {
            return self.serve_forwarded(inner, job).await;
        }
        self.serve_entering(inner, job).await
    }

    /// Counts a request whose answer begins.
    fn count(&self, path: &str, hopped: bool, began: Instant, response: &Response<Body>) {
        // Only who served it puts its name there.
        let node = response.headers().get(reply::NODE).and_then(|node| node.to_str().ok());
        let way = match node {
            None => Way::Refused,
            Some(_) if hopped => Way::Peer,
            Some(node) if node == self.view.name().as_str() => Way::Direct,
            Some(_) => Way::Proxied,
        };
        self.requests.took(way, began.elapsed());
        if let Some(node) = node.filter(|_| !hopped) {
            self.requests.count(node, path);
        }
    }

    /// A request from another node: served here, perhaps in a moment, or not at all.
    async fn serve_forwarded<S>(&self, inner: S, job: Job) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        // Whoever sent it may have heard of the last move first.
        let known = forward::map_epoch(&job.parts.headers).unwrap_or_default();
        let until = job.patience.min(Instant::now() + forward::PAUSE);
        let mut ticket: Option<Ticket> = None;
        let (table, shard) = loop {
            let mut watch = self.view.watch();
            let mut routed = self.view.route(&job.key);
            if let Route::Here(shard, guard) = routed.route() {
                drop(ticket.take());
                return answer::local::<N, _, _>(self.view.name(), inner, job, shard, guard).await;
            }
            if !routed.is_here() && routed.table.epoch() >= known {
                break (routed.table, routed.shard);
            }
            ticket = ticket.or_else(|| self.hops.enter(job.body.held()));
            if ticket.is_none() || !self.wait(&mut watch, until).await {
                break (routed.table, routed.shard);
            }
        };
        let mut response = unavailable("this node does not own the shard");
        response.headers_mut().insert(reply::NOT_OWNER, HeaderValue::from_static("1"));
        response.headers_mut().insert(reply::MAP_EPOCH, HeaderValue::from(table.epoch().0));
        if let Some((owner, _)) = shard.and_then(|shard| table.owner(shard))
            && let Ok(owner) = HeaderValue::from_str(owner.name.as_str())
        {
            response.headers_mut().insert(reply::OWNER, owner);
        }
        response
    }

    /// A request from a client: served here, by the owner, or when there is one.
    async fn serve_entering<S>(&self, inner: S, job: Job) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let mut tries = 0;
        let mut ticket: Option<Ticket> = None;
        loop {
            // The watch comes before the look: no table can slip in between.
            let mut watch = self.view.watch();
            let mut routed = self.view.route(&job.key);
            let epoch = routed.table.epoch();
            match routed.route() {
                Route::Here(shard, guard) => {
                    drop(ticket.take());
                    return answer::local::<N, _, _>(self.view.name(), inner, job, shard, guard).await;
                }
                Route::There(shard, node) => {
                    // One that shows no such endpoint yet is waited for.
                    if let Some(&address) = node.endpoints.get(&self.endpoint) {
                        drop(ticket.take());
                        let to = Destination::member(address, node.name.as_str());
                        let owner = forward::Owner { shard, epoch, boot: node.boot, to };
                        match self.forward(&job, &owner, watch, &mut tries).await {
                            Some(response) => return response,
                            None => continue,
                        }
                    }
                }
                Route::OutOfRange => return error(Code::Internal, "the shard function left its range"),
                Route::Pending => {}
            }
            if ticket.is_none() {
                ticket = self.queue.enter(job.body.held());
                if ticket.is_some() {
                    self.requests.waits();
                } else {
                    return not_run(error(Code::ResourceExhausted, "too many requests wait for moving shards"));
                }
            }
            if !self.wait(&mut watch, job.patience).await {
                return not_run(unavailable("the shard has no owner that may serve it"));
            }
        }
    }

    /// Waits for a change, `false` when `until` came first.
    async fn wait(&self, watch: &mut V::Watch, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        crate::net::within::<N, _>(left, watch.changed()).await.is_some()
    }
}

/// Bytes of a request's headers as HTTP/2 counts them: names, values, and 32 for each.
fn header_bytes(parts: &Parts) -> usize {
    let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    parts.headers.iter().fold(path, |bytes, (name, value)| bytes + name.as_str().len() + value.len() + 32)
}

/// The routing key of a request, and its body as it was.
pub(crate) async fn find_key(source: &Source, parts: &Parts, body: Body) -> Result<(Replay, Key), tonic::Status> {
    let header = |name| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| {
            tonic::Status::invalid_argument(format!("the header {name} with the routing key is missing"))
        })
    };
    match source {
        Source::Message(decode) => {
            if let Some(encoding) = parts.headers.get("grpc-encoding").filter(|value| *value != "identity") {
                tracing::debug!(?encoding, "a routed request announces compression");
            }
            let body = Replay::read(body, ROUTED_MESSAGE_BYTES_MAX).await?;
            let key = decode(body.message());
            let key = key.ok_or_else(|| tonic::Status::invalid_argument("the first message holds no routing key"))?;
            Ok((body, key))
        }
        Source::Text(name) => Ok((Replay::unread(body), Key::from(header(name)?))),
        Source::Integer(name) => {
            let value = header(name)?.parse::<i64>();
            let value =
                value.map_err(|_| tonic::Status::invalid_argument(format!("the header {name} is no integer")))?;
            Ok((Replay::unread(body), Key::Signed(value)))
        }
    }
}

/// Marks a response as served by `node` under `epoch`.
fn mark(response: &mut Response<Body>, node: &funk_proto::id::NodeName, shard: ShardId, guard: &impl Guard) {
    let headers = response.headers_mut();
    headers.insert(reply::NODE, HeaderValue::from_str(node.as_str()).expect("names are ASCII letters and digits"));
    headers.insert(reply::SHARD, HeaderValue::from(shard.0));
    headers.insert(reply::EPOCH, HeaderValue::from(guard.epoch().0));
}

#[cfg(test)]
mod tests;
